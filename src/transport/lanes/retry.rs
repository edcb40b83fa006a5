//! A lane that could not be opened is tried again for a while: the command is well, and only the way to it is missing.

use std::time::Duration;

use tokio::time::Instant;

use super::error::LaneError;
use crate::backend::BackendError;

/// How long a lane is tried for: no longer than a helper's lease, which ends what nobody reaches.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long for a node that has no agent, as the service says: long enough for one that restarts, and so short that the
/// person hears of a node that is gone within ten seconds.
pub(super) const PATIENCE_WITH_AWAY: Duration = Duration::from_secs(5);
/// The pause after the first failure; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// A lane could not be opened: since when that is so, and when the next is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    since: Instant,
    pause: Duration,
    /// When to try next.
    pub(super) at: Instant,
}

impl Retry {
    /// After another failure. The error stands if it would come again, or has come for too long.
    pub(super) fn after(before: Option<Self>, error: BackendError, now: Instant) -> Result<Self, LaneError> {
        let (since, pause) = before.map_or((now, FIRST_PAUSE), |before| (before.since, before.pause * 2));
        match error {
            BackendError::Unreachable(_) | BackendError::Credentials { .. } if now < since + PATIENCE => {
                tracing::debug!(%error, "a lane is tried again");
                Ok(Self { since, at: now + pause.min(LONGEST_PAUSE), pause })
            }
            BackendError::Target(why) if now >= since + PATIENCE_WITH_AWAY => Err(LaneError::NodeGone(why)),
            BackendError::Target(why) => {
                tracing::debug!(why, "a lane is tried again");
                Ok(Self { since, at: now + pause.min(FIRST_PAUSE * 2), pause })
            }
            error => Err(LaneError::CantOpen(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttled() -> BackendError {
        BackendError::Unreachable("throttled".to_owned())
    }

    #[test]
    fn pauses_grow_to_a_limit_and_so_do_all_of_them() {
        let start = Instant::now();
        let (mut now, mut retry, mut pauses) = (start, None, Vec::new());
        let last = loop {
            match Retry::after(retry, throttled(), now) {
                Ok(next) => {
                    pauses.push((next.at - now).as_secs());
                    (now, retry) = (next.at, Some(next));
                }
                Err(error) => break error,
            }
        };
        assert_eq!(pauses, [1, 2, 4, 8, 8, 8]);
        assert_eq!((now - start, last), (Duration::from_secs(31), LaneError::CantOpen(throttled())));
    }

    #[test]
    fn what_would_come_again_is_final() {
        let now = Instant::now();
        for error in [BackendError::Refused("IAM".to_owned()), BackendError::Document("none".to_owned())] {
            assert_eq!(Retry::after(None, error.clone(), now), Err(LaneError::CantOpen(error)));
        }
    }

    #[test]
    fn a_node_without_an_agent_is_given_up_sooner() {
        let away = || BackendError::Target("web-1 is not connected".to_owned());
        let start = Instant::now();
        let (mut now, mut retry) = (start, None);
        let last = loop {
            match Retry::after(retry, away(), now) {
                Ok(next) => (now, retry) = (next.at, Some(next)),
                Err(error) => break error,
            }
        };
        assert_eq!((now - start, last), (Duration::from_secs(5), LaneError::NodeGone("web-1 is not connected".into())));
    }
}
