//! The in lane, without its session: whether there is one, whether one is needed, what puts it in doubt, and what its end
//! means. It holds no socket and reads no clock.
//!
//! ```text
//!             poll_open            handle_opened            handle_ended             the service: somebody wanted it
//!   Closed ─────────────▶ Opening ───────────────▶ Open ─────────────────▶ Ended ──────────▶ Final ── no last word ──▶ error
//!   ▲ ▲  ▲                 ││                      │ │                      │                  ▲
//!   │ │  └─ stalled, or not read for long ─────────┼─┘   the service: it broke                 │ the service: the same
//!   │ └────────────────────┼┼──────────────────────┼────────────────────────┘                  │
//!   └ Waiting ◀────────────┘└─ handle_open_failed  └─ the helper lost it ─▶ Doubted ─▶ Ended, or soon Closed
//!
//!   the helper has let go of it: Open, Doubted, Ended, Final ─▶ Closed, soon
//!   Done: the helper has said everything, and nothing about the lane matters any more
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::error::LaneError;
use super::noise::Noise;
use super::out_lane::START_WAIT;
use super::retry::Retry;
use crate::backend::BackendError;
use crate::backend::lanes::Fate;

/// How long the helper may take to read an in lane before another is tried: the first one's worker may have been killed.
pub(super) const READY_WAIT: Duration = Duration::from_secs(35);
/// How long the out lane may take to say that all is well after the in lane has ended: the helper ends both at once, and
/// which of them is heard first is chance.
const LAST_WORD: Duration = Duration::from_secs(2);
/// How long the end of a session may take to be heard after the helper has lost its lane.
const HEARD: Duration = Duration::from_millis(500);
/// A lane that lasted so long was no trouble, and one that carried so much was worth it; one that did neither is followed by
/// the next after a pause, which doubles.
const STEADY: Duration = Duration::from_secs(10);
const MUCH: u64 = 128 * 1024;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The in lane of a channel.
#[derive(Debug, Default)]
pub(super) struct InLane {
    state: State,
    /// Since when one is wanted and the helper reads none.
    wanted_since: Option<Instant>,
    /// The pause before the next, if the last one was in trouble soon.
    pause: Duration,
    /// How many bytes the helper has acknowledged, and how many when this lane began.
    acknowledged: u64,
    began: u64,
}

/// What there is of an in lane.
#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// None is there; none before this time, if there is one.
    #[default]
    Closed,
    Later(Instant),
    /// It could not be opened, and is tried again.
    Waiting(Retry),
    /// A session is being opened for it.
    Opening(Option<Retry>),
    /// It has a session.
    Open {
        since: Instant,
    },
    /// The helper says that it broke. If somebody has ended it, its end is heard in a moment.
    Doubted {
        since: Instant,
        until: Instant,
    },
    /// It ended unasked, and the service is asked how; with what it said about it.
    Ended(String),
    /// Somebody wanted that.
    Final {
        at: Instant,
        text: String,
    },
    /// The helper has said everything.
    Done,
}

impl InLane {
    /// Whether a lane may be opened if one is needed.
    pub(super) fn may_open(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Later(at) => now >= at,
            State::Waiting(retry) => now >= retry.at,
            _ => false,
        }
    }

    /// One is needed: whether to open it now.
    pub(super) fn poll_open(&mut self, now: Instant) -> bool {
        if !self.may_open(now) {
            return false;
        }
        let before = if let State::Waiting(retry) = self.state { Some(retry) } else { None };
        self.wanted_since.get_or_insert(now);
        self.state = State::Opening(before);
        true
    }

    /// Its session is there.
    pub(super) fn handle_opened(&mut self, now: Instant) {
        if self.state != State::Done {
            self.state = State::Open { since: now };
            self.began = self.acknowledged;
        }
    }

    /// So many bytes has the helper acknowledged in all.
    pub(super) fn handle_acknowledged(&mut self, bytes: u64) {
        self.acknowledged = bytes;
    }

    /// Its session could not be opened.
    pub(super) fn handle_open_failed(&mut self, error: BackendError, now: Instant) -> Result<(), LaneError> {
        if let State::Opening(before) = self.state {
            self.state = State::Waiting(Retry::after(before, error, now)?);
        }
        Ok(())
    }

    /// A sign that the lane is worse than slow: whether to let go of it. The next comes when one is needed.
    pub(super) fn handle_sign(&mut self, now: Instant) -> bool {
        let State::Open { since } = self.state else { return false };
        self.let_go(since, now);
        true
    }

    fn let_go(&mut self, since: Instant, now: Instant) {
        if now >= since + STEADY || self.acknowledged - self.began >= MUCH {
            self.pause = Duration::ZERO;
            self.state = State::Closed;
        } else {
            self.state = State::Later(now + self.pause);
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        }
    }

    /// The helper has said that the lane broke.
    pub(super) fn handle_broken(&mut self, now: Instant) {
        if let State::Open { since } = self.state {
            self.state = State::Doubted { since, until: now + HEARD };
        }
    }

    /// The helper has said that it has let go of the lane: nobody has ended it, whatever the service says of its session.
    /// Whether to let go of it here.
    pub(super) fn handle_let_go(&mut self, now: Instant) -> bool {
        match self.state {
            State::Open { since } | State::Doubted { since, .. } => {
                self.let_go(since, now);
                true
            }
            State::Ended(_) | State::Final { .. } => {
                self.let_go(now, now);
                false
            }
            State::Closed | State::Later(_) | State::Waiting(_) | State::Opening(_) | State::Done => false,
        }
    }

    /// Its session has ended, and nobody here had asked for that: whether to ask the service how.
    pub(super) fn handle_ended(&mut self, text: &str) -> bool {
        let asks = !matches!(self.state, State::Done | State::Final { .. } | State::Ended(_));
        if asks {
            self.state = State::Ended(text.to_owned());
        }
        asks
    }

    /// The service has said what became of its session. What can't be found out was an end.
    pub(super) fn handle_fate(&mut self, fate: Fate, now: Instant) {
        let State::Ended(text) = &mut self.state else { return };
        match fate {
            Fate::Ended | Fate::Unknown => self.state = State::Final { at: now, text: std::mem::take(text) },
            Fate::Failed => self.let_go(now, now),
        }
    }

    /// The channel is at its end, and the helper is to hear of it: whatever became of the lane before, one may be opened.
    pub(super) fn handle_farewell(&mut self) {
        if let State::Ended(_) | State::Final { .. } | State::Later(_) = self.state {
            self.state = State::Closed;
        }
    }

    /// The helper has said everything.
    pub(super) fn handle_done(&mut self) {
        self.state = State::Done;
    }

    /// When [`Self::handle_timeout`] or [`Self::poll_open`] must be asked again. `ready`: the helper reads the lane.
    pub(super) fn poll_timeout(&self, ready: bool, now: Instant) -> Option<Instant> {
        match &self.state {
            State::Waiting(Retry { at, .. }) | State::Later(at) => Some(*at).filter(|at| *at > now),
            State::Open { since } => (!ready).then(|| *since + READY_WAIT),
            State::Final { at, .. } => Some(*at + LAST_WORD),
            State::Doubted { until, .. } => Some(*until),
            State::Closed | State::Opening(_) | State::Ended(_) | State::Done => None,
        }
    }

    /// What has been waited for long enough ends the channel, or brings another lane: then this one is to be let go of.
    pub(super) fn handle_timeout(&mut self, ready: bool, noise: &Noise, now: Instant) -> Result<bool, LaneError> {
        if ready {
            self.wanted_since = None;
        }
        match &self.state {
            State::Open { since } if !ready && now >= *since + READY_WAIT => {
                let since = *since;
                if self.wanted_since.is_some_and(|wanted| now >= wanted + START_WAIT) {
                    return Err(LaneError::InLaneNotTaken);
                }
                self.let_go(since, now);
                Ok(true)
            }
            State::Doubted { since, until } if now >= *until => {
                let since = *since;
                self.let_go(since, now);
                Ok(true)
            }
            State::Final { at, text } if now >= *at + LAST_WORD => {
                Err(LaneError::InLaneEnded { said: noise.tail(text) })
            }
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn away() -> BackendError {
        BackendError::Unreachable("away".to_owned())
    }

    /// The lane in each of its states at `now`, by name.
    fn states(now: Instant) -> [InLane; 8] {
        let waiting = Retry::after(None, away(), now).unwrap();
        [
            State::Closed,
            State::Waiting(waiting),
            State::Opening(None),
            State::Open { since: now },
            State::Doubted { since: now, until: now + HEARD },
            State::Ended("gone".to_owned()),
            State::Final { at: now, text: "gone".to_owned() },
            State::Done,
        ]
        .map(|state| InLane { state, ..InLane::default() })
    }

    fn name(lane: &InLane) -> &'static str {
        match lane.state {
            State::Closed => "closed",
            State::Later(_) => "later",
            State::Waiting(_) => "waiting",
            State::Opening(_) => "opening",
            State::Open { .. } => "open",
            State::Doubted { .. } => "doubted",
            State::Ended(_) => "ended",
            State::Final { .. } => "final",
            State::Done => "done",
        }
    }

    /// Which state each event leads to, from each.
    #[test]
    fn what_each_event_does_in_each_state() {
        let now = Instant::now();
        let later = now + SECOND;
        type Event = fn(&mut InLane, Instant);
        let events: [(&str, Event, [&str; 8]); 12] = [
            //                 closed     waiting    opening    open       doubted    ended    final    done
            (
                "poll_open",
                |lane, at| assert_eq!(lane.may_open(at), lane.poll_open(at)),
                ["opening", "opening", "opening", "open", "doubted", "ended", "final", "done"],
            ),
            (
                "opened",
                |lane, at| lane.handle_opened(at),
                ["open", "open", "open", "open", "open", "open", "open", "done"],
            ),
            (
                "open failed",
                |lane, at| lane.handle_open_failed(away(), at).unwrap(),
                ["closed", "waiting", "waiting", "open", "doubted", "ended", "final", "done"],
            ),
            (
                "sign",
                |lane, at| {
                    let _ = lane.handle_sign(at);
                },
                ["closed", "waiting", "opening", "later", "doubted", "ended", "final", "done"],
            ),
            (
                "broken",
                |lane, at| lane.handle_broken(at),
                ["closed", "waiting", "opening", "doubted", "doubted", "ended", "final", "done"],
            ),
            (
                "let go of, as the helper says",
                |lane, at| {
                    let _ = lane.handle_let_go(at);
                },
                ["closed", "waiting", "opening", "later", "later", "later", "later", "done"],
            ),
            (
                "ended",
                |lane, _| {
                    let _ = lane.handle_ended("");
                },
                ["ended", "ended", "ended", "ended", "ended", "ended", "final", "done"],
            ),
            (
                "failed, as the service says",
                |lane, at| lane.handle_fate(Fate::Failed, at),
                ["closed", "waiting", "opening", "open", "doubted", "later", "final", "done"],
            ),
            (
                "ended, as the service says",
                |lane, at| lane.handle_fate(Fate::Ended, at),
                ["closed", "waiting", "opening", "open", "doubted", "final", "final", "done"],
            ),
            (
                "nothing, as the service says",
                |lane, at| lane.handle_fate(Fate::Unknown, at),
                ["closed", "waiting", "opening", "open", "doubted", "final", "final", "done"],
            ),
            (
                "farewell",
                |lane, _| lane.handle_farewell(),
                ["closed", "waiting", "opening", "open", "doubted", "closed", "closed", "done"],
            ),
            ("done", |lane, _| lane.handle_done(), ["done"; 8]),
        ];
        for (event, handle, expected) in events {
            for (mut lane, expected) in states(now).into_iter().zip(expected) {
                let before = name(&lane);
                handle(&mut lane, later);
                assert_eq!(name(&lane), expected, "{event} when {before}");
            }
        }
    }

    #[test]
    fn a_lane_that_cannot_be_opened_is_tried_again_after_growing_pauses() {
        let mut now = Instant::now();
        let mut lane = InLane::default();
        for pause in [1, 2, 4] {
            assert!(lane.poll_open(now) && !lane.poll_open(now));
            lane.handle_open_failed(away(), now).unwrap();
            assert_eq!(lane.poll_timeout(false, now), Some(now + pause * SECOND));
            assert!(!lane.may_open(now));
            now += pause * SECOND;
            // what is past already is nothing to wake up for
            assert_eq!((lane.may_open(now), lane.poll_timeout(false, now)), (true, None));
        }
        assert!(lane.poll_open(now));
        let refused = BackendError::Refused("IAM".to_owned());
        assert_eq!(lane.handle_open_failed(refused.clone(), now), Err(LaneError::CantOpen(refused)));
    }

    #[test]
    fn a_lane_that_is_not_read_is_followed_by_others_until_it_is_too_late() {
        let (mut now, noise) = (Instant::now(), Noise::default());
        let start = now;
        let mut lane = InLane::default();
        let error = loop {
            assert!(lane.poll_open(now));
            lane.handle_opened(now);
            now = lane.poll_timeout(false, now).unwrap();
            match lane.handle_timeout(false, &noise, now) {
                Ok(true) => {}
                Ok(false) => panic!("it was due"),
                Err(error) => break error,
            }
        };
        assert_eq!((error, now - start), (LaneError::InLaneNotTaken, 3 * READY_WAIT));
        // one that is read begins anew
        let mut lane = InLane { state: State::Open { since: now }, wanted_since: Some(start), ..InLane::default() };
        assert_eq!((lane.poll_timeout(true, now), lane.handle_timeout(true, &noise, now)), (None, Ok(false)));
        assert_eq!(lane.handle_timeout(false, &noise, now + READY_WAIT), Ok(true));
    }

    #[test]
    fn lanes_that_stall_one_after_the_other_come_ever_more_slowly() {
        let mut now = Instant::now();
        let mut lane = InLane::default();
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert!(lane.poll_open(now));
            lane.handle_opened(now);
            assert!(lane.handle_sign(now) && !lane.handle_sign(now));
            pauses.push(lane.poll_timeout(false, now).map_or(0, |at| (at - now).as_secs()));
            now += pauses.last().unwrap().to_owned() as u32 * SECOND;
        }
        assert_eq!(pauses, [0, 1, 2, 4, 8, 8]);
        assert!(lane.poll_open(now));
        lane.handle_opened(now);
        assert!(lane.handle_sign(now + STEADY) && lane.poll_open(now + STEADY));
        // one that has carried much was worth it
        for _ in 0..20 {
            lane.handle_opened(now);
            lane.handle_acknowledged(lane.acknowledged + MUCH);
            assert!(lane.handle_sign(now) && lane.poll_open(now));
        }
    }

    #[test]
    fn a_lane_that_the_helper_has_lost_is_let_go_of_unless_its_end_is_heard() {
        let (now, noise) = (Instant::now(), Noise::default());
        let mut lane = InLane { state: State::Open { since: now }, ..InLane::default() };
        lane.handle_broken(now);
        assert_eq!((lane.may_open(now), lane.poll_timeout(true, now)), (false, Some(now + HEARD)));
        assert_eq!(lane.handle_timeout(true, &noise, now + HEARD / 2), Ok(false));
        assert_eq!((lane.handle_timeout(true, &noise, now + HEARD), lane.may_open(now + HEARD)), (Ok(true), true));
        let mut lane = InLane { state: State::Open { since: now }, ..InLane::default() };
        lane.handle_broken(now);
        assert!(lane.handle_ended("Ended by an operator."));
        assert_eq!(lane.handle_timeout(true, &noise, now + HEARD), Ok(false));
    }

    #[test]
    fn an_end_that_somebody_wanted_leaves_the_out_lane_a_moment_for_its_last_word() {
        let now = Instant::now();
        let mut lane = InLane { state: State::Open { since: now }, ..InLane::default() };
        assert!(lane.handle_ended("Ended by an operator."));
        assert_eq!((lane.may_open(now + SECOND), lane.poll_timeout(true, now)), (false, None), "the service is asked");
        lane.handle_fate(Fate::Ended, now);
        assert!(!lane.may_open(now + SECOND), "what somebody ended stays ended");
        assert_eq!(lane.poll_timeout(true, now), Some(now + LAST_WORD));
        let noise = Noise::default();
        assert_eq!(lane.handle_timeout(true, &noise, now + SECOND), Ok(false));
        let error = lane.handle_timeout(true, &noise, now + LAST_WORD).unwrap_err();
        assert_eq!(error.to_string(), "the way in to the command was ended: Ended by an operator.");
        lane.handle_done();
        assert_eq!(lane.handle_timeout(true, &noise, now + LAST_WORD), Ok(false));
    }
}
