//! Lines of the program's own log that strangers can make as many of as they like: the first is written at once, and the
//! others as a number.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two lines about the same.
const EVERY: Duration = Duration::from_secs(10);

/// One kind of line.
#[derive(Debug, Default)]
pub(super) struct Repeated(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    kept_back: u64,
}

impl Repeated {
    /// It has happened again: how often since the last line, if it is time for one.
    pub(super) fn count(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.kept_back += 1;
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_at_once_and_the_others_as_a_number() {
        let (repeated, now) = (Repeated::default(), Instant::now());
        assert_eq!(repeated.count(now), Some(1));
        assert!((0..99).all(|_| repeated.count(now + EVERY / 2).is_none()));
        assert_eq!(repeated.count(now + EVERY), Some(100));
        assert_eq!(repeated.count(now + EVERY), None);
    }
}
