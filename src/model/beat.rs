//! A common beat for what is not urgent. Each timer that is alone at its time wakes the program up, and tokio's wheel another
//! time or two on the way there; the timers of a thousand idle channels that fall on one instant wake it once for all.
//!
//! ```text
//!   due, each by itself   ─┬──┬─┬────┬─┬──┬─┬────▶      on the beat   ─┬────────────┬───────▶
//! ```

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

/// From one beat to the next: so long that few channels share most of theirs, so short that many thousands do not all come
/// at once.
const BEAT: Duration = Duration::from_secs(5);

/// When to do what is to be done after so long a wait: up to five seconds early, on a beat. A wait that is hardly longer than
/// that stays as it is.
pub fn on_beat(now: Instant, wait: Duration) -> Instant {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let due = now + wait;
    if wait < 2 * BEAT {
        return due;
    }
    let since = due.saturating_duration_since(*FIRST.get_or_init(Instant::now));
    let late = since.as_nanos() % BEAT.as_nanos();
    due - Duration::from_nanos(u64::try_from(late).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn what_is_due_in_one_beat_comes_at_once_and_never_late() {
        let start = Instant::now();
        let nows: Vec<Instant> = (0..4000).map(|n| start + Duration::from_millis(5 * n)).collect();
        let mut beats: Vec<Instant> = nows.iter().map(|&now| on_beat(now, WAIT)).collect();
        let early = nows.iter().zip(&beats).map(|(&now, &at)| (now + WAIT).checked_duration_since(at));
        assert!(early.into_iter().all(|early| early.unwrap() < BEAT), "early by less than a beat, and not late");
        beats.dedup();
        assert!(beats.len() <= 5, "twenty seconds have four beats, or five with the one they began in");
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_wait_is_what_was_asked_for() {
        let now = Instant::now() + Duration::from_millis(4321);
        assert_eq!(on_beat(now, Duration::from_secs(1)), now + Duration::from_secs(1));
    }
}
