//! Lines that were entered become commands.

use super::command::{Command, How, Line};
use super::edit::{Edit, From, Reading};
use super::marks::Proof;
use super::prompt::{Known, Prompts};
use super::syntax;
use std::collections::VecDeque;
use std::time::Duration;

/// What waits to be taken. Past this the oldest goes: whoever feeds a watch takes what it tells.
const MOST_WAITING: usize = 4096;

/// The longest command that is joined from lines.
const LONGEST: usize = 128 << 10;

/// Lines typed ahead of a shell without an editor that are remembered.
const MOST_AHEAD: usize = 64;

/// How long a command waits for its exit status.
const HELD: Duration = Duration::from_secs(2);

/// Who read a line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Editor {
    /// One that moves to the next row before it turns bracketed paste off: readline, and so bash.
    EndsRow,
    /// Another that turns it off.
    Other,
    /// The terminal itself, or an editor that tells nothing.
    None,
}

/// What the end of a row told of lines that were typed ahead.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    None,
    /// The row had the echo of one that was not entered yet, before a prompt.
    Echoed,
    /// An editor shows them again behind its prompts.
    Shown,
}

#[derive(Default)]
pub(super) struct Lines {
    prompts: Prompts,
    /// A command that goes on with the next line.
    open: Option<Command>,
    /// Entered with history expansion: the shell may show next what it became.
    expanding: Option<Command>,
    /// Waits for its exit status.
    held: Option<Command>,
    ready: VecDeque<Command>,
    hidden: VecDeque<Duration>,
    /// With how sure it is that the echo shows what was typed.
    ahead: VecDeque<(String, f64)>,
    /// The echo of what was typed ahead and not entered, where no editor shows it again.
    partial: Option<String>,
    unproved: Option<Unproved>,
}

/// Marks came without the session's nonce.
#[derive(Default)]
struct Unproved {
    /// What they say the prompt is.
    prompt: Option<String>,
    /// One had another nonce.
    forged: bool,
}

impl Lines {
    pub(super) fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    /// Whether the next line goes on with one that is open.
    pub(super) fn goes_on(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn is_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Lines that were typed ahead come to an editor after all: how many.
    pub(super) fn take_ahead(&mut self) -> usize {
        std::mem::take(&mut self.ahead).len()
    }

    pub(super) fn hide(&mut self, at: Duration) {
        if self.hidden.len() < MOST_WAITING {
            self.hidden.push_back(at);
        }
    }

    pub(super) fn next(&mut self) -> Option<Command> {
        self.ready.pop_front()
    }

    pub(super) fn next_hidden(&mut self) -> Option<Duration> {
        self.hidden.pop_front()
    }

    /// Time passed.
    pub(super) fn passed(&mut self, at: Duration) {
        if self.held.as_ref().is_some_and(|held| at.saturating_sub(held.at) > HELD) {
            self.release();
        }
    }

    pub(super) fn release(&mut self) {
        if let Some(held) = self.held.take() {
            if self.ready.len() == MOST_WAITING {
                self.ready.pop_front();
            }
            self.ready.push_back(held);
        }
    }

    pub(super) fn finish(&mut self, _at: Duration) {
        self.settle();
        if let Some(mut open) = self.open.take() {
            // it never became whole, so it was not run
            open.confidence = open.confidence.min(0.3);
            self.emit(open);
        }
        self.release();
    }

    /// ^C: what was open was not run.
    pub(super) fn give_up(&mut self) {
        self.open = None;
        self.partial = None;
        self.ahead.clear();
        self.unproved = None;
    }

    /// A mark came that is not proved, and what it says the prompt is.
    pub(super) fn unproved(&mut self, prompt: Option<String>, proof: Proof) {
        let unproved = self.unproved.get_or_insert_default();
        unproved.forged |= proof == Proof::Another;
        if prompt.is_some() {
            unproved.prompt = prompt;
        }
    }

    pub(super) fn ended(&mut self, exit: Option<i32>) {
        self.settle();
        if let Some(held) = &mut self.held {
            held.exit = exit;
        }
        self.release();
    }

    /// The first key of a line without an editor, after lines that were typed ahead: `$ $ ` says that two were read.
    pub(super) fn first_key(&mut self, at: Duration, edit: &mut Option<Edit>) {
        let Some(edit) = edit else { return };
        if self.ahead.is_empty() {
            return;
        }
        let (times, prompt) = self.repeated(&edit.prompt);
        for _ in 1..times {
            self.read_ahead(at);
        }
        if times > 0 {
            edit.prompt_is(prompt);
            self.ahead.clear();
        }
    }

    /// A row of output ended, while lines typed ahead wait: prompts at its start say that so many were read.
    pub(super) fn row_ends(&mut self, at: Duration, row: &str) -> Ahead {
        let (times, _) = self.repeated(row);
        for _ in 0..times {
            self.read_ahead(at);
        }
        if times > 0 {
            return Ahead::None;
        }
        // the first row may begin with the echo of what was typed after the last Enter
        let Some((start, end)) = self.prompts.inside(row) else { return Ahead::None };
        let (Some(before), Some(after)) = (row.get(..start), row.get(end..)) else { return Ahead::None };
        if self.ahead.front().is_some_and(|(text, _)| text == after) {
            self.read_ahead(at);
            return Ahead::Shown;
        }
        self.partial = Some(before.to_owned());
        for _ in 0..self.repeated(row.get(start..).unwrap_or_default()).0 {
            self.read_ahead(at);
        }
        Ahead::Echoed
    }

    /// How often a prompt that is known stands at the start, and the prompt.
    fn repeated(&self, text: &str) -> (usize, String) {
        let (mut times, mut rest, mut last) = (0, text, String::new());
        while let Some((end, Known::Same)) = self.prompts.at_start_of(rest) {
            let cut = rest.char_indices().nth(end).map_or(rest.len(), |(place, _)| place);
            let (prompt, after) = rest.split_at_checked(cut).unwrap_or((rest, ""));
            if prompt.is_empty() {
                break;
            }
            last = prompt.to_owned();
            times += 1;
            rest = after;
        }
        (times, last)
    }

    fn read_ahead(&mut self, at: Duration) {
        if let Some((text, factor)) = self.ahead.pop_front() {
            let prompt = String::new();
            let factor = 0.75 * factor.min(1.0);
            self.take(
                at,
                Reading { text, prompt, known: Known::Shape, from: None, factor, pasted: false },
                Editor::None,
            );
        }
    }

    /// Enter where no editor reads: a shell that leaves editing to the terminal, a program's question, or a program that runs.
    pub(super) fn entered_without_editor(&mut self, at: Duration, edit: Option<Edit>, reading: Option<Reading>) {
        let Some(mut reading) = reading else { return };
        let typed = edit.as_ref().is_some_and(|edit| edit.typed);
        if reading.known == Known::Same {
            // `$ $ ` says that a line was read that was typed ahead
            let prompt = reading.prompt.clone();
            while !self.ahead.is_empty() && !prompt.trim().is_empty() && !reading.text.is_empty() {
                let rest =
                    reading.text.strip_prefix(&prompt).or_else(|| (reading.text == prompt.trim_end()).then_some(""));
                let Some(rest) = rest.map(str::to_owned) else { break };
                reading.text = rest;
                self.read_ahead(at);
            }
        }
        if reading.text.is_empty() && typed && !matches!(reading.known, Known::Same | Known::Shape) {
            self.hide(at);
        } else if reading.known == Known::Foreign && reading.prompt.trim().is_empty() {
            if self.open.is_some() {
                self.entered(at, reading, Editor::None);
            } else if let Some((start, end)) = self.prompts.inside(&reading.text)
                && !reading.text.contains('\n')
            {
                // the prompt came while the line was being typed, and so stands in it
                reading.text.replace_range(start..end, "");
                (reading.known, reading.factor) = (Known::Same, reading.factor * 0.85);
                self.entered(at, reading, Editor::None);
            } else if self.ahead.len() < MOST_AHEAD && !reading.text.is_empty() {
                self.ahead.push_back((reading.text, reading.factor));
            }
        } else if self.open.is_some() || reading.known != Known::Foreign || reading.prompt.trim_end().ends_with('>') {
            self.entered(at, reading, Editor::None);
        }
    }

    /// A line was entered; `editor` says by whom.
    pub(super) fn entered(&mut self, at: Duration, mut reading: Reading, editor: Editor) {
        if editor == Editor::None {
            // such a line is one row: what has more is output that came between
            reading.factor *= if reading.text.contains('\n') { 0.45 } else { 0.97 };
        }
        self.settle();
        if let Some(partial) = self.partial.take()
            && editor == Editor::None
        {
            reading.text.insert_str(0, &partial);
            reading.factor *= 0.85;
        }
        if reading.pasted && editor == Editor::EndsRow && self.open.is_none() && reading.text.contains('\n') {
            // bash reads lines that were pasted together one by one
            let mut whole = String::new();
            for line in reading.text.split_inclusive('\n') {
                whole.push_str(line);
                if !syntax::goes_on(whole.trim_end_matches('\n')) {
                    let text = std::mem::take(&mut whole).trim_end().to_owned();
                    self.take(at, Reading { text, ..reading.clone() }, editor);
                }
            }
            if whole.is_empty() {
                return;
            }
            reading.text = whole;
        }
        self.take(at, reading, editor);
    }

    fn take(&mut self, at: Duration, reading: Reading, editor: Editor) {
        let Reading { text, prompt, known, from, factor, .. } = reading;
        let own = matches!(known, Known::Same | Known::Shape) || from == Some(From::Mark);
        let unproved = self.unproved.take();
        let confidence = factor * sure(known);
        if from == Some(From::More) && self.open.is_none() {
            // what had looked whole was not
            self.open = self.held.take();
        }
        let mut command = match self.open.take() {
            Some(mut open) if !own && open.line.len() + text.len() < LONGEST => {
                // bash's own history has such a line in one
                if editor == Editor::EndsRow && syntax::ends_escaped(&open.line) {
                    open.line.pop();
                } else {
                    open.line.push('\n');
                }
                open.line.push_str(&text);
                open.at = at;
                // the prompt of a continuation is no shell's own; how the first line was known is what counts
                open.confidence *= factor.clamp(0.8, 1.0);
                open
            }
            // the shell did not ask for more, or was stopped from asking
            open => {
                if let Some(mut open) = open {
                    open.confidence *= 0.7;
                    self.emit(open);
                }
                if text.is_empty() {
                    return;
                }
                if known != Known::Foreign && known != Known::Unexpected && from.is_some() {
                    self.prompts.learn(&prompt);
                }
                let mut command = Command { at, line: text, how: How::Screen, confidence, exit: None };
                match unproved {
                    _ if from == Some(From::Mark) => command.how = How::Marks,
                    Some(marked) => {
                        command.how = How::UnprovedMarks;
                        let disagree = marked.prompt.is_some_and(|marked| marked != prompt);
                        command.confidence *= if disagree || marked.forged { 0.6 } else { 0.98 };
                    }
                    None => {}
                }
                command
            }
        };
        if confidence >= 0.3 && syntax::goes_on(&command.line) && command.line.len() < LONGEST {
            self.open = Some(command);
            return;
        }
        command.line.truncate(command.line.trim_end().len());
        if command.line.contains('!') || command.line.starts_with('^') {
            self.prompts.ran(&command.line);
            self.expanding = Some(command);
        } else {
            self.emit(command);
        }
    }

    /// The line as a guard-rail gets it.
    pub(super) fn line(&self, reading: &Reading, editor: bool) -> Option<Line> {
        let before = self.open.as_ref().map(|open| format!("{}\n", open.line)).unwrap_or_default();
        let own = matches!(reading.known, Known::Same | Known::Shape);
        let mut confidence = reading.factor * sure(reading.known) * if editor { 1.0 } else { 0.97 };
        if let Some(open) = &self.open
            && !own
        {
            confidence = open.confidence * reading.factor;
        }
        Some(Line { line: reading.text.clone(), confidence, before: if own { String::new() } else { before } })
    }

    pub(super) fn expands(&self) -> bool {
        self.expanding.is_some()
    }

    /// The row that came after a line with history expansion: what the line became, or that it became nothing.
    pub(super) fn expanded(&mut self, row: &str) {
        let Some(mut command) = self.expanding.take() else { return };
        if row.ends_with(&command.line) && row != command.line {
            // the row of the line itself, which is left only now
            self.expanding = Some(command);
            return;
        }
        if row.ends_with(": event not found") || row.ends_with(": substitution failed") {
            return;
        }
        let start = if command.line.starts_with('^') { "" } else { command.line.split('!').next().unwrap_or_default() };
        let likely = !row.is_empty() && row != command.line && row.starts_with(start);
        if likely && became(&command.line, row) {
            row.clone_into(&mut command.line);
        }
        self.emit(command);
    }

    fn settle(&mut self) {
        if let Some(command) = self.expanding.take() {
            self.emit(command);
        }
    }

    fn emit(&mut self, command: Command) {
        self.release();
        if command.confidence >= super::UNSURE_BELOW {
            self.prompts.ran(&command.line);
        }
        let waits = command.how == How::Marks;
        self.held = Some(command);
        if !waits {
            self.release();
        }
    }
}

/// Whether `row` may be what history made of `line`.
fn became(line: &str, row: &str) -> bool {
    // a `!` in single quotes, before a space or `=`, or at the end is only that
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    let mut marks = line.starts_with('^');
    while let Some(character) = characters.next() {
        match character {
            '\'' => quoted = !quoted,
            '\\' => {
                characters.next();
            }
            '!' if !quoted => {
                marks |= characters.peek().is_some_and(|&next| !next.is_whitespace() && next != '=' && next != '(')
            }
            _ => {}
        }
    }
    marks && !row.contains("!!")
}

/// The share of lines at such prompts that a shell ran, in the half of the corpus that this was tuned on.
fn sure(known: Known) -> f64 {
    match known {
        Known::Same => 0.98,
        Known::Shape => 0.95,
        Known::Expected => 0.9,
        Known::First => 0.6,
        Known::Unexpected => 0.4,
        Known::Foreign => 0.1,
    }
}
