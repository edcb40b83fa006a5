//! A line while it is being edited: where it began, and how it is read off the screen.

use super::models::{Models, Place};
use super::prompt::{Known, Prompts, continues};

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
}

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
}

impl Edit {
    pub(super) fn begin(from: From, models: &mut Models) -> Self {
        let place = models.cursor();
        let mut prompt = models.before(place);
        if prompt.len() > LONGEST_PROMPT {
            prompt.clear();
        }
        let anchor = models.anchor(place);
        Self { from, anchor, prompt, right: models.after(place), typed: false, touched: false }
    }

    /// Where the line begins, if that is still on the screen.
    pub(super) fn place(&self, models: &Models) -> Option<Place> {
        self.locate(models).map(|(place, _)| place)
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

    pub(super) fn read(&self, models: &Models, prompts: &Prompts) -> Option<Reading> {
        let Some((place, sure)) = self.locate(models) else {
            return Self::find(models, prompts, false);
        };
        if sure < 0.9
            && let Some(reading) = Self::find(models, prompts, false)
        {
            return Some(reading);
        }
        let (mut text, agree) = models.read(place, &self.right)?;
        let mut known = if self.from == From::Mark { Known::Same } else { prompts.judge(&self.prompt) };
        let mut factor = sure * doubt(agree, models);
        if matches!(known, Known::Foreign | Known::Unexpected) {
            // what was typed ahead stood in the row before the prompt came: the prompt is behind it, or is still to be cut off
            if let Some((end, Known::Same)) = prompts.at_start_of(&text) {
                text = text.chars().skip(end).collect();
                (known, factor) = (Known::Same, factor * 0.85);
            } else if prompts.ends(&self.prompt) {
                (known, factor) = (Known::Same, factor * 0.85);
            }
        }
        // busybox draws what it can't as question marks
        if self.from == From::Asks && text.contains('?') {
            factor *= 0.45;
        }
        Some(Reading { text, prompt: self.prompt.clone(), known, from: Some(self.from), factor })
    }

    /// A line whose beginning no key told: it was typed before its prompt came.
    pub(super) fn find(models: &Models, prompts: &Prompts, goes_on: bool) -> Option<Reading> {
        let known = std::cell::Cell::new(Known::Foreign);
        let place = models.find(|line| {
            if goes_on && let Some(end) = continues(line) {
                known.set(Known::Unexpected);
                return Some(end);
            }
            let (end, how) = prompts.at_start_of(line)?;
            known.set(how);
            Some(end)
        })?;
        let (text, agree) = models.read(place, "")?;
        let factor = 0.95 * doubt(agree, models);
        Some(Reading { text, prompt: models.before(place), known: known.get(), from: None, factor })
    }
}

fn doubt(agree: bool, models: &Models) -> f64 {
    if agree || models.resized { 1.0 } else { 0.8 }
}
