//! The in lane, without its session: whether there is one, whether one is needed, and what its end means. It holds no
//! socket and reads no clock.
//!
//! ```text
//!             poll_open            handle_opened            handle_ended
//!   Closed ─────────────▶ Opening ───────────────▶ Open ───────────────▶ Ended ── no last word ──▶ error
//!     Waiting ◀────────────┘│                       └── not ready in time ──▶ error
//!        └──────────────────┘ handle_open_failed
//!
//!   Done: the helper has said everything, and nothing about the lane matters any more
//! ```
//!
//! An in lane that has ended is not replaced: no pause ends this kind of session, so its end was somebody's will. Where
//! that changes, `Ended` becomes one more state that `poll_open` leads out of.

use std::time::Duration;

use tokio::time::Instant;

use super::error::LaneError;
use super::noise::Noise;
use super::retry::Retry;
use crate::backend::BackendError;

/// How long the helper may take to read an in lane.
const READY_WAIT: Duration = Duration::from_secs(20);
/// How long the out lane may take to say that all is well after the in lane has ended: the helper ends both at once, and
/// which of them is heard first is chance.
const LAST_WORD: Duration = Duration::from_secs(2);

/// What there is of an in lane.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum InLane {
    /// Nothing was to be said yet.
    #[default]
    Closed,
    /// It could not be opened, and is tried again.
    Waiting(Retry),
    /// A session is being opened for it.
    Opening(Option<Retry>),
    /// It has a session.
    Open {
        /// Since when.
        since: Instant,
    },
    /// It ended unasked.
    Ended {
        /// When.
        at: Instant,
        /// What the service said about it.
        text: String,
    },
    /// The helper has said everything.
    Done,
}

impl InLane {
    /// Whether a lane may be opened if one is needed.
    pub(super) fn may_open(&self, now: Instant) -> bool {
        match self {
            Self::Closed => true,
            Self::Waiting(retry) => now >= retry.at,
            Self::Opening(_) | Self::Open { .. } | Self::Ended { .. } | Self::Done => false,
        }
    }

    /// One is needed: whether to open it now.
    pub(super) fn poll_open(&mut self, now: Instant) -> bool {
        if !self.may_open(now) {
            return false;
        }
        let before = if let Self::Waiting(retry) = self { Some(*retry) } else { None };
        *self = Self::Opening(before);
        true
    }

    /// Its session is there.
    pub(super) fn handle_opened(&mut self, now: Instant) {
        if *self != Self::Done {
            *self = Self::Open { since: now };
        }
    }

    /// Its session could not be opened.
    pub(super) fn handle_open_failed(&mut self, error: BackendError, now: Instant) -> Result<(), LaneError> {
        if let Self::Opening(before) = *self {
            *self = Self::Waiting(Retry::after(before, error, now)?);
        }
        Ok(())
    }

    /// Its session has ended, and nobody here had asked for that.
    pub(super) fn handle_ended(&mut self, text: &str, now: Instant) {
        if *self != Self::Done {
            *self = Self::Ended { at: now, text: text.to_owned() };
        }
    }

    /// The helper has said everything.
    pub(super) fn handle_done(&mut self) {
        *self = Self::Done;
    }

    /// When [`Self::handle_timeout`] or [`Self::poll_open`] must be asked again. `ready`: the helper reads the lane.
    pub(super) fn poll_timeout(&self, ready: bool, now: Instant) -> Option<Instant> {
        match self {
            Self::Waiting(retry) => Some(retry.at).filter(|at| *at > now),
            Self::Open { since } => (!ready).then(|| *since + READY_WAIT),
            Self::Ended { at, .. } => Some(*at + LAST_WORD),
            Self::Closed | Self::Opening(_) | Self::Done => None,
        }
    }

    /// What has been waited for long enough ends the channel.
    pub(super) fn handle_timeout(&self, ready: bool, noise: &Noise, now: Instant) -> Result<(), LaneError> {
        match self {
            Self::Open { since } if !ready && now >= *since + READY_WAIT => Err(LaneError::InLaneNotTaken),
            Self::Ended { at, text } if now >= *at + LAST_WORD => {
                Err(LaneError::InLaneEnded { said: noise.tail(text) })
            }
            _ => Ok(()),
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
    fn states(now: Instant) -> [(&'static str, InLane); 6] {
        let waiting = Retry::after(None, away(), now).unwrap();
        [
            ("closed", InLane::Closed),
            ("waiting", InLane::Waiting(waiting)),
            ("opening", InLane::Opening(None)),
            ("open", InLane::Open { since: now }),
            ("ended", InLane::Ended { at: now, text: "gone".to_owned() }),
            ("done", InLane::Done),
        ]
    }

    fn name(lane: &InLane) -> &'static str {
        match lane {
            InLane::Closed => "closed",
            InLane::Waiting(_) => "waiting",
            InLane::Opening(_) => "opening",
            InLane::Open { .. } => "open",
            InLane::Ended { .. } => "ended",
            InLane::Done => "done",
        }
    }

    /// Which state each event leads to, from each.
    #[test]
    fn what_each_event_does_in_each_state() {
        let now = Instant::now();
        let later = now + SECOND;
        type Event = fn(&mut InLane, Instant);
        let events: [(&str, Event, [&str; 6]); 5] = [
            //                                   closed     waiting    opening    open     ended    done
            (
                "poll_open",
                |lane, at| assert_eq!(lane.may_open(at), lane.poll_open(at)),
                ["opening", "opening", "opening", "open", "ended", "done"],
            ),
            ("opened", |lane, at| lane.handle_opened(at), ["open", "open", "open", "open", "open", "done"]),
            (
                "open failed",
                |lane, at| lane.handle_open_failed(away(), at).unwrap(),
                ["closed", "waiting", "waiting", "open", "ended", "done"],
            ),
            ("ended", |lane, at| lane.handle_ended("", at), ["ended", "ended", "ended", "ended", "ended", "done"]),
            ("done", |lane, _| lane.handle_done(), ["done"; 6]),
        ];
        for (event, handle, expected) in events {
            for ((before, mut lane), expected) in states(now).into_iter().zip(expected) {
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
    fn a_helper_that_does_not_read_the_lane_in_time_ends_the_channel() {
        let (now, noise) = (Instant::now(), Noise::default());
        let lane = InLane::Open { since: now };
        assert_eq!(lane.poll_timeout(false, now), Some(now + READY_WAIT));
        assert_eq!(lane.handle_timeout(false, &noise, now + READY_WAIT - SECOND), Ok(()));
        assert_eq!(lane.handle_timeout(false, &noise, now + READY_WAIT), Err(LaneError::InLaneNotTaken));
        assert_eq!((lane.poll_timeout(true, now), lane.handle_timeout(true, &noise, now + READY_WAIT)), (None, Ok(())));
    }

    #[test]
    fn an_end_leaves_the_out_lane_a_moment_for_its_last_word() {
        let now = Instant::now();
        let mut lane = InLane::Open { since: now };
        lane.handle_ended("Ended by an operator.", now);
        assert!(!lane.may_open(now + SECOND), "what somebody ended stays ended");
        assert_eq!(lane.poll_timeout(true, now), Some(now + LAST_WORD));
        let noise = Noise::default();
        assert_eq!(lane.handle_timeout(true, &noise, now + SECOND), Ok(()));
        let error = lane.handle_timeout(true, &noise, now + LAST_WORD).unwrap_err();
        assert_eq!(error.to_string(), "the way in to the command was ended: Ended by an operator.");
        lane.handle_done();
        assert_eq!(lane.handle_timeout(true, &noise, now + LAST_WORD), Ok(()));
    }
}
