//! The out lane, without its session: how far the helper is, what puts a lane in doubt, and what it means that a session
//! has ended. It holds no socket and reads no clock.
//!
//! ```text
//!              reconnected, stalled, silent, lost; the helper has spoken
//!   Current ────────────────────────────────────────────────────────────▶ Wanted ──poll_action──▶ Opening
//!      ▲ │                                                                 ▲  ▲                    │    │
//!      │ └─ the same before its first word, or too often ─▶ At(then) ──────┘  │                    │    │
//!      │                 │                                   ▲  ▲             │ not in time        │    │
//!      │◀── first word ──┘                                   │  └─ handle_open_failed ─────────────┘    │
//!      │                                                     └──── handle_coming_ended ─┐               │
//!      └──────────── handle_joined: the helper speaks on it ──────────────────────── Joining ◀──────────┘
//! ```
//!
//! Until the helper has taken the new lane, what the one before still brings counts. What is a sign and what is an end is in
//! docs/decisions/0003 and 0012: an end is final unless it is certain that nobody wanted it. The service is asked, and
//! meanwhile no lane is opened and no first word is missed. The service can't tell a lane that came to its own end, since
//! the helper had let go of it, from one that somebody has ended; the helper can, on the lane that comes next:
//!
//! ```text
//!   None ── ended ──▶ Wanted ─▶ Asked ── it broke ──────────────────────────────────────▶ None, another lane
//!    │                 ▲          └───── somebody may have ended it ──▶ Suspected ──┬──▶ None: the helper let go of it
//!    │                 │                                                            └──▶ Killed: it did not
//!    └ ended while another comes ─▶ Replaced ── joined, and the helper had not let go of it ──▶ Wanted ─▶ Asked ─▶ …
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::error::LaneError;
use super::noise::Noise;
use super::retry::Retry;
use crate::backend::BackendError;
use crate::backend::lanes::Fate;
use crate::config::Rung;
use crate::transport::helper::record::Hello;

/// How long a node may take from the start of a session's worker to the helper's first word, where there is another rung
/// to try.
pub(super) const HELLO_WAIT: Duration = Duration::from_secs(20);
/// How long a node may take from the start of a session to the helper's word on it: a small one under load needs half a
/// minute for a worker alone.
pub(super) const START_WAIT: Duration = Duration::from_secs(100);
/// After so long without the helper another lane is tried beside that: its worker may have been killed.
const JOIN_WAIT: Duration = Duration::from_secs(35);
/// How long a helper may take to start after a reconnection: a lane that comes before it would find nothing.
const STARTING: Duration = Duration::from_secs(2);
/// How long after a reconnection the failure of a session is taken for its consequence.
const AFTER_RESUME: Duration = Duration::from_secs(30);
/// How long a lane that may be dead has to answer; opening an in lane is in it.
const ANSWER_WAIT: Duration = Duration::from_secs(8);
/// The exit code of a lane process that the helper has let go of: another lane has its place, or it broke.
const LET_GO: i32 = 75;
/// The exit code of a lane process whose helper has hung up the command by itself.
const LEASE_OVER: i32 = 129;
/// The exit codes of a lane process that was killed on the node: what the agent says, and what sudo does.
const KILLED: [i32; 2] = [-1, 137];
/// Replacements of lanes that did not last.
const MOST_ATTEMPTS: u32 = 100;
/// A lane that has lasted this long was no trouble: one replacement a day is none, however many days there are.
const STEADY: Duration = Duration::from_secs(60);
/// So many lanes in a row that stalled are replaced at once; later ones wait a second, then two, and so on: on a way that
/// only ever crawls, a new lane each second would carry nothing at all.
const AT_ONCE: u32 = 4;
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// What a lane carries that was worth it.
const MUCH: usize = 128 * 1024;
/// How long the end of a session may take to be heard after the helper has lost its lane.
const LAST_WORD: Duration = Duration::from_millis(500);
/// How long nothing may have come of a helper that is gone, and since that was found, before nothing more is expected: an
/// agent sends again ten times a second what it still has.
const REST: Duration = Duration::from_secs(2);
const FOUND: Duration = Duration::from_millis(900);

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
    /// The number of the lane there is or was, in the helper's count.
    lane: u32,
    /// When the session there is or was last began, in whatever place it has.
    attached: Instant,
    /// Replacements since a lane was last steady.
    attempts: u32,
    /// The same, of lanes that stalled before they had carried much, and what this one has.
    stalls: u32,
    carried: usize,
    /// Since when a replacement is wanted.
    wanted_since: Option<Instant>,
    /// Whether there is a rung to go to if nothing is ever heard.
    has_lower: bool,
    /// When something came last, or was held up on its way.
    heard: Instant,
    /// The helper is no more, as whoever was to join it has found: when, and that one's words.
    gone: Option<(Instant, String)>,
    /// The last answer of the helper's.
    answered: u32,
}

/// How far the helper at the other end is.
#[derive(Debug)]
enum Helper {
    /// It was started, and its first word is to come.
    Awaited {
        since: Instant,
        /// When the session's worker was there.
        worker_at: Option<Instant>,
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
    /// It is there, and the helper has not taken it yet.
    Joining {
        since: Instant,
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
    /// It says that somebody may have; the helper knows more, and is asked by another lane.
    Suspected { text: String },
    /// Another was on its way already. Whether the service must be asked, the helper says on that one.
    Replaced { text: String },
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
    pub(super) fn new(rung: Rung, has_lower: bool, now: Instant) -> Self {
        Self {
            rung,
            helper: Helper::Awaited { since: now, worker_at: None, got_output: false },
            session: Session::Attached,
            replacement: Replacement::No,
            cause: Cause::None,
            probe: Probe::Alive,
            resumed: None,
            lane: 0,
            attached: now,
            attempts: 0,
            stalls: 0,
            carried: 0,
            wanted_since: None,
            has_lower,
            heard: now,
            gone: None,
            answered: 0,
        }
    }

    /// Whether an in lane may be opened: not before the helper is there, not where one session carries both directions,
    /// and not while it is open how the out lane ended. What somebody ended stays ended.
    pub(super) fn allows_in_lane(&self) -> bool {
        matches!(self.helper, Helper::Started(_))
            && self.rung == Rung::TwoLanes
            && self.gone.is_none()
            && matches!(self.cause, Cause::None | Cause::Killed)
    }

    /// Whether there is a helper to say goodbye to, or may be in a moment.
    pub(super) fn can_be_told(&self) -> bool {
        match self.helper {
            Helper::Awaited { .. } => self.cause == Cause::None,
            Helper::Started(_) => self.rung == Rung::OneLane || self.allows_in_lane(),
            Helper::Done => false,
        }
    }

    /// Whether the lane there is has the helper, and no other is wanted.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.helper, Helper::Started(_))
            && self.session == Session::Attached
            && self.replacement == Replacement::No
    }

    /// Whether the helper runs, and the lane to it is none or another is wanted.
    pub(super) fn is_interrupted(&self) -> bool {
        matches!(self.helper, Helper::Started(_)) && !self.is_settled()
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

    /// The session's worker is there.
    pub(super) fn handle_established(&mut self, now: Instant) {
        if let Helper::Awaited { worker_at, .. } = &mut self.helper {
            worker_at.get_or_insert(now);
        }
    }

    /// Bytes have come.
    pub(super) fn handle_output(&mut self, bytes: usize, now: Instant) {
        self.heard = now;
        self.carried = self.carried.saturating_add(bytes);
        if self.carried >= MUCH {
            self.stalls = 0;
        }
        if let Helper::Awaited { got_output, .. } = &mut self.helper {
            *got_output = true;
        }
        // while anything comes, an answer may be behind it
        if let Probe::Asked { until, .. } = &mut self.probe {
            *until = now + ANSWER_WAIT;
        }
    }

    /// The helper's first word.
    pub(super) fn handle_hello(&mut self, hello: Hello) {
        if let Helper::Awaited { .. } = self.helper {
            self.lane = hello.lane;
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
        if answered > self.answered {
            self.answered = answered;
            // who answers is there, whatever became of its directory
            self.gone = None;
        }
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
        self.handle_interrupted(now);
        if self.rung == Rung::OneLane {
            // a pause does not end a terminal
            return Ok(());
        }
        match (&self.helper, self.replacement) {
            (Helper::Started(hello), Replacement::No | Replacement::At { .. })
                if hello.resumable && !self.is_asking() =>
            {
                // as certain as a sign can be, so however often it comes
                self.reattach(now)
            }
            _ => self.handle_sign(now),
        }
    }

    /// A sign that the lane is worse than slow: its websocket was lost and is back, what was in flight is lost, or the helper
    /// does not answer. A new one costs little.
    pub(super) fn handle_sign(&mut self, now: Instant) -> Result<(), LaneError> {
        match &self.helper {
            Helper::Done => Ok(()),
            Helper::Started(hello) if !hello.resumable => {
                if self.probe == Probe::Alive {
                    self.probe = Probe::Wanted;
                }
                Ok(())
            }
            // the helper may be about to start; and how the lane before this one ended must be known first
            Helper::Awaited { .. } => {
                self.doubt(now + STARTING);
                Ok(())
            }
            Helper::Started(_) if self.is_asking() => {
                self.doubt(now + STARTING);
                Ok(())
            }
            Helper::Started(_) if self.replacement != Replacement::No => Ok(()),
            Helper::Started(_) => {
                self.stalls = if now > self.attached + STEADY { 1 } else { self.stalls + 1 };
                match self.stalls.checked_sub(AT_ONCE) {
                    Some(more) if more > 0 => {
                        let wait = Duration::from_secs(1 << (more - 1).min(5)).min(LONGEST_WAIT);
                        self.doubt(now + wait);
                        Ok(())
                    }
                    _ => self.reattach(now),
                }
            }
        }
    }

    /// What was lost comes back, though slowly: a helper that can't change lanes has nothing better.
    pub(super) fn handle_gap(&mut self, now: Instant) -> Result<(), LaneError> {
        match &self.helper {
            Helper::Started(hello) if !hello.resumable => Ok(()),
            _ => self.handle_sign(now),
        }
    }

    /// The helper has said on the in lane that this one broke. If somebody has ended it, its end is heard in a moment, and
    /// then that is what counts.
    pub(super) fn handle_broken(&mut self, now: Instant) {
        if self.is_settled() {
            self.doubt(now + LAST_WORD);
        }
    }

    /// Somebody who was to join the helper has found that it is gone. What it said last may still be on its way.
    pub(super) fn handle_gone(&mut self, noise: &Noise, now: Instant) {
        if let Helper::Started(_) = self.helper {
            self.gone.get_or_insert_with(|| (now, noise.tail("")));
        }
    }

    /// Whether that is so.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_some()
    }

    /// The way out is interrupted: what is on it comes when that is over.
    pub(super) fn handle_interrupted(&mut self, now: Instant) {
        self.heard = now;
    }

    fn doubt(&mut self, reattach_at: Instant) {
        match self.replacement {
            Replacement::No => self.replacement = Replacement::At { reattach_at, before: None },
            Replacement::At { before, .. } => self.replacement = Replacement::At { reattach_at, before },
            // what comes is not what was in doubt
            Replacement::Wanted { .. } | Replacement::Opening { .. } | Replacement::Joining { .. } => {}
        }
    }

    /// Another session is to take the place of the one there is, or was.
    fn reattach(&mut self, now: Instant) -> Result<(), LaneError> {
        if matches!(&self.helper, Helper::Started(hello) if !hello.resumable) {
            return Err(LaneError::CantResume);
        }
        let before = match self.replacement {
            Replacement::No => None,
            Replacement::At { before, .. } | Replacement::Joining { before, .. } => before,
            Replacement::Wanted { .. } | Replacement::Opening { .. } => return Ok(()),
        };
        let wanted_since = *self.wanted_since.get_or_insert(now);
        if now >= wanted_since + START_WAIT {
            if self.session == Session::Lost {
                return Err(LaneError::NotRejoined);
            }
            // the one there is may do yet
            self.forget_replacement();
            return Ok(());
        }
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

    /// A session is there for the place of the one there is, or was.
    pub(super) fn handle_opened(&mut self, now: Instant) {
        if let Replacement::Opening { before } = self.replacement {
            self.replacement = Replacement::Joining { since: now, before };
        }
    }

    /// The helper speaks on it: it has the place, and the one before ends by itself. `noise`: what that one had said.
    pub(super) fn handle_joined(&mut self, hello: &Hello, noise: &Noise, now: Instant) -> Result<(), LaneError> {
        let was_lost = hello.lost.contains(&self.lane);
        self.lane = hello.lane;
        self.session = Session::Attached;
        self.gone = None;
        self.carried = 0;
        self.forget_replacement();
        self.attached = now;
        match std::mem::replace(&mut self.cause, Cause::None) {
            Cause::Suspected { text } if was_lost => {
                self.cause = Cause::Killed;
                Err(self.why_ended(&text, noise))
            }
            Cause::Replaced { text } if was_lost => {
                self.cause = Cause::Wanted { text };
                Ok(())
            }
            // the helper had let go of it, and so nobody has ended it
            Cause::Suspected { .. } | Cause::Replaced { .. } => Ok(()),
            other => {
                self.cause = other;
                Ok(())
            }
        }
    }

    fn forget_replacement(&mut self) {
        self.replacement = Replacement::No;
        self.wanted_since = None;
    }

    /// The websocket of the session that is to have the place was lost and is back, before the helper took it: a pause may
    /// have killed it as any other.
    pub(super) fn handle_coming_reconnected(&mut self, now: Instant) -> Result<(), LaneError> {
        match self.replacement {
            Replacement::Joining { .. } if self.rung == Rung::TwoLanes => self.reattach(now),
            _ => Ok(()),
        }
    }

    /// The session that was to have the place has ended before the helper took it.
    pub(super) fn handle_coming_ended(&mut self, noise: &Noise, now: Instant) -> Result<(), LaneError> {
        let Replacement::Joining { before, .. } = self.replacement else { return Ok(()) };
        if matches!(self.helper, Helper::Done) {
            return Ok(());
        }
        if noise.is_of_nobody() {
            self.forget_replacement();
            return if self.session == Session::Attached {
                self.handle_gone(noise, now);
                Ok(())
            } else {
                Err(self.unless_suspected(LaneError::HelperGone { said: noise.tail("") }))
            };
        }
        let error = BackendError::Unreachable(format!("the node did not go on with the command{}", noise.tail("")));
        self.try_again(before, error, now)
    }

    fn try_again(&mut self, before: Option<Retry>, error: BackendError, now: Instant) -> Result<(), LaneError> {
        let retry = Retry::after(before, error, now).map_err(|error| self.unless_suspected(error))?;
        self.replacement = Replacement::At { reattach_at: retry.at, before: Some(retry) };
        Ok(())
    }

    /// Where nobody is left to say more, what the service says of the end counts.
    fn unless_suspected(&self, error: LaneError) -> LaneError {
        match &self.cause {
            Cause::Suspected { text } => LaneError::Ended { text: text.clone(), said: String::new() },
            _ => error,
        }
    }

    /// A session could not be opened.
    pub(super) fn handle_open_failed(&mut self, error: BackendError, now: Instant) -> Result<(), LaneError> {
        if let (Helper::Awaited { .. } | Helper::Started(_), Replacement::Opening { before }) =
            (&self.helper, self.replacement)
        {
            self.try_again(before, error, now)?;
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
        let resumed = self.resumed.is_some_and(|at| now < at + AFTER_RESUME);
        let resumable = match &self.helper {
            Helper::Done => return Ok(()),
            Helper::Awaited { .. } => resumed && self.rung == Rung::TwoLanes,
            Helper::Started(hello) => hello.resumable,
        };
        if resumable && let Replacement::Opening { .. } | Replacement::Joining { .. } = self.replacement {
            // its place is taken: most likely the helper has let go of it just now, and an agent that is paused says no more
            if self.cause == Cause::None && noise.exit_code().is_none() {
                self.cause = Cause::Replaced { text: text.to_owned() };
            }
            return Ok(());
        }
        match noise.exit_code() {
            Some(LEASE_OVER) => {
                let is_awaited = matches!(self.helper, Helper::Awaited { .. });
                return Err(if is_awaited { LaneError::LeaseOverUnheard } else { LaneError::LeaseOver });
            }
            // The helper has let go of it, as it does of a lane that broke; or it was killed, or what it said at its end was
            // lost. Whoever comes next finds out.
            Some(code) if resumable && (code == LET_GO || code == 0 || KILLED.contains(&code)) => {
                return self.reattach(now);
            }
            Some(_) if !lower => return Err(self.why_ended(text, noise)),
            Some(_) | None => {}
        }
        if self.cause != Cause::Killed && (lower || resumable) {
            self.cause = Cause::Wanted { text: text.to_owned() };
            return Ok(());
        }
        Err(self.why_ended(text, noise))
    }

    /// The service has said what became of the session. What can't be found out was an end.
    pub(super) fn on_end_cause(&mut self, fate: Fate, noise: &Noise, now: Instant) -> Result<(), LaneError> {
        let Cause::Asked { text } = std::mem::replace(&mut self.cause, Cause::None) else { return Ok(()) };
        if matches!(self.helper, Helper::Done) {
            return Ok(());
        }
        if fate != Fate::Failed {
            if matches!(&self.helper, Helper::Started(hello) if hello.resumable) && self.session == Session::Lost {
                self.cause = Cause::Suspected { text };
                return self.reattach(now);
            }
            self.cause = Cause::Killed;
            return Err(self.why_ended(&text, noise));
        }
        let is_replaced = self.session == Session::Attached || self.replacement != Replacement::No;
        if is_replaced {
            return Ok(());
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
            Helper::Awaited { .. } if !self.is_asking() => self.hello_until(),
            Helper::Awaited { .. } | Helper::Started(_) => None,
        };
        let answer = if let Probe::Asked { until, .. } = self.probe { Some(until) } else { None };
        let reattach = match self.replacement {
            Replacement::At { reattach_at, .. } if !self.is_asking() => Some(reattach_at),
            Replacement::Joining { since, .. } if !self.is_asking() => Some(since + JOIN_WAIT),
            _ => None,
        };
        [hello, answer, reattach, self.gone_at()].into_iter().flatten().min()
    }

    /// What has been waited for long enough ends the channel, or brings another lane.
    pub(super) fn handle_timeout(&mut self, noise: &Noise, now: Instant) -> Result<(), LaneError> {
        match self.helper {
            Helper::Done => return Ok(()),
            Helper::Awaited { worker_at, .. }
                if !self.is_asking() && self.hello_until().is_some_and(|until| now >= until) =>
            {
                let said = noise.tail("");
                let by_helper = worker_at.is_some() && self.has_lower;
                return Err(if by_helper { LaneError::NoHello { said } } else { LaneError::NoWorker { said } });
            }
            Helper::Awaited { .. } | Helper::Started(_) => {}
        }
        if self.gone_at().is_some_and(|at| now >= at) {
            let said = self.gone.take().map(|(_, said)| said).unwrap_or_default();
            return Err(self.unless_suspected(LaneError::HelperGone { said }));
        }
        if matches!(self.probe, Probe::Asked { until, .. } if now >= until) {
            return Err(LaneError::CantResume);
        }
        match self.replacement {
            Replacement::At { reattach_at, .. } if !self.is_asking() && now >= reattach_at => self.reattach(now),
            Replacement::Joining { since, .. } if !self.is_asking() && now >= since + JOIN_WAIT => self.reattach(now),
            _ => Ok(()),
        }
    }

    fn hello_until(&self) -> Option<Instant> {
        let Helper::Awaited { since, worker_at, .. } = self.helper else { return None };
        Some(match worker_at {
            Some(at) if self.has_lower => at + HELLO_WAIT,
            _ => since + START_WAIT,
        })
    }

    /// When nothing more is to come of a helper that is gone. How its session ended, if it has, is waited for.
    fn gone_at(&self) -> Option<Instant> {
        let (found, _) = self.gone.as_ref().filter(|_| !self.is_asking())?;
        Some((self.heard + REST).max(*found + FOUND))
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
