//! What of a session's streams is kept: of a terminal all that it showed, and the commands that were run in it; of a command without one
//! the beginnings of what it said.

use std::sync::Arc;
use std::time::Duration;

use portcullis_folder::{CommandRecord, File, How};
use portcullis_terminal::{Command, CommandWatch, How as Learnt, Nonce, Size, Unmarked, cast};
use time::OffsetDateTime;

use super::task::Entry;
use crate::evidence::redaction::{Redaction, StreamRedaction};
use crate::evidence::views::Stream;
use crate::model::WindowSize;

/// What is kept of one session's streams.
#[derive(Debug)]
pub(in crate::evidence) struct Recording {
    terminal: Option<Box<Terminal>>,
    stdout: StreamRedaction,
    stderr: StreamRedaction,
    stdin: StreamRedaction,
    /// How many bytes of a stream are still to be kept.
    stdout_left: usize,
    stderr_left: usize,
    stdin_left: usize,
}

struct Terminal {
    cast: cast::Writer,
    watch: CommandWatch,
    /// The shell makes marks, which are for the watch alone.
    unmarked: Option<Unmarked>,
    /// When something passed last, and when it showed something.
    last: Duration,
    shown: Duration,
    /// The models are put away.
    is_idle: bool,
}

/// What was typed and not shown leaves this in the recording, and nothing of its length.
const HIDDEN: &str = "input that was not shown";

/// After so long without a byte a terminal's models are put away.
const IDLE: Duration = Duration::from_secs(20);

impl Recording {
    /// Of a session without a terminal: so many bytes of each of its streams.
    pub(in crate::evidence) fn of_streams(output: usize, input: usize, redaction: &Arc<Redaction>) -> Self {
        let stream = || StreamRedaction::new(redaction.clone());
        let (stdout, stderr, stdin) = (stream(), stream(), stream());
        Self { terminal: None, stdout, stderr, stdin, stdout_left: output, stderr_left: output, stdin_left: input }
    }

    /// Of one with a terminal, whose shell may make marks with this nonce; and how its recording begins.
    pub(in crate::evidence) fn of_terminal(
        size: WindowSize,
        opened: OffsetDateTime,
        title: &str,
        marks: Option<&Nonce>,
        redaction: &Arc<Redaction>,
    ) -> (Self, Entry) {
        let size = of_window(size);
        let header = cast::Header {
            size,
            timestamp: u64::try_from(opened.unix_timestamp()).unwrap_or_default(),
            title: Some(title.to_owned()),
            command: None,
            term: None,
        };
        let (cast, first) = cast::Writer::new(&header);
        let watch = CommandWatch::new(size, marks.cloned());
        let unmarked = marks.cloned().map(Unmarked::new);
        let terminal = Terminal { cast, watch, unmarked, last: Duration::ZERO, shown: Duration::ZERO, is_idle: false };
        let recording = Self { terminal: Some(Box::new(terminal)), ..Self::of_streams(0, 0, redaction) };
        (recording, Entry::Bytes(File::Terminal, first))
    }

    /// What of what the node said is for the client: all of it but the session's own marks, where it has some.
    pub(in crate::evidence) fn without_marks(&mut self, at: Duration, bytes: &[u8]) -> Option<Vec<u8>> {
        let terminal = self.terminal.as_mut()?;
        let shown = terminal.unmarked.as_mut()?.pass(bytes);
        terminal.wake(at);
        terminal.watch.output(at, bytes);
        Some(shown)
    }

    /// What was held back because it may have become a mark, once nothing more comes.
    pub(in crate::evidence) fn held_back(&mut self) -> Option<Vec<u8>> {
        let held = self.terminal.as_mut()?.unmarked.take()?.rest();
        (!held.is_empty()).then_some(held)
    }

    /// The node said this: what is to be written of it before it goes on.
    pub(in crate::evidence) fn output(&mut self, at: Duration, stream: Stream, bytes: &[u8]) -> Option<Entry> {
        if let Some(terminal) = &mut self.terminal {
            terminal.wake(at);
            terminal.shown = at;
            let mut line = Vec::with_capacity(bytes.len() + bytes.len() / 8 + 64);
            terminal.cast.output(at, &self.stdout.pass(bytes), &mut line);
            if terminal.unmarked.is_none() {
                terminal.watch.output(at, bytes);
            }
            if terminal.watch.hidden_input().is_some() {
                terminal.cast.mark(at, HIDDEN, &mut line);
            }
            return (!line.is_empty()).then_some(Entry::Bytes(File::Terminal, line));
        }
        let (left, redaction, file) = match stream {
            Stream::Stdout => (&mut self.stdout_left, &mut self.stdout, File::StdoutHead),
            Stream::Stderr => (&mut self.stderr_left, &mut self.stderr, File::StderrHead),
        };
        head(left, redaction, file, bytes)
    }

    /// The client said this. Of a terminal nothing is kept of it: it is only looked at.
    pub(in crate::evidence) fn input(&mut self, at: Duration, bytes: &[u8]) -> Option<Entry> {
        if let Some(terminal) = &mut self.terminal {
            terminal.wake(at);
            terminal.watch.input(at, bytes);
            return None;
        }
        head(&mut self.stdin_left, &mut self.stdin, File::StdinHead, bytes)
    }

    /// The client's window has another size.
    pub(in crate::evidence) fn resize(&mut self, at: Duration, size: WindowSize) -> Option<Entry> {
        let terminal = self.terminal.as_mut()?;
        let (size, mut line) = (of_window(size), Vec::new());
        terminal.wake(at);
        terminal.cast.resize(at, size, &mut line);
        terminal.watch.resize(at, size);
        Some(Entry::Bytes(File::Terminal, line))
    }

    /// The line as it stands at a shell's prompt, where there is one.
    pub(in crate::evidence) fn line(&mut self) -> Option<String> {
        self.terminal.as_mut()?.watch.line().map(|line| line.line)
    }

    /// Whether a shell waits for a line.
    pub(in crate::evidence) fn waits(&mut self) -> bool {
        self.terminal.as_mut().is_some_and(|terminal| terminal.watch.waits())
    }

    /// When the terminal last showed something.
    pub(in crate::evidence) fn last_output(&self) -> Duration {
        self.terminal.as_ref().map(|terminal| terminal.shown).unwrap_or_default()
    }

    /// Commands that were learnt since the last time.
    pub(in crate::evidence) fn commands(&mut self) -> Vec<Command> {
        let Some(terminal) = &mut self.terminal else { return Vec::new() };
        std::iter::from_fn(|| terminal.watch.next()).collect()
    }

    /// Nothing comes any more.
    pub(in crate::evidence) fn finish(&mut self, at: Duration) -> Option<Entry> {
        let terminal = self.terminal.as_mut()?;
        let mut line = Vec::new();
        terminal.cast.finish(at, &mut line);
        terminal.watch.finish(at);
        (!line.is_empty()).then_some(Entry::Bytes(File::Terminal, line))
    }

    /// Puts away what takes memory, where nothing has passed for a while.
    pub(in crate::evidence) fn rest(&mut self, at: Duration) {
        let Some(terminal) = &mut self.terminal else { return };
        if !terminal.is_idle && at.saturating_sub(terminal.last) >= IDLE {
            terminal.watch.idle();
            terminal.is_idle = true;
        }
    }
}

impl std::fmt::Debug for Terminal {
    /// Says nothing of what was shown or typed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("last", &self.last).field("is_idle", &self.is_idle).finish_non_exhaustive()
    }
}

impl Terminal {
    fn wake(&mut self, at: Duration) {
        self.last = at;
        self.is_idle = false;
    }
}

/// The part of some bytes that still belongs to the beginning that is kept.
fn head(left: &mut usize, redaction: &mut StreamRedaction, file: File, bytes: &[u8]) -> Option<Entry> {
    let kept = bytes.get(..bytes.len().min(*left)).unwrap_or_default();
    *left -= kept.len();
    (!kept.is_empty()).then(|| Entry::Bytes(file, redaction.pass(kept).into_owned()))
}

fn of_window(size: WindowSize) -> Size {
    Size { columns: size.cols, rows: size.rows }
}

/// A line of `commands.jsonl`.
pub(in crate::evidence) fn record(command: &Command, time: String) -> CommandRecord {
    CommandRecord {
        time,
        at: command.at.as_secs_f64(),
        command: command.line.clone(),
        command_sha256: None,
        how: match command.how {
            Learnt::Marks => How::Marks,
            Learnt::UnprovedMarks => How::UnprovedMarks,
            Learnt::Screen => How::Screen,
        },
        confidence: command.confidence,
        names: Vec::new(),
        verdict: None,
        policy: None,
        way_out: None,
        exit: command.exit,
    }
}
