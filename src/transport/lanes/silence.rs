//! What a person hears while there is no way to the helper: a command that may be well is not ended for it, and who waits
//! should know what for.
//!
//! ```text
//!   well ──▶ not well, and for how long ──▶ told ──▶ well again: told, too
//!                     └───────────────────────────▶ well again: nobody need know
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// Together with the beat, after which an idle channel has asked, and the patience for the answer it is within ten seconds.
pub(super) const UNANSWERED: Duration = Duration::from_secs(1);
/// A new lane is there sooner, unless the node has much to do.
const INTERRUPTED: Duration = Duration::from_secs(4);

const BROKEN: &str = "the way to the node is interrupted; the command may be going on there, and is waited for";
const BACK: &str = "the way to the node is there again";

/// How the way to the helper is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Well,
    /// Another lane is on its way.
    Interrupted,
    /// The helper was asked, and its answer is overdue.
    Unanswered,
}

/// Since when it is not well, and whether that was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Silence {
    #[default]
    None,
    Due(Instant),
    Told,
}

impl Silence {
    /// What is to be told now.
    pub(super) fn check(&mut self, way: Way, now: Instant) -> Option<&'static str> {
        let patience = match way {
            Way::Well => {
                let before = std::mem::take(self);
                return (before == Self::Told).then_some(BACK);
            }
            Way::Interrupted => INTERRUPTED,
            Way::Unanswered => UNANSWERED,
        };
        *self = match *self {
            Self::None => Self::Due(now + patience),
            Self::Due(due) if now >= due => {
                *self = Self::Told;
                return Some(BROKEN);
            }
            // an answer that is missed makes it sooner
            Self::Due(due) => Self::Due(due.min(now + patience)),
            Self::Told => Self::Told,
        };
        None
    }

    /// When [`Self::check`] must be asked again.
    pub(super) fn timeout(self) -> Option<Instant> {
        if let Self::Due(due) = self { Some(due) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_is_soon_replaced_is_nobodys_news_and_one_that_is_not_is_told_of_once() {
        let (now, mut silence) = (Instant::now(), Silence::default());
        assert_eq!((silence.check(Way::Well, now), silence.timeout()), (None, None));
        assert_eq!((silence.check(Way::Interrupted, now), silence.timeout()), (None, Some(now + INTERRUPTED)));
        assert_eq!((silence.check(Way::Well, now + INTERRUPTED / 2), silence), (None, Silence::None));

        assert_eq!(silence.check(Way::Interrupted, now), None);
        assert_eq!((silence.check(Way::Unanswered, now), silence.timeout()), (None, Some(now + UNANSWERED)));
        assert_eq!((silence.check(Way::Interrupted, now), silence.timeout()), (None, Some(now + UNANSWERED)));
        assert_eq!(silence.check(Way::Unanswered, now + UNANSWERED), Some(BROKEN));
        assert_eq!((silence.check(Way::Interrupted, now + 9 * INTERRUPTED), silence.timeout()), (None, None));
        assert_eq!(silence.check(Way::Well, now + 9 * INTERRUPTED), Some(BACK));
        assert_eq!(silence, Silence::None);
    }
}
