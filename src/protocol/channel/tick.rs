//! The clock by which AWS's agent looks at its oldest frame: it sleeps 100 ms, looks, and sleeps again, whatever happens
//! meanwhile (agent/session/datachannel/datachannel.go, ResendStreamDataMessageScheduler). So a row of lost frames heals
//! at ten a second, however short the round trip is.

use core::time::Duration;

use crate::Time;

#[derive(Debug)]
pub(crate) struct Tick {
    next: Time,
}

impl Tick {
    pub(crate) fn starting(now: Time) -> Self {
        Self { next: now + SLEEP }
    }

    /// Whether it has ticked since this was asked last. However late one asks, the next tick is where it would have been.
    pub(crate) fn has_come(&mut self, now: Time) -> bool {
        if now < self.next {
            return false;
        }
        let late = now.saturating_sub(self.next).as_nanos() % SLEEP.as_nanos();
        self.next = now + SLEEP - Duration::from_nanos(u64::try_from(late).unwrap_or_default());
        true
    }

    pub(crate) fn next(&self) -> Time {
        self.next
    }
}

/// ResendSleepInterval in agent/session/config/config.go.
pub(crate) const SLEEP: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_keep_their_beat_however_late_one_looks() {
        let at = |ms| Time::from_secs(1_000_000) + Duration::from_millis(ms);
        let mut tick = Tick::starting(at(0));
        assert!(!tick.has_come(at(99)));
        assert!(tick.has_come(at(100)) && !tick.has_come(at(100)));
        assert!(tick.has_come(at(250)), "late");
        assert_eq!(tick.next(), at(300));
        assert!(!tick.has_come(at(299)));
        assert!(tick.has_come(at(1001)), "very late, and once for all that were missed");
        assert_eq!(tick.next(), at(1100));
    }
}
