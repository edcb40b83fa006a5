//! A bench for tests: two channels, a service between them, and virtual time.
//!
//! ```text
//!    client ──▶ up   ──▶ ╷ service ╷ ──▶ agent         every message may be lost, doubled, late or out of turn;
//!           ◀── down ◀── ╵         ╵ ◀──               either websocket may be cut, and comes back
//! ```
//!
//! Hours of it take milliseconds, and the same seed gives the same run. What an end is given to send is
//! [`End::outgoing`]; what has arrived is in [`End::received`].

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::Time;
use crate::channel::{AgentRole, ChannelError, ClientRole, DataChannel, Event, Limits, Role};
use crate::message::{Message, MessageType};
use crate::payload::{PayloadType, SessionType};
use crate::rng::Rng;

/// Two channels, a service, virtual time.
///
/// ```
/// use portcullis_protocol::testing::Pair;
///
/// let mut pair = Pair::new(1);
/// pair.up.loss = 100;
/// pair.client.outgoing = vec![7; 100_000].into();
/// pair.run().unwrap();
/// assert_eq!(pair.agent.received, vec![7; 100_000]);
/// ```
#[derive(Debug)]
pub struct Pair {
    /// The client's end.
    pub client: End,
    /// The agent's end.
    pub agent: End,
    /// From client to agent.
    pub up: Path,
    /// From agent to client.
    pub down: Path,
    /// The websockets that will be cut, in any order.
    pub cuts: Vec<Cut>,
    /// Tell the agent to pause while the client is away, as the service does.
    pub pauses: bool,
    /// Give up after so much virtual time.
    pub patience: Duration,
    /// Virtual time.
    pub now: Time,
    queue: BTreeMap<(Time, u64), Happening>,
    count: u64,
    rng: Rng,
    started: bool,
}

/// One end: a channel, its websocket and its application.
#[derive(Debug)]
pub struct End {
    /// The channel.
    pub channel: DataChannel,
    /// What the application has yet to write.
    pub outgoing: Bytes,
    /// The data that has arrived.
    pub received: Vec<u8>,
    /// Everything else that the channel has told, in order.
    pub events: Vec<Event>,
    /// The application takes one event per such a time, and not all of them at once.
    pub reads_every: Option<Duration>,
    /// The error that ended the channel.
    pub error: Option<ChannelError>,
    socket: VecDeque<Bytes>,
    up: bool,
    may_read: bool,
    waits: bool,
}

/// How messages travel in one direction. Chances are per thousand.
#[derive(Clone, Debug)]
pub struct Path {
    /// From end to end.
    pub delay: Duration,
    /// Bytes per second; `None` is without bound.
    pub bandwidth: Option<u64>,
    /// Chance to get lost.
    pub loss: u16,
    /// Chance to arrive twice.
    pub duplicate: u16,
    /// Chance to be late, and so be overtaken.
    pub reorder: u16,
    /// How late at most.
    pub reorder_by: Duration,
    free_at: Time,
    last_arrival: Time,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(20),
            bandwidth: None,
            loss: 0,
            duplicate: 0,
            reorder: 0,
            reorder_by: Duration::from_millis(300),
            free_at: Time::ZERO,
            last_arrival: Time::ZERO,
        }
    }
}

/// One end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Client,
    /// The agent's.
    Agent,
}

/// A websocket is cut, and what is on it is lost; so is what the service has for that end until it is back.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Which.
    pub side: Side,
    /// How long after the start.
    pub at: Duration,
    /// For how long.
    pub outage: Duration,
    /// Whether the end notices; if not, its channel goes on sending into the void.
    pub noticed: bool,
}

/// Why a run did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A channel ended with this error.
    #[error("the {0:?}'s channel failed: {1}")]
    Channel(Side, ChannelError),
    /// The virtual time is over.
    #[error("not done in time: {0}")]
    Hung(String),
    /// A channel asks for a timeout again and again without doing anything.
    #[error("the {0:?}'s channel spins")]
    Spins(Side),
}

#[derive(Debug)]
enum Happening {
    /// A message reaches the service, and will reach its end at that time.
    Passes {
        to: Side,
        arrival: Time,
        message: Bytes,
    },
    Arrives {
        to: Side,
        message: Bytes,
    },
    Cut(Cut),
    Back(Side, bool),
    Reads(Side),
}

impl Pair {
    /// A port session with a handshake, on a clean path of 20 ms each way.
    pub fn new(seed: u64) -> Self {
        let handshake = Some(SessionType { name: "Port".to_owned(), properties: serde_json::Value::Null });
        Self::with(seed, Limits::default(), Limits::default(), AgentRole { handshake, ..AgentRole::default() })
    }

    /// Any session.
    pub fn with(seed: u64, client: Limits, agent: Limits, role: AgentRole) -> Self {
        let client_role = ClientRole { version: "1.2.764.0".to_owned() };
        Self {
            client: End::new(DataChannel::new(Role::Client(client_role), client, seed, START)),
            agent: End::new(DataChannel::new(Role::Agent(role), agent, !seed, START)),
            up: Path::default(),
            down: Path::default(),
            cuts: Vec::new(),
            pauses: false,
            patience: Duration::from_secs(3600),
            now: START,
            queue: BTreeMap::new(),
            count: 0,
            rng: Rng::new(seed ^ 0x5eed),
            started: false,
        }
    }

    /// Lets time pass until everything written has arrived and is acknowledged.
    pub fn run(&mut self) -> Result<(), Failure> {
        self.run_until(Self::is_done)
    }

    /// Lets time pass until then.
    pub fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> Result<(), Failure> {
        self.start();
        let end = self.now + self.patience;
        loop {
            self.pump();
            for (side, at) in [(Side::Client, &self.client), (Side::Agent, &self.agent)] {
                if let Some(error) = &at.error {
                    return Err(Failure::Channel(side, error.clone()));
                }
            }
            if done(self) {
                return Ok(());
            }
            let next = self.next_time().filter(|next| *next <= end);
            let Some(next) = next else {
                return Err(Failure::Hung(format!(
                    "client {:?} agent {:?}",
                    self.client.channel.stats(),
                    self.agent.channel.stats()
                )));
            };
            self.now = self.now.max(next);
            self.happen();
            self.time_out(Side::Client)?;
            self.time_out(Side::Agent)?;
        }
    }

    /// Whether everything written has arrived, as far as the ends can know.
    pub fn is_done(&self) -> bool {
        let done = |end: &End| end.outgoing.is_empty() && end.channel.is_drained() && end.socket.is_empty();
        done(&self.client) && done(&self.agent) && self.client.reads_all() && self.agent.reads_all()
    }

    /// How much virtual time has passed.
    pub fn elapsed(&self) -> Duration {
        self.now.saturating_sub(START)
    }

    fn start(&mut self) {
        if !core::mem::replace(&mut self.started, true) {
            for cut in core::mem::take(&mut self.cuts) {
                self.schedule(START + cut.at, Happening::Cut(cut));
            }
            for side in [Side::Client, Side::Agent] {
                let now = self.now;
                let end = self.end(side);
                end.up = true;
                end.channel.handle_connected(now);
            }
        }
    }

    /// Everything that can be done without time passing.
    fn pump(&mut self) {
        for side in [Side::Client, Side::Agent] {
            let now = self.now;
            self.schedule_read(side);
            loop {
                self.end(side).pump(now);
                let Some(first) = self.end(side).channel.poll_transmit(now) else { break };
                let mut next = Some(first);
                while let Some(message) = next {
                    self.send(side.other(), message);
                    next = self.end(side).channel.poll_transmit(now);
                }
            }
            self.schedule_read(side);
        }
    }

    fn send(&mut self, to: Side, message: Bytes) {
        if !self.end(to.other()).up {
            return;
        }
        let now = self.now;
        let rolls = [self.roll(), self.roll(), self.roll()];
        let lateness = self.rng.next_u64();
        let path = match to {
            Side::Agent => &mut self.up,
            Side::Client => &mut self.down,
        };
        if let Some(bandwidth) = path.bandwidth {
            let nanoseconds = message.len() as u64 * 1_000_000_000 / bandwidth.max(1);
            path.free_at = path.free_at.max(now) + Duration::from_nanos(nanoseconds);
        } else {
            path.free_at = now;
        }
        if rolls[0] < path.loss {
            return;
        }
        let mut arrival = (path.free_at + path.delay).max(path.last_arrival);
        if rolls[1] < path.reorder {
            let most = u64::try_from(path.reorder_by.as_nanos()).unwrap_or(u64::MAX).max(1);
            arrival += Duration::from_nanos(lateness % most);
        } else {
            path.last_arrival = arrival;
        }
        let (half, doubles) = (path.delay / 2, rolls[2] < path.duplicate);
        for copy in 0..=u32::from(doubles) {
            let arrival = arrival + half * copy;
            self.schedule(arrival - half, Happening::Passes { to, arrival, message: message.clone() });
        }
    }

    fn happen(&mut self) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            match entry.remove() {
                Happening::Passes { to, arrival, message } => {
                    // the service has nobody to give it to, or nobody who gave it
                    if self.end(to).up && self.end(to.other()).up {
                        self.schedule(arrival, Happening::Arrives { to, message });
                    }
                }
                Happening::Arrives { to, message } => {
                    if self.end(to).up {
                        self.end(to).socket.push_back(message);
                    }
                }
                Happening::Cut(cut) => self.cut(&cut),
                Happening::Back(side, noticed) => self.back(side, noticed),
                Happening::Reads(side) => {
                    let end = self.end(side);
                    (end.may_read, end.waits) = (true, false);
                }
            }
        }
    }

    fn cut(&mut self, cut: &Cut) {
        let now = self.now;
        let end = self.end(cut.side);
        if !end.up {
            return;
        }
        end.up = false;
        end.socket.clear();
        if cut.noticed {
            end.channel.handle_disconnected(now);
        }
        self.schedule(now + cut.outage, Happening::Back(cut.side, cut.noticed));
        if self.pauses && cut.side == Side::Client {
            self.announce(MessageType::PausePublication);
        }
    }

    fn back(&mut self, side: Side, noticed: bool) {
        let now = self.now;
        let end = self.end(side);
        end.up = true;
        if noticed {
            end.channel.handle_connected(now);
        }
        // to the agent as well: it may have missed the last one, and would wait for ever
        if self.pauses {
            let away = !self.client.up;
            self.announce(if away { MessageType::PausePublication } else { MessageType::StartPublication });
        }
    }

    /// The service says something to the agent.
    fn announce(&mut self, kind: MessageType) {
        let message = Message {
            kind,
            created: self.now,
            sequence: 0,
            flags: 0,
            id: self.rng.uuid(),
            payload_type: None,
            payload: Bytes::new(),
        };
        self.schedule(self.now + self.up.delay / 2, Happening::Arrives { to: Side::Agent, message: message.encode() });
    }

    fn time_out(&mut self, side: Side) -> Result<(), Failure> {
        let now = self.now;
        let end = self.end(side);
        for _ in 0..SPINS {
            if end.channel.poll_timeout().is_none_or(|at| at > now) {
                return Ok(());
            }
            let outcome = end.channel.handle_timeout(now);
            end.fail(outcome);
        }
        Err(Failure::Spins(side))
    }

    fn next_time(&self) -> Option<Time> {
        let happening = self.queue.first_key_value().map(|((at, _), _)| *at);
        let timeouts = [self.client.channel.poll_timeout(), self.agent.channel.poll_timeout()];
        timeouts.into_iter().chain([happening]).flatten().min()
    }

    fn schedule(&mut self, at: Time, what: Happening) {
        self.count += 1;
        self.queue.insert((at, self.count), what);
    }

    /// A slow application that has just read waits a while.
    fn schedule_read(&mut self, side: Side) {
        let end = self.end(side);
        if let Some(every) = end.reads_every.filter(|_| !end.may_read && !end.waits) {
            end.waits = true;
            self.schedule(self.now + every, Happening::Reads(side));
        }
    }

    fn roll(&mut self) -> u16 {
        (self.rng.next_u64() % 1000) as u16
    }

    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Agent => &mut self.agent,
        }
    }
}

impl Side {
    /// The other end.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Agent,
            Self::Agent => Self::Client,
        }
    }
}

impl End {
    fn new(channel: DataChannel) -> Self {
        Self {
            channel,
            outgoing: Bytes::new(),
            received: Vec::new(),
            events: Vec::new(),
            reads_every: None,
            error: None,
            socket: VecDeque::new(),
            up: false,
            may_read: true,
            waits: false,
        }
    }

    fn pump(&mut self, now: Time) {
        self.channel.write(now, PayloadType::Output, &mut self.outgoing);
        self.read();
        while self.channel.wants_input() {
            let Some(message) = self.socket.pop_front() else { break };
            let outcome = self.channel.handle_message(now, message);
            self.fail(outcome);
            self.read();
        }
        self.channel.write(now, PayloadType::Output, &mut self.outgoing);
    }

    fn read(&mut self) {
        while self.reads_every.is_none() || self.may_read {
            match self.channel.poll_event() {
                Some(Event::Data { bytes, .. }) => self.received.extend_from_slice(&bytes),
                Some(other) => self.events.push(other),
                None => return,
            }
            self.may_read = false;
        }
    }

    /// A slow reader may have events left; nobody can see them but the channel's weight.
    fn reads_all(&self) -> bool {
        self.reads_every.is_none() || self.channel.is_read()
    }

    fn fail(&mut self, outcome: Result<(), ChannelError>) {
        if let Err(error) = outcome {
            self.error.get_or_insert(error);
        }
    }
}

const START: Time = Time::from_secs(1_700_000_000);
/// More calls without time passing than any channel needs.
const SPINS: u32 = 10;

#[cfg(test)]
#[path = "pair_tests.rs"]
mod tests;
