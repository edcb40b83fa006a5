//! One clock for everything above the protocol's core: tokio's, so that a test can pause it, with the wall's date.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_protocol::Time;
use tokio::time::Instant;

/// The core's time: since the epoch, from a clock that never goes back. Frames carry it as their date.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// What the wall's clock said then; whether it is set later makes no difference.
    epoch: Duration,
}

impl Clock {
    /// A clock that agrees with the wall's now.
    pub fn start() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), epoch }
    }

    /// What the core is told.
    pub fn now(&self) -> Time {
        self.epoch + self.started.elapsed()
    }

    /// When to wake up for a deadline of the core's.
    pub fn instant(&self, time: Time) -> Instant {
        self.started + time.saturating_sub(self.epoch)
    }
}

/// Waits until then, or for ever.
pub async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
