//! Why there is no session, or no session any more, in words and for programs.

use super::registry::Registration;
use crate::backend::{BackendError, Node};
use crate::evidence::EvidenceError;
use crate::identity::Unproved;
use crate::model::{RealmName, RefusalCode, ago};
use crate::policy::Denial;
use crate::transport::{DialError, TransportError};

/// Why there is no session; the text is a sentence for the person.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Policy.
    #[error("{}", .0.text)]
    Denied(Denial),
    /// Policy, whatever node the name may be.
    #[error("{}", .0.text)]
    NotConcerned(Denial),
    /// It is allowed, and nobody could do it in AWS.
    #[error(
        "there is no role in AWS for {person} in the realm {realm}: none of its [[realms.roles]] names them or a group of theirs; \
         ask whoever runs the gateway"
    )]
    NoRole {
        /// Who.
        person: String,
        /// Where.
        realm: RealmName,
    },
    /// It is allowed, and their role in AWS is got by a token that they have not brought.
    #[error(
        "it takes a sign-in to be {person} in AWS in the realm {realm}, and this login has none: log in by signing in, with ssh -o \
         PubkeyAuthentication=no where a key is enough as well"
    )]
    NotSignedIn {
        /// Who.
        person: String,
        /// Where.
        realm: RealmName,
    },
    /// The name is no node's.
    #[error("{0}")]
    NoSuchNode(BackendError),
    /// The node can't be reached.
    #[error("{0}")]
    Node(BackendError),
    /// It can't be recorded, so it can't be.
    #[error("{0}")]
    Evidence(#[from] EvidenceError),
    /// The way to the node did not open.
    #[error("{0}")]
    Transport(#[from] TransportError),
    /// A forward's target is not reached.
    #[error("{0}")]
    Dial(DialError),
    /// Somebody ended it while it was being opened.
    #[error("{reason}")]
    Killed {
        /// The sentence.
        reason: String,
        /// It is among those that run until the person has been told: the gateway's end waits for that.
        place: Registration,
    },
}

impl Refused {
    /// What policy said, where it is policy that refuses.
    pub(super) fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Denied(denial) | Self::NotConcerned(denial) | Self::Dial(DialError::Denied(denial)) => Some(denial),
            _ => None,
        }
    }

    /// The same for programs.
    pub fn code(&self) -> RefusalCode {
        match self {
            Self::Denied(denial) | Self::NotConcerned(denial) => denial.code,
            Self::NoRole { .. } => RefusalCode::NoAwsRole,
            Self::NotSignedIn { .. } => RefusalCode::AwsRoleNeedsSignIn,
            Self::NoSuchNode(_) => RefusalCode::NodeUnknown,
            Self::Node(BackendError::Target(_) | BackendError::Several { .. }) => RefusalCode::NodeNotConnected,
            Self::Node(
                BackendError::Refused(_)
                | BackendError::Unexpected { .. }
                | BackendError::Denied { .. }
                | BackendError::Credentials { .. },
            ) => RefusalCode::AwsRefused,
            Self::Node(BackendError::Document(_) | BackendError::Parameters { .. }) => RefusalCode::DocumentWrong,
            Self::Node(BackendError::Unreachable(_)) => RefusalCode::AwsUnreachable,
            Self::Evidence(
                EvidenceError::PersonShare { .. }
                | EvidenceError::SessionShare { .. }
                | EvidenceError::PersonRecording { .. }
                | EvidenceError::SessionRecording { .. },
            ) => RefusalCode::LogShareUsedUp,
            Self::Evidence(_) => RefusalCode::NotRecordable,
            Self::Transport(error) => of_the_way(error),
            Self::Node(BackendError::Ended { .. }) => RefusalCode::NoWayToTheNode,
            Self::Dial(error) => match error {
                DialError::Denied(denial) => denial.code,
                DialError::TooMany(_) => RefusalCode::TooManyForwards,
                DialError::Full(_) => RefusalCode::NodeFull,
                DialError::Transport(error) => of_the_way(error),
                error if error.is_prohibited() => RefusalCode::TargetForbidden,
                _ => RefusalCode::TargetNotReached,
            },
            Self::Killed { .. } => RefusalCode::Killed,
        }
    }
}

fn of_the_way(error: &TransportError) -> RefusalCode {
    match error {
        TransportError::NodeFull { .. } | TransportError::NodeShareTaken { .. } => RefusalCode::NodeFull,
        TransportError::Sshd(error) if error.is_about_the_host_key() => RefusalCode::NodeHostKey,
        TransportError::Sshd(error) if error.is_the_node_s() => RefusalCode::NodeSshd,
        _ => RefusalCode::NoWayToTheNode,
    }
}

/// What somebody reads whose proof is none any more.
pub(super) fn no_proof(why: &Unproved) -> String {
    format!("how you logged in is no proof any more: {why}")
}

/// What somebody reads whose session is allowed no more.
pub(super) fn changed(denial: &Denial) -> String {
    format!("the policies have changed: {}", denial.text)
}

/// Of a node that can't be reached now.
pub(super) fn offline(node: &Node) -> BackendError {
    let ping = match node.last_ping.and_then(ago) {
        None => "it has not been heard of".to_owned(),
        Some(ago) => format!("last ping {ago}"),
    };
    BackendError::Target(format!("{} is not connected to Systems Manager: {ping}", node.name))
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::model::{NodeFacts, NodeRef};

    #[test]
    fn an_absent_node_is_a_sentence_with_its_last_ping() {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let node = |last_ping| Node {
            facts: NodeFacts::bare(NodeRef::for_test("i-1")).into(),
            name: "web-1".to_owned(),
            computer_name: None,
            online: false,
            last_ping,
        };
        let text = |last_ping| offline(&node(last_ping)).to_string();
        assert_eq!(text(Some(now - 14 * 60)), "web-1 is not connected to Systems Manager: last ping 14 min ago");
        assert!(text(Some(now - 90_000)).ends_with("last ping 25 h ago"));
        assert!(text(Some(now + 60)).ends_with("it has not been heard of"));
        assert!(text(None).ends_with("it has not been heard of"));
    }
}
