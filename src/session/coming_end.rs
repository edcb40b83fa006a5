//! The end of a session that is known before it comes: of what its person logged in by, or of the time that it may last.

use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::identity::{Purpose, Roster};
use crate::policy::Standing;
use crate::transport::Lifetime;

/// When a session will end.
#[derive(Debug)]
pub struct ComingEnd {
    standing: watch::Receiver<Standing>,
    roster: Roster,
    lifetime: Lifetime,
}

/// How long it still is until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// So long.
    pub time: Duration,
    /// What is over then.
    pub of: EndOf,
    /// Nothing that is known of puts it off.
    pub certain: bool,
}

/// What ends a session at a time that is known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOf {
    /// What its person logged in by.
    Proof,
    /// The time that it may last.
    Time,
}

impl ComingEnd {
    pub(super) fn new(standing: watch::Receiver<Standing>, roster: Roster, lifetime: Lifetime) -> Self {
        Self { standing, roster, lifetime }
    }

    /// How long is left, where there is an end that is known of.
    pub fn left(&self, now: SystemTime) -> Option<Left> {
        let lasts = self.lifetime.ends().map(|end| Left {
            time: end.saturating_duration_since(Instant::now()),
            of: EndOf::Time,
            certain: true,
        });
        [self.proof(now), lasts].into_iter().flatten().min_by_key(|left| left.time)
    }

    /// An end of the proof is one of the session only where it is asked for a proof then: an authority may let sessions outlive theirs.
    fn proof(&self, now: SystemTime) -> Option<Left> {
        let standing = self.standing.borrow();
        let identity = standing.identity();
        let end = identity.ends()?;
        let over = self.roster.current().renew(identity, end, Purpose::GoOn).is_err();
        let time = end.duration_since(now).unwrap_or_default();
        over.then(|| Left { time, of: EndOf::Proof, certain: identity.ends_for_certain() })
    }

    /// Waits until it may be another. That a provider puts off the end of a sign-in is learned by asking again.
    pub async fn changed(&mut self) {
        tokio::select! {
            changed = self.standing.changed() => if changed.is_err() {
                // the session is over
                std::future::pending::<()>().await;
            },
            () = self.lifetime.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Identity, People};
    use crate::policy::{Action, Grant};

    #[tokio::test(start_paused = true)]
    async fn the_end_that_comes_first_is_told_of_and_what_it_is_of() {
        let grant = Grant::for_test_to(Identity::for_test("ada"), "web-1", Action::Shell);
        let (_standing, stands) = watch::channel(grant.standing());
        let (limit, lifetime) = Lifetime::for_test(None);
        let mut coming = ComingEnd::new(stands, Roster::from(People::default()), lifetime);
        let now = SystemTime::now();
        assert_eq!(coming.left(now), None, "a key without an end, and no limit");
        let minute = Duration::from_secs(60);
        limit.send_replace(Some(Instant::now() + 5 * minute));
        coming.changed().await;
        tokio::time::advance(2 * minute).await;
        assert_eq!(coming.left(now), Some(Left { time: 3 * minute, of: EndOf::Time, certain: true }));
        tokio::time::advance(9 * minute).await;
        assert_eq!(coming.left(now).unwrap().time, Duration::ZERO);
    }
}
