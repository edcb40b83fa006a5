//! How long a channel may last and be silent. The gateway enforces both itself, on every rung: it renews a lease on the
//! node, which Session Manager counts as activity; a lane that takes another's place is a new session with a new clock;
//! and AWS's own document, which carries the one-lane rung, may know nothing of the account's preferences: an assumption,
//! as only an account can show it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::model::counted;
use crate::policy::Grant;

/// The limits of a channel; none means no such limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// The longest time without a byte of the person's in either direction.
    pub idle: Option<Duration>,
    /// The longest life.
    pub longest: Option<Duration>,
}

impl Limits {
    /// What the policies oblige to by which the channel is there, and all that was done in it so far.
    pub(super) fn of(grant: &Grant) -> Self {
        let (longest, idle) = grant.times();
        Self { idle, longest }
    }

    /// The stricter of two of each.
    pub(super) fn and(self, other: Self) -> Self {
        let least = |a: Option<Duration>, b: Option<Duration>| [a, b].into_iter().flatten().min();
        Self { idle: least(self.idle, other.idle), longest: least(self.longest, other.longest) }
    }
}

/// A limit was reached; the sentence is the person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// The longest life. Session Manager's own words.
    #[error("Max session duration reached. Your session has been terminated.")]
    Longest,
    /// The longest time without a byte.
    #[error("the session was idle for {}, the longest that is allowed, and was ended", in_minutes(*.0))]
    Idle(Duration),
}

fn in_minutes(limit: Duration) -> String {
    counted(limit.as_secs().div_ceil(60), "minute")
}

/// When the longest life of a channel is over, for whoever tells of it ahead.
#[derive(Clone, Debug)]
pub struct Lifetime(watch::Receiver<Option<Instant>>);

impl Lifetime {
    /// When, as far as is known now; none where it has no such end.
    pub fn ends(&self) -> Option<Instant> {
        *self.0.borrow()
    }

    /// Waits until that is another time.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // the channel is over
            std::future::pending::<()>().await;
        }
    }

    /// One that is told by a test.
    #[cfg(test)]
    pub(crate) fn for_test(ends: Option<Instant>) -> (watch::Sender<Option<Instant>>, Self) {
        let (sender, receiver) = watch::channel(ends);
        (sender, Self(receiver))
    }
}

/// The limits of one channel, and where it stands. It reads no clock.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    limits: Limits,
    started: Instant,
    active: Instant,
    ends: watch::Sender<Option<Instant>>,
}

impl Clock {
    /// For a channel that starts now.
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        let ends = watch::Sender::new(limits.longest.map(|limit| now + limit));
        Self { limits, started: now, active: now, ends }
    }

    /// When its longest life is over.
    pub(super) fn lifetime(&self) -> Lifetime {
        Lifetime(self.ends.subscribe())
    }

    /// A byte has passed.
    pub(super) fn touch(&mut self, now: Instant) {
        self.active = now;
    }

    /// When the last byte has passed.
    pub(super) fn active(&self) -> Instant {
        self.active
    }

    /// The channel keeps to these as well, from its start.
    pub(super) fn keep_to(&mut self, limits: Limits) {
        self.limits = self.limits.and(limits);
        let ends = self.limits.longest.map(|limit| self.started + limit);
        self.ends.send_if_modified(|known| std::mem::replace(known, ends) != ends);
    }

    /// When to ask again, if nothing passes until then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let idle = self.limits.idle.map(|limit| self.active + limit);
        let longest = self.limits.longest.map(|limit| self.started + limit);
        [idle, longest].into_iter().flatten().min()
    }

    /// Whether the channel must end, and why.
    pub(super) fn over(&self, now: Instant) -> Option<LimitReached> {
        if self.limits.longest.is_some_and(|limit| now >= self.started + limit) {
            return Some(LimitReached::Longest);
        }
        self.limits.idle.filter(|limit| now >= self.active + *limit).map(LimitReached::Idle)
    }
}

/// Waits until then, or for ever.
pub(super) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn activity_puts_off_the_idle_limit_and_not_the_end() {
        let start = Instant::now();
        let mut clock = Clock::new(Limits { idle: Some(2 * MINUTE), longest: Some(5 * MINUTE) }, start);
        assert_eq!((clock.deadline(), clock.over(start + MINUTE)), (Some(start + 2 * MINUTE), None));
        let idle = clock.over(start + 2 * MINUTE).unwrap().to_string();
        assert!(idle.contains("idle for 2 minutes"), "{idle}");
        clock.touch(start + 4 * MINUTE);
        assert_eq!(clock.over(start + 4 * MINUTE), None);
        assert_eq!(clock.deadline(), Some(start + 5 * MINUTE));
        assert_eq!(clock.over(start + 5 * MINUTE), Some(LimitReached::Longest));
    }

    #[test]
    fn no_limit_is_no_deadline() {
        let start = Instant::now();
        let clock = Clock::new(Limits::default(), start);
        assert_eq!((clock.deadline(), clock.over(start + 10_000 * MINUTE)), (None, None));
    }

    #[test]
    fn whoever_tells_of_the_end_ahead_hears_of_a_nearer_one_and_of_no_other() {
        let start = Instant::now();
        let mut clock = Clock::new(Limits { idle: Some(MINUTE), longest: Some(9 * MINUTE) }, start);
        let lifetime = clock.lifetime();
        assert_eq!(lifetime.ends(), Some(start + 9 * MINUTE));
        for (longest, expected) in [(Some(20 * MINUTE), None), (None, None), (Some(5 * MINUTE), Some(5 * MINUTE))] {
            clock.keep_to(Limits { idle: None, longest });
            assert_eq!(lifetime.0.has_changed().unwrap(), expected.is_some(), "{longest:?}");
            assert_eq!(lifetime.ends(), Some(start + expected.unwrap_or(9 * MINUTE)));
        }
    }

    #[test]
    fn the_stricter_limit_holds() {
        let account = Limits { idle: Some(20 * MINUTE), longest: None };
        let gateway = Limits { idle: Some(5 * MINUTE), longest: Some(MINUTE) };
        assert_eq!(account.and(gateway), gateway);
        assert_eq!(account.and(Limits::default()), account);
    }
}
