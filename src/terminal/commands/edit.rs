//! A line while it is being edited: where it began, and how it is read off the screen.

use super::echo::Echo;
use super::models::{Models, Place};
use super::prompt::{Known, Prompts, continues, guess};
use super::syntax;

/// What told that a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// The first key.
    Key,
    /// An editor that turned bracketed paste on, after its prompt.
    Reads,
    /// An editor that asked where the cursor is.
    Asks,
    /// A mark with the session's nonce.
    Mark,
    /// The same where a command goes on.
    More,
}

pub(super) struct Edit {
    pub from: From,
    pub anchor: Option<avt::Anchor>,
    /// The text left of it.
    pub prompt: String,
    /// The right prompt.
    right: String,
    /// Something was typed that would be shown.
    pub typed: bool,
    /// Any key was pressed.
    pub touched: bool,
    /// Characters that are not ASCII were typed in this session: history may have them, too.
    pub not_ascii: bool,
    /// A paste had more than one line.
    pub pasted_lines: bool,
    /// What came since, where no editor draws it.
    pub echo: Echo,
    /// Rows that came while no Enter was waiting: a list of completions, or what a program in the background said.
    pub between: Vec<Between>,
}

/// What came while no Enter was waiting.
pub(super) struct Between {
    number: u64,
    start: avt::Anchor,
    end: avt::Anchor,
}

/// More rows that come between make a line unsure.
const MOST_BETWEEN: usize = 8;

/// A prompt that is longer is none.
const LONGEST_PROMPT: usize = 1024;

/// A line as it was read off the screen.
#[derive(Clone)]
pub(super) struct Reading {
    pub text: String,
    pub prompt: String,
    pub known: Known,
    pub from: Option<From>,
    /// How sure it is where the line begins, and that both models show it.
    pub factor: f64,
    /// A paste of more than one line is in it.
    pub pasted: bool,
}

impl Reading {
    /// Whether it stands at a question whose answer nobody should see.
    pub(super) fn asks_for_secret(&self) -> bool {
        let prompt = self.prompt.to_lowercase();
        self.text.is_empty() && ["password", "passphrase", "pin"].iter().any(|word| prompt.contains(word))
    }
}

impl Edit {
    pub(super) fn begin(from: From, models: &mut Models) -> Self {
        let place = models.cursor();
        let mut prompt = models.before(place);
        if prompt.len() > LONGEST_PROMPT {
            prompt.clear();
        }
        let anchor = models.anchor(place);
        Self {
            from,
            anchor,
            prompt,
            right: models.after(place),
            typed: false,
            touched: false,
            not_ascii: false,
            pasted_lines: false,
            echo: Echo::default(),
            between: Vec::new(),
        }
    }

    /// Where the line begins, if that is still on the screen.
    pub(super) fn place(&self, models: &Models) -> Option<Place> {
        self.locate(models).map(|(place, _)| place)
    }

    /// A row ended at which nobody pressed Enter: what came at once (the `number`th such) began at `start`, and the row after it
    /// begins at `end`.
    pub(super) fn came_between(&mut self, number: u64, start: avt::Anchor, end: avt::Anchor) {
        let room = self.between.len() < MOST_BETWEEN;
        match self.between.last_mut().filter(|last| last.number == number) {
            Some(last) => last.end = end,
            None if room => self.between.push(Between { number, start, end }),
            None => {}
        }
    }

    /// The prompt is only the last of what stands left of the line.
    pub(super) fn prompt_is(&mut self, prompt: String) {
        self.prompt = prompt;
    }

    fn locate(&self, models: &Models) -> Option<(Place, f64)> {
        // the nearest one: completion and clearing the screen draw the prompt and the line anew
        if self.prompt.trim().len() > 1 {
            let found = models.find(|line| line.starts_with(&self.prompt).then(|| self.prompt.chars().count()));
            if let Some(place) = found {
                return Some((place, 1.0));
            }
        }
        let place = self.anchor.as_ref().and_then(|anchor| models.resolve(anchor))?;
        let same = models.before(place).ends_with(&self.prompt);
        Some((place, if same { 1.0 } else { 0.6 }))
    }

    /// The line as it stands; `editor` says whether a line editor reads it.
    pub(super) fn read(&self, models: &Models, prompts: &Prompts, editor: bool) -> Option<Reading> {
        let Some((place, sure)) = self.locate(models) else {
            return Self::find(models, prompts, false, editor);
        };
        if sure < 0.9
            && let Some(reading) = Self::find(models, prompts, false, editor)
        {
            return Some(reading);
        }
        let (mut text, agree) = models.read(place, &self.right, &[])?;
        let mut torn = 1.0;
        if let Some(echo) = self.echo.line().filter(|_| self.from == From::Key && !editor) {
            text = echo.trim_end().to_owned();
        } else if !self.pasted_lines && text.split_once('\n').is_some_and(|(first, _)| !syntax::goes_on(first)) {
            // a line that is whole does not go on: something else stands in it
            torn = 0.45;
            let between: Option<Vec<_>> = self
                .between
                .iter()
                .map(|came| Some((models.resolve(&came.start)?, models.resolve(&came.end)?)))
                .collect();
            if let Some(between) = between.filter(|between| !between.is_empty())
                && let Some((without, _)) = models.read(place, &self.right, &between)
                && !without.contains('\n')
            {
                (text, torn) = (without, 0.8);
            }
        }
        let mut known = match self.from {
            From::Mark => Known::Same,
            From::More => Known::Unexpected,
            From::Key | From::Reads | From::Asks => prompts.judge(&self.prompt),
        };
        let mut factor = sure * torn * doubt(agree, models);
        let mut prompt = self.prompt.clone();
        if self.from != From::More && matches!(known, Known::Foreign | Known::Unexpected) {
            // what was typed ahead stood in the row before the prompt came: the prompt is behind it, or is still to be cut off
            let before = prompt.trim().is_empty() && editor;
            let found = match prompts.at_start_of(&text) {
                Some((end, how)) if how == Known::Same || before => Some((end, how)),
                _ if before => guess(&text).map(|end| (end, Known::Expected)),
                _ => None,
            };
            if let Some((end, how)) = found {
                prompt = text.chars().take(end).collect();
                text = text.chars().skip(end).collect();
                (known, factor) = (how, factor * 0.85);
            } else if let Some(long) = prompts.ends(&self.prompt) {
                (known, factor) = (Known::Same, factor * if long { 0.85 } else { 0.75 });
            } else if before {
                known = prompts.judge_none();
            }
        }
        // busybox draws what it can't as question marks
        if self.from == From::Asks && self.not_ascii && text.contains('?') {
            factor *= 0.45;
        }
        Some(Reading { text, prompt, known, from: Some(self.from), factor, pasted: self.pasted_lines })
    }

    /// The line that the cursor is in, and no other.
    pub(super) fn row(models: &Models, prompts: &Prompts, goes_on: bool) -> Reading {
        let row = models.before(Place { row: models.cursor().row, column: usize::MAX });
        let prompt = prompts.at_start_of(&row).filter(|(end, _)| *end > 0);
        let (end, known) = match prompt {
            Some(found) => found,
            None => match continues(&row).filter(|_| goes_on) {
                Some(end) => (end, Known::Unexpected),
                None => (0, Known::Foreign),
            },
        };
        let cut = row.char_indices().nth(end).map_or(row.len(), |(place, _)| place);
        let (prompt, text) = row.split_at_checked(cut).unwrap_or(("", &row));
        Reading {
            text: text.trim_end().to_owned(),
            prompt: prompt.to_owned(),
            known,
            from: None,
            factor: 0.93,
            pasted: false,
        }
    }

    /// A line whose beginning no key told: it was typed before its prompt came.
    pub(super) fn find(models: &Models, prompts: &Prompts, goes_on: bool, editor: bool) -> Option<Reading> {
        let known = std::cell::Cell::new(Known::Foreign);
        let first = std::cell::Cell::new(true);
        let place = models.find(|line| {
            if goes_on && let Some(end) = continues(line) {
                known.set(Known::Unexpected);
                return Some(end);
            }
            let at_cursor = first.replace(false);
            let guessed = || guess(line).filter(|_| at_cursor && editor).map(|end| (end, Known::Expected));
            let (end, how) = prompts.at_start_of(line).or_else(guessed)?;
            known.set(how);
            Some(end)
        })?;
        let (text, agree) = models.read(place, "", &[])?;
        let factor = 0.95 * doubt(agree, models) * if known.get() == Known::Expected { 0.85 } else { 1.0 };
        if text.split_once('\n').is_some_and(|(first, _)| !syntax::goes_on(first)) {
            // the line of an earlier prompt, with its output
            return None;
        }
        let prompt = models.before(place);
        Some(Reading { text, prompt, known: known.get(), from: None, factor, pasted: false })
    }
}

fn doubt(agree: bool, models: &Models) -> f64 {
    if agree || models.resized { 1.0 } else { 0.8 }
}
