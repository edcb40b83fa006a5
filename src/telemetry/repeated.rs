//! Lines of the program's own log that others can make as many of as they like: the first is written at once, and those
//! after it as a number.

use std::time::Duration;

use tokio::time::Instant;

/// One kind of line.
#[derive(Debug)]
pub struct Repeated {
    /// Between two lines.
    every: Duration,
    last: Option<Instant>,
    kept_back: u64,
}

impl Repeated {
    /// A line at most every so often.
    pub fn new(every: Duration) -> Self {
        Self { every, last: None, kept_back: 0 }
    }

    /// It has happened again: how often since the last line, this time included, if it is time for one.
    pub fn count(&mut self, now: Instant) -> Option<u64> {
        self.kept_back += 1;
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < self.every) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_at_once_and_the_others_as_a_number() {
        const EVERY: Duration = Duration::from_secs(10);
        let (mut repeated, now) = (Repeated::new(EVERY), Instant::now());
        assert_eq!(repeated.count(now), Some(1));
        assert!((0..99).all(|_| repeated.count(now + EVERY / 2).is_none()));
        assert_eq!(repeated.count(now + EVERY), Some(100));
        assert_eq!(repeated.count(now + EVERY), None);
    }
}
