//! Signs that a channel is worse than slow, long before patience with it runs out.
//!
//! AWS's agent sends again only its oldest unacknowledged frame, ten times a second
//! (agent/session/datachannel/datachannel.go, ResendStreamDataMessageScheduler), so a channel that has lost what was in
//! flight heals at ten frames a second: whoever can do without it should. Nothing here ends a channel.
//!
//! ```text
//!   hole         expected ┄┄┄┄ missing ┄┄┄┄ first held       one frame is back in a fifth of a second, a row of them is not
//!   duplicates   the same frames again and again, and nothing new: our acknowledgements are not heard
//!   silence      frames are out, and none is acknowledged
//! ```

use core::time::Duration;

use crate::Time;

use super::config::Limits;

/// What speaks against a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// Frames are missing, later ones are here, and the first hole among them stays open.
    Gap,
    /// Frames that were acknowledged come again and again, and nothing else does.
    Duplicates,
    /// What was sent is not acknowledged.
    Unacknowledged,
}

/// What is watched on one channel.
#[derive(Debug)]
pub(crate) struct Watch {
    gap_patience: Option<Duration>,
    ack_patience: Option<Duration>,
    hole: Option<Hole>,
    repeated: Option<Repeated>,
    /// Of the silence that began then it was told.
    told_of: Option<Time>,
}

/// A row of missing frames: everything before `end` that is not here.
#[derive(Debug)]
struct Hole {
    end: i64,
    missing: i64,
    since: Time,
    told: bool,
}

impl Hole {
    /// When it has stood for too long: sooner, where as many are missing as can't be back by then.
    fn due(&self, patience: Duration) -> Time {
        self.since + if self.missing >= MANY { patience.min(SURE) } else { patience }
    }
}

/// Duplicates since the last frame that was new.
#[derive(Debug)]
struct Repeated {
    since: Time,
    count: u32,
}

impl Watch {
    pub(crate) fn new(limits: &Limits) -> Self {
        let Limits { gap_patience, ack_patience, .. } = *limits;
        Self { gap_patience, ack_patience, hole: None, repeated: None, told_of: None }
    }

    /// A frame of the stream has come. `expected` is the next one in order, `first_held` the first that waits for it.
    pub(crate) fn arrived(&mut self, now: Time, expected: i64, first_held: Option<i64>) {
        match (first_held, &mut self.hole) {
            (None, _) => self.hole = None,
            // what comes late and not in order fills it from behind
            (Some(end), Some(hole)) if expected < hole.end => hole.missing = end.min(hole.end) - expected,
            (Some(end), _) => self.hole = Some(Hole { end, missing: end - expected, since: now, told: false }),
        }
    }

    /// It was one that had not been here.
    pub(crate) fn progressed(&mut self) {
        self.repeated = None;
    }

    /// It was one that had been acknowledged.
    pub(crate) fn repeated(&mut self, now: Time) {
        self.repeated.get_or_insert(Repeated { since: now, count: 0 }).count += 1;
    }

    /// What comes from now on comes another way: the websocket is back, or is read again after so long.
    pub(crate) fn restart(&mut self, now: Time) {
        self.repeated = None;
        if let Some(hole) = &mut self.hole {
            hole.since = now;
        }
    }

    /// The sign that has just become one. `silent_since`: since when frames are out and none was acknowledged.
    pub(crate) fn poll(&mut self, now: Time, silent_since: Option<Time>) -> Option<Stall> {
        if let (Some(patience), Some(hole)) = (self.gap_patience, &mut self.hole)
            && !hole.told
            && now >= hole.due(patience)
        {
            hole.told = true;
            return Some(Stall::Gap);
        }
        if let (Some(patience), Some(repeated)) = (self.gap_patience, &self.repeated)
            && repeated.count >= REPEATED
            && now >= repeated.since + patience
        {
            self.repeated = None;
            return Some(Stall::Duplicates);
        }
        if let (Some(patience), Some(since)) = (self.ack_patience, silent_since)
            && self.told_of != Some(since)
            && now >= since + patience
        {
            self.told_of = Some(since);
            return Some(Stall::Unacknowledged);
        }
        None
    }

    /// When [`Self::poll`] may have something to say although nothing came. Duplicates are told of when one comes.
    pub(crate) fn deadline(&self, silent_since: Option<Time>) -> Option<Time> {
        let hole = self.hole.as_ref().filter(|hole| !hole.told);
        let hole = hole.zip(self.gap_patience).map(|(hole, patience)| hole.due(patience));
        let silence = silent_since.filter(|since| self.told_of != Some(*since));
        let due = |since: Option<Time>, patience: Option<Duration>| Some(since? + patience?);
        [hole, due(silence, self.ack_patience)].into_iter().flatten().min()
    }
}

/// So many missing frames need a second to be sent again, one each time; and nothing that is merely out of order waits for
/// so long.
const MANY: i64 = 10;
const SURE: Duration = Duration::from_millis(350);
/// So many duplicates without anything new are no accident: the agent repeats one until it hears, at most ten a second.
const REPEATED: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::from_secs(1_000_000);

    fn ms(ms: u64) -> Time {
        START + Duration::from_millis(ms)
    }

    fn watch() -> Watch {
        let limits = Limits {
            gap_patience: Some(Duration::from_secs(1)),
            ack_patience: Some(Duration::from_secs(2)),
            ..Limits::default()
        };
        Watch::new(&limits)
    }

    #[test]
    fn a_row_of_missing_frames_is_a_sign_and_single_ones_are_not() {
        let mut watch = watch();
        // 10 to 29 are missing, and come back ten a second
        for (back, expected) in (10..30).enumerate() {
            let now = ms(100 * back as u64);
            watch.arrived(now, expected, Some(30));
            let sign = watch.poll(now, None);
            assert_eq!(sign, (back == 4).then_some(Stall::Gap), "at {back}");
        }
        // single ones of which each is back after a while, the next already missing
        for (turn, expected) in (30..130).step_by(2).enumerate() {
            let now = ms(2000 + 300 * turn as u64);
            watch.arrived(now, expected, Some(expected + 1));
            assert_eq!(watch.poll(now, None), None);
        }
        watch.arrived(ms(60_000), 131, None);
        assert_eq!(watch.deadline(None), None);
    }

    #[test]
    fn a_hole_is_told_of_once_and_in_time() {
        let mut watch = watch();
        watch.arrived(START, 5, Some(8));
        assert_eq!((watch.deadline(None), watch.poll(ms(999), None)), (Some(ms(1000)), None));
        assert_eq!(watch.poll(ms(1000), None), Some(Stall::Gap));
        assert_eq!((watch.deadline(None), watch.poll(ms(5000), None)), (None, None));
        // the websocket came back: what was on its way may come again
        watch.arrived(ms(6000), 8, Some(9));
        watch.restart(ms(6500));
        assert_eq!((watch.poll(ms(7400), None), watch.poll(ms(7500), None)), (None, Some(Stall::Gap)));
    }

    #[test]
    fn duplicates_are_a_sign_only_while_nothing_is_new() {
        let mut watch = watch();
        for turn in 0..30 {
            watch.repeated(ms(100 * turn));
            watch.progressed();
            assert_eq!(watch.poll(ms(100 * turn), None), None);
        }
        let told = (30..50).filter(|turn| {
            watch.repeated(ms(100 * turn));
            watch.poll(ms(100 * turn), None) == Some(Stall::Duplicates)
        });
        assert_eq!(told.count(), 1);
    }

    #[test]
    fn each_silence_is_told_of_once() {
        let mut watch = watch();
        assert_eq!(watch.deadline(Some(START)), Some(ms(2000)));
        assert_eq!(watch.poll(ms(1999), Some(START)), None);
        assert_eq!(watch.poll(ms(2000), Some(START)), Some(Stall::Unacknowledged));
        assert_eq!((watch.poll(ms(9000), Some(START)), watch.deadline(Some(START))), (None, None));
        assert_eq!(watch.poll(ms(12_000), Some(ms(10_000))), Some(Stall::Unacknowledged));
        assert_eq!(watch.poll(ms(20_000), None), None);
    }
}
