//! One stream of a multiplexer: what waits to be sent, what waits to be read, and which ends have finished.

use core::fmt;
use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Names a stream within its multiplexer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u32);

impl StreamId {
    pub(crate) fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number on the wire.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}", self.0)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What there is to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Some bytes.
    Data(Bytes),
    /// Nothing yet.
    Empty,
    /// Nothing any more: the peer has finished the stream, or it does not exist.
    End,
}

#[derive(Debug, Default)]
pub(crate) struct Stream {
    outgoing: VecDeque<Bytes>,
    pub(crate) outgoing_bytes: usize,
    incoming: VecDeque<Bytes>,
    /// What waits to be read weighs so much in the budget.
    pub(crate) backlog: usize,
    /// In the round of streams that have something to send.
    pub(crate) scheduled: bool,
    /// A write was cut short; the writer wants to know when there is room.
    pub(crate) blocked: bool,
    /// We will send nothing more.
    pub(crate) finished: bool,
    /// And have said so.
    pub(crate) fin_sent: bool,
    /// The peer will send nothing more.
    pub(crate) peer_finished: bool,
    /// The reader has seen the end.
    pub(crate) end_read: bool,
}

impl Stream {
    pub(crate) fn queue(&mut self, data: Bytes) {
        self.outgoing_bytes += data.len();
        self.outgoing.push_back(data);
    }

    /// Appends up to `room` bytes of what waits to be sent to `frame`.
    pub(crate) fn take(&mut self, room: usize, frame: &mut BytesMut) {
        let mut left = room.min(self.outgoing_bytes);
        self.outgoing_bytes -= left;
        while left > 0 {
            let Some(front) = self.outgoing.front_mut() else { return };
            let part = left.min(front.len());
            frame.extend_from_slice(&front[..part]);
            front.advance(part);
            left -= part;
            if front.is_empty() {
                self.outgoing.pop_front();
            }
        }
    }

    /// Takes bytes that came; tells whether there were none before.
    pub(crate) fn receive(&mut self, data: Bytes) -> bool {
        let was_empty = self.incoming.is_empty();
        self.backlog += weight(&data);
        self.incoming.push_back(data);
        was_empty
    }

    pub(crate) fn read(&mut self) -> Read {
        match self.incoming.pop_front() {
            Some(data) => {
                self.backlog -= weight(&data);
                Read::Data(data)
            }
            None if self.peer_finished => {
                self.end_read = true;
                Read::End
            }
            None => Read::Empty,
        }
    }

    /// Gives up what was not read, and tells its weight in the budget.
    pub(crate) fn discard(&mut self) -> usize {
        self.incoming.clear();
        core::mem::take(&mut self.backlog)
    }

    /// Nothing waits to be read.
    pub(crate) fn is_empty(&self) -> bool {
        self.incoming.is_empty()
    }

    pub(crate) fn has_output(&self) -> bool {
        self.outgoing_bytes > 0 || (self.finished && !self.fin_sent)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.fin_sent && self.end_read
    }
}

/// What received bytes count for in the budget: small pieces cost more than their bytes.
pub(crate) fn weight(data: &Bytes) -> usize {
    data.len() + OVERHEAD
}

/// Bytes that a piece counts for besides its own; smux counts none.
const OVERHEAD: usize = 32;
