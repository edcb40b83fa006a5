//! How fast sessions may be started. AWS throttles StartSession and publishes no figure, so the rate is learnt: there is
//! none until the first refusal; then it is halved at each refusal and grows slowly while there is none.
//!
//! A throttled StartSession has started nothing and may be tried again; any other failed one may have.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The rate right after the first refusal, in sessions a second.
const START: f64 = 4.0;
/// The least rate.
const FLOOR: f64 = 0.2;
/// Growth, in sessions a second for each second without a refusal.
const GROWTH: f64 = 0.1;
/// Beyond this rate nothing is limited any more.
const CEILING: f64 = 40.0;

/// A rate that is learnt.
#[derive(Debug)]
pub(super) struct Throttle {
    state: Mutex<State>,
    /// A limit of the configuration, which holds from the beginning.
    most: Option<f64>,
}

#[derive(Debug)]
struct State {
    rate: Option<f64>,
    /// When the next session may start.
    next: Instant,
    changed: Instant,
}

impl Throttle {
    pub(super) fn new(most: Option<f64>) -> Self {
        let now = Instant::now();
        Self { state: Mutex::new(State { rate: None, next: now, changed: now }), most }
    }

    /// How long to wait before starting a session; the turn is taken.
    pub(super) fn acquire(&self, now: Instant) -> Duration {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rate) = state.rate {
            let grown = rate + GROWTH * now.saturating_duration_since(state.changed).as_secs_f64();
            state.changed = now;
            state.rate = (grown < CEILING).then_some(grown);
        }
        let rate = match (state.rate, self.most) {
            (Some(rate), Some(most)) => rate.min(most),
            (Some(rate), None) => rate,
            (None, Some(most)) => most,
            (None, None) => return Duration::ZERO,
        };
        let start = state.next.max(now);
        state.next = start + Duration::from_secs_f64(1.0 / rate.max(FLOOR));
        start - now
    }

    /// AWS has throttled a call.
    pub(super) fn refused(&self, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Calls that were on their way together are one refusal.
        let fresh = state.rate.is_some() && now.saturating_duration_since(state.changed) < Duration::from_millis(500);
        if !fresh {
            state.rate = Some(state.rate.map_or(START, |rate| (rate / 2.0).max(FLOOR)));
            state.changed = now;
        }
        let rate = state.rate.unwrap_or(START);
        state.next = state.next.max(now + Duration::from_secs_f64(1.0 / rate));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_waits_before_the_first_refusal() {
        let throttle = Throttle::new(None);
        let now = Instant::now();
        assert!((0..1000).all(|_| throttle.acquire(now).is_zero()));
    }

    #[test]
    fn refusals_slow_down_and_time_heals() {
        let throttle = Throttle::new(None);
        let start = Instant::now();
        throttle.refused(start);
        throttle.refused(start);
        let waits: Vec<_> = (0..4).map(|_| throttle.acquire(start).as_millis()).collect();
        assert_eq!(waits, [250, 500, 750, 1000]);
        let later = start + Duration::from_secs(2);
        throttle.refused(later);
        assert!(throttle.acquire(later) >= Duration::from_millis(450));
        let healed = later + Duration::from_secs(600);
        assert!((0..100).all(|_| throttle.acquire(healed).is_zero()));
    }

    #[test]
    fn the_configured_rate_holds_from_the_beginning() {
        let throttle = Throttle::new(Some(2.0));
        let now = Instant::now();
        assert_eq!(throttle.acquire(now), Duration::ZERO);
        assert_eq!(throttle.acquire(now), Duration::from_millis(500));
    }
}
