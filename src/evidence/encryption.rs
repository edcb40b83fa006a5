//! Evidence that is encrypted where it is kept: who gives out the key of a session, and what of its events the journal has then.
//!
//! A session's key is asked for before its folder is made, and whoever can't have one opens no session: nothing is written plain
//! instead. The journal is what collectors of logs ship, so it stays readable, and has no more of a session than its manifest tells:
//! who, where, when, by whose leave, how much. What was run, shown or transferred is in the folder alone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use portcullis_folder::FolderKey;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::EvidenceError;
use super::event::Event;

/// Gives out keys of sessions.
pub trait DataKeys: std::fmt::Debug + Send + Sync {
    /// A new key for a session of this gateway; or why there is none, in words for whoever runs it.
    fn generate<'a>(&'a self, session: Uuid, gateway: &'a str) -> BoxFuture<'a, Result<FolderKey, String>>;
}

/// How evidence is encrypted; by default it is not.
#[derive(Clone, Debug, Default)]
pub struct Encryption(Option<Arc<dyn DataKeys>>);

/// How long whoever opens a session waits for its key: they sit at a terminal.
const LONGEST: Duration = Duration::from_secs(10);

impl Encryption {
    /// By these keys.
    pub fn by(keys: Arc<dyn DataKeys>) -> Self {
        Self(Some(keys))
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The key of a session; none where evidence is not encrypted.
    pub(super) async fn key_of(&self, session: Uuid, gateway: &str) -> Result<Option<FolderKey>, EvidenceError> {
        let Some(keys) = &self.0 else { return Ok(None) };
        let why = match tokio::time::timeout(LONGEST, keys.generate(session, gateway)).await {
            Ok(Ok(key)) => return Ok(Some(key)),
            Ok(Err(why)) => why,
            Err(_) => format!("the service of keys has not answered in {} s", LONGEST.as_secs()),
        };
        tracing::error!(%session, why, "a session is refused: its evidence can't be encrypted");
        Err(EvidenceError::Unencrypted)
    }
}

/// Takes out what the journal has not of an event where evidence is encrypted, and says which members those were.
pub(super) fn withhold(event: &Event<'_>, mut body: Map<String, Value>) -> Map<String, Value> {
    if !tells_of_a_session(event) {
        return body;
    }
    let mut withheld = Vec::new();
    body.retain(|name, value| {
        if STREAMS.contains(&name.as_str()) {
            // how much passed is no secret; who has the hash of a short text can guess at it
            if let Some(stream) = value.as_object_mut()
                && stream.remove("sha256").is_some()
            {
                withheld.push(Value::from(format!("{name}.sha256")));
            }
            return true;
        }
        // what a person said of their reasons is in the manifest as well; the sentence of a refusal may have a command in it
        let is_person_s = name == "reason" && !matches!(event, Event::ChannelRefused(_));
        let plain = is_person_s || PLAIN.contains(&name.as_str());
        if !plain {
            withheld.push(Value::from(name.as_str()));
        }
        plain
    });
    if !withheld.is_empty() {
        body.insert("withheld".to_owned(), withheld.into());
    }
    body
}

/// Whether an event is about what was done in a session, or was asked for and refused.
fn tells_of_a_session(event: &Event<'_>) -> bool {
    match event {
        Event::SessionOpened(_)
        | Event::AlertRaised(_)
        | Event::SessionLane(_)
        | Event::SessionSshd(_)
        | Event::ForwardConnected(_)
        | Event::ForwardInside(_)
        | Event::CommandRun(_)
        | Event::RecordingGap(_)
        | Event::SessionProgress(_)
        | Event::SessionExit(_)
        | Event::SessionClosed(_)
        | Event::SessionJudged(_)
        | Event::FileAsked(_)
        | Event::FileOpened(_)
        | Event::FileClosed(_)
        | Event::FileOperation(_)
        | Event::FilesSummed(_)
        | Event::ChannelRefused(_)
        | Event::RefusalsSummed(_) => true,
        Event::ConfigurationLoaded(_)
        | Event::ConfigurationRefused(_)
        | Event::LoginAccepted(_)
        | Event::LoginRefused(_)
        | Event::GatewayAsked(_)
        | Event::EvidenceViewed(_)
        | Event::ReasonAsked(_)
        | Event::SessionInterrupted(_)
        | Event::SessionSealed(_)
        | Event::SessionDeleted(_)
        | Event::HoldsChanged(_)
        | Event::SessionsHeads(_)
        | Event::LeftOut(_) => false,
    }
}

/// The members of whose totals the length stays.
const STREAMS: [&str; 3] = ["stdin", "stdout", "stderr"];

/// What stays. Whatever is not named here is withheld, so that a member that comes later is none that was forgotten.
const PLAIN: &[&str] = &[
    "event",
    "id",
    // who
    "connection",
    "hop_connection",
    "hop_session",
    "source",
    "login",
    "person",
    "groups",
    "proof",
    "second_factor",
    "certificate",
    "oidc",
    "user_verified",
    // where
    "node",
    "realm",
    "node_name",
    "node_called",
    "node_platform",
    "node_tags",
    "node_tags_bytes",
    "os_user",
    "host",
    "port",
    // by whose leave
    "policy",
    "policy_set",
    "action",
    "original_action",
    "asked",
    "given_reason",
    "code",
    "alert",
    "refusals",
    "pty",
    // who in AWS
    "aws_identity",
    "aws_role",
    "aws_session_name",
    "aws_web_identity",
    "aws_source_identity",
    "aws_left_out",
    "session_manager_id",
    "aws_request_id",
    "aws_assume_role_request_id",
    // how it went
    "outcome",
    "signal",
    "core_dumped",
    "milliseconds",
    "errno",
    "bytes",
    "stdin_bytes",
    "stdout_bytes",
    "stderr_bytes",
    "operations",
];

#[cfg(test)]
#[path = "encryption_tests.rs"]
mod tests;
