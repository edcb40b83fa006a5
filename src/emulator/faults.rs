//! Faults on request, for tests and demonstrations: cut, pause, drop, delay, repeat, refuse; and a look at what passes.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::nodes::Nodes;
use super::relay::frame::Kind;
pub use super::relay::mailbox::Cut;
pub use super::sessions::End;
use super::sessions::{LiveSession, Sessions};

/// The handle: take it from [`super::Service::faults`]; clones act on the same service.
#[derive(Clone)]
pub struct Faults {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) state: Arc<FaultState>,
}

/// What happens to some of the frames.
#[derive(Clone, Debug)]
pub struct FrameFault {
    /// Only in this session; `None` means in all of them.
    pub session: Option<String>,
    /// Only frames towards this end; `None` means both.
    pub towards: Option<End>,
    /// Which frames.
    pub frames: Frames,
    /// How many of them, in percent.
    pub percent: f64,
    /// What happens to them.
    pub effect: Effect,
}

/// Which frames a fault concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// All that are relayed.
    All,
    /// Data, sizes, flags and the handshake.
    Stream,
    /// Acknowledgements.
    Acknowledgements,
}

/// What a fault does to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is lost.
    Drop,
    /// It comes twice.
    Duplicate,
    /// It comes later, and so perhaps after its successors.
    Delay(Duration),
}

/// Sees frames as they pass: the session, the end they go to, and the bytes as they came.
pub type Tap = Box<dyn Fn(&str, End, &Bytes) + Send + Sync>;

impl Faults {
    /// From now on this sees every frame that is to be relayed, before anything happens to it: what a log of the sessions
    /// would hold. The first tap stays; false if there is one already. It is called on the relay's way: it must be quick.
    pub fn tap(&self, tap: Tap) -> bool {
        self.state.tap.set(tap).is_ok()
    }

    /// The sessions that have not ended.
    pub fn sessions(&self) -> Vec<LiveSession> {
        self.sessions.live().iter().map(|session| session.describe()).collect()
    }

    /// Takes one end's websocket away. False if there is no such socket.
    pub fn cut(&self, session: &str, end: End, how: Cut) -> bool {
        self.sessions.get(session).is_some_and(|session| session.mailbox(end).cut(how))
    }

    /// Takes both websockets of a session away. False unless there were two.
    pub fn cut_both(&self, session: &str, how: Cut) -> bool {
        let client = self.cut(session, End::Client, how);
        self.cut(session, End::Agent, how) && client
    }

    /// Takes a node's control channel away. False if it has none.
    pub fn cut_control(&self, node: &str) -> bool {
        self.nodes.control(node).is_some_and(|mailbox| mailbox.cut(Cut::Abort))
    }

    /// Tells the agent to pause (or resume) publication. False if its websocket is not there.
    pub fn set_paused(&self, session: &str, paused: bool) -> bool {
        self.sessions.get(session).is_some_and(|session| session.publish(paused))
    }

    /// How often an agent was told to pause because the client's websocket had gone, in all sessions so far.
    pub fn pauses(&self) -> u32 {
        self.state.pauses.load(Ordering::Acquire)
    }

    /// How many websockets of that end have gone while their session went on, in all sessions so far.
    pub fn losses(&self, end: End) -> u32 {
        self.state.losses(end).load(Ordering::Acquire)
    }

    /// Ends a session as an idle limit does, with this text for the client.
    pub fn close(&self, session: &str, output: &str) -> bool {
        self.sessions.get(session).is_some_and(|session| self.nodes.end_session(&session, output))
    }

    /// From now on, that happens to frames.
    pub fn inject(&self, fault: FrameFault) {
        let mut rules = self.state.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.list.push(fault);
        self.state.armed.store(true, Ordering::Release);
    }

    /// No more faults on frames.
    pub fn clear(&self) {
        let mut rules = self.state.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.list.clear();
        self.state.armed.store(false, Ordering::Release);
    }

    /// The next so many `StartSession` calls are answered with `ThrottlingException`.
    pub fn throttle_start_session(&self, calls: u32) {
        self.state.throttle.store(calls, Ordering::Release);
    }

    /// The next so many websocket upgrades of data channels are answered with an error.
    pub fn refuse_upgrades(&self, upgrades: u32) {
        self.state.refuse.store(upgrades, Ordering::Release);
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}

/// What the relay asks.
pub(crate) struct FaultState {
    armed: AtomicBool,
    rules: Mutex<Rules>,
    delayed: Arc<Semaphore>,
    throttle: AtomicU32,
    refuse: AtomicU32,
    pauses: AtomicU32,
    client_losses: AtomicU32,
    agent_losses: AtomicU32,
    tap: OnceLock<Tap>,
}

struct Rules {
    list: Vec<FrameFault>,
    random: u64,
}

/// What is to be done with a frame.
#[derive(Debug)]
pub(crate) enum Verdict {
    Pass,
    Drop,
    Duplicate,
    Delay(Duration, OwnedSemaphorePermit),
}

impl FaultState {
    pub(crate) fn new() -> Self {
        Self {
            armed: AtomicBool::new(false),
            rules: Mutex::new(Rules { list: Vec::new(), random: 0x9e37_79b9_7f4a_7c15 }),
            delayed: Arc::new(Semaphore::new(MOST_DELAYED)),
            throttle: AtomicU32::new(0),
            refuse: AtomicU32::new(0),
            pauses: AtomicU32::new(0),
            client_losses: AtomicU32::new(0),
            agent_losses: AtomicU32::new(0),
            tap: OnceLock::new(),
        }
    }

    pub(crate) fn note_pause(&self) {
        self.pauses.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn note_loss(&self, end: End) {
        self.losses(end).fetch_add(1, Ordering::AcqRel);
    }

    fn losses(&self, end: End) -> &AtomicU32 {
        match end {
            End::Client => &self.client_losses,
            End::Agent => &self.agent_losses,
        }
    }

    /// Shows a frame to whoever watches.
    pub(crate) fn show(&self, session: &str, towards: End, frame: &Bytes) {
        if let Some(tap) = self.tap.get() {
            tap(session, towards, frame);
        }
    }

    /// One load where there are no faults: this is asked for every frame.
    pub(crate) fn judge(&self, session: &str, towards: End, kind: Kind) -> Verdict {
        if !self.armed.load(Ordering::Relaxed) {
            return Verdict::Pass;
        }
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let Rules { list, random } = &mut *rules;
        for fault in list.iter() {
            let concerned = fault.session.as_deref().is_none_or(|id| id == session)
                && fault.towards.is_none_or(|end| end == towards)
                && match fault.frames {
                    Frames::All => true,
                    Frames::Stream => kind.is_stream(),
                    Frames::Acknowledgements => kind == Kind::Acknowledge,
                };
            if !concerned || !hit(random, fault.percent) {
                continue;
            }
            return match fault.effect {
                Effect::Drop => Verdict::Drop,
                Effect::Duplicate => Verdict::Duplicate,
                // Too many on the way already: this one passes, so that memory stays bounded.
                Effect::Delay(time) => self
                    .delayed
                    .clone()
                    .try_acquire_owned()
                    .map_or(Verdict::Pass, |permit| Verdict::Delay(time, permit)),
            };
        }
        Verdict::Pass
    }

    pub(crate) fn throttles(&self) -> bool {
        take_one(&self.throttle)
    }

    pub(crate) fn refuses_upgrade(&self) -> bool {
        take_one(&self.refuse)
    }
}

fn take_one(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
}

/// True in so many percent of the calls; the same sequence in every run.
fn hit(random: &mut u64, percent: f64) -> bool {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    #[allow(clippy::cast_precision_loss, reason = "a million values are exact")]
    let drawn = (*random % 1_000_000) as f64 / 10_000.0;
    drawn < percent
}

const MOST_DELAYED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_kept_and_scopes_respected() {
        let state = FaultState::new();
        let fault = FrameFault {
            session: Some("s".into()),
            towards: Some(End::Agent),
            frames: Frames::Stream,
            percent: 10.0,
            effect: Effect::Drop,
        };
        state.rules.lock().unwrap().list.push(fault);
        state.armed.store(true, Ordering::Relaxed);
        let count = |session: &str, end: End, kind: Kind| {
            (0..10_000).filter(|_| matches!(state.judge(session, end, kind), Verdict::Drop)).count()
        };
        let hits = count("s", End::Agent, Kind::Input);
        assert!((800..1200).contains(&hits), "{hits}");
        assert_eq!(count("s", End::Client, Kind::Output), 0);
        assert_eq!(count("t", End::Agent, Kind::Input), 0);
        assert_eq!(count("s", End::Agent, Kind::Acknowledge), 0);
    }

    #[test]
    fn a_number_of_calls_is_refused_and_no_more() {
        let state = FaultState::new();
        state.throttle.store(2, Ordering::Relaxed);
        assert_eq!([state.throttles(), state.throttles(), state.throttles()], [true, true, false]);
    }
}
