//! The out lane in virtual time: what each event does in each state, and the stories of decision 0003 without a session.

use super::*;
use crate::model::BEAT;
use crate::transport::helper::link::{DEAF, LEASE};
use crate::transport::helper::pulse::{LULL, PATIENCE};
use crate::transport::lanes::in_lane::READY_WAIT;
use crate::transport::lanes::noise::NO_HELPER;
use crate::transport::lanes::silence::UNANSWERED;

const SECOND: Duration = Duration::from_secs(1);

fn hello(resumable: bool) -> Hello {
    taken(resumable, 0, &[])
}

/// What the helper says on a lane that it has taken, of those it has lost.
fn taken(resumable: bool, lane: u32, lost: &[u32]) -> Hello {
    Hello {
        helper: "test".to_owned(),
        directory: "/run/x".to_owned(),
        uid: 0,
        resumable,
        lane,
        lost: lost.to_vec(),
        inflates: false,
    }
}

fn away() -> BackendError {
    BackendError::Unreachable("away".to_owned())
}

/// A lane, what is said beside it, and the time.
struct TimedLane {
    lane: OutLane,
    noise: Noise,
    now: Instant,
}

impl TimedLane {
    fn new() -> Self {
        let now = Instant::now();
        Self { lane: OutLane::new(Rung::TwoLanes, true, now), noise: Noise::default(), now }
    }

    /// One whose helper has spoken.
    fn started() -> Self {
        Self::with(true)
    }

    fn with(resumable: bool) -> Self {
        let mut timed = Self::new();
        timed.lane.handle_hello(hello(resumable));
        timed
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn reconnected(&mut self) -> Result<(), LaneError> {
        self.lane.handle_reconnected(self.now)
    }

    fn ended(&mut self, text: &str, lower: bool) -> Result<(), LaneError> {
        self.lane.handle_ended(text, &self.noise, lower, self.now)
    }

    fn cause(&mut self, fate: Fate) -> Result<(), LaneError> {
        self.lane.on_end_cause(fate, &self.noise, self.now)
    }

    fn timeout(&mut self) -> Result<(), LaneError> {
        self.lane.handle_timeout(&self.noise, self.now)
    }

    /// A session has come, and the helper has taken it; the one before it had let go of.
    fn opened(&mut self) {
        self.joined(&[]).unwrap();
    }

    /// The same, of lanes that the helper has lost.
    fn joined(&mut self, lost: &[u32]) -> Result<(), LaneError> {
        self.lane.handle_opened(self.now);
        let hello = taken(true, self.lane.lane + 1, lost);
        self.lane.handle_joined(&hello, &self.noise, self.now)
    }

    fn open_failed(&mut self, error: BackendError) -> Result<(), LaneError> {
        self.lane.handle_open_failed(error, self.now)
    }

    fn action(&mut self) -> Option<Action> {
        self.lane.poll_action()
    }

    /// How long until the lane wants to be asked again.
    fn next(&self) -> Option<Duration> {
        self.lane.poll_timeout().map(|at| at - self.now)
    }
}

/// The states a lane can be in, each by the way that leads there.
fn states() -> Vec<(&'static str, TimedLane)> {
    let mut states = vec![("awaited", TimedLane::new()), ("started", TimedLane::started())];
    let mut doubtful = TimedLane::new();
    doubtful.reconnected().unwrap();
    states.push(("doubtful", doubtful));
    let mut opening = TimedLane::started();
    opening.reconnected().unwrap();
    opening.action();
    states.push(("opening", opening));
    let mut retrying = TimedLane::started();
    retrying.reconnected().unwrap();
    retrying.action();
    retrying.open_failed(away()).unwrap();
    states.push(("retrying", retrying));
    let mut asking = TimedLane::started();
    asking.reconnected().unwrap();
    asking.action();
    asking.opened();
    asking.ended("", false).unwrap();
    asking.action();
    states.push(("asking", asking));
    let mut done = TimedLane::started();
    done.lane.handle_done();
    states.push(("done", done));
    states
}

/// What is to be seen of a lane from outside after an event: what it asks for, or when it wakes up, or how it ends.
fn outcome(timed: &mut TimedLane, result: Result<(), LaneError>) -> String {
    match (result, timed.action(), timed.next()) {
        (Err(error), ..) => format!("{error:?}").split([' ', '(']).next().unwrap().to_owned(),
        (Ok(()), Some(action), _) => format!("{action:?}").split([' ', '(']).next().unwrap().to_owned(),
        (Ok(()), None, Some(next)) => format!("{} s", next.as_secs()),
        (Ok(()), None, None) => "rests".to_owned(),
    }
}

#[test]
fn what_each_event_does_in_each_state() {
    type Event = fn(&mut TimedLane) -> Result<(), LaneError>;
    let events: [(&str, Event, [&str; 7]); 10] = [
        //              awaited       started    doubtful   opening    retrying   asking     done
        ("reconnected", TimedLane::reconnected, ["2 s", "Open", "2 s", "rests", "Open", "rests", "rests"]),
        (
            "hello",
            |w| {
                w.lane.handle_hello(hello(true));
                Ok(())
            },
            ["rests", "rests", "rests", "rests", "1 s", "rests", "rests"],
        ),
        (
            "opened",
            |w| {
                w.opened();
                Ok(())
            },
            ["100 s", "rests", "100 s", "rests", "rests", "rests", "rests"],
        ),
        ("open failed", |w| w.open_failed(away()), ["100 s", "rests", "2 s", "1 s", "1 s", "rests", "rests"]),
        (
            "ended",
            |w| w.ended("", false),
            ["NotStarted", "AskCause", "AskCause", "rests", "AskCause", "rests", "rests"],
        ),
        ("stalled", |w| w.lane.handle_sign(w.now), ["2 s", "Open", "2 s", "rests", "1 s", "rests", "rests"]),
        (
            "lost, as the helper says",
            |w| {
                w.lane.handle_broken(w.now);
                Ok(())
            },
            ["100 s", "0 s", "2 s", "rests", "1 s", "rests", "rests"],
        ),
        (
            "failed, as the service says",
            |w| w.cause(Fate::Failed),
            ["100 s", "rests", "2 s", "rests", "1 s", "Open", "rests"],
        ),
        (
            "killed, as the service says",
            |w| w.cause(Fate::Ended),
            ["100 s", "rests", "2 s", "rests", "1 s", "Open", "rests"],
        ),
        (
            "done",
            |w| {
                w.lane.handle_done();
                Ok(())
            },
            ["rests"; 7],
        ),
    ];
    for (event, handle, expected) in events {
        for ((before, mut timed), expected) in states().into_iter().zip(expected) {
            let result = handle(&mut timed);
            assert_eq!(outcome(&mut timed, result), expected, "{event} when {before}");
        }
    }
}

#[test]
fn the_first_word_is_waited_for_but_not_for_ever() {
    let mut timed = TimedLane::new();
    // a node that needs long for a worker
    assert_eq!(timed.next(), Some(START_WAIT));
    assert_eq!(timed.wait(START_WAIT - SECOND).timeout(), Ok(()));
    timed.lane.handle_established(timed.now);
    assert_eq!(timed.next(), Some(HELLO_WAIT));
    assert_eq!(timed.wait(HELLO_WAIT - SECOND).timeout(), Ok(()));
    timed.noise.handle_bytes(b"sh: not found\n");
    let error = timed.wait(SECOND).timeout().unwrap_err().to_string();
    assert_eq!(error, "the node did not start the command within 20 seconds: sh: not found");
    timed.lane.handle_hello(hello(true));
    assert_eq!((timed.timeout(), timed.next()), (Ok(()), None));

    let mut timed = TimedLane::new();
    let error = timed.wait(START_WAIT).timeout().unwrap_err().to_string();
    assert!(error.starts_with("the node's agent did not begin the session within 100 seconds"), "{error}");
    // where there is no other rung to try, a slow helper has as long as a slow worker
    let mut timed = TimedLane::new();
    timed.lane.has_lower = false;
    timed.lane.handle_established(timed.now);
    assert_eq!(timed.next(), Some(START_WAIT));
}

#[test]
fn a_rung_is_silent_until_anything_at_all_is_known_of_it() {
    let silent = |event: fn(&mut TimedLane)| {
        let mut timed = TimedLane::new();
        event(&mut timed);
        timed.lane.is_silent()
    };
    assert!(silent(|_| {}));
    assert!(!silent(|w| w.lane.handle_output(1, w.now)), "the command may be running");
    assert!(!silent(|w| w.lane.handle_hello(hello(true))));
    assert!(!silent(|w| w.reconnected().unwrap()), "its words may have been lost");
    assert!(!silent(|w| w.ended("", true).unwrap()), "somebody may have ended it");
    assert!(!silent(|w| w.lane.handle_done()));
}

#[test]
fn a_cut_before_the_first_word_is_answered_by_it_or_by_another_lane() {
    let mut timed = TimedLane::new();
    timed.reconnected().unwrap();
    assert_eq!((timed.action(), timed.next()), (None, Some(STARTING)));
    timed.lane.handle_hello(hello(true));
    assert_eq!((timed.wait(STARTING).timeout(), timed.action()), (Ok(()), None));

    let mut timed = TimedLane::new();
    timed.reconnected().unwrap();
    assert_eq!((timed.wait(STARTING).timeout(), timed.action(), timed.action()), (Ok(()), Some(Action::Open), None));
    // it is not asked for twice, and a cut of the old lane says nothing of the one that comes
    timed.reconnected().unwrap();
    assert_eq!((timed.wait(STARTING).timeout(), timed.action()), (Ok(()), None));
    timed.opened();
    assert_eq!((timed.timeout(), timed.action(), timed.next()), (Ok(()), None, Some(START_WAIT - 2 * STARTING)));
}

#[test]
fn a_lane_that_was_let_go_of_ends_without_a_word() {
    let mut timed = TimedLane::started();
    timed.reconnected().unwrap();
    assert_eq!(timed.action(), Some(Action::Open));
    timed.noise.handle_exit_code(LET_GO);
    assert_eq!((timed.ended("", false), timed.action()), (Ok(()), None));
    // heard twice, it is one end
    assert_eq!((timed.ended("", false), timed.action()), (Ok(()), None));
    timed.opened();
    // one that nobody has replaced: the helper has lost it, or is gone, and whoever joins it finds out
    assert_eq!((timed.ended("", false), timed.action()), (Ok(()), Some(Action::Open)));
    timed.lane.handle_opened(timed.now);
    timed.noise = Noise::default();
    timed.noise.handle_exit_code(NO_HELPER);
    let gone = timed.lane.handle_coming_ended(&timed.noise, timed.now);
    assert!(matches!(gone, Err(LaneError::HelperGone { .. })), "{gone:?}");
}

#[test]
fn a_lane_that_broke_or_was_let_go_of_is_replaced_and_one_that_somebody_ended_is_final() {
    let of_others = &[4, 7][..];
    for (fate, lost, goes_on) in [
        (Fate::Failed, of_others, true),
        (Fate::Failed, &[0], true),
        (Fate::Ended, of_others, true),
        (Fate::Ended, &[0], false),
        (Fate::Unknown, of_others, true),
        (Fate::Unknown, &[0], false),
    ] {
        let mut timed = TimedLane::started();
        timed.ended("gone", false).unwrap();
        assert_eq!((timed.action(), timed.action()), (Some(Action::AskCause), None));
        assert!(!timed.lane.allows_in_lane(), "what somebody ended stays ended");
        timed.cause(fate).unwrap();
        assert_eq!(
            (timed.action(), timed.lane.allows_in_lane()),
            (Some(Action::Open), fate == Fate::Failed),
            "{fate:?}"
        );
        let error = timed.joined(lost).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), (!goes_on).then_some("gone"), "{fate:?} {lost:?}");
        assert!(timed.lane.allows_in_lane(), "to go on, or to say goodbye");
        assert_eq!(timed.action(), None);
    }
}

#[test]
fn the_end_of_a_lane_that_somebody_ends_while_another_comes_is_final_all_the_same() {
    for (fate, goes_on) in [(Fate::Failed, true), (Fate::Ended, false), (Fate::Unknown, false)] {
        let mut timed = TimedLane::started();
        timed.reconnected().unwrap();
        assert_eq!(timed.action(), Some(Action::Open));
        timed.ended("gone", false).unwrap();
        assert_eq!((timed.action(), timed.lane.allows_in_lane()), (None, false));
        timed.joined(&[0]).unwrap();
        assert_eq!((timed.action(), timed.lane.allows_in_lane()), (Some(Action::AskCause), false));
        let error = timed.cause(fate).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), (!goes_on).then_some("gone"), "{fate:?}");
        assert_eq!((timed.action(), timed.lane.allows_in_lane()), (None, true));
    }
}

#[test]
fn what_somebody_may_have_ended_is_over_where_no_other_lane_comes() {
    let suspected = || {
        let mut timed = TimedLane::started();
        timed.ended("gone", false).unwrap();
        timed.action();
        timed.cause(Fate::Ended).unwrap();
        assert_eq!(timed.action(), Some(Action::Open));
        timed
    };
    let ended = Err(LaneError::Ended { text: "gone".to_owned(), said: String::new() });
    assert_eq!(suspected().open_failed(BackendError::Refused("IAM".to_owned())), ended);
    let mut timed = suspected();
    timed.lane.handle_opened(timed.now);
    timed.noise.handle_exit_code(NO_HELPER);
    assert_eq!(timed.lane.handle_coming_ended(&timed.noise, timed.now), ended);
    // one that can't be opened just now is tried again
    let mut timed = suspected();
    timed.open_failed(away()).unwrap();
    let pause = timed.next().unwrap();
    timed.wait(pause).timeout().unwrap();
    assert_eq!(timed.action(), Some(Action::Open));
}

#[test]
fn a_lane_that_the_helper_has_lost_is_replaced_unless_somebody_ended_it() {
    let lost = || {
        let mut timed = TimedLane::started();
        timed.lane.handle_broken(timed.now);
        assert_eq!((timed.action(), timed.next()), (None, Some(LAST_WORD)));
        timed
    };
    assert_eq!((lost().wait(LAST_WORD).timeout(), lost().wait(LAST_WORD / 2).timeout()), (Ok(()), Ok(())));
    let mut timed = lost();
    timed.wait(LAST_WORD).timeout().unwrap();
    assert_eq!(timed.action(), Some(Action::Open));
    // its end comes, and then that is what counts
    let mut timed = lost();
    timed.ended("gone", false).unwrap();
    assert_eq!(timed.action(), Some(Action::AskCause));
    assert_eq!((timed.wait(LAST_WORD).timeout(), timed.action()), (Ok(()), None));
    timed.cause(Fate::Ended).unwrap();
    assert_eq!(timed.action(), Some(Action::Open));
    assert!(timed.joined(&[0]).is_err());
}

#[test]
fn how_the_lane_s_process_ended_says_what_became_of_the_helper() {
    let ended = |code| {
        let mut timed = TimedLane::started();
        timed.noise.handle_exit_code(code);
        (timed.ended("", false), timed.action())
    };
    for killed_or_let_go in [LET_GO, 0, -1, 137] {
        assert_eq!(ended(killed_or_let_go), (Ok(()), Some(Action::Open)));
    }
    assert_eq!(ended(LEASE_OVER).0, Err(LaneError::LeaseOver), "no exit status of the command's");
    // nor before the first word, nor of a helper that can't change lanes
    for (before, lower, error) in [
        (TimedLane::new(), true, LaneError::LeaseOverUnheard),
        (TimedLane::new(), false, LaneError::LeaseOverUnheard),
        (TimedLane::with(false), false, LaneError::LeaseOver),
    ] {
        let mut timed = before;
        timed.noise.handle_exit_code(LEASE_OVER);
        assert_eq!(timed.ended("", lower), Err(error.clone()));
        assert!(!error.to_string().contains("129"), "{error}");
    }
    assert!(matches!(ended(70).0, Err(LaneError::Ended { .. })));
}

#[test]
fn a_lane_that_stalls_is_replaced_and_the_one_after_others_that_did_only_after_a_while() {
    let mut timed = TimedLane::started();
    let mut waits = Vec::new();
    for _ in 0..9 {
        timed.lane.handle_gap(timed.now).unwrap();
        // another sign changes nothing
        let wait = timed.next().unwrap_or_default();
        waits.push(wait.as_secs());
        timed.wait(wait).timeout().unwrap();
        assert_eq!(timed.action(), Some(Action::Open));
        timed.lane.handle_sign(timed.now).unwrap();
        assert_eq!(timed.action(), None);
        timed.opened();
    }
    assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 8]);
    // one that has carried much was worth it
    timed.lane.handle_output(MUCH, timed.now);
    timed.lane.handle_gap(timed.now).unwrap();
    assert_eq!(timed.action(), Some(Action::Open));
    timed.opened();
    timed.wait(STEADY + SECOND);
    timed.lane.handle_gap(timed.now).unwrap();
    assert_eq!(timed.action(), Some(Action::Open));
}

#[test]
fn a_lane_that_the_helper_does_not_take_is_followed_by_others_until_it_is_too_late() {
    for (is_lost, error) in [(true, Some(LaneError::NotRejoined)), (false, None)] {
        let mut timed = TimedLane::started();
        timed.lane.handle_sign(timed.now).unwrap();
        if is_lost {
            timed.noise.handle_exit_code(LET_GO);
            timed.ended("", false).unwrap();
        }
        for _ in 0..3 {
            assert_eq!(timed.action(), Some(Action::Open));
            timed.lane.handle_opened(timed.now);
            assert_eq!(timed.next(), Some(JOIN_WAIT));
            let result = timed.wait(JOIN_WAIT).timeout();
            let is_last = timed.now >= timed.lane.attached + START_WAIT;
            assert_eq!(result.err(), error.clone().filter(|_| is_last));
        }
        // the one there is may do yet
        assert!(is_lost || (timed.action(), timed.next()) == (None, None));
    }
}

#[test]
fn a_lane_whose_websocket_was_lost_before_the_helper_took_it_is_followed_by_another() {
    let mut timed = TimedLane::started();
    timed.reconnected().unwrap();
    timed.action();
    timed.lane.handle_opened(timed.now);
    timed.lane.handle_coming_reconnected(timed.now).unwrap();
    assert_eq!((timed.action(), timed.action()), (Some(Action::Open), None));
}

#[test]
fn nothing_is_missed_and_no_lane_comes_while_the_service_is_asked() {
    let mut timed = TimedLane::new();
    timed.ended("", true).unwrap();
    assert_eq!((timed.action(), timed.next()), (Some(Action::AskCause), None));
    assert_eq!(timed.wait(2 * HELLO_WAIT).timeout(), Ok(()));
    assert_eq!(timed.cause(Fate::Ended), Err(LaneError::EndedBeforeStart));

    let mut timed = TimedLane::new();
    timed.ended("", true).unwrap();
    timed.action();
    assert_eq!(timed.cause(Fate::Failed), Err(LaneError::NotStarted { said: String::new() }));
    assert!(timed.lane.is_silent(), "another rung may do better");
}

#[test]
fn the_end_of_a_lane_whose_place_is_being_taken_is_nothing() {
    let mut timed = TimedLane::started();
    timed.reconnected().unwrap();
    assert_eq!(timed.action(), Some(Action::Open));
    // the helper lets go of it, and a paused agent does not say its exit code
    assert_eq!((timed.ended("", false), timed.action()), (Ok(()), None));
    timed.opened();
    assert_eq!((timed.timeout(), timed.action(), timed.next()), (Ok(()), None, None));
    // while none is being opened the service is asked, and what somebody ended stays ended
    let mut timed = TimedLane::started();
    timed.reconnected().unwrap();
    timed.action();
    timed.open_failed(away()).unwrap();
    timed.ended("", false).unwrap();
    assert_eq!(timed.action(), Some(Action::AskCause));
    timed.cause(Fate::Ended).unwrap();
    assert_eq!(timed.action(), Some(Action::Open));
    assert!(timed.joined(&[0]).is_err());
}

#[test]
fn a_lane_that_cannot_be_opened_is_tried_again_until_it_is_too_late() {
    let mut timed = TimedLane::started();
    timed.reconnected().unwrap();
    let start = timed.now;
    let mut attempts = 0;
    let error = loop {
        assert_eq!(timed.action(), Some(Action::Open));
        attempts += 1;
        if let Err(error) = timed.open_failed(away()) {
            break error;
        }
        let pause = timed.next().unwrap();
        timed.wait(pause).timeout().unwrap();
    };
    assert_eq!((attempts, timed.now - start, error), (7, 31 * SECOND, LaneError::CantOpen(away())));
    let mut timed = TimedLane::started();
    timed.reconnected().unwrap();
    timed.action();
    assert!(timed.open_failed(BackendError::Refused("IAM".to_owned())).is_err(), "it would come again");
}

#[test]
fn lanes_that_never_last_end_the_channel_and_steady_ones_do_not() {
    for (steady, most) in [(Duration::ZERO, MOST_ATTEMPTS), (STEADY + SECOND, 10 * MOST_ATTEMPTS)] {
        let mut timed = TimedLane::started();
        for turn in 0..most {
            timed.wait(steady).reconnected().unwrap_or_else(|error| panic!("{error} at {turn}"));
            assert_eq!(timed.action(), Some(Action::Open));
            timed.opened();
        }
        let ended = timed.wait(steady).reconnected();
        assert_eq!(ended, if steady.is_zero() { Err(LaneError::Unsteady) } else { Ok(()) });
    }
}

#[test]
fn a_helper_that_cannot_change_lanes_is_asked_for_a_sign_of_life() {
    let asked = || {
        let mut timed = TimedLane::new();
        timed.lane.handle_hello(hello(false));
        timed.reconnected().unwrap();
        assert_eq!(timed.action(), Some(Action::AskHelper));
        timed.lane.handle_asked(4, timed.now);
        assert_eq!((timed.action(), timed.next()), (None, Some(ANSWER_WAIT)));
        timed
    };
    let mut timed = asked();
    timed.lane.handle_answer(3);
    assert_eq!(timed.wait(ANSWER_WAIT).timeout(), Err(LaneError::CantResume), "an older answer is none");
    let mut timed = asked();
    timed.lane.handle_answer(4);
    assert_eq!((timed.wait(ANSWER_WAIT).timeout(), timed.next()), (Ok(()), None));
    // its end is final, however soon it comes
    assert!(matches!(timed.ended("", false), Err(LaneError::Ended { .. })));
}

#[test]
fn what_a_helper_that_cannot_change_lanes_has_lost_comes_back_slowly_and_is_waited_for() {
    let mut timed = TimedLane::new();
    timed.lane.handle_hello(hello(false));
    timed.lane.handle_gap(timed.now).unwrap();
    assert_eq!((timed.action(), timed.next()), (None, None));
    // nothing is acknowledged any more: it is asked, and while anything comes its answer may be behind that
    timed.lane.handle_sign(timed.now).unwrap();
    assert_eq!(timed.action(), Some(Action::AskHelper));
    timed.lane.handle_asked(1, timed.now);
    timed.wait(ANSWER_WAIT - SECOND);
    timed.lane.handle_output(1, timed.now);
    assert_eq!(timed.wait(SECOND).timeout(), Ok(()));
    assert_eq!(timed.wait(ANSWER_WAIT).timeout(), Err(LaneError::CantResume));
}

#[test]
fn one_lane_for_both_directions_survives_a_pause_and_is_replaced_where_it_stalls() {
    let mut timed = TimedLane::started();
    timed.lane.rung = Rung::OneLane;
    timed.reconnected().unwrap();
    assert_eq!((timed.action(), timed.next(), timed.lane.allows_in_lane()), (None, None, false));
    timed.lane.handle_gap(timed.now).unwrap();
    assert_eq!(timed.action(), Some(Action::Open));
}

/// A lane that was silent for so long, and whose place another was to take that has found nobody.
fn found_nobody(silent: Duration) -> TimedLane {
    let mut timed = TimedLane::started();
    timed.wait(silent);
    timed.lane.handle_sign(timed.now).unwrap();
    assert_eq!(timed.action(), Some(Action::Open));
    timed.lane.handle_opened(timed.now);
    let mut noise = Noise::default();
    noise.handle_bytes(b"portcullis: that command has ended\n");
    timed.lane.handle_coming_ended(&noise, timed.now).unwrap();
    timed
}

#[test]
fn a_helper_that_is_gone_is_told_of_once_nothing_more_comes() {
    // nothing has come for long, and what was said last has a moment yet
    let mut timed = found_nobody(9 * SECOND);
    assert!(timed.lane.is_gone() && !timed.lane.allows_in_lane());
    assert_eq!((timed.action(), timed.next()), (None, Some(FOUND)));
    assert_eq!(timed.wait(FOUND / 2).timeout(), Ok(()));
    let error = timed.wait(FOUND / 2).timeout().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the command's helper on the node is gone, and with it the end of the output: portcullis: that command has ended"
    );
    // what still comes is waited for, however slowly it does, and so is what is held up
    let mut timed = found_nobody(Duration::ZERO);
    for _ in 0..30 {
        assert_eq!(timed.wait(REST / 2).timeout(), Ok(()));
        timed.lane.handle_output(1, timed.now);
    }
    timed.wait(REST / 2);
    timed.lane.handle_interrupted(timed.now);
    assert_eq!((timed.timeout(), timed.next()), (Ok(()), Some(REST)));
    timed.lane.handle_done();
    assert_eq!((timed.wait(REST).timeout(), timed.next()), (Ok(()), None));
    // it answers: only its directory is gone
    let mut timed = found_nobody(9 * SECOND);
    timed.lane.handle_answer(1);
    assert_eq!((timed.wait(REST).timeout(), timed.lane.is_gone()), (Ok(()), false));
}

/// The number behind the first of these words in a helper's text.
fn number_in(text: &str, words: &str) -> Duration {
    let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("{words} is not there"));
    Duration::from_secs(rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap())
}

/// The times of the gateway and of both helpers, which are written down in three languages.
#[test]
fn the_times_fit_each_other() {
    const KEEPERS: [&str; 2] =
        [include_str!("../helper/node/python/keeper.py"), include_str!("../helper/node/sh/owner.sh")];
    let [python, sh] = KEEPERS;
    // a node that needs as long for a session as another is not tried keeps its command, whenever its way in is lost or
    // first asked for, and however late that is noticed
    let noticed = BEAT + PATIENCE;
    assert!(LEASE >= noticed + JOIN_WAIT.max(READY_WAIT), "{LEASE:?}");
    assert!(LEASE >= noticed + super::super::retry::PATIENCE + SECOND);
    assert!(LEASE > 3 * BEAT, "a lost renewal ends nothing");
    assert!(DEAF <= LEASE && DEAF >= PATIENCE + JOIN_WAIT, "{DEAF:?}");
    // nothing is left of a command a minute after the gateway's death, even if it listens to nothing but KILL
    let grace = number_in(python, "GRACE = ");
    let pauses = sh.split_once("for pause in 1").unwrap().1.split(';').next().unwrap().matches('1').count() + 1;
    assert_eq!(grace, Duration::from_secs(pauses as u64));
    let tick = number_in(sh, "tick=");
    assert!(LEASE + tick + 2 * grace < Duration::from_secs(60), "{LEASE:?}");
    // what is over is told within ten seconds: a helper that is gone, of whatever channel; and a node that is, as the
    // service says, while the channel carries something
    assert!(BEAT + PATIENCE + FOUND.max(UNANSWERED) < 10 * SECOND);
    assert!(LULL + PATIENCE + super::super::retry::PATIENCE_WITH_AWAY + SECOND < 10 * SECOND);
}
