//! What of an archive somebody may see, and that they have.

use futures_util::future::BoxFuture;
use portcullis_folder::Manifest;
use portcullis_index::Session;
use uuid::Uuid;

use super::error::Trouble;
use super::live::LiveSession;

/// What says who may look at what.
pub trait Leave: Send + Sync + std::fmt::Debug {
    /// Whether they may look at this session; or why not.
    fn may<'a>(&'a self, session: &'a Subject) -> BoxFuture<'a, Result<(), String>>;
    /// Whether they are not to learn which sessions there are that they may not look at.
    fn conceals(&self) -> bool;
    /// They are about to look, at a session or at a list. When this returns, that is written down as far as it is to be.
    fn note<'a>(&'a self, what: &'static str, session: Option<&'a Subject>) -> BoxFuture<'a, Result<(), Trouble>>;
    /// The sessions that run, of which they may know.
    fn live(&self) -> BoxFuture<'_, Result<Vec<LiveSession>, Trouble>>;
}

/// What a session is known by to whoever decides whether somebody may look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its number.
    pub id: Uuid,
    /// Whose it is.
    pub person: String,
    /// The node's id.
    pub node_id: String,
    /// Its realm.
    pub realm: String,
    /// What AWS called it then.
    pub node_called: Option<String>,
}

impl From<&Session> for Subject {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id,
            person: session.person.clone(),
            node_id: session.node_id.clone(),
            realm: session.realm.clone(),
            node_called: session.node_called.clone(),
        }
    }
}

impl From<&Manifest> for Subject {
    fn from(manifest: &Manifest) -> Self {
        Self {
            id: manifest.session,
            person: manifest.person.clone(),
            node_id: manifest.node.id.clone(),
            realm: manifest.node.realm.clone(),
            node_called: manifest.node.called.clone(),
        }
    }
}
