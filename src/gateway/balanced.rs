//! Connections of balancers that have not said yet for whom they are.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::settings::Settings;
use crate::telemetry::Repeated;

/// Their places. They have limits of their own: one balancer's address stands for everybody behind it.
#[derive(Debug)]
pub(super) struct Balanced {
    places: Arc<Semaphore>,
    full: std::sync::Mutex<Repeated>,
}

/// One of them, until it is known whose connection it is.
#[derive(Debug)]
pub(super) struct BalancedPlace(
    #[expect(dead_code, reason = "held, and given back when dropped")] OwnedSemaphorePermit,
);

/// A header comes with a connection's first packet, so these are few even where many connect at once.
const PLACES: usize = 256;

impl Default for Balanced {
    fn default() -> Self {
        let full = std::sync::Mutex::new(Repeated::new(Duration::from_secs(10)));
        Self { places: Arc::new(Semaphore::new(PLACES)), full }
    }
}

impl Balanced {
    /// A place, or none where balancers leave too many connections without a header.
    pub(super) fn place(&self) -> Option<BalancedPlace> {
        let place = self.places.clone().try_acquire_owned().ok().map(BalancedPlace);
        let mut full = self.full.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if place.is_none()
            && let Some(times) = full.count(Instant::now())
        {
            tracing::warn!(times, "connections of balancers refused: too many have sent no header yet");
        }
        place
    }
}

impl Settings {
    /// Whether what comes from there is a balancer's, which says for whom it is.
    pub(super) fn is_balancer(&self, peer: IpAddr) -> bool {
        self.balancers.as_ref().is_some_and(|balancers| balancers.has(peer))
    }
}
