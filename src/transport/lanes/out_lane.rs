//! The out lane, without its session: how far the helper is, what a reconnection puts in doubt, and what it means that a
//! session has ended. It holds no socket and reads no clock.
//!
//! ```text
//!                       reconnected, the helper has spoken
//!   Current ──────────────────────────────────────────────────────▶ Wanted ──poll_action──▶ Opening
//!      ▲ │                                                            ▲                      │  │
//!      │ └─ reconnected before its first word ─▶ At(reattach_at) ─────┘                      │  │
//!      │                 │                         ▲   at last                               │  │
//!      │◀── first word ──┘                         └──────────── handle_open_failed ─────────┘  │
//!      └─────────────────────────────── handle_opened ──────────────────────────────────────────┘
//! ```
//!
//! An end is final unless it is certain that nobody wanted it (docs/decisions/0003): the service is asked, and meanwhile
//! no lane is opened and no first word is missed.

use std::time::Duration;

use tokio::time::Instant;

use super::error::LaneError;
use super::noise::Noise;
use super::retry::Retry;
use crate::backend::BackendError;
use crate::config::Rung;
use crate::transport::helper::record::Hello;

/// How long a node may take from the start of a session to the helper's first word.
pub(super) const HELLO_WAIT: Duration = Duration::from_secs(20);
/// How long a helper may take to start after a reconnection: a lane that comes before it would find nothing.
const STARTING: Duration = Duration::from_secs(2);
/// How long after a reconnection the failure of a session is taken for its consequence.
const AFTER_RESUME: Duration = Duration::from_secs(30);
/// How long a lane that may be dead has to answer; opening an in lane is in it.
const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// The exit code of a lane process that the helper has let go of: another lane has its place, or it broke.
const LET_GO: i32 = 75;
/// Replacements of lanes that did not last.
const MOST_ATTEMPTS: u32 = 100;
/// A lane that has lasted this long was no trouble: one replacement a day is none, however many days there are.
const STEADY: Duration = Duration::from_secs(60);

/// The out lane of a channel on one rung.
#[derive(Debug)]
pub(super) struct OutLane {
    rung: Rung,
    helper: Helper,
    session: Session,
    replacement: Replacement,
    cause: Cause,
    probe: Probe,
    /// The last reconnection: what fails soon after it failed because of it.
    resumed: Option<Instant>,
    /// When the session there is or was last began, in whatever place it has.
    attached: Instant,
    /// Replacements since a lane was last steady.
    attempts: u32,
}

/// How far the helper at the other end is.
#[derive(Debug)]
enum Helper {
    /// It was started, and its first word is to come.
    Awaited {
        since: Instant,
        /// The lane has carried something, so the command may be running.
        got_output: bool,
    },
    /// It runs.
    Started(Hello),
    /// It has said everything: nothing about the lane matters any more.
    Done,
}

/// Whether the lane has a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    Attached,
    Lost,
}

/// Whether another session is to take the place of the one there is, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replacement {
    No,
    /// Then, unless the helper's first word, which may have been lost, comes before.
    At {
        reattach_at: Instant,
        before: Option<Retry>,
    },
    Wanted {
        before: Option<Retry>,
    },
    Opening {
        before: Option<Retry>,
    },
}

/// Why the last session ended that nobody here had ended.
#[derive(Debug, PartialEq, Eq)]
enum Cause {
    /// None did.
    None,
    /// The service is to be asked; `text` is what it said at the end.
    Wanted { text: String },
    /// It is being asked.
    Asked { text: String },
    /// Somebody, or a limit, ended it: that is final.
    Killed,
}

/// Whether the lane of a helper that can't change lanes has survived a reconnection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Alive,
    Wanted,
    /// A lane that the pause has killed does not answer.
    Asked {
        stamp: u32,
        until: Instant,
    },
}

/// What is to be done for the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Open a session in the place of the one there is, or was.
    Open,
    /// Ask the service how the last session ended.
    AskCause,
    /// Ask the helper for a sign of life, and tell [`OutLane::handle_asked`].
    AskHelper,
}

impl OutLane {
    /// The lane whose session starts the helper.
    pub(super) fn new(rung: Rung, now: Instant) -> Self {
        Self {
            rung,
            helper: Helper::Awaited { since: now, got_output: false },
            session: Session::Attached,
            replacement: Replacement::No,
            cause: Cause::None,
            probe: Probe::Alive,
            resumed: None,
            attached: now,
            attempts: 0,
        }
    }

    /// Whether an in lane may be opened: not before the helper is there, not where one session carries both directions,
    /// and not while the service is asked how the out lane ended. What somebody ended stays ended.
    pub(super) fn allows_in_lane(&self) -> bool {
        matches!(self.helper, Helper::Started(_)) && self.rung == Rung::TwoLanes && !self.is_asking()
    }

    /// The helper's directory, in its own words.
    pub(super) fn directory(&self) -> Option<&str> {
        if let Helper::Started(hello) = &self.helper { Some(&hello.directory) } else { None }
    }

    /// Whether nothing at all has come of this lane, and nobody is known to have ended it. Where something was heard, the
    /// command may be running, and another rung would run it a second time. What somebody or a limit has ended stays
    /// ended, also while the service is still being asked whether that is so.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.helper, Helper::Awaited { got_output: false, .. })
            && self.resumed.is_none()
            && self.cause == Cause::None
    }

    /// Bytes have come.
    pub(super) fn handle_output(&mut self) {
        if let Helper::Awaited { got_output, .. } = &mut self.helper {
            *got_output = true;
        }
    }

    /// The helper's first word.
    pub(super) fn handle_hello(&mut self, hello: Hello) {
        if let Helper::Awaited { .. } = self.helper {
            self.helper = Helper::Started(hello);
            if let Replacement::At { .. } = self.replacement {
                self.replacement = Replacement::No;
            }
        }
    }

    /// The helper has said everything.
    pub(super) fn handle_done(&mut self) {
        self.helper = Helper::Done;
    }

    /// The helper has been asked for a sign of life.
    pub(super) fn handle_asked(&mut self, stamp: u32, now: Instant) {
        self.probe = Probe::Asked { stamp, until: now + ANSWER_WAIT };
    }

    /// The last of the helper's answers so far.
    pub(super) fn handle_answer(&mut self, answered: u32) {
        if let Probe::Asked { stamp, .. } = self.probe
            && answered >= stamp
        {
            self.probe = Probe::Alive;
        }
    }

    /// The session's websocket was lost and is back. The service may have paused the session meanwhile, and a pause kills
    /// this kind without a word. A new one costs little and is certain.
    pub(super) fn handle_reconnected(&mut self, now: Instant) -> Result<(), LaneError> {
        self.resumed = Some(now);
        if self.rung == Rung::OneLane {
            return Ok(());
        }
        match &self.helper {
            Helper::Done => Ok(()),
            Helper::Started(hello) if !hello.resumable => {
                self.probe = Probe::Wanted;
                Ok(())
            }
            // the helper may be about to start; and how the lane before this one ended must be known first
            Helper::Awaited { .. } => {
                self.doubt(now);
                Ok(())
            }
            Helper::Started(_) if self.is_asking() => {
                self.doubt(now);
                Ok(())
            }
            Helper::Started(_) => self.reattach(now),
        }
    }

    fn doubt(&mut self, now: Instant) {
        match self.replacement {
            Replacement::No => self.replacement = Replacement::At { reattach_at: now + STARTING, before: None },
            Replacement::At { before, .. } => {
                self.replacement = Replacement::At { reattach_at: now + STARTING, before };
            }
            // what comes is not what was in doubt
            Replacement::Wanted { .. } | Replacement::Opening { .. } => {}
        }
    }

    /// Another session is to take the place of the one there is, or was.
    fn reattach(&mut self, now: Instant) -> Result<(), LaneError> {
        if matches!(&self.helper, Helper::Started(hello) if !hello.resumable) {
            return Err(LaneError::CantResume);
        }
        let before = match self.replacement {
            Replacement::No => None,
            Replacement::At { before, .. } => before,
            Replacement::Wanted { .. } | Replacement::Opening { .. } => return Ok(()),
        };
        self.attempts = if now > self.attached + STEADY { 1 } else { self.attempts + 1 };
        if self.attempts > MOST_ATTEMPTS {
            return Err(LaneError::Unsteady);
        }
        self.replacement = Replacement::Wanted { before };
        Ok(())
    }

    /// What is to be done now; asked until there is nothing.
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        if let Helper::Done = self.helper {
            return None;
        }
        if let Replacement::Wanted { before } = self.replacement {
            self.replacement = Replacement::Opening { before };
            return Some(Action::Open);
        }
        if let Cause::Wanted { text } = &mut self.cause {
            self.cause = Cause::Asked { text: std::mem::take(text) };
            return Some(Action::AskCause);
        }
        (self.probe == Probe::Wanted).then_some(Action::AskHelper)
    }

    /// A session has come in the place of the one there was, which ends by itself.
    pub(super) fn handle_opened(&mut self, now: Instant) {
        self.session = Session::Attached;
        self.replacement = Replacement::No;
        self.attached = now;
    }

    /// A session could not be opened.
    pub(super) fn handle_open_failed(&mut self, error: BackendError, now: Instant) -> Result<(), LaneError> {
        if let (Helper::Awaited { .. } | Helper::Started(_), Replacement::Opening { before }) =
            (&self.helper, self.replacement)
        {
            let retry = Retry::after(before, error, now)?;
            self.replacement = Replacement::At { reattach_at: retry.at, before: Some(retry) };
        }
        Ok(())
    }

    /// The session has ended, and nobody here had asked for that. It is final if somebody ended the session, or a limit
    /// did; whether that is so matters only where there is a way to go on (`lower`: on the rung below), and then the
    /// service knows.
    pub(super) fn handle_ended(
        &mut self,
        text: &str,
        noise: &Noise,
        lower: bool,
        now: Instant,
    ) -> Result<(), LaneError> {
        if self.session == Session::Lost {
            return Ok(());
        }
        self.session = Session::Lost;
        let resumable = match &self.helper {
            Helper::Done => return Ok(()),
            Helper::Awaited { .. } => self.rung == Rung::TwoLanes,
            Helper::Started(hello) => self.rung == Rung::TwoLanes && hello.resumable,
        };
        if self.replacement != Replacement::No && noise.exit_code() == Some(LET_GO) {
            // the helper has let go of it, as it does of a lane that broke
            return Ok(());
        }
        let resumed = self.resumed.is_some_and(|at| now < at + AFTER_RESUME);
        if self.cause == Cause::None && (lower || (resumed && resumable)) {
            self.cause = Cause::Wanted { text: text.to_owned() };
            return Ok(());
        }
        Err(self.why_ended(text, noise))
    }

    /// The service has said whether the session failed, or was ended.
    pub(super) fn on_end_cause(&mut self, failed: bool, noise: &Noise, now: Instant) -> Result<(), LaneError> {
        let Cause::Asked { text } = std::mem::replace(&mut self.cause, Cause::None) else { return Ok(()) };
        let is_replaced = self.session == Session::Attached || self.replacement != Replacement::No;
        if matches!(self.helper, Helper::Done) || (failed && is_replaced) {
            return Ok(());
        }
        if !failed {
            self.cause = Cause::Killed;
            return Err(self.why_ended(&text, noise));
        }
        match self.helper {
            Helper::Started(_) => self.reattach(now),
            Helper::Awaited { .. } | Helper::Done => Err(self.why_ended(&text, noise)),
        }
    }

    /// When [`Self::handle_timeout`] must be asked again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let hello = match self.helper {
            Helper::Done => return None,
            Helper::Awaited { since, .. } if !self.is_asking() => Some(since + HELLO_WAIT),
            Helper::Awaited { .. } | Helper::Started(_) => None,
        };
        let answer = if let Probe::Asked { until, .. } = self.probe { Some(until) } else { None };
        let reattach = match self.replacement {
            Replacement::At { reattach_at, .. } if !self.is_asking() => Some(reattach_at),
            _ => None,
        };
        [hello, answer, reattach].into_iter().flatten().min()
    }

    /// What has been waited for long enough ends the channel, or brings another lane.
    pub(super) fn handle_timeout(&mut self, noise: &Noise, now: Instant) -> Result<(), LaneError> {
        match self.helper {
            Helper::Done => return Ok(()),
            Helper::Awaited { since, .. } if !self.is_asking() && now >= since + HELLO_WAIT => {
                return Err(LaneError::NoHello { said: noise.tail("") });
            }
            Helper::Awaited { .. } | Helper::Started(_) => {}
        }
        if matches!(self.probe, Probe::Asked { until, .. } if now >= until) {
            return Err(LaneError::CantResume);
        }
        match self.replacement {
            Replacement::At { reattach_at, .. } if !self.is_asking() && now >= reattach_at => self.reattach(now),
            _ => Ok(()),
        }
    }

    fn is_asking(&self) -> bool {
        matches!(self.cause, Cause::Wanted { .. } | Cause::Asked { .. })
    }

    fn why_ended(&self, text: &str, noise: &Noise) -> LaneError {
        let is_awaited = matches!(self.helper, Helper::Awaited { .. });
        let said = noise.tail("");
        if is_awaited && self.cause == Cause::Killed && said.is_empty() && text.is_empty() {
            return LaneError::EndedBeforeStart;
        }
        if is_awaited {
            return LaneError::NotStarted { said: noise.tail(text) };
        }
        LaneError::Ended { text: text.to_owned(), said }
    }
}

#[cfg(test)]
#[path = "out_lane_tests.rs"]
mod tests;
