//! A backend that notes which sessions it has opened and how often documents were asked for, and takes its time where a test wants it to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::backend::aws::AwsBackend;
use crate::backend::lanes::{Fate, Lane, Lanes, SessionRequest};
use crate::backend::{BackendError, BoxFuture, Directory, Lapse, Node, NodeList, Realms};
use crate::model::{NodeName, SessionId};
use crate::policy::Grant;
use crate::testing::EmbeddedTransport;
use crate::transport::helper::program::IN_DOCUMENT;
use crate::transport::{Transport, TransportOptions};

/// What takes its time, and how much.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slow {
    /// The answer how a session has ended.
    pub(super) history: Duration,
    /// An in lane.
    pub(super) way_in: Duration,
    /// Another out lane.
    pub(super) way_out: Duration,
}

#[derive(Debug)]
pub(super) struct Watched {
    inner: AwsBackend,
    slow: Slow,
    opened: Mutex<Vec<SessionId>>,
    documents: AtomicUsize,
    failures: AtomicUsize,
    lapses: Mutex<Vec<watch::Sender<Option<BackendError>>>>,
}

impl EmbeddedTransport {
    /// The same behind such a backend.
    pub(super) fn watch(&mut self, slow: Slow, options: TransportOptions) -> Arc<Watched> {
        let (inner, opened, documents) = (self.backend.clone(), Mutex::default(), AtomicUsize::default());
        let (failures, lapses) = (AtomicUsize::default(), Mutex::default());
        let watched = Arc::new(Watched { inner, slow, opened, documents, failures, lapses });
        self.transport = Transport::new(&Realms::for_test(watched.clone()), watched.clone(), options);
        watched
    }
}

impl Watched {
    /// Every session so far, in order.
    pub(super) fn opened(&self) -> Vec<SessionId> {
        self.opened.lock().unwrap().clone()
    }

    /// The next so many sessions can't be started.
    pub(super) fn fail(&self, sessions: usize) {
        self.failures.store(sessions, Ordering::Relaxed);
    }

    /// What the person is in AWS has ended.
    pub(super) fn lapse(&self, why: &str) {
        for lapse in self.lapses.lock().unwrap().drain(..) {
            lapse.send_replace(Some(BackendError::Refused(why.to_owned())));
        }
    }

    /// How often a document was asked for.
    pub(super) fn documents(&self) -> usize {
        self.documents.load(Ordering::Relaxed)
    }
}

impl Lanes for Watched {
    fn open<'a>(&'a self, grant: &'a Grant, request: SessionRequest) -> BoxFuture<'a, Result<Lane, BackendError>> {
        Box::pin(async move {
            if request.document == IN_DOCUMENT {
                tokio::time::sleep(self.slow.way_in).await;
            } else if !self.opened().is_empty() {
                tokio::time::sleep(self.slow.way_out).await;
            }
            let failing = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if failing.is_ok() {
                return Err(BackendError::Unreachable("Systems Manager is throttling StartSession".to_owned()));
            }
            let mut lane = self.inner.open(grant, request).await?;
            let (telling, lapse) = Lapse::new();
            lane.lapse = lapse;
            self.lapses.lock().unwrap().push(telling);
            self.opened.lock().unwrap().push(lane.id.clone());
            Ok(lane)
        })
    }

    fn fate<'a>(&'a self, grant: &'a Grant, session: &'a SessionId) -> BoxFuture<'a, Result<Fate, BackendError>> {
        let answer = self.inner.fate(grant, session);
        Box::pin(async move {
            tokio::time::sleep(self.slow.history).await;
            answer.await
        })
    }

    fn forget(&self) {
        self.inner.forget();
    }

    fn drain(&self, patience: Duration) -> BoxFuture<'_, usize> {
        self.inner.drain(patience)
    }
}

impl Directory for Watched {
    fn resolve(&self, name: &NodeName) -> BoxFuture<'_, Result<Node, BackendError>> {
        self.inner.resolve(name)
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Arc<NodeList>, BackendError>> {
        self.inner.nodes()
    }

    fn document(&self, name: &str) -> BoxFuture<'_, Result<Option<String>, BackendError>> {
        self.documents.fetch_add(1, Ordering::Relaxed);
        self.inner.document(name)
    }

    fn put_document(&self, name: &str, content: &str) -> BoxFuture<'_, Result<(), BackendError>> {
        self.inner.put_document(name, content)
    }
}
