//! Who may use again what carries something already: the same person, as the same role and the same user of the node, for the same
//! reason.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use tokio_util::sync::CancellationToken;

use super::error::TransportError;
use super::relay::{Relay, RelayError};
use crate::backend::BoxFuture;
use crate::evidence::LaneRecord;
use crate::identity::ActsAs;
use crate::model::NodeRef;
use crate::policy::Grant;

/// What those have in common who may share lanes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sharing {
    node: NodeRef,
    person: String,
    role: Option<String>,
    os_user: Option<String>,
    reason: Option<String>,
}

impl Sharing {
    pub(super) fn of(grant: &Grant) -> Self {
        let identity = grant.identity();
        let role = match identity.acts_as(&grant.node().realm) {
            ActsAs::Role(role) => Some(role.arn.to_string()),
            _ => None,
        };
        Self {
            node: grant.node().clone(),
            person: identity.person().to_owned(),
            role,
            os_user: grant.os_user().map(str::to_owned),
            reason: grant.reason().map(|reason| reason.as_str().to_owned()),
        }
    }
}

/// A way that several have, which is there or on its way; and where the sessions are noted that carry it.
#[derive(Clone)]
pub(super) struct SharedWay<T: Clone> {
    opened: Shared<BoxFuture<'static, Result<T, Arc<TransportError>>>>,
    pub(super) noted: LaneRecord,
}

/// A relay that several have.
pub(super) type SharedRelay = SharedWay<Relay>;

impl<T: Clone + Send + Sync + 'static> SharedWay<T> {
    /// Opens it in a task of its own, since whoever asked first may give up and others wait for it; until it is let go of.
    pub(super) fn open(
        opening: impl Future<Output = Result<T, TransportError>> + Send + 'static,
        noted: LaneRecord,
        let_go: CancellationToken,
    ) -> Self {
        let opening = tokio::spawn(async move {
            tokio::select! {
                () = let_go.cancelled() => Err(TransportError::GivenUp),
                opened = opening => opened,
            }
        });
        let opened: BoxFuture<'static, _> = Box::pin(async move {
            let opened = opening.await.unwrap_or_else(|_| {
                tracing::error!("opening a way that several share has panicked");
                Err(TransportError::Gone)
            });
            opened.map_err(Arc::new)
        });
        Self { opened: opened.shared(), noted }
    }

    /// It, once it is open.
    pub(super) async fn opened(&self) -> Result<T, Arc<TransportError>> {
        self.opened.clone().await
    }

    /// One that is on its way is usable, and one that did not open is not; of one that is there it is to say.
    pub(super) fn may_be_used(&self, usable: impl FnOnce(&T) -> bool) -> bool {
        match self.opened.peek() {
            None => true,
            Some(Ok(way)) => usable(way),
            Some(Err(_)) => false,
        }
    }
}

impl SharedRelay {
    /// Whether it may be used; of one that has ended it is to say.
    pub(super) fn is_usable(&self, ended: impl FnOnce(&RelayError) -> bool) -> bool {
        self.may_be_used(|relay| relay.ended().is_none_or(|why| ended(&why)))
    }
}

impl<T: Clone> fmt::Debug for SharedWay<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedWay").finish_non_exhaustive()
    }
}

/// Why it did not open, for one of all who wanted it: an error can't be copied, its sentence can.
pub(super) fn not_opened(error: Arc<TransportError>) -> TransportError {
    Arc::try_unwrap(error).unwrap_or_else(|shared| match &*shared {
        TransportError::Backend(error) => error.clone().into(),
        TransportError::Sshd(error) => error.clone().into(),
        TransportError::GivenUp => TransportError::GivenUp,
        other => TransportError::HelperLost(other.to_string()),
    })
}
