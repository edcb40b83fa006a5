//! One stream of a relay, without its frames: what is held of it, how much either end may send, and how it ends.
//!
//! ```text
//!               Opened                     End ◀─ no more comes      finish ─▶ no more goes
//!   Opening ────────────▶ Open ───────────────────────────────────────────────────────────▶ forgotten, at both ends
//!      └── Failed ──▶ forgotten    Reset, or dropped before it was finished ──────────────▶
//! ```

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::frame::Target;
use crate::transport::helper::output_window::OutputWindow;

/// How much waits here for its turn, of one stream.
pub(super) const MOST_WAITING: usize = 128 * 1024;

/// What whoever carries a command takes before it has said anything.
const FIRST_WINDOW: u64 = 64 * 1024;

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) opening: Opening,
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
    /// Somebody has it, and may read and write.
    pub(super) held: bool,
    /// What the node is to hear of that nobody has it any more.
    pub(super) leaving: Option<Leaving>,
    /// Whether it waits for its turn to say something beside data, and to send data.
    pub(super) is_urgent: bool,
    pub(super) is_waiting: bool,
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// The node is to be told.
    Due(Target),
    /// It has been told.
    Told,
    /// The other end is there.
    Done,
}

/// What the node is to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// The stream is over, and what was not carried is not to be.
    Reset,
    /// What was written counts, and nobody reads any more.
    Close,
}

/// From the node.
#[derive(Debug)]
pub(super) struct Incoming {
    whole: VecDeque<Bytes>,
    /// Small pieces behind those, put together: each by itself would keep what it came in.
    small: BytesMut,
    held: usize,
    received: u64,
    taken: u64,
    /// How much the node may send in all.
    granted: u64,
    window: OutputWindow,
    /// The node is to be told of more.
    pub(super) grant_due: bool,
    pub(super) end: Option<InEnd>,
}

/// How what comes has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InEnd {
    Eof,
    Reset,
}

/// What is to be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// These bytes.
    Data(Bytes),
    /// Nothing yet.
    Empty,
    /// No more comes.
    Eof,
    /// No more comes, and what came may not be all there was.
    Reset,
}

impl Incoming {
    pub(super) fn new(window: OutputWindow) -> Self {
        Self {
            whole: VecDeque::new(),
            small: BytesMut::new(),
            held: 0,
            received: 0,
            taken: 0,
            granted: u64::from(window.bytes()),
            window,
            grant_due: false,
            end: None,
        }
    }

    /// How much the node may send at first.
    pub(super) fn first_window(&self) -> u32 {
        self.window.bytes()
    }

    /// Counts what came; false if it was not allowed.
    pub(super) fn count(&mut self, bytes: usize) -> bool {
        self.received += bytes as u64;
        self.end.is_none() && self.received <= self.granted
    }

    /// Keeps what came. `apart`: it is most of what it came in, and so need not be copied out of that.
    pub(super) fn push(&mut self, bytes: Bytes, apart: bool) {
        self.held += bytes.len();
        if apart {
            if !self.small.is_empty() {
                self.whole.push_back(self.small.split().freeze());
            }
            self.whole.push_back(bytes);
        } else {
            self.small.extend_from_slice(&bytes);
        }
    }

    /// Reads at most so much.
    pub(super) fn read(&mut self, most: usize) -> Read {
        let next = match self.whole.front_mut() {
            Some(first) if first.len() > most => first.split_to(most),
            Some(_) => self.whole.pop_front().unwrap_or_default(),
            None => self.small.split_to(most.min(self.small.len())).freeze(),
        };
        if next.is_empty() {
            return match self.end {
                Some(InEnd::Eof) => Read::Eof,
                Some(InEnd::Reset) => Read::Reset,
                None => Read::Empty,
            };
        }
        self.held -= next.len();
        self.took(next.len());
        Read::Data(next)
    }

    /// So much has been read: when half of the window has, the node may send more.
    fn took(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        let (window, left) = (u64::from(self.window.bytes()), self.granted.saturating_sub(self.taken));
        self.grant_due |= self.end.is_none() && left + window / 2 <= window;
    }

    /// The node would send more than it may. Where that is not because nobody reads, the window is too small for the way.
    pub(super) fn handle_blocked(&mut self) {
        let window = self.window.bytes();
        if self.end.is_none() && self.held <= window as usize / 4 {
            self.grant_due |= self.window.fit(self.granted.saturating_sub(self.taken)) > window;
        }
    }

    /// How much the node may send in all from now on.
    pub(super) fn grant(&mut self) -> u64 {
        self.grant_due = false;
        self.granted = self.granted.max(self.taken + u64::from(self.window.bytes()));
        self.granted
    }

    /// Nobody reads any more.
    pub(super) fn discard(&mut self) {
        self.whole.clear();
        self.small = BytesMut::new();
        self.held = 0;
        self.grant_due = false;
    }
}

/// Towards the node.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    waiting: BytesMut,
    /// What was accepted of it in all, and how much the node allows.
    accepted: u64,
    credit: u64,
    pub(super) finish: Finish,
    pub(super) blocked: Blocked,
}

/// Whether no more is to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Finish {
    #[default]
    No,
    Asked,
    /// The node has been told.
    Said,
}

/// Whether more would be sent than the node allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Blocked {
    #[default]
    No,
    /// The node is to be told.
    Due,
    Said,
}

impl Outgoing {
    /// Takes as much as there is room for. What the node does not allow yet is not taken, so that a target that reads
    /// nothing leaves nothing here.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let allowed = usize::try_from(self.credit - self.accepted).unwrap_or(usize::MAX);
        let room = MOST_WAITING.saturating_sub(self.waiting.len()).min(allowed);
        let (taken, _) = bytes.split_at(bytes.len().min(room));
        self.waiting.extend_from_slice(taken);
        self.accepted += taken.len() as u64;
        if taken.len() < bytes.len() && room == allowed && self.blocked == Blocked::No {
            self.blocked = Blocked::Due;
        }
        taken.len()
    }

    /// The node allows so much in all; whether that is more.
    pub(super) fn handle_credit(&mut self, total: u64) -> bool {
        let more = total > self.credit;
        if more {
            self.credit = total;
            self.blocked = Blocked::No;
        }
        more
    }

    pub(super) fn has_data(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next data, at most so much.
    pub(super) fn next(&mut self, most: usize) -> BytesMut {
        self.waiting.split_to(most.min(self.waiting.len()))
    }

    /// Nothing of it is to go any more.
    pub(super) fn discard(&mut self) {
        self.waiting = BytesMut::new();
        self.blocked = Blocked::No;
    }
}

impl Stream {
    pub(super) fn new(target: Target, window: OutputWindow) -> Self {
        // there is nothing to connect to: what a command is to be is sent along
        let credit = if target == Target::Command { FIRST_WINDOW } else { 0 };
        Self {
            opening: Opening::Due(target),
            incoming: Incoming::new(window),
            outgoing: Outgoing { credit, ..Outgoing::default() },
            held: true,
            leaving: None,
            is_urgent: false,
            is_waiting: false,
        }
    }

    /// Whether something beside data is to be said.
    pub(super) fn has_news(&self) -> bool {
        let outgoing = &self.outgoing;
        matches!(self.opening, Opening::Due(_))
            || self.leaving.is_some()
            || self.incoming.grant_due
            || outgoing.blocked == Blocked::Due
            || outgoing.finish == Finish::Asked && !outgoing.has_data()
    }

    /// Nobody has it any more. Whether there is nothing to say about that, so that it can be forgotten.
    pub(super) fn leave(&mut self) -> bool {
        self.held = false;
        self.incoming.discard();
        if self.incoming.end == Some(InEnd::Reset) || matches!(self.opening, Opening::Due(_)) {
            return true;
        }
        if self.outgoing.finish == Finish::No {
            // what was begun and not finished must not look finished at the other end
            self.outgoing.discard();
            self.leaving = Some(Leaving::Reset);
        } else if self.incoming.end.is_none() {
            self.leaving = Some(Leaving::Close);
        }
        self.is_over()
    }

    /// Whether nothing more is to be said, by either end, that anybody waits for.
    pub(super) fn is_over(&self) -> bool {
        !self.held
            && self.leaving.is_none()
            && (self.incoming.end == Some(InEnd::Reset) || self.outgoing.finish == Finish::Said)
    }
}
