//! What the relay asks about faults: what becomes of this frame, and whether this call is refused.

// Nothing goes wrong by itself: faults are injected by tests, and the relay asks either way.
#![cfg_attr(not(test), expect(dead_code, reason = "only tests inject faults"))]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::frame::Kind;
use crate::emulator::end::End;

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

/// What becomes of a frame.
#[derive(Debug)]
pub(crate) enum Fate {
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

    /// The first tap stays.
    pub(crate) fn set_tap(&self, tap: Tap) -> bool {
        self.tap.set(tap).is_ok()
    }

    pub(crate) fn inject(&self, fault: FrameFault) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.list.push(fault);
        self.armed.store(true, Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.list.clear();
        self.armed.store(false, Ordering::Release);
    }

    pub(crate) fn throttle(&self, calls: u32) {
        self.throttle.store(calls, Ordering::Release);
    }

    pub(crate) fn refuse(&self, upgrades: u32) {
        self.refuse.store(upgrades, Ordering::Release);
    }

    pub(crate) fn pauses(&self) -> u32 {
        self.pauses.load(Ordering::Acquire)
    }

    pub(crate) fn losses(&self, end: End) -> u32 {
        self.lost(end).load(Ordering::Acquire)
    }

    pub(crate) fn note_pause(&self) {
        self.pauses.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn note_loss(&self, end: End) {
        self.lost(end).fetch_add(1, Ordering::AcqRel);
    }

    fn lost(&self, end: End) -> &AtomicU32 {
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
    pub(crate) fn judge(&self, session: &str, towards: End, kind: Kind) -> Fate {
        if !self.armed.load(Ordering::Relaxed) {
            return Fate::Pass;
        }
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let Rules { list, random } = &mut *rules;
        for fault in list.iter() {
            let concerned = fault.session.as_deref().is_none_or(|id| id == session)
                && fault.towards.is_none_or(|end| end == towards)
                && match fault.frames {
                    Frames::All => true,
                    Frames::Stream => kind.is_stream(),
                };
            if !concerned || !hit(random, fault.percent) {
                continue;
            }
            return match fault.effect {
                Effect::Drop => Fate::Drop,
                Effect::Duplicate => Fate::Duplicate,
                // Too many on the way already: this one passes, so that memory stays bounded.
                Effect::Delay(time) => {
                    self.delayed.clone().try_acquire_owned().map_or(Fate::Pass, |permit| Fate::Delay(time, permit))
                }
            };
        }
        Fate::Pass
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
        state.inject(fault);
        let count = |session: &str, end: End, kind: Kind| {
            (0..10_000).filter(|_| matches!(state.judge(session, end, kind), Fate::Drop)).count()
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
        state.throttle(2);
        assert_eq!([state.throttles(), state.throttles(), state.throttles()], [true, true, false]);
    }
}
