//! What the relay asks about faults: what becomes of this frame, what happens now in this session, how this call is answered.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::frame::Kind;
use crate::emulator::end::End;
use crate::emulator::fault::{CallFault, Effect, Failure, Fault, FrameFault, Frames, Moment};

/// Sees frames as they pass: the session, the end they go to, and the bytes as they came.
pub type Tap = Box<dyn Fn(&str, End, &Bytes) + Send + Sync>;

/// What the relay asks.
pub(crate) struct FaultState {
    /// Whether there are rules about frames: asked for every one of them.
    armed: AtomicBool,
    rules: Mutex<Rules>,
    delayed: Arc<Semaphore>,
    /// In microseconds; 0 is none.
    latency: AtomicU64,
    moments: Mutex<Vec<(u64, Moment)>>,
    calls: Mutex<Vec<CallFault>>,
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

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailedCall {
    pub(crate) failure: Failure,
    /// Whether it is done before it is answered so.
    pub(crate) done: bool,
}

impl FaultState {
    pub(crate) fn new() -> Self {
        Self {
            armed: AtomicBool::new(false),
            rules: Mutex::new(Rules { list: Vec::new(), random: 0x9e37_79b9_7f4a_7c15 }),
            delayed: Arc::new(Semaphore::new(MOST_DELAYED)),
            latency: AtomicU64::new(0),
            moments: Mutex::default(),
            calls: Mutex::default(),
            refuse: AtomicU32::new(0),
            pauses: AtomicU32::new(0),
            client_losses: AtomicU32::new(0),
            agent_losses: AtomicU32::new(0),
            tap: OnceLock::new(),
        }
    }

    /// From now on, that goes wrong: for frames at once, for the rest in sessions and calls that begin after this.
    pub(crate) fn add(&self, fault: Fault) {
        match fault {
            Fault::Frames(fault) => {
                self.rules().list.push(fault);
                self.armed.store(true, Ordering::Release);
            }
            Fault::Latency(time) => {
                let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                self.latency.store(micros, Ordering::Release);
            }
            Fault::Once(after, moment) => {
                let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
                moments.push((after, moment));
                moments.sort_by_key(|(after, _)| *after);
            }
            Fault::Call(fault) => self.calls().push(fault),
        }
    }

    /// No more faults of any kind, except in what has begun with them.
    #[cfg(test)]
    pub(crate) fn clear(&self) {
        self.rules().list.clear();
        self.armed.store(false, Ordering::Release);
        self.latency.store(0, Ordering::Release);
        self.moments.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.calls().clear();
    }

    /// What is to happen once in a session that opens now, by how many frames have passed.
    pub(crate) fn moments(&self) -> Vec<(u64, Moment)> {
        self.moments.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much later each frame of a session that opens now arrives.
    pub(crate) fn latency(&self) -> Option<Duration> {
        let micros = self.latency.load(Ordering::Acquire);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    /// Whether this call fails, and how.
    pub(crate) fn fails(&self, call: &str) -> Option<FailedCall> {
        let mut calls = self.calls();
        let place = calls.iter().position(|fault| fault.call.name() == call)?;
        let fault = calls.get_mut(place)?;
        let failed = FailedCall { failure: fault.failure, done: fault.done };
        fault.times = fault.times.saturating_sub(1);
        if fault.times == 0 {
            calls.remove(place);
        }
        Some(failed)
    }

    /// The first tap stays.
    #[cfg(test)]
    pub(crate) fn set_tap(&self, tap: Tap) -> bool {
        self.tap.set(tap).is_ok()
    }

    #[cfg(test)]
    pub(crate) fn refuse(&self, upgrades: u32) {
        self.refuse.store(upgrades, Ordering::Release);
    }

    #[cfg(test)]
    pub(crate) fn pauses(&self) -> u32 {
        self.pauses.load(Ordering::Acquire)
    }

    #[cfg(test)]
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
        let mut rules = self.rules();
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

    pub(crate) fn refuses_upgrade(&self) -> bool {
        self.refuse.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn calls(&self) -> MutexGuard<'_, Vec<CallFault>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        state.add(Fault::Frames(fault));
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
    fn a_number_of_calls_fails_and_no_more() {
        let state = FaultState::new();
        state.add("fail StartSession with throttling 2 times".parse().unwrap());
        state.add("lose StartSession with 503".parse().unwrap());
        let failed = |failure, done| Some(FailedCall { failure, done });
        assert_eq!(state.fails("ResumeSession"), None);
        for expected in [
            failed(Failure::Throttling, false),
            failed(Failure::Throttling, false),
            failed(Failure::Unavailable, true),
            None,
        ] {
            assert_eq!(state.fails("StartSession"), expected);
        }
    }
}
