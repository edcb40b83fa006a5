//! A common beat for what is not urgent. Each timer that is alone at its time wakes the program up, and tokio's wheel another
//! time or two on the way there; the timers of a thousand idle channels that fall on one instant wake it once for all.
//!
//! ```text
//!   due, each by itself   ─┬──┬─┬────┬─┬──┬─┬────▶      on the beat   ─┬────────────┬───────▶
//! ```

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

/// From one beat to the next: so long that idle channels cost next to nothing, so short that a helper that is gone is told of
/// within ten seconds, of which two go for its answer and one for finding that it is gone.
pub const BEAT: Duration = Duration::from_millis(6700);

/// When to do what is to be done after so long a wait: up to a beat early, on a beat. Of a wait as short as a beat at
/// least a half is left, if need be by a half beat, so that what is over sooner never comes to it; the next is on the beat
/// then. A wait that is shorter stays as it is.
pub fn on_beat(now: Instant, wait: Duration) -> Instant {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let due = now + wait;
    if wait < BEAT {
        return due;
    }
    let since = due.saturating_duration_since(*FIRST.get_or_init(Instant::now));
    let late = since.as_nanos() % BEAT.as_nanos();
    let late = if late > wait.as_nanos() / 2 { since.as_nanos() % (BEAT / 2).as_nanos() } else { late };
    due - Duration::from_nanos(u64::try_from(late).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = BEAT.saturating_mul(2);

    #[tokio::test(start_paused = true)]
    async fn what_is_due_in_one_beat_comes_at_once_and_never_late() {
        let start = Instant::now();
        let nows: Vec<Instant> = (0..4000).map(|n| start + Duration::from_millis(5 * n)).collect();
        let mut beats: Vec<Instant> = nows.iter().map(|&now| on_beat(now, WAIT)).collect();
        let early = nows.iter().zip(&beats).map(|(&now, &at)| (now + WAIT).checked_duration_since(at));
        assert!(early.into_iter().all(|early| early.unwrap() < BEAT), "early by less than a beat, and not late");
        beats.dedup();
        assert!(beats.len() <= 5, "twenty seconds have three beats, or five with those they began and ended in");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_for_each_beat_comes_after_at_least_a_half_and_then_with_all_others() {
        let start = Instant::now();
        for n in 0..600 {
            let now = start + Duration::from_millis(10 * n);
            let first = on_beat(now, BEAT);
            assert!(first >= now + BEAT / 2 && first <= now + BEAT, "{:?}", first - now);
            let second = on_beat(first, BEAT);
            assert_eq!(on_beat(second + BEAT / 100, BEAT), second + BEAT, "and stays there");
            assert!((second - start).as_nanos().is_multiple_of(BEAT.as_nanos()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_wait_is_what_was_asked_for() {
        let now = Instant::now() + Duration::from_millis(4321);
        assert_eq!(on_beat(now, Duration::from_secs(1)), now + Duration::from_secs(1));
    }
}
