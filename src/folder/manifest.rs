//! `manifest.json`: the session on one page. Fields may be added; those that are here keep their meaning.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::encrypted::WrappedKey;

/// One session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this format.
    pub v: u32,
    /// The session's number.
    pub session: Uuid,
    /// The gateway that kept it: the name of its key.
    pub gateway: String,
    /// The SSH connection that it was on.
    pub connection: Uuid,
    /// The hop that this connection came by (`ssh -J`), where it came by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<HopEntry>,
    /// The client's address and port.
    pub source: String,
    /// What the client's program calls itself, as in its first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// What the SSH connection was protected by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Algorithms>,
    /// The SSH user name as it was sent.
    pub login: String,
    /// Who.
    pub person: String,
    /// Their groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// How they proved it.
    pub proof: String,
    /// Where.
    pub node: NodeEntry,
    /// As which user of the node; none where that is the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_user: Option<String>,
    /// What was asked for: `Shell`, `Exec`, `Files`, `Forward`, `ForwardSocket`, `Hop`, `Tunnel`.
    pub action: String,
    /// The command line of `Exec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Where a `Forward`, a `ForwardSocket` or a `Tunnel` leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<ForwardEntry>,
    /// Whether it had a terminal.
    pub pty: bool,
    /// Why, as the person said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// By whose leave.
    pub decision: Decision,
    /// Who it was in AWS.
    pub aws: Aws,
    /// When it was opened, RFC 3339 in UTC with milliseconds.
    pub opened: String,
    /// When it ended; none where the gateway was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// What passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<Streams>,
    /// How many of what.
    #[serde(default)]
    pub counts: Counts,
    /// Of an encrypted folder: under which key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Box<WrappedKey>>,
    /// And what is private of this page, encrypted ([`Private`](crate::Private)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<String>,
    /// The folder's other files, as they are.
    pub files: Vec<FileEntry>,
}

/// What an SSH connection is protected by, by the names of its protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Algorithms {
    /// Among which of the gateway's they were chosen: `modern`, `compatible`, `legacy`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub profile: String,
    /// The key exchange.
    pub kex: String,
    /// The host key's.
    pub host_key: String,
    /// The cipher, from the client.
    pub cipher: String,
    /// The MAC, from the client; none where the cipher has its own.
    pub mac: String,
}

/// A hop: the session that it is itself, and the connection around it, which has proved who its person is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopEntry {
    /// The connection around.
    pub connection: Uuid,
    /// The hop's number among the sessions.
    pub session: Uuid,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeEntry {
    /// Its id, `i-…`, `mi-…`, `ecs:…`.
    pub id: String,
    /// The configuration's name for its account and region.
    pub realm: String,
    /// As it was asked for.
    pub name: String,
    /// What AWS calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub called: Option<String>,
}

/// Where a forward leads, as the node sees it. No byte of it is kept: what passed is in the manifest's streams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ForwardEntry {
    /// The host; nothing where it is a socket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Its port.
    #[serde(skip_serializing_if = "is_none")]
    pub port: u32,
    /// The socket's path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What was dialled, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What carried it: `helper`, `agent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<String>,
    /// A protocol that keeps what is done in it from this record, by what one end said first: `ssh`, `vnc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inside: Option<String>,
    /// What passes is encrypted between the client and the node's own sshd, by an action that says so (`Tunnel`).
    #[serde(skip_serializing_if = "is_not")]
    pub end_to_end: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_not(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_none(port: &u32) -> bool {
    *port == 0
}

/// What policy said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Decision {
    /// The policies that permitted it.
    pub policy: String,
    /// The hash of all policies that were in force.
    pub policy_set: String,
    /// What they oblige to, as written: `max_duration` → `4h`.
    pub obligations: std::collections::BTreeMap<String, String>,
}

/// Who somebody was in AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Aws {
    /// `person` or `gateway`.
    pub identity: String,
    /// The role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The role session's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
    /// Its source identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<String>,
    /// The sessions of Session Manager that carried it.
    pub sessions: Vec<AwsSession>,
}

/// A session of Session Manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AwsSession {
    /// Its id.
    pub id: String,
    /// The id of the request that started it, as in CloudTrail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The id of the request that gave the credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assume_role_request_id: Option<String>,
}

/// How a session ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ended {
    /// `finished`, `client-gone`, `failed`, `killed`, `interrupted`.
    pub outcome: String,
    /// The sentence that the person got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The command's exit status, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// Or the signal that it died of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Of one that is `interrupted`: how many checkpoints its gateway had signed. What stands after the last of them was found at the next start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<u64>,
}

/// All of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
}

/// The three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Streams {
    /// What the client sent.
    pub stdin: Stream,
    /// What it got.
    pub stdout: Stream,
    /// What it got beside that.
    pub stderr: Stream,
}

/// How many of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Commands.
    pub commands: u64,
    /// File operations.
    pub files: u64,
    /// Refusals of policy, of commands and files.
    pub refused: u64,
}

/// One file of the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
}
