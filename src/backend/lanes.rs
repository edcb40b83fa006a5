//! "Open me a session on that node": the one way into a node, and only with a grant.
//!
//! Where a session goes and the reason it gives come from the [`Grant`], never from the request, so that a lane for one
//! node can't be opened with the permission for another. `transport` is the only user; `app` hands it over, and
//! `tests/e2e/architecture.rs` knows of nobody else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::{BackendError, BoxFuture, Lapse};
use crate::data_channel::{ChannelReader, ChannelWriter};
use crate::model::{CallIds, RealmName, SessionId};
use crate::policy::Grant;

/// What `StartSession` is asked beside what the [`Grant`] says: where to, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRequest {
    /// The session document's name.
    pub document: String,
    /// The other documents that sessions of the same channel may be under: what is permitted for one is for all of them.
    pub beside: &'static [&'static str],
    /// The document's parameters.
    pub parameters: BTreeMap<String, Vec<String>>,
    /// Send without waiting for the node to speak first: for InteractiveCommands sessions whose command may be silent.
    /// Never for a session with a handshake.
    pub silent: bool,
    /// Bytes of data per frame.
    pub payload: usize,
}

impl SessionRequest {
    /// A session under a document, with nothing else asked for.
    pub fn new(document: impl Into<String>) -> Self {
        Self { document: document.into(), beside: &[], parameters: BTreeMap::new(), silent: false, payload: 1024 }
    }
}

/// A session whose data channel is being driven.
///
/// When both halves are gone the session is terminated in the service, in the background; one that the service has
/// closed already is not. [`Self::close`] does the same and waits for it.
#[derive(Debug)]
pub struct Lane {
    /// The service's name for it.
    pub id: SessionId,
    /// The calls that it was begun by.
    pub calls: CallIds,
    /// Towards the node.
    pub writer: ChannelWriter,
    /// From the node.
    pub reader: ChannelReader,
    /// Ends when the session is over and out of the way. Dropping it changes nothing.
    pub task: JoinHandle<()>,
    /// Tells when it has to end, because what the person is in AWS has ended.
    pub lapse: Lapse,
}

impl Lane {
    /// Hangs up and waits until the session is terminated; it takes at most a few seconds, even if the service is gone.
    pub async fn close(self) {
        drop((self.writer, self.reader));
        if self.task.await.is_err() {
            tracing::error!(session = %self.id, "the task of a data channel has panicked");
        }
    }
}

/// What became of a session, as the service has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It broke: the agent reported a failure. Nobody ended it then, neither a person nor a limit.
    Failed,
    /// Its program ended, or somebody or a limit ended it.
    Ended,
    /// The service does not know it.
    Unknown,
}

/// Sessions on nodes, opened for a person.
pub trait Lanes: Send + Sync + std::fmt::Debug {
    /// StartSession on the grant's node, then the data channel: signed upgrade, open message, driver. Returns as soon as
    /// the socket is open. What is let go of is terminated; who stops waiting half-way may leave a session behind, so whoever
    /// opens one does so in a task that comes to its end.
    fn open<'a>(&'a self, grant: &'a Grant, request: SessionRequest) -> BoxFuture<'a, Result<Lane, BackendError>>;
    /// What became of a session on the grant's node that is over, as the service has it.
    fn fate<'a>(&'a self, grant: &'a Grant, session: &'a SessionId) -> BoxFuture<'a, Result<Fate, BackendError>>;
    /// Lets go of all credentials that were got for people and are not in use: who they are, or may be, has changed.
    fn forget(&self);
    /// For the end of the program, when whoever held sessions has let go of them: waits until each is terminated, for at
    /// most `patience`. How many are left.
    fn drain(&self, patience: Duration) -> BoxFuture<'_, usize>;
}

/// Those of all realms: a grant's go to the realm of its node.
#[derive(Debug)]
pub struct RealmLanes(BTreeMap<RealmName, Arc<dyn Lanes>>);

impl RealmLanes {
    pub(super) fn new(lanes: BTreeMap<RealmName, Arc<dyn Lanes>>) -> Self {
        Self(lanes)
    }

    fn of(&self, grant: &Grant) -> Result<&Arc<dyn Lanes>, BackendError> {
        let realm = &grant.node().realm;
        self.0.get(realm).ok_or_else(|| BackendError::Refused(format!("this gateway serves no realm {realm}")))
    }
}

impl Lanes for RealmLanes {
    fn open<'a>(&'a self, grant: &'a Grant, request: SessionRequest) -> BoxFuture<'a, Result<Lane, BackendError>> {
        match self.of(grant) {
            Ok(lanes) => lanes.open(grant, request),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn fate<'a>(&'a self, grant: &'a Grant, session: &'a SessionId) -> BoxFuture<'a, Result<Fate, BackendError>> {
        match self.of(grant) {
            Ok(lanes) => lanes.fate(grant, session),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn forget(&self) {
        self.0.values().for_each(|lanes| lanes.forget());
    }

    fn drain(&self, patience: Duration) -> BoxFuture<'_, usize> {
        let each = join_all(self.0.values().map(|lanes| lanes.drain(patience)));
        Box::pin(async move { each.await.into_iter().sum() })
    }
}
