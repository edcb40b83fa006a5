//! The backend of one account and region: the traits over the SDK.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::clients::{AwsOptions, Clients};
use super::documents;
use super::inventory;
use super::own_permissions;
use super::persons::Persons;
use super::sessions::Start;
use super::shared::Inner;
use super::tags;
use super::targets::Targets;
use super::throttle::Throttle;
use super::user_keys;
use crate::backend::lanes::{Fate, Lane, Lanes, SessionRequest};
use crate::backend::{BackendError, BoxFuture, Directory, Node, NodeList, UserKeys};
use crate::data_channel::ReconnectPolicy;
use crate::model::{NodeName, NodeRef, RealmName, SessionId};
use crate::policy::Grant;

/// TerminateSession calls at once.
const MAX_TERMINATIONS: usize = 8;

/// Systems Manager in one account and region.
#[derive(Clone, Debug)]
pub struct AwsBackend {
    inner: Arc<Inner>,
}

impl AwsBackend {
    /// Of the realm of that name. Reads the configuration of the SDK; makes no call.
    pub async fn new(realm: RealmName, options: AwsOptions) -> Result<Self, BackendError> {
        let mut reconnect = ReconnectPolicy::default();
        if let Some(deadline) = options.reconnect_deadline {
            reconnect.deadline = deadline;
        }
        let inner = Inner {
            clients: Clients::build(realm, &options).await?,
            persons: Persons::default(),
            targets: Targets::default(),
            throttle: Throttle::new(options.starts_per_second),
            reconnect,
            terminations: Semaphore::new(MAX_TERMINATIONS),
            sessions: TaskTracker::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether there are credentials, and the service answers to them.
    pub async fn answers(&self) -> Result<(), BackendError> {
        inventory::answers(&self.inner.clients).await
    }

    /// Whether the tags of nodes can be read.
    pub async fn tags_answer(&self) -> Result<(), BackendError> {
        tags::answer(&self.inner.clients).await
    }

    /// Whether the gateway itself may start a session, on a node that is there now; `None` where that can't be told.
    pub async fn may_start_itself(&self, document: &str) -> Option<NodeRef> {
        own_permissions::may_start(&self.inner.clients, document).await
    }
}

/// What a test looks into.
#[cfg(test)]
impl AwsBackend {
    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }
}

impl Directory for AwsBackend {
    fn resolve(&self, name: &NodeName) -> BoxFuture<'_, Result<Node, BackendError>> {
        let name = name.clone();
        Box::pin(async move { self.inner.targets.resolve(&self.inner.clients, &name).await })
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Arc<NodeList>, BackendError>> {
        Box::pin(async move { self.inner.targets.all(&self.inner.clients).await })
    }

    fn document(&self, name: &str) -> BoxFuture<'_, Result<Option<String>, BackendError>> {
        let name = name.to_owned();
        Box::pin(async move { documents::get(&self.inner.clients, &name).await })
    }

    fn put_document(&self, name: &str, content: &str) -> BoxFuture<'_, Result<(), BackendError>> {
        let (name, content) = (name.to_owned(), content.to_owned());
        Box::pin(async move { documents::put(&self.inner.clients, &name, &content).await })
    }
}

impl UserKeys for AwsBackend {
    fn active_keys<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Result<Option<Vec<String>>, BackendError>> {
        Box::pin(user_keys::active(&self.inner.clients, user))
    }

    fn key_text<'a>(&'a self, user: &'a str, id: &'a str) -> BoxFuture<'a, Result<Option<String>, BackendError>> {
        Box::pin(user_keys::text(&self.inner.clients, user, id))
    }
}

impl Lanes for AwsBackend {
    fn open<'a>(&'a self, grant: &'a Grant, request: SessionRequest) -> BoxFuture<'a, Result<Lane, BackendError>> {
        let inner = Arc::clone(&self.inner);
        if grant.node().realm != inner.clients.realm {
            let why = format!("{} is no node of the realm {}", grant.node(), inner.clients.realm);
            return Box::pin(std::future::ready(Err(BackendError::Refused(why))));
        }
        let start = match inner.persons.caller(&inner.clients, grant, &request) {
            Ok(caller) => Start::new(caller, grant, request),
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        // held while it is being opened, so that a drain waits for what will have to be ended
        let token = inner.sessions.token();
        Box::pin(inner.open(start, token))
    }

    fn fate<'a>(&'a self, _: &'a Grant, session: &'a SessionId) -> BoxFuture<'a, Result<Fate, BackendError>> {
        Box::pin(async move { self.inner.fate(session).await })
    }

    fn forget(&self) {
        self.inner.persons.forget();
    }

    fn drain(&self, patience: Duration) -> BoxFuture<'_, usize> {
        Box::pin(async move {
            let sessions = &self.inner.sessions;
            sessions.close();
            let _ = tokio::time::timeout(patience, sessions.wait()).await;
            sessions.reopen();
            sessions.len()
        })
    }
}
