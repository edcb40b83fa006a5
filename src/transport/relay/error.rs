//! Why somebody or something was not reached through a relay. Each is a sentence for the person.

/// Why a name was not found, a connection was not made, or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// Nobody listens there.
    #[error("the connection was refused: nothing listens there")]
    Refused,
    /// The node has no way there.
    #[error("the node has no route to it; see the node's own network and its security groups")]
    Unreachable,
    /// Nothing has answered.
    #[error("nothing has answered in time; it may be down, or a firewall may be between the node and it")]
    TimedOut,
    /// The node's resolver knows no such host, or its file system no such socket.
    #[error("the node knows no such name")]
    NoSuchName,
    /// The user of the node may not.
    #[error("the node does not permit it to the user that the session runs as")]
    Permission,
    /// More is going on than one relay carries.
    #[error("too much is going on through this node at once; close some connections, and try again")]
    Busy,
    /// Something else, in the words of the node's system.
    #[error("the node could not connect: {0}")]
    Failed(String),
    /// The node's helper has no relay: it is the one for `sh`.
    #[error(
        "this node can't relay connections: it has no python3, or the configuration says that it is not to be used"
    )]
    NotOnThisNode,
    /// Nothing has used it for a while, so it was let go of. Nothing was lost: whoever wants one opens another.
    #[error("the relay was let go of because nothing used it; try again")]
    Idle,
    /// It has ended before its streams had.
    #[error("the relay to the node is gone: {0}")]
    Gone(String),
}
