//! Why Systems Manager did not do what it was asked.

use super::Node;
use crate::model::{CallIds, NodeName, SessionId};

/// Why Systems Manager did not do it, in a sentence for the person; never with a token or a key in it, nor with a text of
/// the service's.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BackendError {
    /// The node is unknown or not connected.
    #[error("{0}")]
    Target(String),
    /// The name is that of several nodes, so of none. Which they are is not for everybody.
    #[error("{} nodes are called {name}: use the id of the one that you mean", .nodes.len())]
    Several {
        /// The name, as it was asked for.
        name: NodeName,
        /// Some of them, where there are very many.
        nodes: Vec<Node>,
    },
    /// The service refused.
    #[error("{0}")]
    Refused(String),
    /// IAM does not let the gateway do this.
    #[error(
        "AWS does not let this gateway do what that takes ({call}); whoever runs the gateway finds in its log what to grant"
    )]
    Denied {
        /// The call, as policies name it.
        call: String,
        /// The whole of it, for whoever runs the gateway.
        operator: String,
    },
    /// The gateway has no credentials, or none that AWS accepts. They may be renewed in a moment.
    #[error("this gateway has no AWS credentials that work; whoever runs the gateway finds more in its log")]
    Credentials {
        /// The whole of it, for whoever runs the gateway.
        operator: String,
    },
    /// The session was started, and over before the gateway was there.
    #[error("{why}")]
    Ended {
        /// The service's name for it.
        session: SessionId,
        /// The calls that it was begun by.
        calls: CallIds,
        /// The sentence.
        why: String,
    },
    /// A document is missing or not what it must be.
    #[error("{0}")]
    Document(String),
    /// The service does not take what it is told for a document, and says why in words of its own.
    #[error(
        "Systems Manager does not accept {call} for this document ({code}); whoever runs the gateway finds in its log why"
    )]
    Parameters {
        /// The API's name of the call.
        call: &'static str,
        /// The service's word for it.
        code: String,
        /// The whole of it, for whoever runs the gateway.
        operator: String,
    },
    /// The service refused, in words of its own.
    #[error("Systems Manager refuses {call} ({code}); whoever runs the gateway finds in its log why")]
    Unexpected {
        /// The API's name of the call.
        call: &'static str,
        /// The service's word for it.
        code: String,
        /// The whole of it, for whoever runs the gateway.
        operator: String,
    },
    /// The network, TLS, throttling or the service's own fault: later it may work.
    #[error("{0}")]
    Unreachable(String),
}

impl BackendError {
    /// The sentence for whoever runs the gateway: with the next step that only they can take.
    pub fn for_operator(&self) -> String {
        match self {
            Self::Denied { operator, .. }
            | Self::Credentials { operator }
            | Self::Parameters { operator, .. }
            | Self::Unexpected { operator, .. } => operator.clone(),
            other => other.to_string(),
        }
    }
}
