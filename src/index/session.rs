//! One session's row.

use portcullis_folder::{Manifest, day_of};
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::database::{Row, Value};
use super::moment;

/// One session, as the index has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Session {
    /// Its number.
    pub id: Uuid,
    /// The gateway that kept it: the name of its key.
    pub gateway: String,
    /// The day that its folder stands under, `2026-11-30`.
    pub day: String,
    /// Who.
    pub person: String,
    /// Their groups.
    pub groups: Vec<String>,
    /// The client's address and port.
    pub source: String,
    /// The SSH user name as it was sent.
    pub login: String,
    /// The node's id.
    pub node_id: String,
    /// The configuration's name for its account and region.
    pub realm: String,
    /// The node as it was asked for.
    pub node_name: String,
    /// What AWS calls it.
    pub node_called: Option<String>,
    /// As which user of the node; none where that is the agent's own.
    pub os_user: Option<String>,
    /// `Shell`, `Exec`, `Files` …
    pub action: String,
    /// The command line of `Exec`.
    pub command: Option<String>,
    /// Whether it had a terminal.
    pub pty: bool,
    /// Why, as the person said.
    pub reason: Option<String>,
    /// The policies that permitted it.
    pub policy: String,
    /// When it was opened.
    #[serde(with = "time::serde::rfc3339")]
    pub opened: OffsetDateTime,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub closed: Option<OffsetDateTime>,
    /// `finished`, `client-gone`, `failed`, `killed`, `interrupted`; none of one that is live.
    pub outcome: Option<String>,
    /// The sentence that the person got.
    pub why: Option<String>,
    /// The command's exit status.
    pub code: Option<i64>,
    /// Or the signal that it died of.
    pub signal: Option<String>,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// How many commands.
    pub commands: u64,
    /// How many file operations.
    pub files: u64,
    /// How many refusals.
    pub refused: u64,
    /// Not sealed yet.
    pub live: bool,
    /// The SHA-256 of its last checkpoint's text, in hex, once it is sealed.
    pub head: Option<String>,
    /// Whether all of it can be found here: of very much output, or very many lines, only the first are.
    pub complete: bool,
}

/// The columns, in the order of [`values`] and [`of_row`]; `n` is not among them.
pub(crate) const COLUMNS: [&str; 31] = [
    "id",
    "gateway",
    "day",
    "person",
    "groups_json",
    "source",
    "login",
    "node_id",
    "realm",
    "node_name",
    "node_called",
    "os_user",
    "action",
    "command",
    "pty",
    "reason",
    "policy",
    "opened",
    "closed",
    "outcome",
    "why",
    "code",
    "signal",
    "bytes_in",
    "bytes_out",
    "commands",
    "files",
    "refused",
    "live",
    "head",
    "complete",
];

/// The values of a manifest; none where it says no time.
pub(crate) fn values(manifest: &Manifest, live: bool, head: Option<&str>, complete: bool) -> Option<(i64, Vec<Value>)> {
    let opened = moment::milliseconds(&manifest.opened)?;
    let node = &manifest.node;
    let ended = manifest.ended.as_ref();
    let (bytes_in, bytes_out) = manifest
        .streams
        .as_ref()
        .map_or((0, 0), |streams| (streams.stdin.bytes, streams.stdout.bytes.saturating_add(streams.stderr.bytes)));
    let values = vec![
        Value::text(manifest.session.hyphenated().to_string()),
        Value::text(&manifest.gateway),
        Value::text(day_of(moment::time(opened))),
        Value::text(&manifest.person),
        Value::text(serde_json::to_string(&manifest.groups).unwrap_or_default()),
        Value::text(&manifest.source),
        Value::text(&manifest.login),
        Value::text(&node.id),
        Value::text(&node.realm),
        Value::text(&node.name),
        Value::maybe(node.called.as_deref()),
        Value::maybe(manifest.os_user.as_deref()),
        Value::text(&manifest.action),
        Value::maybe(manifest.command.as_deref()),
        Value::Integer(manifest.pty.into()),
        Value::maybe(manifest.reason.as_deref()),
        Value::text(&manifest.decision.policy),
        Value::Integer(opened),
        Value::number(manifest.closed.as_deref().and_then(moment::milliseconds)),
        Value::maybe(ended.map(|ended| ended.outcome.as_str())),
        Value::maybe(ended.and_then(|ended| ended.why.as_deref())),
        Value::number(ended.and_then(|ended| ended.code)),
        Value::maybe(ended.and_then(|ended| ended.signal.as_deref())),
        Value::count(bytes_in),
        Value::count(bytes_out),
        Value::count(manifest.counts.commands),
        Value::count(manifest.counts.files),
        Value::count(manifest.counts.refused),
        Value::Integer(live.into()),
        Value::maybe(head),
        Value::Integer(complete.into()),
    ];
    Some((opened, values))
}

/// The session of a row that has [`COLUMNS`] from this column on; none where the id is none.
pub(crate) fn of_row(row: &Row, from: usize) -> Option<Session> {
    let column = |place: usize| from + place;
    let text = |place| row.text(column(place));
    let maybe = |place| row.maybe_text(column(place));
    let number = |place| u64::try_from(row.integer(column(place))).unwrap_or_default();
    Some(Session {
        id: Uuid::parse_str(&text(0)).ok()?,
        gateway: text(1),
        day: text(2),
        person: text(3),
        groups: serde_json::from_str(&text(4)).unwrap_or_default(),
        source: text(5),
        login: text(6),
        node_id: text(7),
        realm: text(8),
        node_name: text(9),
        node_called: maybe(10),
        os_user: maybe(11),
        action: text(12),
        command: maybe(13),
        pty: number(14) != 0,
        reason: maybe(15),
        policy: text(16),
        opened: moment::time(row.integer(column(17))),
        closed: row.maybe_integer(column(18)).map(moment::time),
        outcome: maybe(19),
        why: maybe(20),
        code: row.maybe_integer(column(21)),
        signal: maybe(22),
        bytes_in: number(23),
        bytes_out: number(24),
        commands: number(25),
        files: number(26),
        refused: number(27),
        live: number(28) != 0,
        head: maybe(29),
        complete: number(30) != 0,
    })
}
