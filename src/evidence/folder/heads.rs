//! The latest signed head of each session that is live: what the journal tells once a minute, and what is anchored elsewhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use uuid::Uuid;

/// The latest signed heads.
#[derive(Clone, Debug, Default)]
pub(in crate::evidence) struct Heads(Arc<Mutex<BTreeMap<Uuid, LiveHead>>>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::evidence) struct LiveHead {
    /// The folder, `<day>/<session>`.
    pub(in crate::evidence) folder: String,
    /// The SHA-256 of the head's text, in hex.
    pub(in crate::evidence) hash: String,
}

impl Heads {
    pub(super) fn signed(&self, session: Uuid, head: LiveHead) {
        self.lock().insert(session, head);
    }

    pub(super) fn over(&self, session: Uuid) {
        self.lock().remove(&session);
    }

    /// All of them.
    pub(in crate::evidence) fn all(&self) -> Vec<(Uuid, LiveHead)> {
        self.lock().iter().map(|(session, head)| (*session, head.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, LiveHead>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many folders wait for their last head.
#[derive(Debug)]
pub(in crate::evidence) struct Sealing {
    waiting: watch::Sender<usize>,
}

impl Default for Sealing {
    fn default() -> Self {
        Self { waiting: watch::Sender::new(0) }
    }
}

impl Sealing {
    pub(super) fn begins(&self) {
        self.waiting.send_modify(|waiting| *waiting += 1);
    }

    pub(in crate::evidence) fn ends(&self) {
        self.waiting.send_modify(|waiting| *waiting = waiting.saturating_sub(1));
    }

    /// Waits until there is none.
    pub(in crate::evidence) async fn is_done(&self) {
        // the sender is here, so there is no error
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting == 0).await;
    }
}
