//! Follows a session, and tells commands as they are entered.

use super::command::{Command, Line};
use super::edit::{Edit, From};
use super::feed::Feed;
use super::keys::{Key, Keys};
use super::lines::{Ahead, Editor, Lines};
use super::marks::{Mark, Nonce, Proof};
use super::prompt::{Known, continues};
use super::scan::{Scanner, Sign};
use super::unseen::{Seen, Unseen};
use crate::Size;
use std::collections::VecDeque;
use std::time::Duration;

/// Watches what goes over a terminal and tells which commands were run in it.
///
/// It draws the output as a terminal does, notes where the cursor is when somebody begins to type (the prompt's end), and reads
/// the line off the screen when the shell moves on from it. What is typed is looked at for Enter, ^C and the like and for whether
/// there was something at all; no byte of it is kept, not even for a moment, so passwords can't be in what it tells.
///
/// What it tells does not depend on how output is cut into calls. Output, input and sizes have to come in the order in which
/// they went by.
pub struct CommandWatch {
    nonce: Option<Nonce>,
    scanner: Scanner,
    keys: Keys,
    feed: Feed,
    lines: Lines,
    alternate: bool,
    /// An editor reads a line: it turned bracketed paste on, and when.
    reading: Option<Duration>,
    edit: Option<Edit>,
    /// How many rows the editor left since it began to read, while an Enter waited.
    rows: usize,
    /// What stood at the prompt at the last line feed, and whether nothing was printed since.
    snapshot: Option<super::edit::Reading>,
    /// Enter and ^C that nothing has answered yet.
    entered: VecDeque<Pending>,
    /// Something was typed before the editor began to read: it shows it after its prompt, and no key tells where that ends.
    ahead: bool,
    /// How many characters were typed since the last Enter, and none where there was editing.
    typed: Option<usize>,
    /// Some were not ASCII.
    not_ascii: bool,
    /// Something was typed after the last Enter that waits: it belongs to a line whose prompt has not come.
    unplaced: bool,
    /// Output came after the last ^C.
    answered: bool,
    /// The editor that has read a line has yet to leave its row.
    leaves_row: bool,
    /// Where the cursor was when the latest output began to come, and when it last came.
    burst: Option<avt::Anchor>,
    bursts: u64,
    came: Duration,
    /// What was outside, while a program draws on the alternate screen.
    outside: Option<Outside>,
    /// What passed since nobody types; none while somebody does.
    unseen: Option<Unseen>,
}

/// What waits on the main screen for the alternate one to be left.
struct Outside {
    reading: Option<Duration>,
    edit: Option<Edit>,
}

/// A key that ends a line and waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pending {
    key: Key,
    at: Duration,
    /// How many characters were typed before it, where that can be told.
    typed: Option<usize>,
    /// An editor was reading, which shows the line itself, after its next prompt if need be. The terminal echoes none of these, so a
    /// line feed of what runs in between is no answer.
    to_editor: bool,
}

impl Pending {
    /// Enter that the terminal itself had echoed.
    fn echoed(at: Duration) -> Self {
        Self { key: Key::Enter, at, typed: None, to_editor: true }
    }

    /// Whether nothing will answer it any more.
    fn is_stale(&self, now: Duration, reads: bool) -> bool {
        let patience = if reads { STALE_AT_A_PROMPT } else { STALE };
        self.key == Key::Enter && now.saturating_sub(self.at) > patience
    }

    /// Whether a row without a prompt may be the terminal's own echo of the line that it ends.
    fn is_echo(&self, row: &str) -> bool {
        !self.to_editor && self.typed.is_none_or(|typed| row.trim_end().chars().count() == typed)
    }
}

/// Keys that wait for an answer. More than that is a paste, of which the first so many are enough.
const MOST_ENTERED: usize = 256;

/// Output is scanned and kept in pieces of this many bytes.
const PIECE: usize = 4096;

/// Output that comes within this time of other is one with it.
const TOGETHER: Duration = Duration::from_millis(15);

/// An Enter that nothing has answered for so long was for a program that shows none.
const STALE: Duration = Duration::from_secs(4);
const STALE_AT_A_PROMPT: Duration = Duration::from_millis(1200);

/// How long after an editor began to read what was typed before may still come to it.
const AHEAD: Duration = Duration::from_millis(150);

impl std::fmt::Debug for CommandWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CommandWatch")
    }
}

impl CommandWatch {
    /// Nothing has been shown yet. `marks` is what this session's shell puts into its marks, where it was told to make some.
    #[must_use]
    pub fn new(size: Size, marks: Option<Nonce>) -> Self {
        Self {
            nonce: marks,
            scanner: Scanner::default(),
            keys: Keys::default(),
            feed: Feed::new(size),
            lines: Lines::default(),
            alternate: false,
            reading: None,
            edit: None,
            rows: 0,
            snapshot: None,
            entered: VecDeque::new(),
            ahead: false,
            unplaced: false,
            typed: Some(0),
            not_ascii: false,
            answered: false,
            leaves_row: false,
            burst: None,
            bursts: 0,
            came: Duration::ZERO,
            outside: None,
            unseen: Some(Unseen::default()),
        }
    }

    /// The node sent this to the terminal.
    pub fn output(&mut self, at: Duration, bytes: &[u8]) {
        if self.unseen.as_mut().is_some_and(|unseen| unseen.output(at, bytes)) {
            return;
        }
        self.wake();
        self.see(at, bytes);
    }

    /// Looks at what was left for later.
    fn wake(&mut self) {
        let Some(unseen) = self.unseen.take() else { return };
        for (at, seen) in unseen.each() {
            match seen {
                Seen::Output(bytes) => self.see(at, bytes),
                Seen::Resize(size) => self.see_size(at, size),
            }
        }
    }

    fn see(&mut self, at: Duration, bytes: &[u8]) {
        self.lines.passed(at);
        self.answered |= !bytes.is_empty();
        if self.edit.is_none() {
            self.burst = None;
        } else if self.burst.is_none() || at.saturating_sub(self.came) > TOGETHER {
            self.burst = self.feed.anchor(&mut self.edit);
            self.bursts += 1;
        }
        self.came = at;
        for piece in bytes.chunks(PIECE) {
            self.piece(at, piece);
        }
        if self.edit.is_some() && !self.alternate {
            self.feed.sync(&mut self.edit);
        }
    }

    fn piece(&mut self, at: Duration, mut rest: &[u8]) {
        while let Some((length, sign)) = self.scanner.next(rest, self.nonce.as_ref()) {
            let (before, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            self.push(before);
            self.act(at, sign);
            rest = after;
            if sign == Sign::BeforeLineFeed {
                let (feed, after) = rest.split_at_checked(1).unwrap_or((rest, &[]));
                self.feed.push(feed, &mut self.scanner);
                self.scanner.line_feed();
                if self.entered.is_empty() && self.edit.is_some() {
                    self.came_between();
                }
                rest = after;
            }
        }
        self.push(rest);
    }

    fn push(&mut self, bytes: &[u8]) {
        self.feed.push(bytes, &mut self.scanner);
        if let Some(edit) = self.edit.as_mut().filter(|_| self.reading.is_none()) {
            edit.echo.push(bytes);
        }
    }

    /// A row ended at which nobody pressed Enter.
    fn came_between(&mut self) {
        let (Some(start), Some(end)) = (self.burst.clone(), self.feed.anchor(&mut self.edit)) else { return };
        if let Some(edit) = &mut self.edit {
            edit.came_between(self.bursts, start, end);
        }
    }

    /// The person typed this. Nothing of it is kept.
    pub fn input(&mut self, at: Duration, bytes: &[u8]) {
        self.wake();
        self.lines.passed(at);
        let mut keys = std::mem::take(&mut self.keys);
        keys.read(bytes, |key| self.key(at, key));
        self.keys = keys;
    }

    /// The terminal has another size from here on.
    pub fn resize(&mut self, at: Duration, size: Size) {
        if self.unseen.as_mut().is_some_and(|unseen| unseen.resize(at, size)) {
            return;
        }
        self.wake();
        self.see_size(at, size);
    }

    fn see_size(&mut self, at: Duration, size: Size) {
        self.lines.passed(at);
        self.feed.sync(&mut self.edit);
        self.feed.resize(size, &mut self.edit);
    }

    /// Nothing more comes.
    pub fn finish(&mut self, at: Duration) {
        self.wake();
        self.lines.finish(at);
    }

    /// The next command, in the order in which they were entered. One with proved marks is told when it has ended or two seconds
    /// have passed, so that its exit status is with it where there is one by then.
    #[expect(clippy::should_implement_trait, reason = "more may come after there was none")]
    pub fn next(&mut self) -> Option<Command> {
        self.lines.next()
    }

    /// When something was typed and entered that was not shown, as at a password's prompt: once for each.
    pub fn hidden_input(&mut self) -> Option<Duration> {
        self.lines.next_hidden()
    }

    /// Nothing happens for now: the models are dropped, and what makes them anew is kept, which takes at most 8 KiB. So is what is
    /// shown from here on, as much again, until a key is typed: it is looked at then.
    pub fn idle(&mut self) {
        if self.unseen.is_some() {
            return;
        }
        self.lines.release();
        self.feed.idle(&mut self.edit);
        self.scanner.shrink();
        self.entered.shrink_to_fit();
        self.snapshot = None;
        // what answers an Enter, or is marked, tells something as soon as it is shown
        if self.entered.is_empty() && self.nonce.is_none() {
            self.unseen = Some(Unseen::default());
        }
    }

    /// The line as it stands at the prompt just now, for a guard-rail that looks at it before Enter goes on: none where nothing is
    /// being typed at a prompt, or after [`idle`](Self::idle) until more comes. Output may lag behind keys; what was typed within the last moments may be missing.
    #[must_use]
    pub fn line(&mut self) -> Option<Line> {
        self.wake();
        // what was typed before its prompt came stands behind one nevertheless, where an editor shows it
        if self.edit.is_none() && self.reading.is_none() {
            return None;
        }
        self.feed.sync(&mut self.edit);
        let reading = self.read()?;
        if !self.believes(&reading) {
            return None;
        }
        self.lines.line(&reading, self.reading.is_some())
    }

    /// Whether a shell waits for a line just now: each Enter was answered, and a prompt stands left of the cursor.
    #[must_use]
    pub fn waits(&mut self) -> bool {
        self.wake();
        if !self.entered.is_empty() {
            return false;
        }
        self.feed.sync(&mut self.edit);
        let known = self.lines.prompts().judge(&self.feed.prompt());
        self.reading.is_some() && self.feed.stands_after_text() || matches!(known, Known::Same | Known::Shape)
    }

    fn key(&mut self, at: Duration, key: Key) {
        self.feed.sync(&mut self.edit);
        if self.reading.is_none_or(|since| at.saturating_sub(since) > AHEAD)
            && self.entered.front().is_some_and(|next| next.is_stale(at, self.reading.is_some()))
            && self.edit.as_ref().is_none_or(|edit| !edit.typed)
        {
            // these were for a program that ran before
            self.entered.clear();
            (self.ahead, self.unplaced) = (false, false);
        }
        if self.next_is(Key::Interrupt) && key != Key::Interrupt && (self.answered || self.reading.is_some()) {
            self.entered.pop_front();
            self.give_up();
            // fish empties the line without a word: where the next one begins is told by its prompt
            self.ahead = !self.answered;
        }
        if self.edit.as_ref().is_some_and(|edit| edit.from == From::Reads && !edit.touched) && !self.ahead {
            // bash turns bracketed paste on before its prompt, zsh after it: where the cursor went on, it was before
            self.feed.begin(From::Reads, &mut self.edit);
        }
        if self.edit.is_none() && !self.ahead {
            self.feed.begin(From::Key, &mut self.edit);
            self.lines.first_key(at, &mut self.edit);
        }
        match key {
            Key::Shown | Key::NotAscii | Key::PastedLine | Key::Erase | Key::Other => {
                self.typed = match key {
                    Key::Shown | Key::NotAscii => self.typed.map(|typed| typed.saturating_add(1)),
                    Key::Erase => self.typed.map(|typed| typed.saturating_sub(1)),
                    _ => None,
                };
                self.not_ascii |= key == Key::NotAscii;
                if let Some(edit) = &mut self.edit {
                    edit.not_ascii = self.not_ascii;
                    edit.typed |= matches!(key, Key::Shown | Key::NotAscii | Key::PastedLine);
                    edit.touched = true;
                    edit.pasted_lines |= key == Key::PastedLine;
                }
                self.unplaced |= !self.entered.is_empty();
            }
            Key::Enter | Key::Interrupt => {
                if key == Key::Interrupt
                    && self.reading.is_some()
                    && self.snapshot.is_some()
                    && self.next_is(Key::Enter)
                {
                    // the editor went on in the next row with it, and did not read the line
                    self.entered.pop_front();
                }
                if self.entered.len() < MOST_ENTERED {
                    let asked = self.edit.as_ref().is_some_and(|edit| edit.from == From::Asks);
                    let to_editor = self.reading.is_some() || asked;
                    self.entered.push_back(Pending { key, at, typed: self.typed, to_editor });
                }
                self.typed = Some(0);
                self.unplaced = false;
                self.answered &= key == Key::Enter;
            }
            Key::End => {}
        }
    }

    fn act(&mut self, at: Duration, sign: Sign) {
        match sign {
            Sign::Alternate(on) => {
                self.feed.sync(&mut self.edit);
                if on && !self.alternate {
                    self.outside = Some(Outside { reading: self.reading.take(), edit: self.edit.take() });
                } else if let Some(outside) = self.outside.take_if(|_| !on) {
                    self.reading = outside.reading;
                    // a shell's own widget drew there; a program's end is followed by a prompt
                    self.edit = outside.edit.filter(|_| outside.reading.is_some());
                }
                self.alternate = on;
                self.snapshot = None;
                (self.ahead, self.unplaced, self.leaves_row) = (false, false, false);
                self.entered.clear();
            }
            Sign::BeforeLineFeed => self.line_feed(at),
            Sign::Reads => {
                self.feed.sync(&mut self.edit);
                if self.reading.is_some() && self.rows > 0 && self.next_is(Key::Enter) {
                    // at a line with nothing in it fish begins anew without a word
                    self.entered.pop_front();
                    self.edit = None;
                    self.answered_one();
                }
                self.begins_to_read(at);
                self.reading = Some(at);
                self.rows = 0;
                self.leaves_row = false;
                self.snapshot = None;
                if self.edit.is_none() && self.feed.stands_after_text() {
                    self.feed.begin(From::Reads, &mut self.edit);
                }
            }
            Sign::HasRead => self.has_read(at),
            Sign::AsksPosition if self.reading.is_none() => {
                self.feed.sync(&mut self.edit);
                self.begins_to_read(at);
                self.ahead = false;
                self.feed.begin(From::Asks, &mut self.edit);
            }
            Sign::AsksPosition => {}
            Sign::Mark(mark, proof) => self.mark(at, mark, proof),
        }
    }

    /// A line editor begins: what was typed before comes to it, and it shows it again.
    fn begins_to_read(&mut self, at: Duration) {
        if let Some(edit) = &self.edit
            && edit.from == From::Key
        {
            if self.next_is(Key::Enter) && edit.typed && self.feed.nothing_after(edit, self.lines.prompts()) {
                self.lines.hide(at);
                self.entered.pop_front();
            } else {
                self.ahead = edit.touched || !self.entered.is_empty();
            }
            self.edit = None;
        }
        for _ in 0..self.lines.take_ahead() {
            self.ahead = true;
            self.entered.push_front(Pending::echoed(at));
        }
    }

    fn next_is(&self, key: Key) -> bool {
        self.entered.front().is_some_and(|pending| pending.key == key)
    }

    /// An Enter was answered: what was typed after it stands behind a prompt that has yet to come.
    fn answered_one(&mut self) {
        self.ahead = !self.entered.is_empty() || self.unplaced;
        self.unplaced &= !self.entered.is_empty();
    }

    fn line_feed(&mut self, at: Duration) {
        let left_row = std::mem::take(&mut self.leaves_row);
        let Some(&next) = self.entered.front() else {
            if self.lines.is_ahead() {
                self.feed.sync(&mut self.edit);
                match self.lines.row_ends(at, &self.feed.row()) {
                    Ahead::None => {}
                    Ahead::Echoed => self.edit = None,
                    Ahead::Shown => (self.edit, self.ahead) = (None, true),
                }
            } else if self.lines.expands() {
                self.feed.sync(&mut self.edit);
                self.lines.expanded(&self.feed.row());
            }
            return;
        };
        if left_row {
            return;
        }
        self.feed.sync(&mut self.edit);
        if next.key == Key::Interrupt {
            self.entered.pop_front();
            self.give_up();
            return;
        }
        if self.reading.is_some() {
            self.snapshot = self.read();
            self.rows = self.rows.saturating_add(1);
            return;
        }
        if self.lines.expands() {
            self.lines.expanded(&self.feed.row());
        }
        let mut reading = if self.edit.is_some() { self.read() } else { self.read_row() };
        let drawn_over = |reading: &super::edit::Reading| match reading.from {
            None => reading.text.contains('\n'),
            Some(_) => reading.factor < 0.61 && !matches!(reading.known, Known::Same | Known::Shape),
        };
        if self.edit.is_some() && reading.as_ref().is_none_or(drawn_over) {
            // here are only the remains of a line that was typed ahead
            reading = self.read_row().map(|reading| super::edit::Reading { factor: 0.3, ..reading });
        }
        if self.edit.is_none()
            && reading.as_ref().is_none_or(|reading| reading.prompt.is_empty() && !next.is_echo(&reading.text))
        {
            // a row of output: the line is still to be shown
            return;
        }
        self.entered.pop_front();
        let edit = self.edit.take();
        let asks_for_secret = reading.as_ref().is_some_and(super::edit::Reading::asks_for_secret);
        if asks_for_secret || reading.as_ref().is_none_or(|reading| self.believes(reading)) {
            self.lines.entered_without_editor(at, edit, reading);
        }
        self.answered_one();
    }

    fn has_read(&mut self, at: Duration) {
        if self.reading.take().is_none() {
            return;
        }
        self.feed.sync(&mut self.edit);
        // an Enter at which the row was left and nothing was read began another row of the same line
        for _ in 1..std::mem::take(&mut self.rows) {
            let followed = self.entered.get(1).is_some_and(|next| next.key == Key::Enter);
            if self.next_is(Key::Enter) && followed {
                self.entered.pop_front();
            }
        }
        match self.entered.pop_front().map(|pending| pending.key) {
            Some(Key::Enter) => {
                // bash moves to the next row first, zsh afterwards
                let now = self.read_by(true);
                let (reading, ended_row) = match self.snapshot.take() {
                    Some(reading) if !self.scanner.printed || self.only_echo_after(&reading, now.as_ref()) => {
                        (Some(reading), true)
                    }
                    _ => (now, false),
                };
                self.leaves_row = !ended_row;
                if reading.as_ref().is_some_and(|reading| reading.text.ends_with("^C"))
                    && let Some(interrupt) = self.entered.iter().position(|pending| pending.key == Key::Interrupt)
                {
                    // the Enter was for something else
                    self.entered.drain(..=interrupt);
                    self.give_up();
                    return;
                }
                if let Some(reading) = reading.filter(|reading| self.believes(reading)) {
                    // fish has its colours put back in between
                    let plain = ended_row && self.scanner.escapes <= 1;
                    self.lines.entered(at, reading, if plain { Editor::EndsRow } else { Editor::Other });
                }
                self.edit = None;
                self.answered_one();
            }
            Some(_) => self.give_up(),
            None => {
                self.edit = None;
                self.ahead = false;
            }
        }
        self.snapshot = None;
    }

    /// Whether what came after the line's row is the terminal's echo of keys for what runs next.
    fn only_echo_after(&self, line: &super::edit::Reading, now: Option<&super::edit::Reading>) -> bool {
        let rest = now.and_then(|now| now.text.strip_prefix(&line.text)?.strip_prefix('\n'));
        self.unplaced && rest.is_some_and(|rest| !rest.contains('\n'))
    }

    /// The line that the cursor is in, where no key told where it begins: behind a prompt that is known, or the terminal's echo of
    /// what was typed ahead, which has none.
    fn read_row(&self) -> Option<super::edit::Reading> {
        Some(Edit::row(self.feed.models()?, self.lines.prompts(), self.lines.goes_on()))
    }

    fn read(&self) -> Option<super::edit::Reading> {
        self.read_by(self.reading.is_some())
    }

    fn read_by(&self, editor: bool) -> Option<super::edit::Reading> {
        let models = self.feed.models()?;
        match &self.edit {
            Some(edit) => edit.read(models, self.lines.prompts(), editor),
            None => Edit::find(models, self.lines.prompts(), self.lines.goes_on(), editor),
        }
    }

    /// On the alternate screen most rows are no lines of a shell: a multiplexer's are, where a prompt stands that a shell would have.
    fn believes(&self, reading: &super::edit::Reading) -> bool {
        let goes_on = self.lines.goes_on() && continues(&reading.prompt).is_some();
        let found_whole = reading.from.is_some() || !reading.text.contains('\n');
        !self.alternate || (found_whole && !reading.prompt.trim().is_empty() && (reading.known.is_a_shell() || goes_on))
    }

    fn give_up(&mut self) {
        self.edit = None;
        self.snapshot = None;
        self.ahead = false;
        self.lines.give_up();
    }

    fn mark(&mut self, at: Duration, mark: Mark, proof: Proof) {
        self.feed.sync(&mut self.edit);
        match (mark, proof) {
            (Mark::Line | Mark::More, Proof::Ours) => {
                let from = if mark == Mark::Line { From::Mark } else { From::More };
                if self.edit.as_ref().is_some_and(|edit| edit.from == from && edit.touched) {
                    // the editor draws the prompt of the same line anew
                    return;
                }
                self.begins_to_read(at);
                self.feed.begin(from, &mut self.edit);
                self.ahead = false;
            }
            (Mark::Line, _) => self.lines.unproved(Some(self.feed.prompt()), proof),
            (Mark::Done(exit), Proof::Ours) => self.lines.ended(exit),
            (Mark::Prompt, Proof::Ours) => self.lines.ended(None),
            (Mark::Run | Mark::MorePrompt, Proof::Ours) => {}
            (_, Proof::None | Proof::Another) => self.lines.unproved(None, proof),
        }
    }
}
