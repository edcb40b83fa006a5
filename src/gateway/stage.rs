//! Where a gateway is in its life, for whoever must end with it.

use std::time::Duration;

use tokio::sync::watch;

/// Where the gateway is in its life; it only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Connections are accepted.
    Serving,
    /// Those that are there may go on.
    Draining,
    /// They may not, either.
    Ending,
}

/// Waits for a stage of the gateway's life; if nobody leads it any more, that is the end as well.
pub(super) async fn comes(stages: &mut watch::Receiver<Stage>, stage: Stage) {
    let _ = stages.wait_for(|now| *now >= stage).await;
}

/// What people read whose sessions or connections are ended by the gateway's end.
pub(super) const SHUTTING_DOWN: &str = "the gateway is shutting down";

/// How long sessions that are ended may take, and how long their connections.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);
