//! Whether the helper answers. What an agent has acknowledged may never reach the helper, and what the helper says may be
//! stuck in an agent that sends ten frames a second; only an answer that goes through all of it shows that both lanes carry.
//!
//! ```text
//!   asked ── answered ────────────────────────────────────▶ well
//!     └───── much comes, and the answer is behind it ─────▶ wait on
//!     └───── next to nothing comes for the patience ──────▶ missed: once, twice, …; asked again, with more patience
//!
//!   output ── silence for a moment ──▶ ask: what follows may be lost
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// How long an answer may take; each time in a row it may take twice as long, up to a limit.
const PATIENCE: Duration = Duration::from_secs(2);
const DOUBLINGS: u32 = 3;
/// An agent that only sends its oldest frame again carries ten of 1 KiB a second; the slowest lane that is well carries a
/// terminal's 0.7 MB.
const CRAWL: u64 = 32 * 1024;
/// Output that stops for so long may have been lost rather than over; longer, where a way to ask has to be opened first.
const LULL: Duration = Duration::from_secs(1);
const LULL_UNASKED: Duration = Duration::from_secs(2);

/// A record of 48 KiB takes 70 ms on the slowest lane that is well.
const WHOLE: Duration = Duration::from_secs(1);

/// What is known of the answers.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Bytes that the out lane has carried, of whatever kind.
    pub(super) heard: u64,
    asked: Option<Asked>,
    missed: u32,
    output: Output,
    partial: Option<Partial>,
}

/// A record that is not whole: how many were whole before it.
#[derive(Debug)]
struct Partial {
    after: u64,
    since: Instant,
    told: bool,
}

/// The oldest question that is not answered.
#[derive(Debug)]
struct Asked {
    stamp: u32,
    at: Instant,
    /// What had been heard then.
    heard: u64,
    /// The last question since.
    newest: u32,
}

/// Output of the command's, and whether anything has shown since that the lane is well.
#[derive(Debug, Default)]
struct Output {
    said: u64,
    at: Option<Instant>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing.
    Well,
    /// Ask the helper.
    Ask,
    /// Ask it again; so often in a row there was no answer.
    Missed(u32),
}

impl Pulse {
    /// The helper was asked.
    pub(super) fn handle_asked(&mut self, stamp: u32, now: Instant) {
        let heard = self.heard;
        self.asked.get_or_insert(Asked { stamp, at: now, heard, newest: stamp }).newest = stamp;
        self.output.at = None;
    }

    /// It has answered.
    pub(super) fn handle_answer(&mut self, stamp: u32) {
        if self.asked.as_ref().is_some_and(|asked| stamp >= asked.stamp) {
            // what was asked since has its own time, from when it is asked again
            self.asked = self.asked.take().filter(|asked| asked.newest > stamp);
            if let Some(asked) = &mut self.asked {
                asked.stamp = asked.newest;
            }
            self.missed = 0;
        }
    }

    /// Another out lane is there: an answer may have gone with the last.
    pub(super) fn handle_attached(&mut self) {
        self.asked = None;
    }

    /// The question may have gone with the in lane.
    pub(super) fn handle_in_lost(&mut self) {
        self.asked = None;
    }

    /// How it stands. `said`: how much output there was in all; `can_ask`: there is a way to.
    pub(super) fn check(&mut self, said: u64, can_ask: bool, now: Instant) -> Beat {
        if said != self.output.said {
            self.output = Output { said, at: Some(now) };
        }
        if let Some(asked) = &mut self.asked {
            if now < asked.at + patience(self.missed) {
                return Beat::Well;
            }
            let time = now.saturating_duration_since(asked.at).as_secs().max(1);
            if self.heard.saturating_sub(asked.heard) >= CRAWL * time {
                (asked.at, asked.heard) = (now, self.heard);
                return Beat::Well;
            }
            self.asked = None;
            self.missed += 1;
            return Beat::Missed(self.missed);
        }
        if self.output.at.is_some_and(|at| now >= at + lull(can_ask)) {
            self.output.at = None;
            return Beat::Ask;
        }
        Beat::Well
    }

    /// Whether a record has not become whole for long; true once for each.
    pub(super) fn is_crawling(&mut self, partial: bool, whole: u64, now: Instant) -> bool {
        if !partial {
            self.partial = None;
            return false;
        }
        let known = self.partial.take().filter(|known| known.after == whole);
        let known = self.partial.insert(known.unwrap_or(Partial { after: whole, since: now, told: false }));
        let crawls = !known.told && now >= known.since + WHOLE;
        known.told |= crawls;
        crawls
    }

    /// When [`Self::is_crawling`] must be asked again.
    pub(super) fn crawl_timeout(&self) -> Option<Instant> {
        self.partial.as_ref().filter(|partial| !partial.told).map(|partial| partial.since + WHOLE)
    }

    /// When [`Self::check`] must be asked again.
    pub(super) fn timeout(&self, said: u64, can_ask: bool) -> Option<Instant> {
        if let Some(asked) = &self.asked {
            return Some(asked.at + patience(self.missed));
        }
        // output that is not looked at yet is looked at in this round
        self.output.at.filter(|_| said == self.output.said).map(|at| at + lull(can_ask))
    }
}

fn lull(can_ask: bool) -> Duration {
    if can_ask { LULL } else { LULL_UNASKED }
}

fn patience(missed: u32) -> Duration {
    PATIENCE * (1 << missed.min(DOUBLINGS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_in_time_is_well() {
        let (now, mut pulse) = (Instant::now(), Pulse::default());
        pulse.handle_asked(1, now);
        assert_eq!(pulse.timeout(0, true), Some(now + PATIENCE));
        pulse.handle_answer(1);
        assert_eq!((pulse.check(0, true, now + 9 * SECOND), pulse.timeout(0, true)), (Beat::Well, None));
    }

    #[test]
    fn no_answer_is_missed_again_and_again_with_growing_patience() {
        let (mut now, mut pulse) = (Instant::now(), Pulse::default());
        let mut waits = Vec::new();
        for times in 1..6 {
            pulse.handle_asked(times, now);
            let at = pulse.timeout(0, true).unwrap();
            waits.push((at - now).as_secs());
            now = at;
            assert_eq!(pulse.check(0, true, now), Beat::Missed(times));
        }
        assert_eq!(waits, [2, 4, 8, 16, 16]);
        pulse.handle_asked(9, now);
        pulse.handle_answer(9);
        pulse.handle_asked(10, now);
        assert_eq!(pulse.timeout(0, true), Some(now + PATIENCE), "one answer makes all well");
    }

    #[test]
    fn an_answer_behind_much_output_is_waited_for_and_one_behind_a_trickle_is_not() {
        for (rate, beat) in [(700_000, Beat::Well), (10 * 1024, Beat::Missed(1))] {
            let (now, mut pulse) = (Instant::now(), Pulse::default());
            pulse.handle_asked(1, now);
            pulse.heard += 2 * rate;
            assert_eq!(pulse.check(0, true, now + PATIENCE), beat);
        }
    }

    #[test]
    fn a_lull_after_output_is_asked_about_once() {
        let (now, mut pulse) = (Instant::now(), Pulse::default());
        assert_eq!((pulse.check(0, true, now), pulse.timeout(0, true)), (Beat::Well, None));
        assert_eq!(pulse.check(5, true, now), Beat::Well);
        assert_eq!((pulse.timeout(5, false), pulse.timeout(5, true)), (Some(now + LULL_UNASKED), Some(now + LULL)));
        assert_eq!(pulse.check(5, false, now + LULL), Beat::Well);
        assert_eq!(pulse.check(5, true, now + LULL), Beat::Ask);
        assert_eq!((pulse.check(5, true, now + 9 * LULL), pulse.timeout(5, true)), (Beat::Well, None));
    }

    #[test]
    fn a_record_that_does_not_become_whole_is_told_of_once() {
        let (now, mut pulse) = (Instant::now(), Pulse::default());
        assert!(!pulse.is_crawling(true, 7, now));
        assert_eq!(pulse.crawl_timeout(), Some(now + WHOLE));
        assert!(pulse.is_crawling(true, 7, now + WHOLE) && !pulse.is_crawling(true, 7, now + 9 * WHOLE));
        // the next has its own time
        assert!(!pulse.is_crawling(true, 8, now + 9 * WHOLE) && pulse.is_crawling(true, 8, now + 10 * WHOLE));
        assert!(!pulse.is_crawling(false, 9, now + 11 * WHOLE));
        assert_eq!(pulse.crawl_timeout(), None);
    }

    #[test]
    fn a_later_question_has_its_own_answer() {
        let (now, mut pulse) = (Instant::now(), Pulse::default());
        pulse.handle_asked(1, now);
        pulse.handle_asked(2, now + SECOND);
        pulse.handle_answer(1);
        assert!(pulse.timeout(0, true).is_some());
        pulse.handle_answer(2);
        assert_eq!(pulse.timeout(0, true), None);
    }
}
