//! The gateway's end of the conversation with one helper: numbering, acknowledgement, credit and the lease, whatever
//! lanes happen to be attached. It holds no socket and reads no clock.
//!
//! ```text
//!                 out lane bytes ─▶ handle_output ─▶ poll_event ─▶ client
//!   client ─▶ write / finish / control ─▶ poll_transmit ─▶ in lane bytes
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::codec::{Decoder, Dialect, Encoded};
use super::deflate::{Data, Deflater};
use super::output_window::OutputWindow;
use super::pulse::{Beat, Pulse};
use super::record::{FromNode, Hello, RecordError, ToNode};
use crate::model::{BEAT, Exit, WindowSize, on_beat};

/// How long a command may live on without a word from the gateway, from its helper's start on: as long as a way in may take
/// that is asked for with the renewal, and so short that nothing is left a minute after the gateway's death.
pub const LEASE: Duration = Duration::from_secs(48);
/// How often the lease is renewed, at the latest, and the helper asked for a sign of life. All channels renew theirs on the
/// same beat.
const RENEWAL: Duration = BEAT;
/// How long an answer may take: a node's disk may hold its helper up for long, and with the next renewal a minute is over.
pub(in crate::transport) const DEAF: Duration = Duration::from_secs(45);
/// The helper's window for input, before it has said so itself.
const FIRST_INPUT_CREDIT: u64 = 1024 * 1024;
/// The longest record of input: a WRITE of SFTP's 32 KiB, with what stands before it, is one.
const INPUT_RECORD: usize = 64 * 1024;
/// How much input waits here before the client is no longer read.
const INPUT_QUEUE: usize = 128 * 1024;
/// How much the helper may leave unacknowledged, whatever credit it gives; its own window is half of it.
const MOST_KEPT: usize = 4 * 1024 * 1024;
/// What keeping one record costs beside its bytes.
const KEPT_COST: usize = 64;
/// So many events may wait as they came; then small ones are put together.
const BACKLOG: usize = 64;
/// What counts as small.
const SMALL: usize = 4 * 1024;

/// What the helper has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Standard output.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// How the command ended.
    Exit(Exit),
    /// All has been said, and all of it has arrived.
    Done,
}

/// Why the conversation can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The bytes are not the helper's.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The helper says so itself.
    #[error("the node's helper gave up: {0}")]
    Fault(String),
    /// Records are missing, or a stream's count is wrong: what arrived is not all there was.
    #[error("output from the node was lost ({0}); what has arrived is incomplete")]
    Incomplete(&'static str),
    /// More than was allowed.
    #[error("the node sent more than it may ({0})")]
    Overrun(&'static str),
}

/// The gateway's end.
#[derive(Debug)]
pub struct Link {
    decoder: Decoder,
    /// Of an out lane that is to take the place of the one there is, as soon as the helper speaks on it.
    coming: Option<Decoder>,
    events: VecDeque<Event>,
    received: u32,
    stdout: Stream,
    stderr: Stream,
    hello: Greeting,
    exited: bool,
    done: bool,
    taken: u64,
    granted: u64,
    window: OutputWindow,

    in_ready: bool,
    /// Which in lane the gateway has opened last: what is said of an earlier one means nothing any more.
    in_lane: u32,
    in_gone: Option<InGone>,
    sent: u32,
    kept: VecDeque<(u32, Encoded)>,
    kept_cost: usize,
    /// Bytes of records that the helper has acknowledged.
    acknowledged: u64,
    /// What goes before all else: the rest of the record that was begun, and on a new lane all that is kept.
    again: VecDeque<Bytes>,
    control: VecDeque<ToNode>,
    input: VecDeque<Bytes>,
    queued: usize,
    input_total: u64,
    finished: Finish,
    credit: u64,
    spent: u64,
    state_due: bool,
    renew_at: Instant,
    /// Since when a word to the helper waits for its answer.
    unanswered: Option<Instant>,
    /// What the helper speaks, and so what it is answered in.
    dialect: Dialect,
    deflater: Deflater,
    /// How many states were sent, and which of them was the last one answered.
    stamp: u32,
    answered: u32,
    pulse: Pulse,
    /// Records that have come as a whole.
    whole: u64,
}

/// How an in lane has ended, as the helper sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InGone {
    /// The helper has let go of it.
    LetGo,
    /// It broke, or somebody has ended it.
    Broke,
}

#[derive(Debug, Default)]
struct Stream {
    count: u64,
    ended: bool,
}

/// Who speaks at the other end.
#[derive(Debug, PartialEq, Eq)]
enum Greeting {
    None,
    Heard(Hello),
    /// Whoever uses the link knows.
    Taken,
}

#[derive(Debug, PartialEq, Eq)]
enum Finish {
    No,
    Asked,
    Said,
}

impl Link {
    /// A link whose helper is about to start. `stdin_closed` says that it was told so when it started, with this window for
    /// its output.
    pub fn new(now: Instant, stdin_closed: bool, window: OutputWindow) -> Self {
        Self {
            decoder: Decoder::default(),
            coming: None,
            events: VecDeque::new(),
            received: 0,
            stdout: Stream::default(),
            stderr: Stream::default(),
            hello: Greeting::None,
            exited: false,
            done: false,
            taken: 0,
            granted: u64::from(window.bytes()),
            window,
            in_ready: false,
            in_lane: 0,
            in_gone: None,
            sent: 0,
            kept: VecDeque::new(),
            kept_cost: 0,
            acknowledged: 0,
            again: VecDeque::new(),
            control: VecDeque::new(),
            input: VecDeque::new(),
            queued: 0,
            input_total: 0,
            finished: if stdin_closed { Finish::Said } else { Finish::No },
            credit: FIRST_INPUT_CREDIT,
            spent: 0,
            state_due: false,
            renew_at: on_beat(now, RENEWAL),
            unanswered: None,
            dialect: Dialect::default(),
            deflater: Deflater::new(false),
            stamp: 0,
            answered: 0,
            pulse: Pulse::default(),
            whole: 0,
        }
    }

    /// The last number that has arrived: what a new out lane tells the helper to go on from.
    pub fn received(&self) -> u32 {
        self.received
    }

    /// Whether the helper has said everything.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the in lane may carry bytes.
    pub fn in_lane_ready(&self) -> bool {
        self.in_ready
    }

    /// The first out lane: what comes next starts with a hello.
    pub fn handle_out_attached(&mut self) {
        self.decoder = Decoder::default();
        self.coming = None;
    }

    /// Another out lane is there, which the helper may take in the place of the one before.
    pub fn handle_out_coming(&mut self) {
        self.coming = Some(Decoder::default());
    }

    /// Bytes of that other lane; the helper's word if it has taken it. Then it is the out lane, and nothing more may be
    /// brought of the one before.
    ///
    /// `both`: it is the in lane as well, so nothing is sent until the helper reads it.
    pub fn handle_coming_output(&mut self, bytes: Bytes, both: bool) -> Result<Option<Hello>, LinkError> {
        let Some(coming) = &mut self.coming else { return Ok(None) };
        coming.feed(bytes)?;
        let Some((_, record)) = coming.next_record()? else { return Ok(None) };
        if let FromNode::Hello(hello) = record
            && let Some(decoder) = self.coming.take()
        {
            self.decoder = decoder;
            if both {
                self.in_ready = false;
                self.again.clear();
            }
            self.unanswered = None;
            self.pulse.handle_attached();
            // an answer may have gone down with the lane before
            self.state_due = true;
            self.handle_records()?;
            return Ok(Some(hello));
        }
        Err(RecordError::Malformed("what a lane begins with").into())
    }

    /// How many bytes the helper has acknowledged in all.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The in lane has gone; what the helper has not acknowledged is sent again on the next, which has the number that this
    /// returns.
    pub fn handle_in_lost(&mut self) -> u32 {
        self.in_ready = false;
        self.in_gone = None;
        self.again.clear();
        self.pulse.handle_in_lost();
        self.in_lane += 1;
        self.in_lane
    }

    /// What the helper has said of the end of the in lane; said once.
    pub fn take_in_gone(&mut self) -> Option<InGone> {
        self.in_gone.take()
    }

    /// Bytes of the out lane.
    pub fn handle_output(&mut self, bytes: Bytes) -> Result<(), LinkError> {
        self.unanswered = None;
        self.pulse.heard += bytes.len() as u64;
        self.decoder.feed(bytes)?;
        self.handle_records()
    }

    /// How many bytes of the out lane were looked at so far, for whoever checks that what a node says costs no more than it is.
    #[cfg(feature = "testing")]
    pub fn steps(&self) -> usize {
        self.decoder.steps()
    }

    fn handle_records(&mut self) -> Result<(), LinkError> {
        while let Some((number, record)) = self.decoder.next_record()? {
            self.whole += 1;
            if number > 0 {
                if number <= self.received {
                    continue;
                }
                if self.received.checked_add(1) != Some(number) {
                    return Err(LinkError::Incomplete("a record is missing"));
                }
                self.received = number;
            }
            self.handle_record(record)?;
        }
        Ok(())
    }

    fn handle_record(&mut self, record: FromNode) -> Result<(), LinkError> {
        match record {
            FromNode::Hello(hello) => {
                self.dialect = self.decoder.dialect().unwrap_or_default();
                // who speaks does not change; a node that never stops saying so must not fill the queue
                if self.hello == Greeting::None {
                    self.deflater = Deflater::new(hello.inflates);
                    self.hello = Greeting::Heard(hello);
                }
            }
            // said of a lane that has been given up meanwhile, it would let bytes go out before the next is raw
            FromNode::Ready { lane, .. } if lane != self.in_lane => {}
            FromNode::InGone { lane, let_go: true } => {
                // its end may have been heard before, and then the next has its number and is not opened yet
                if lane == self.in_lane || lane.checked_add(1) == Some(self.in_lane) {
                    self.in_gone = Some(InGone::LetGo);
                }
            }
            FromNode::InGone { lane, let_go: false } => {
                if lane == self.in_lane {
                    self.in_gone = Some(InGone::Broke);
                }
            }
            FromNode::Ready { received, .. } => {
                self.in_ready = true;
                self.in_gone = None;
                self.state_due = true;
                self.prune(received);
                let records = self.kept.iter().flat_map(|(_, Encoded { head, rest })| [head, rest]);
                self.again = records.filter(|piece| !piece.is_empty()).cloned().collect();
            }
            FromNode::State { received, credit } => {
                self.prune(received);
                self.credit = self.credit.max(credit);
            }
            FromNode::Pong { stamp, received } => {
                self.prune(received);
                self.answered = self.answered.max(stamp);
                self.pulse.handle_answer(stamp);
            }
            FromNode::Stdout(data) => {
                count(&mut self.stdout, data.len(), self.granted - self.taken)?;
                self.data(data, Event::Stdout)?;
            }
            FromNode::Stderr(data) => {
                count(&mut self.stderr, data.len(), self.granted - self.taken)?;
                self.data(data, Event::Stderr)?;
            }
            FromNode::StdoutEnd(total) => end(&mut self.stdout, total)?,
            FromNode::StderrEnd(total) => end(&mut self.stderr, total)?,
            FromNode::Exit(exit) => {
                if !std::mem::replace(&mut self.exited, true) {
                    self.events.push_back(Event::Exit(exit));
                }
            }
            FromNode::Fault(text) => return Err(LinkError::Fault(text)),
            FromNode::Done => {
                if !self.exited || !self.stdout.ended {
                    return Err(LinkError::Incomplete("the end came before an exit status"));
                }
                self.state_due = true;
                if !std::mem::replace(&mut self.done, true) {
                    self.events.push_back(Event::Done);
                }
            }
        }
        Ok(())
    }

    /// Queues output. The credit counts bytes, so while nobody takes them, small pieces are put together: a node that
    /// writes a byte at a time must not cost a hundred for each.
    fn data(&mut self, data: Data, event: fn(Bytes) -> Event) -> Result<(), LinkError> {
        if self.stdout.count + self.stderr.count > self.granted {
            return Err(LinkError::Overrun("output beyond its credit"));
        }
        let event = event(data.into_plain()?);
        let (Event::Stdout(bytes) | Event::Stderr(bytes)) = &event else { return Ok(()) };
        if bytes.is_empty() {
            return Ok(());
        }
        if self.events.len() >= BACKLOG && bytes.len() < SMALL {
            // the two streams have an order in themselves only, so a piece may go past one of the other
            for queued in self.events.iter_mut().rev().take(2) {
                match (queued, &event) {
                    (Event::Stdout(last), Event::Stdout(bytes)) | (Event::Stderr(last), Event::Stderr(bytes)) => {
                        if last.len() >= SMALL {
                            break;
                        }
                        *last = [&last[..], &bytes[..]].concat().into();
                        return Ok(());
                    }
                    (Event::Stdout(_) | Event::Stderr(_), _) => {}
                    _ => break,
                }
            }
        }
        self.events.push_back(event);
        Ok(())
    }

    fn prune(&mut self, received: u32) {
        while let Some((number, record)) = self.kept.front()
            && *number <= received
        {
            self.kept_cost -= record.len() + KEPT_COST;
            self.acknowledged += record.len() as u64;
            self.kept.pop_front();
        }
    }

    /// Who speaks at the other end, once, when that has been heard.
    pub fn take_hello(&mut self) -> Option<Hello> {
        match std::mem::replace(&mut self.hello, Greeting::Taken) {
            Greeting::Heard(hello) => Some(hello),
            before => {
                self.hello = before;
                None
            }
        }
    }

    /// The next thing the helper has said.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether something waits to be taken.
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// The client has taken so many bytes of output: the node may send as many more.
    pub fn consumed(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        // all that is granted and not taken is at most a window
        let (window, left) = (u64::from(self.window.bytes()), self.granted.saturating_sub(self.taken));
        if left + window / 4 <= window {
            self.state_due = true;
        }
    }

    /// Whether more input may be handed over now.
    pub fn takes_input(&self) -> bool {
        self.queued < INPUT_QUEUE
    }

    /// Input from the client.
    pub fn write(&mut self, mut bytes: Bytes) {
        if self.finished != Finish::No {
            return;
        }
        self.queued += bytes.len();
        self.input_total += bytes.len() as u64;
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(INPUT_RECORD));
            self.input.push_back(part);
        }
    }

    /// The client has closed its input.
    pub fn finish(&mut self) {
        if self.finished == Finish::No {
            self.finished = Finish::Asked;
        }
    }

    /// The window has changed; only the newest size counts.
    pub fn resize(&mut self, size: WindowSize) {
        self.control.retain(|record| !matches!(record, ToNode::Size(_)));
        self.control.push_back(ToNode::Size(size));
    }

    /// A signal for the command.
    pub fn signal(&mut self, name: String) {
        // nobody needs more signals than this at once, and the queue must have a bound
        if self.control.len() < 64 {
            self.control.push_back(ToNode::Signal(name));
        }
    }

    /// Nobody reads the standard output any more.
    pub fn close_output(&mut self) {
        self.control.push_back(ToNode::CloseOutput);
    }

    /// A command too long for a parameter goes first.
    pub fn send_command(&mut self, mut command: Bytes) {
        while !command.is_empty() {
            let part = command.split_to(command.len().min(INPUT_RECORD));
            self.control.push_back(ToNode::Command(part));
        }
        self.control.push_back(ToNode::Command(Bytes::new()));
    }

    /// Variables that the command waits for: `name=value`, each with a NUL behind it.
    pub fn send_variables(&mut self, variables: Bytes) {
        self.control.push_back(ToNode::Variables(variables));
    }

    /// The client has gone.
    pub fn hang_up(&mut self) {
        self.control.clear();
        self.control.push_back(ToNode::Bye);
    }

    /// Whether anything waits for an in lane that is not there.
    pub fn needs_in_lane(&self, now: Instant) -> bool {
        let waiting = !(self.control.is_empty() && self.input.is_empty() && self.kept.is_empty())
            || self.finished == Finish::Asked;
        let starved = self.granted - (self.stdout.count + self.stderr.count) < u64::from(self.window.bytes()) / 2
            && self.state_due;
        !self.in_ready && !self.done && (waiting || starved || now >= self.renew_at)
    }

    /// When the helper will have been silent for so long, although it answers every renewal, that a lane must be dead.
    pub fn deaf_at(&self) -> Option<Instant> {
        self.unanswered.map(|since| since + DEAF)
    }

    /// Asks the helper for a sign of life over both lanes, and returns what [`Link::answered`] will be.
    pub fn ask(&mut self, now: Instant) -> u32 {
        self.renew_at = now;
        self.stamp + 1
    }

    /// The last of what was asked that was answered.
    pub fn answered(&self) -> u32 {
        self.answered
    }

    /// Whether an answer of the helper's is overdue although next to nothing comes: then it is asked again, and one of the
    /// lanes may be dead. How often in a row that has been so; 0 while all is well.
    pub fn check_pulse(&mut self, now: Instant) -> u32 {
        let said = self.stdout.count + self.stderr.count;
        match self.pulse.check(said, self.in_ready, now) {
            Beat::Well => 0,
            Beat::Ask => {
                // where there is no way in, that is what one is opened for
                self.state_due = true;
                self.renew_at = now;
                0
            }
            Beat::Missed(times) => {
                self.state_due = true;
                times
            }
        }
    }

    /// Whether an answer of the helper's is overdue, since the last that came.
    pub fn misses_answers(&self) -> bool {
        self.pulse.misses_answers()
    }

    /// Whether a record has begun and does not become whole: helpers write whole ones, so the rest is somewhere on its way.
    /// True once for each record.
    pub fn is_crawling(&mut self, now: Instant) -> bool {
        self.pulse.is_crawling(self.decoder.is_partial(), self.whole, now)
    }

    /// When [`Link::check_pulse`] and [`Link::is_crawling`] must be asked again.
    pub fn pulse_timeout(&self) -> Option<Instant> {
        let said = self.stdout.count + self.stderr.count;
        let pulse = self.pulse.timeout(said, self.in_ready);
        pulse.into_iter().chain(self.pulse.crawl_timeout()).min()
    }

    /// When [`Link::poll_transmit`] or [`Link::needs_in_lane`] must be asked again.
    pub fn poll_timeout(&self) -> Instant {
        self.renew_at
    }

    /// The next bytes for the in lane. Control goes before data.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        if !self.in_ready {
            return None;
        }
        if let Some(piece) = self.again.pop_front() {
            return Some(piece);
        }
        if self.state_due || now >= self.renew_at {
            self.state_due = false;
            self.renew_at = on_beat(now, RENEWAL);
            self.granted = self.taken + u64::from(self.window.fit(self.granted.saturating_sub(self.taken)));
            self.unanswered.get_or_insert(now);
            let lease = u32::try_from(LEASE.as_secs()).unwrap_or(u32::MAX);
            let state = ToNode::State { received: self.received, credit: self.granted, lease };
            self.stamp += 1;
            self.pulse.handle_asked(self.stamp, now);
            return Some(self.dialect.encode(self.stamp, &state, &mut self.deflater).head);
        }
        if self.kept_cost > MOST_KEPT {
            return None;
        }
        if let Some(record) = self.control.pop_front() {
            return Some(self.number(record));
        }
        if !self.input.is_empty() {
            return self.next_input();
        }
        if self.finished == Finish::Asked {
            self.finished = Finish::Said;
            return Some(self.number(ToNode::StdinEnd(self.input_total)));
        }
        None
    }

    fn next_input(&mut self) -> Option<Bytes> {
        let dialect = self.dialect;
        let room = self.credit.saturating_sub(self.spent);
        if dialect.input_cost(self.input.front()?.len()) > room {
            return None;
        }
        let mut part = self.input.pop_front()?;
        // a record costs the helper for sh a process or two, so there they are joined
        if let Some(longest) = dialect.joins_input_up_to() {
            while let Some(next) = self.input.front() {
                let length = part.len() + next.len();
                if length > longest || dialect.input_cost(length) > room {
                    break;
                }
                part = [part, next.clone()].concat().into();
                self.input.pop_front();
            }
        }
        self.spent += dialect.input_cost(part.len());
        self.queued -= part.len();
        Some(self.number(ToNode::Stdin(part)))
    }

    fn number(&mut self, record: ToNode) -> Bytes {
        self.sent += 1;
        let encoded = self.dialect.encode(self.sent, &record, &mut self.deflater);
        self.kept_cost += encoded.len() + KEPT_COST;
        if !encoded.rest.is_empty() {
            self.again.push_back(encoded.rest.clone());
        }
        let head = encoded.head.clone();
        self.kept.push_back((self.sent, encoded));
        head
    }
}

fn count(stream: &mut Stream, bytes: usize, room: u64) -> Result<(), LinkError> {
    if stream.ended {
        return Err(LinkError::Overrun("output after its end"));
    }
    if bytes as u64 > room {
        return Err(LinkError::Overrun("output beyond its credit"));
    }
    stream.count += bytes as u64;
    Ok(())
}

fn end(stream: &mut Stream, total: u64) -> Result<(), LinkError> {
    if stream.count != total {
        return Err(LinkError::Incomplete("a stream's length does not match"));
    }
    stream.ended = true;
    Ok(())
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
