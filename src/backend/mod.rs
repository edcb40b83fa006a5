//! "Open me a session on that node": the one seam to Systems Manager. The AWS SDK is behind it, and the embedded
//! Session Manager is reached through the SDK as well, so nothing in the product knows which of them it talks to.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::data_channel::{ChannelReader, ChannelWriter};
use crate::model::{NodeId, ReasonText, SessionId};

pub mod aws;
pub mod preferences;

/// A future behind a `dyn Backend`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What `StartSession` is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRequest {
    /// The node.
    pub target: NodeId,
    /// The session document's name.
    pub document: String,
    /// The document's parameters.
    pub parameters: BTreeMap<String, Vec<String>>,
    /// `StartSession.Reason`.
    pub reason: Option<ReasonText>,
    /// Send without waiting for the node to speak first: for InteractiveCommands sessions whose command may be silent.
    /// Never for a session with a handshake.
    pub silent: bool,
    /// Bytes of data per frame.
    pub payload: usize,
}

impl SessionRequest {
    /// A session on `target` under a document, with nothing else asked for.
    pub fn new(target: NodeId, document: impl Into<String>) -> Self {
        Self {
            target,
            document: document.into(),
            parameters: BTreeMap::new(),
            reason: None,
            silent: false,
            payload: 1024,
        }
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
    /// Towards the node.
    pub writer: ChannelWriter,
    /// From the node.
    pub reader: ChannelReader,
    /// Ends when the session is over and out of the way. Dropping it changes nothing.
    pub task: JoinHandle<()>,
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

/// A node that a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What `Target` wants.
    pub id: NodeId,
    /// Its name, for people.
    pub name: String,
    /// Whether its agent is connected.
    pub online: bool,
    /// When its agent was last heard, seconds since the epoch.
    pub last_ping: Option<i64>,
}

/// Why Systems Manager did not do it, in a sentence for the person; never with a token or a key in it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BackendError {
    /// The node is unknown or not connected.
    #[error("{0}")]
    Target(String),
    /// IAM or the service refused.
    #[error("{0}")]
    Refused(String),
    /// The session was started, and over before the gateway was there.
    #[error("{why}")]
    Ended {
        /// The service's name for it.
        session: SessionId,
        /// The sentence.
        why: String,
    },
    /// A document is missing or not what it must be.
    #[error("{0}")]
    Document(String),
    /// The network, TLS, throttling or the service's own fault: later it may work.
    #[error("{0}")]
    Unreachable(String),
}

/// What Portcullis needs of Systems Manager.
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// StartSession, then the data channel: signed upgrade, open message, driver. Returns as soon as the socket is open.
    fn open(&self, request: SessionRequest) -> BoxFuture<'_, Result<Lane, BackendError>>;
    /// TerminateSession.
    fn terminate(&self, session: &SessionId) -> BoxFuture<'_, Result<(), BackendError>>;
    /// Whether a session that is over broke: the agent reported a failure. Nobody ended it then, neither a person nor a
    /// limit. Where the service does not know it is `false`.
    fn has_failed(&self, session: &SessionId) -> BoxFuture<'_, Result<bool, BackendError>>;
    /// The node that a name stands for: an id, a Name, or `tag:Key=Value` that matches exactly one.
    fn resolve(&self, name: &str) -> BoxFuture<'_, Result<Node, BackendError>>;
    /// A session document's content, JSON text; `None` where there is none of that name.
    fn document(&self, name: &str) -> BoxFuture<'_, Result<Option<String>, BackendError>>;
    /// Creates a session document or brings it up to date.
    fn put_document(&self, name: &str, content: &str) -> BoxFuture<'_, Result<(), BackendError>>;
    /// For the end of the program, when whoever held sessions has let go of them: waits until each is terminated, for at
    /// most `patience`. How many are left.
    fn drain(&self, patience: Duration) -> BoxFuture<'_, usize> {
        let _ = patience;
        Box::pin(std::future::ready(0))
    }
}
