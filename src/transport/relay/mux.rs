//! The gateway's end of a relay: its streams and look-ups over one way to the node and one back. It holds no socket, reads no
//! clock, and nothing in it grows with time.
//!
//! ```text
//!   open, write, finish, drop_stream ─▶ urgent: opened, granted, ended ──┐
//!                                       waiting: data, a piece in turn ──┴─▶ poll_transmit ─▶ the helper's input
//!   read ◀─ each stream's own, within its window ◀───────────────────────── handle_input ◀── its output
//! ```
//!
//! A slow reader stalls its own stream only: whatever comes has room, because the node was granted that room before. The node
//! is not trusted: whoever sends what was not allowed ends the relay.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;

use bytes::{Bytes, BytesMut};

use super::error::RelayError;
use super::frame::{FromNode, HEADER, Reader, RelayFault, StreamId, Target, ToNode};
use super::stream::{Blocked, Finish, InEnd, Leaving, Opening, Read, Stream};
use crate::transport::helper::output_window::OutputWindow;

/// So many streams a relay carries at once, those that are being wound up among them.
pub(super) const MOST_STREAMS: usize = 512;
/// So many names are looked up at once.
pub(super) const MOST_LOOKUPS: usize = 64;
/// The longest path of a Unix socket: what Linux has room for, and more than one of an abstract name.
const LONGEST_PATH: usize = 108;
/// So much is said at once: one record of the helper's.
const RECORD: usize = 64 * 1024;
/// The least of a stream's data in its turn, where many wait for theirs.
const LEAST_PIECE: usize = 8 * 1024;

/// All of a relay's streams.
#[derive(Debug, Default)]
pub struct Mux {
    reader: Reader,
    greeted: bool,
    streams: HashMap<StreamId, Stream>,
    last: StreamId,
    urgent: VecDeque<StreamId>,
    waiting: VecDeque<StreamId>,
    lookups: BTreeSet<StreamId>,
    /// Those that the node is to be told of.
    names: VecDeque<(StreamId, String)>,
    events: VecDeque<MuxEvent>,
}

/// What has come of it for whoever has a stream, or has looked up a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MuxEvent {
    /// The other end is there.
    Opened(StreamId),
    /// It is not.
    Refused(StreamId, RelayError),
    /// There is something to read, or an end.
    Readable(StreamId),
    /// There is room to write, or an end.
    Writable(StreamId),
    /// A look-up's answer.
    Found(StreamId, Result<Vec<IpAddr>, RelayError>),
}

impl Mux {
    /// Whether a relay has spoken at the other end.
    pub(super) fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Whether it has neither streams nor look-ups, nor anything to say.
    pub(super) fn is_idle(&self) -> bool {
        self.streams.is_empty() && self.lookups.is_empty()
    }

    /// Opens a stream, which is there when the event says so.
    pub fn open(&mut self, target: Target, window: OutputWindow) -> Result<StreamId, RelayError> {
        if let Target::Unix(path) = &target
            && (path.is_empty() || path.len() > LONGEST_PATH)
        {
            return Err(RelayError::NoSuchName);
        }
        if self.streams.len() >= MOST_STREAMS {
            return Err(RelayError::Busy);
        }
        let id = self.next_id()?;
        self.streams.insert(id, Stream::new(target, window));
        self.tell(id);
        Ok(id)
    }

    /// Looks up a name on the node.
    pub(super) fn look_up(&mut self, name: &str) -> Result<StreamId, RelayError> {
        if name.is_empty() || name.len() > 255 || name.contains('\0') {
            return Err(RelayError::NoSuchName);
        }
        if self.lookups.len() >= MOST_LOOKUPS {
            return Err(RelayError::Busy);
        }
        let id = self.next_id()?;
        self.lookups.insert(id);
        self.names.push_back((id, name.to_owned()));
        Ok(id)
    }

    /// Nobody waits for a look-up any more.
    pub(super) fn forget_lookup(&mut self, id: StreamId) {
        self.lookups.remove(&id);
        self.names.retain(|(name, _)| *name != id);
    }

    fn next_id(&mut self) -> Result<StreamId, RelayError> {
        self.last = self.last.checked_add(1).ok_or(RelayError::Busy)?;
        Ok(self.last)
    }

    /// Reads at most so much of a stream.
    pub fn read(&mut self, id: StreamId, most: usize) -> Read {
        let Some(stream) = self.streams.get_mut(&id) else { return Read::Reset };
        let read = stream.incoming.read(most);
        if stream.has_news() {
            self.tell(id);
        }
        read
    }

    /// Writes as much as there is room for now; `None` where nothing can be written any more.
    pub fn write(&mut self, id: StreamId, bytes: &[u8]) -> Option<usize> {
        let stream = self.streams.get_mut(&id)?;
        if stream.outgoing.finish != Finish::No || stream.incoming.end == Some(InEnd::Reset) {
            return None;
        }
        let taken = stream.outgoing.write(bytes);
        self.tell(id);
        Some(taken)
    }

    /// Nothing more is written; what was is sent first.
    pub fn finish(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.outgoing.finish == Finish::No
        {
            stream.outgoing.finish = Finish::Asked;
            self.tell(id);
        }
    }

    /// Nobody has the stream any more. One that was not finished is reset.
    pub fn drop_stream(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.leave() {
            self.forget(id);
        } else {
            self.tell(id);
        }
    }

    /// Gives a stream its turns, where it needs some.
    fn tell(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.has_news() && !std::mem::replace(&mut stream.is_urgent, true) {
            self.urgent.push_back(id);
        }
        if stream.outgoing.has_data() && !std::mem::replace(&mut stream.is_waiting, true) {
            self.waiting.push_back(id);
        }
    }

    /// Whether there is something to send.
    pub(super) fn has_output(&self) -> bool {
        !(self.names.is_empty() && self.urgent.is_empty() && self.waiting.is_empty())
    }

    /// What goes to the node next: whatever is due beside data, and then of each stream's data a piece in turn.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        let mut frames = BytesMut::new();
        while frames.len() + HEADER + 255 <= RECORD
            && let Some((id, name)) = self.names.pop_front()
        {
            ToNode::LookUp(&name).encode(id, &mut frames);
        }
        // all that one stream can have to say at once takes no more
        while frames.len() + 4 * HEADER + 2 * LONGEST_PATH <= RECORD
            && let Some(id) = self.urgent.pop_front()
        {
            self.put_news(id, &mut frames);
        }
        let piece = (RECORD / self.waiting.len().max(1)).max(LEAST_PIECE);
        while frames.len() + HEADER < RECORD
            && let Some(id) = self.waiting.pop_front()
        {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.is_waiting = false;
            let data = stream.outgoing.next(piece.min(RECORD - frames.len() - HEADER));
            if !data.is_empty() {
                ToNode::Data(&data).encode(id, &mut frames);
                // who found no room for more has some now
                self.events.push_back(MuxEvent::Writable(id));
            }
            // its end may be next
            self.tell(id);
        }
        (!frames.is_empty()).then(|| frames.freeze())
    }

    fn put_news(&mut self, id: StreamId, frames: &mut BytesMut) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.is_urgent = false;
        if let Opening::Due(target) = &stream.opening {
            ToNode::Open { target, window: stream.incoming.first_window() }.encode(id, frames);
            stream.opening = Opening::Told;
        }
        match stream.leaving.take() {
            Some(Leaving::Reset) => {
                ToNode::Reset.encode(id, frames);
                return self.forget(id);
            }
            Some(Leaving::Close) => ToNode::Close.encode(id, frames),
            None => {}
        }
        if stream.incoming.grant_due {
            ToNode::Window(stream.incoming.grant()).encode(id, frames);
        }
        if stream.outgoing.blocked == Blocked::Due {
            stream.outgoing.blocked = Blocked::Said;
            ToNode::Blocked.encode(id, frames);
        }
        if stream.outgoing.finish == Finish::Asked && !stream.outgoing.has_data() {
            stream.outgoing.finish = Finish::Said;
            ToNode::End.encode(id, frames);
        }
        self.forget_if_over(id);
    }

    /// What came from the node.
    pub fn handle_input(&mut self, input: Bytes) -> Result<(), RelayFault> {
        let piece = input.len();
        self.reader.feed(input);
        while let Some((id, frame)) = self.reader.next_frame()? {
            self.handle_frame(id, frame, piece)?;
        }
        Ok(())
    }

    fn handle_frame(&mut self, id: StreamId, frame: FromNode, piece: usize) -> Result<(), RelayFault> {
        if !self.greeted {
            self.greeted = frame == FromNode::Version;
            return if self.greeted { Ok(()) } else { Err(RelayFault("something else than its version first")) };
        }
        if id == 0 || id > self.last {
            return Err(RelayFault("a word about a stream that there never was"));
        }
        if let FromNode::Found(found) = frame {
            if self.lookups.remove(&id) {
                self.events.push_back(MuxEvent::Found(id, Ok(found)));
            }
            return Ok(());
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            if let FromNode::Failed(error) = frame
                && self.lookups.remove(&id)
            {
                self.events.push_back(MuxEvent::Found(id, Err(error)));
            }
            // it was forgotten here while that was on its way
            return Ok(());
        };
        match (&stream.opening, frame) {
            (Opening::Told, FromNode::Opened(credit)) => {
                stream.opening = Opening::Done;
                stream.outgoing.handle_credit(credit);
                self.events.push_back(MuxEvent::Opened(id));
            }
            (Opening::Told, FromNode::Failed(error)) => {
                self.forget(id);
                self.events.push_back(MuxEvent::Refused(id, error));
            }
            (Opening::Done, FromNode::Data(data)) => {
                if !stream.incoming.count(data.len()) {
                    return Err(RelayFault("more than it may"));
                }
                if stream.held && !data.is_empty() {
                    let apart = data.len() >= piece / 2;
                    stream.incoming.push(data, apart);
                    self.events.push_back(MuxEvent::Readable(id));
                }
            }
            (Opening::Done, FromNode::End) => {
                if stream.incoming.end.replace(InEnd::Eof).is_some() {
                    return Err(RelayFault("a second end of a stream"));
                }
                stream.leaving = stream.leaving.filter(|leaving| *leaving != Leaving::Close);
                self.events.push_back(MuxEvent::Readable(id));
                self.forget_if_over(id);
            }
            (Opening::Done, FromNode::Reset) => {
                stream.incoming.end = Some(InEnd::Reset);
                stream.outgoing.discard();
                stream.leaving = None;
                self.events.extend([MuxEvent::Readable(id), MuxEvent::Writable(id)]);
                self.forget_if_over(id);
            }
            (Opening::Done, FromNode::Window(total)) => {
                if stream.outgoing.handle_credit(total) {
                    self.events.push_back(MuxEvent::Writable(id));
                }
            }
            (Opening::Done, FromNode::Blocked) => {
                stream.incoming.handle_blocked();
                self.tell(id);
            }
            _ => return Err(RelayFault("a word that does not fit the stream's state")),
        }
        Ok(())
    }

    fn forget_if_over(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(Stream::is_over) {
            self.forget(id);
        }
    }

    /// With its turns: who opens and drops streams while nothing is sent must leave nothing here.
    fn forget(&mut self, id: StreamId) {
        let Some(stream) = self.streams.remove(&id) else { return };
        if stream.is_urgent {
            self.urgent.retain(|other| *other != id);
        }
        if stream.is_waiting {
            self.waiting.retain(|other| *other != id);
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<MuxEvent> {
        self.events.pop_front()
    }
}

#[cfg(test)]
#[path = "mux_tests.rs"]
mod tests;
