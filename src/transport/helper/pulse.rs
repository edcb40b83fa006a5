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
pub(in crate::transport) const PATIENCE: Duration = Duration::from_secs(2);
const DOUBLINGS: u32 = 3;
/// An agent that only sends its oldest frame again carries ten of 1 KiB a second. What carries more is a slow way, and
/// another lane would be no faster.
const CRAWL: u64 = 16 * 1024;
/// Where another lane was as slow, it is the way that is: next to nothing is less than a frame a second then.
const TRICKLE: u64 = 1024;
/// And for so long no record is told of. It is longer than a lane must last to be no trouble, so that a way that is always
/// slow costs a lane now and then, and never the command.
const NO_FASTER: Duration = Duration::from_secs(120);
/// What a lane carries that was faster than the one before it.
const MUCH: u64 = 128 * 1024;
/// Output that stops for so long may have been lost rather than over; longer, where a way to ask has to be opened first.
pub(in crate::transport) const LULL: Duration = Duration::from_secs(1);
const LULL_UNASKED: Duration = Duration::from_secs(2);
/// How long a record that is not whole is looked at before its lane's rate is judged.
const WHOLE: Duration = Duration::from_secs(1);

/// What is known of the answers.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Bytes that the out lane has carried, of whatever kind.
    pub(super) heard: u64,
    asked: Option<Asked>,
    missed: u32,
    /// A question may have gone with the in lane, and nothing was answered since.
    unheard: bool,
    output: Output,
    partial: Option<Partial>,
    crawl: Crawl,
}

/// A record that is not whole: how many were whole before it, and what had been heard when it was looked at last.
#[derive(Debug)]
struct Partial {
    after: u64,
    since: Instant,
    heard: u64,
    told: bool,
}

/// Whether a lane that crawls is worth another.
#[derive(Debug, Default, PartialEq, Eq)]
enum Crawl {
    #[default]
    Watched,
    /// It has been told of.
    Told,
    /// Another has its place, which began when so much had been heard.
    Replaced { heard: u64 },
    /// That one was no faster.
    Way { until: Instant },
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
            (self.missed, self.unheard) = (0, false);
        }
    }

    /// Another out lane is there: an answer may have gone with the last.
    pub(super) fn handle_attached(&mut self) {
        self.asked = None;
        if self.crawl == Crawl::Told {
            self.crawl = Crawl::Replaced { heard: self.heard };
        }
    }

    /// The question may have gone with the in lane.
    pub(super) fn handle_in_lost(&mut self) {
        self.unheard |= self.asked.is_some();
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
            let least = if matches!(self.crawl, Crawl::Way { until } if now < until) { TRICKLE } else { CRAWL };
            if self.heard.saturating_sub(asked.heard) >= least * time {
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

    /// Whether the last question had no answer in time, or was lost and has none.
    pub(super) fn misses_answers(&self) -> bool {
        self.missed > 0 || self.unheard
    }

    /// Whether a record does not become whole, and its lane is near ten frames a second; true once for each, and not where
    /// another lane was no faster.
    pub(super) fn is_crawling(&mut self, partial: bool, whole: u64, now: Instant) -> bool {
        if !partial {
            self.partial = None;
            return false;
        }
        let heard = self.heard;
        let known = self.partial.take().filter(|known| known.after == whole);
        let known = self.partial.insert(known.unwrap_or(Partial { after: whole, since: now, heard, told: false }));
        if known.told || now < known.since + WHOLE {
            return false;
        }
        let time = now.saturating_duration_since(known.since).as_secs().max(1);
        if heard.saturating_sub(known.heard) >= CRAWL * time {
            (known.since, known.heard) = (now, heard);
            return false;
        }
        known.told = true;
        match self.crawl {
            Crawl::Way { until } if now < until => false,
            Crawl::Replaced { heard: began } if heard.saturating_sub(began) < MUCH => {
                self.crawl = Crawl::Way { until: now + NO_FASTER };
                false
            }
            _ => {
                self.crawl = Crawl::Told;
                true
            }
        }
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
        assert!(pulse.misses_answers());
        pulse.handle_answer(9);
        assert!(!pulse.misses_answers());
        pulse.handle_asked(10, now);
        assert_eq!(pulse.timeout(0, true), Some(now + PATIENCE), "one answer makes all well");
    }

    #[test]
    fn an_answer_behind_much_output_is_waited_for_and_one_behind_a_trickle_is_not() {
        for (rate, beat) in [(700_000, Beat::Well), (20 * 1024, Beat::Well), (10 * 1024, Beat::Missed(1))] {
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

    /// How often a lane is told of that carries so much a second, in records of 48 KiB, if each is replaced at once by one
    /// that is no faster; and how often an answer is missed that waits behind all of it.
    fn told_at(rate: u64, seconds: u64) -> (u32, u32) {
        let (mut now, mut pulse) = (Instant::now(), Pulse::default());
        let (mut told, mut missed, mut begun) = (0, 0, 0);
        for _ in 0..seconds * 10 {
            now += SECOND / 10;
            pulse.heard += rate / 10;
            if pulse.is_crawling(true, (pulse.heard - begun) / (48 * 1024), now) {
                told += 1;
                pulse.handle_attached();
                begun = pulse.heard;
            }
            if pulse.asked.is_none() {
                pulse.handle_asked(1, now);
            }
            missed += u32::from(matches!(pulse.check(0, true, now), Beat::Missed(_)));
        }
        (told, missed)
    }

    #[test]
    fn a_slow_way_is_not_taken_for_a_lane_that_crawls() {
        assert_eq!(told_at(20 * 1024, 600), (0, 0), "it is well");
        // one that may crawl is replaced; the next is as slow, so that it is the way, and after a while another is tried
        let (told, missed) = told_at(8 * 1024, 600);
        assert!((3..=6).contains(&told) && missed <= told, "{told}, {missed}");
    }

    #[test]
    fn a_lane_that_was_faster_than_the_one_before_it_is_told_of_if_it_crawls_later() {
        let (mut now, mut pulse) = (Instant::now(), Pulse::default());
        for whole in 0..3 {
            assert!(!pulse.is_crawling(true, whole, now));
            now += WHOLE;
            assert!(pulse.is_crawling(true, whole, now));
            pulse.handle_attached();
            pulse.heard += MUCH;
        }
        // a record that stops on its way after a good beginning
        assert!(!pulse.is_crawling(true, 9, now));
        (now, pulse.heard) = (now + WHOLE, pulse.heard + MUCH);
        assert!(!pulse.is_crawling(true, 9, now));
        assert_eq!(pulse.crawl_timeout(), Some(now + WHOLE));
        assert!(pulse.is_crawling(true, 9, now + WHOLE));
    }

    #[test]
    fn a_question_that_goes_with_its_lane_is_an_answer_that_is_missed_until_one_comes() {
        let (now, mut pulse) = (Instant::now(), Pulse::default());
        pulse.handle_in_lost();
        assert!(!pulse.misses_answers());
        pulse.handle_asked(1, now);
        pulse.handle_in_lost();
        assert!(pulse.misses_answers());
        pulse.handle_asked(2, now);
        assert!(pulse.misses_answers());
        pulse.handle_answer(2);
        assert!(!pulse.misses_answers());
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
