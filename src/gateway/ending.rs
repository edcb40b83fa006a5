//! Why the gateway ends a connection of its own accord, and the word that it does.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::model::{RefusalCode, counted, size_text};

/// Why a connection is ended; the text is the person's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Ended {
    #[error("you have {} already, which is the limit{}: close one, or use it for more (ControlMaster)", counted(*.most, "connection"),
        if *.has_rules { "" } else { " for somebody whom no policy lets do anything" })]
    TooManyConnections { most: usize, has_rules: bool },
    #[error("what you have sent and no node has taken is over {}: send less at once, or wait for the nodes", size_text(*.most as u64))]
    PersonFull { most: usize },
    #[error("the gateway holds {} that no node has taken, and most of it is yours: send less at once, or wait for the nodes", size_text(*.most as u64))]
    GatewayFull { most: usize },
    #[error("{}: log in again", no_proof(*.0))]
    Unproved(RefusalCode),
    #[error("a session was opened after the client had said that it would open no more")]
    PromiseBroken,
    /// The hop that it came by; the sentence says why.
    #[error("{0}")]
    HopOver(String),
}

/// What has become of what somebody logged in with.
fn no_proof(code: RefusalCode) -> &'static str {
    match code {
        RefusalCode::ProofExpired => "the time of what you logged in with is over",
        RefusalCode::KeyUnknown | RefusalCode::KeyOfAnother => "the key that you logged in with is yours no more",
        _ => "what you logged in with counts no more",
    }
}

impl Ended {
    /// The same for programs.
    pub(super) fn code(&self) -> RefusalCode {
        match self {
            Self::TooManyConnections { .. } => RefusalCode::TooManyConnections,
            Self::PersonFull { .. } | Self::GatewayFull { .. } => RefusalCode::TooMuchUntaken,
            Self::Unproved(code) => *code,
            Self::PromiseBroken => RefusalCode::NoMoreSessions,
            Self::HopOver(_) => RefusalCode::Killed,
        }
    }

    /// The same for the client (RFC 4253, section 11.1).
    pub(super) fn disconnect(&self) -> russh::Disconnect {
        match self {
            Self::TooManyConnections { .. } => russh::Disconnect::TooManyConnections,
            Self::PersonFull { .. } | Self::GatewayFull { .. } | Self::HopOver(_) => russh::Disconnect::ByApplication,
            Self::Unproved(_) => russh::Disconnect::NoMoreAuthMethodsAvailable,
            Self::PromiseBroken => russh::Disconnect::ProtocolError,
        }
    }
}

/// One connection's end, where it is the gateway's doing. Whoever finds a reason says it here; who serves the connection
/// hears it.
#[derive(Debug, Default)]
pub(super) struct Ending {
    asked: Mutex<Option<Ended>>,
    said: Notify,
}

impl Ending {
    /// The connection is to end; the first reason stands.
    pub(super) fn end(&self, why: Ended) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.said.notify_one();
    }

    /// Why it is to end, if it is.
    pub(super) fn asked(&self) -> Option<Ended> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it is to end.
    pub(super) fn is_asked(&self) -> bool {
        self.asked().is_some()
    }

    /// Waits until it is to end. One task may wait.
    pub(super) async fn comes(self: Arc<Self>) -> Ended {
        loop {
            if let Some(why) = self.asked() {
                return why;
            }
            self.said.notified().await;
        }
    }
}
