//! How long to wait after a failure: twice as long each time, with jitter, so that many gateways do not come back at once.

use std::time::Duration;

/// The pauses of one sink.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next pause: from half of what it would be to all of it.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.first.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        // a random number from what is there for session numbers
        let random = uuid::Uuid::new_v4().as_u128() & 0xffff;
        let half = pause / 2;
        half + half.mul_f64(random as f64 / 65_535.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_with_jitter_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
        for expected in [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            let pause = backoff.next().as_millis();
            assert!((expected / 2..=expected).contains(&pause), "{pause} of {expected}");
        }
        for _ in 0..100 {
            assert!(backoff.next() <= Duration::from_secs(60));
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(500));
    }
}
