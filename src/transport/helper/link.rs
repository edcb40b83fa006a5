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

use super::codec::{Decoder, Dialect};
use super::record::{FromNode, Hello, RecordError, ToNode};
use crate::model::{Exit, WindowSize};

/// How long a command may live on without a word from the gateway.
pub const LEASE: Duration = Duration::from_secs(32);
/// How often the lease is renewed; three may be lost.
const RENEWAL: Duration = Duration::from_secs(10);
/// How long an answer may take: a node's disk may hold its helper up for long, and with the next renewal a minute is over.
const DEAF: Duration = Duration::from_secs(45);
/// How many bytes of output the node may send before the client has taken them.
pub const OUTPUT_WINDOW: u64 = 2 * 1024 * 1024;
/// The helper's window for input, before it has said so itself.
const FIRST_INPUT_CREDIT: u64 = 1024 * 1024;
/// The longest record of input.
const INPUT_RECORD: usize = 32 * 1024;
/// How much input waits here before the client is no longer read.
const INPUT_QUEUE: usize = 128 * 1024;
/// How much the helper may leave unacknowledged, whatever credit it gives; its own window is a quarter.
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
    events: VecDeque<Event>,
    received: u32,
    stdout: Stream,
    stderr: Stream,
    hello: Greeting,
    exited: bool,
    done: bool,
    taken: u64,
    granted: u64,

    in_ready: bool,
    sent: u32,
    kept: VecDeque<(u32, Bytes)>,
    kept_cost: usize,
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
    /// How many states were sent, and which of them was the last one answered.
    stamp: u32,
    answered: u32,
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
    /// A link whose helper is about to start. `stdin_closed` says that it was told so when it started.
    pub fn new(now: Instant, stdin_closed: bool) -> Self {
        Self {
            decoder: Decoder::default(),
            events: VecDeque::new(),
            received: 0,
            stdout: Stream::default(),
            stderr: Stream::default(),
            hello: Greeting::None,
            exited: false,
            done: false,
            taken: 0,
            granted: OUTPUT_WINDOW,
            in_ready: false,
            sent: 0,
            kept: VecDeque::new(),
            kept_cost: 0,
            again: VecDeque::new(),
            control: VecDeque::new(),
            input: VecDeque::new(),
            queued: 0,
            input_total: 0,
            finished: if stdin_closed { Finish::Said } else { Finish::No },
            credit: FIRST_INPUT_CREDIT,
            spent: 0,
            state_due: false,
            renew_at: now + RENEWAL,
            unanswered: None,
            dialect: Dialect::default(),
            stamp: 0,
            answered: 0,
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

    /// A new out lane: what comes next starts with a hello.
    pub fn handle_out_attached(&mut self) {
        self.decoder = Decoder::default();
    }

    /// The in lane has gone; what the helper has not acknowledged is sent again on the next.
    pub fn handle_in_lost(&mut self) {
        self.in_ready = false;
        self.again.clear();
    }

    /// Bytes of the out lane.
    pub fn handle_output(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.unanswered = None;
        self.decoder.feed(bytes)?;
        while let Some((number, record)) = self.decoder.next_record()? {
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
                    self.hello = Greeting::Heard(hello);
                }
            }
            FromNode::Ready { received } => {
                self.in_ready = true;
                self.state_due = true;
                self.prune(received);
                self.again = self.kept.iter().map(|(_, record)| record.clone()).collect();
            }
            FromNode::State { received, credit } => {
                self.prune(received);
                self.credit = self.credit.max(credit);
            }
            FromNode::Pong { stamp, received } => {
                self.prune(received);
                self.answered = self.answered.max(stamp);
            }
            FromNode::Stdout(bytes) => {
                count(&mut self.stdout, bytes.len(), self.granted - self.taken)?;
                self.data(Event::Stdout(bytes))?;
            }
            FromNode::Stderr(bytes) => {
                count(&mut self.stderr, bytes.len(), self.granted - self.taken)?;
                self.data(Event::Stderr(bytes))?;
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
    fn data(&mut self, event: Event) -> Result<(), LinkError> {
        if self.stdout.count + self.stderr.count > self.granted {
            return Err(LinkError::Overrun("output beyond its credit"));
        }
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
        if self.taken + OUTPUT_WINDOW - self.granted >= OUTPUT_WINDOW / 4 {
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

    /// A command too long for a parameter goes first.
    pub fn send_command(&mut self, mut command: Bytes) {
        while !command.is_empty() {
            let part = command.split_to(command.len().min(INPUT_RECORD));
            self.control.push_back(ToNode::Command(part));
        }
        self.control.push_back(ToNode::Command(Bytes::new()));
    }

    /// The client has gone.
    pub fn hang_up(&mut self) {
        self.control.clear();
        self.control.push_back(ToNode::Bye);
    }

    /// Whether anything waits for an in lane that is not there.
    pub fn needs_in_lane(&self, now: Instant) -> bool {
        let waiting = !self.control.is_empty() || !self.input.is_empty() || self.finished == Finish::Asked;
        let starved = self.granted - (self.stdout.count + self.stderr.count) < OUTPUT_WINDOW / 2 && self.state_due;
        !self.in_ready && !self.done && (waiting || starved || now >= self.renew_at)
    }

    /// When the helper will have been silent for so long, although it answers every renewal, that a lane must be dead.
    pub fn deaf_at(&self) -> Option<Instant> {
        self.unanswered.map(|since| since + DEAF)
    }

    /// Asks the helper for a sign of life over both lanes, and returns what [`Link::answered`] will be. Only the
    /// helper for `sh` answers; the other one is given a new lane where there is doubt.
    pub fn ask(&mut self, now: Instant) -> u32 {
        self.renew_at = now;
        self.stamp + 1
    }

    /// The last of what was asked that was answered.
    pub fn answered(&self) -> u32 {
        self.answered
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
        if let Some(record) = self.again.pop_front() {
            return Some(record);
        }
        if self.state_due || now >= self.renew_at {
            self.state_due = false;
            self.renew_at = now + RENEWAL;
            self.granted = self.taken + OUTPUT_WINDOW;
            self.unanswered.get_or_insert(now);
            let lease = u32::try_from(LEASE.as_secs()).unwrap_or(u32::MAX);
            let state = ToNode::State { received: self.received, credit: self.granted, lease };
            self.stamp += 1;
            return Some(self.dialect.encode(self.stamp, &state));
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
        let bytes = self.dialect.encode(self.sent, &record);
        self.kept_cost += bytes.len() + KEPT_COST;
        self.kept.push_back((self.sent, bytes.clone()));
        bytes
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
mod tests {
    use super::super::codec::binary_record as raw;
    use super::*;

    fn started(now: Instant) -> Link {
        let mut link = Link::new(now, false);
        link.handle_output(b"PCR1\n").unwrap();
        link
    }

    fn ready(link: &mut Link, received: u32) {
        link.handle_output(&raw(b'R', 0, &received.to_be_bytes())).unwrap();
    }

    #[test]
    fn nothing_is_sent_before_the_lane_is_ready() {
        let now = Instant::now();
        let mut link = started(now);
        link.write(Bytes::from_static(b"secret"));
        assert!(link.needs_in_lane(now));
        assert_eq!(link.poll_transmit(now), None);
        ready(&mut link, 0);
        assert_eq!(link.poll_transmit(now).unwrap()[0], b'S');
        assert_eq!(&link.poll_transmit(now).unwrap()[9..], b"secret");
    }

    #[test]
    fn control_overtakes_waiting_data() {
        let now = Instant::now();
        let mut link = started(now);
        link.write(Bytes::from(vec![0; 2 * INPUT_RECORD]));
        ready(&mut link, 0);
        assert_eq!(link.poll_transmit(now).unwrap()[0], b'S');
        assert_eq!(link.poll_transmit(now).unwrap()[0], b'i');
        link.signal("INT".into());
        assert_eq!(link.poll_transmit(now).unwrap()[0], b'K');
        assert_eq!(link.poll_transmit(now).unwrap()[0], b'i');
    }

    #[test]
    fn a_new_in_lane_gets_what_was_not_acknowledged_and_no_more() {
        let now = Instant::now();
        let mut link = started(now);
        ready(&mut link, 0);
        assert_eq!(link.poll_transmit(now).unwrap()[0], b'S');
        for text in ["a", "b", "c"] {
            link.write(Bytes::from(text));
            assert_eq!(&link.poll_transmit(now).unwrap()[9..], text.as_bytes());
        }
        link.handle_in_lost();
        link.write(Bytes::from("d"));
        assert_eq!(link.poll_transmit(now), None);
        ready(&mut link, 1);
        let mut sent = Vec::new();
        while let Some(record) = link.poll_transmit(now) {
            if record[0] == b'i' {
                sent.extend_from_slice(&record[9..]);
            }
        }
        assert_eq!(sent, b"bcd");
    }

    #[test]
    fn a_new_out_lane_repeats_and_nothing_comes_twice() {
        let now = Instant::now();
        let mut link = started(now);
        link.handle_output(&raw(b'o', 1, b"one")).unwrap();
        link.handle_out_attached();
        link.handle_output(b"PCR1\n").unwrap();
        link.handle_output(&raw(b'o', 1, b"one")).unwrap();
        link.handle_output(&raw(b'o', 2, b"two")).unwrap();
        assert_eq!(link.poll_event(), Some(Event::Stdout("one".into())));
        assert_eq!(link.poll_event(), Some(Event::Stdout("two".into())));
        assert_eq!(link.poll_event(), None);
    }

    #[test]
    fn an_end_without_all_bytes_is_an_error() {
        let mut link = started(Instant::now());
        link.handle_output(&raw(b'o', 1, b"one")).unwrap();
        let error = link.handle_output(&raw(b'O', 2, &4u64.to_be_bytes())).unwrap_err();
        assert!(matches!(error, LinkError::Incomplete(_)));
        let mut link = started(Instant::now());
        assert!(matches!(link.handle_output(&raw(b'o', 2, b"x")), Err(LinkError::Incomplete(_))));
        let mut link = started(Instant::now());
        assert!(matches!(link.handle_output(&raw(b'Q', 1, b"")), Err(LinkError::Incomplete(_))));
    }

    #[test]
    fn input_stops_at_the_helper_s_credit() {
        let now = Instant::now();
        let mut link = started(now);
        ready(&mut link, 0);
        let mut sent = 0;
        for _ in 0..100 {
            link.write(Bytes::from(vec![0; INPUT_RECORD]));
        }
        while let Some(record) = link.poll_transmit(now) {
            sent += if record[0] == b'i' { record.len() - 9 } else { 0 };
        }
        assert_eq!(sent as u64, FIRST_INPUT_CREDIT);
        let mut state = 3u32.to_be_bytes().to_vec();
        state.extend((FIRST_INPUT_CREDIT + INPUT_RECORD as u64).to_be_bytes());
        link.handle_output(&raw(b'A', 0, &state)).unwrap();
        assert!(link.poll_transmit(now).is_some());
        assert_eq!(link.poll_transmit(now), None);
    }

    #[test]
    fn a_helper_that_speaks_lines_is_answered_in_lines() {
        let now = Instant::now();
        let mut link = Link::new(now, false);
        link.handle_output(b"PCL1\nH v=1;h=sh;r=0;d=/tmp/x;u=0\nR 0\n").unwrap();
        link.write(Bytes::from_static(b"ab"));
        link.write(Bytes::from_static(b"c"));
        assert_eq!(link.poll_transmit(now).unwrap(), &b"S 1 0 2097152 32\n"[..]);
        assert_eq!(link.poll_transmit(now).unwrap(), &b"t 1 516 \\141\\142\\143\n"[..]);
        let asked = link.ask(now);
        assert_eq!(link.poll_transmit(now).unwrap(), &b"S 2 0 2097152 32\n"[..]);
        link.handle_output(b"P 1 1\n").unwrap();
        assert!(link.answered() < asked);
        link.handle_output(b"P 2 1\n").unwrap();
        assert_eq!(link.answered(), asked);
    }

    #[test]
    fn output_beyond_the_credit_is_an_error_and_taking_it_grants_more() {
        let now = Instant::now();
        let mut link = started(now);
        let part = vec![0; 64 * 1024];
        let parts = OUTPUT_WINDOW / part.len() as u64;
        for number in 1..=parts {
            link.handle_output(&raw(b'o', number as u32, &part)).unwrap();
        }
        let next = parts as u32 + 1;
        assert!(link.handle_output(&raw(b'o', next, &part)).is_err());
        let mut link = started(now);
        link.handle_output(&raw(b'o', 1, &part)).unwrap();
        ready(&mut link, 0);
        link.consumed(part.len());
        let state = link.poll_transmit(now).unwrap();
        assert_eq!(state[13..21], (OUTPUT_WINDOW + part.len() as u64).to_be_bytes());
    }

    #[test]
    fn a_node_cannot_fill_the_queue_with_what_costs_no_credit() {
        let mut link = started(Instant::now());
        let hello = [&b"v=1;h=sh;d=x;u=1;"[..], &(0..=255).collect::<Vec<u8>>()].concat();
        for number in 1..10_000 {
            link.handle_output(&raw(b'H', 0, &hello)).unwrap();
            link.handle_output(&raw(b'o', number, b"")).unwrap();
            link.handle_output(&raw(b'X', 0, &[0; 6])).unwrap();
        }
        assert_eq!((link.events.len(), link.take_hello().is_some()), (1, true));
        assert_eq!(link.take_hello(), None);
    }

    #[test]
    fn small_pieces_are_put_together_and_stay_in_order() {
        let mut link = started(Instant::now());
        let pieces = 100_000_u32;
        for number in 0..pieces {
            let (kind, byte) = if number % 3 == 0 { (b'e', 200) } else { (b'o', (number % 199) as u8) };
            link.handle_output(&raw(kind, number + 1, &[byte])).unwrap();
        }
        assert!(link.events.len() < 200, "{} events", link.events.len());
        let (mut stdout, mut stderr) = (Vec::new(), 0);
        while let Some(event) = link.poll_event() {
            match event {
                Event::Stdout(bytes) => stdout.extend_from_slice(&bytes),
                Event::Stderr(bytes) => stderr += bytes.len(),
                other => panic!("{other:?}"),
            }
        }
        let expected: Vec<u8> = (0..pieces).filter(|n| n % 3 != 0).map(|n| (n % 199) as u8).collect();
        assert!(stdout == expected);
        assert_eq!(stderr, pieces as usize - expected.len());
    }

    #[test]
    fn what_a_helper_never_acknowledges_has_an_end() {
        let now = Instant::now();
        let mut link = started(now);
        ready(&mut link, 0);
        let credit = |received: u32| [&received.to_be_bytes()[..], &[0xff; 8]].concat();
        link.handle_output(&raw(b'A', 0, &credit(0))).unwrap();
        let mut sent = 0;
        for _ in 0..1000 {
            link.write(Bytes::from(vec![0; INPUT_RECORD]));
            while let Some(record) = link.poll_transmit(now) {
                sent += record.len();
            }
        }
        assert!(sent < MOST_KEPT + 2 * INPUT_RECORD, "{sent} bytes kept");
        let last = link.sent;
        link.handle_output(&raw(b'A', 0, &credit(last))).unwrap();
        assert!(link.poll_transmit(now).is_some());
        assert_eq!(link.kept.len(), 1);
    }

    #[test]
    fn silence_after_a_renewal_is_noticed() {
        let now = Instant::now();
        let mut link = started(now);
        ready(&mut link, 0);
        assert!(link.poll_transmit(now).is_some());
        assert_eq!(link.deaf_at(), Some(now + DEAF));
        link.handle_output(&raw(b'A', 0, &[0; 12])).unwrap();
        assert_eq!(link.deaf_at(), None);
    }

    #[test]
    fn the_lease_is_renewed_in_time_and_asks_for_a_lane() {
        let now = Instant::now();
        let link = started(now);
        assert!(!link.needs_in_lane(now));
        assert!(link.needs_in_lane(now + RENEWAL));
        assert!(RENEWAL * 3 < LEASE);
    }
}
