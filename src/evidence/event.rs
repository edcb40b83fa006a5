//! What can happen: one enum, a struct per event. Names and fields are stable (`docs/formats.md`): a program may rely on
//! them, and more may be added.

use std::net::SocketAddr;

use uuid::Uuid;

use super::configuration_event::{ConfigurationLoaded, ConfigurationRefused};
use super::decision_event::{AlertRaised, ChannelRefused, ReasonAsked, SessionJudged, SessionOpened};
use super::fields::Fields;
use super::file_event::{FileAsked, FileClosed, FileOpened, FileOperation, FilesSummed};
use crate::identity::{CertificateFacts, SecondFactorFacts, SignInFacts};
use crate::model::{CallIds, Exit, RefusalCode};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A configuration is in force.
    ConfigurationLoaded(ConfigurationLoaded<'a>),
    /// A configuration can't be used, and the one before it stays.
    ConfigurationRefused(ConfigurationRefused<'a>),
    /// Somebody proved who they are.
    LoginAccepted(LoginAccepted<'a>),
    /// A connection ended without a proof.
    LoginRefused(LoginRefused<'a>),
    /// A channel, or what was asked of it, was refused.
    ChannelRefused(ChannelRefused<'a>),
    /// Refusals of one connection that were only counted.
    RefusalsSummed(RefusalsSummed<'a>),
    /// The gateway itself was asked for something.
    GatewayAsked(GatewayAsked<'a>),
    /// Somebody looks at what was recorded.
    EvidenceViewed(EvidenceViewed<'a>),
    /// Somebody was asked why.
    ReasonAsked(ReasonAsked<'a>),
    /// A decision allowed it, and a way to the node is being opened.
    SessionOpened(SessionOpened<'a>),
    /// A policy that permitted it wants somebody to know at once.
    AlertRaised(AlertRaised<'a>),
    /// A session that runs was asked about again, and goes on.
    SessionJudged(SessionJudged<'a>),
    /// A Session Manager session carries part of it.
    SessionLane(SessionLane<'a>),
    /// The node's own sshd carries it.
    SessionSshd(SessionSshd<'a>),
    /// Of a forward: the node has connected.
    ForwardConnected(ForwardConnected<'a>),
    /// Of a forward: what passes is a protocol in which nobody sees what is done.
    ForwardInside(ForwardInside),
    /// A command was run in it, or refused. Only its folder has it.
    CommandRun(CommandRun<'a>),
    /// Something could not be recorded, and the session went on, since its recording is not required.
    RecordingGap(RecordingGap<'a>),
    /// Its gateway was killed, and the next start has ended its folder. Only that has it.
    SessionInterrupted(SessionInterrupted),
    /// Its folder is whole, and sealed.
    SessionSealed(SessionSealed<'a>),
    /// Its folder is about to be deleted, since its time is over.
    SessionDeleted(SessionDeleted<'a>),
    /// The legal holds are others than they were.
    HoldsChanged(HoldsChanged<'a>),
    /// The latest heads of the folders of sessions that run.
    SessionsHeads(SessionsHeads<'a>),
    /// Bytes so far.
    SessionProgress(SessionProgress),
    /// The command ended.
    SessionExit(SessionExit<'a>),
    /// It is over.
    SessionClosed(SessionClosed<'a>),
    /// The node is about to be asked for a change of its files.
    FileAsked(FileAsked<'a>),
    /// A file is open, and its transfer begins.
    FileOpened(FileOpened<'a>),
    /// A transfer is over: how many bytes, and their hash.
    FileClosed(FileClosed<'a>),
    /// Anything else that was done to a file, or refused.
    FileOperation(FileOperation<'a>),
    /// Questions about files that were only counted.
    FilesSummed(FilesSummed),
    /// Events that were not written because they, and others of the same origin, were too many.
    LeftOut(LeftOut<'a>),
}

/// The hop by which a connection came: it is inside another one, which has proved who its person is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByHop {
    /// The connection around it.
    pub connection: Uuid,
    /// The hop's number among the sessions.
    pub session: Uuid,
}

/// `login.accepted`
#[derive(Clone, Copy, Debug)]
pub struct LoginAccepted<'a> {
    /// The client's address.
    pub source: SocketAddr,
    /// The SSH user name, as sent.
    pub login: &'a str,
    /// Who.
    pub person: &'a str,
    /// How that was proved.
    pub proof: &'a str,
    /// Among which algorithms the connection's were chosen: `modern`, `compatible`, `legacy`.
    pub profile: &'a str,
    /// The second factor, where there was one.
    pub second_factor: Option<SecondFactorFacts>,
    /// The certificate, where it was one.
    pub certificate: Option<&'a CertificateFacts>,
    /// The sign-in at a provider, where there was one.
    pub sign_in: Option<&'a SignInFacts>,
    /// The hop that it came by, where it came by one: then nothing was proved here, and all that is said of a proof is of the
    /// connection around it.
    pub hop: Option<ByHop>,
}

/// `login.refused`
#[derive(Clone, Debug)]
pub struct LoginRefused<'a> {
    /// The client's address.
    pub source: SocketAddr,
    /// The SSH user name, as sent last.
    pub login: &'a str,
    /// Others that were tried before it.
    pub earlier_logins: &'a [String],
    /// The methods that were tried.
    pub methods: &'a [MethodTried],
    /// The fingerprints of the keys that were tried.
    pub keys: String,
    /// The algorithms of keys that could not be read.
    pub algorithms: &'a [String],
    /// Among which algorithms the connection's were to be chosen.
    pub profile: &'a str,
    /// Why none would do, for programs.
    pub code: RefusalCode,
    /// Why none would do; the client does not learn it.
    pub reason: &'a str,
}

/// A method of authentication (RFC 4252), and how often one connection asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodTried {
    /// Its name, as sent.
    pub method: String,
    /// How often.
    pub requests: u32,
}

/// `refusals.summed`
#[derive(Clone, Debug)]
pub struct RefusalsSummed<'a> {
    /// The client's address.
    pub source: SocketAddr,
    /// The SSH user name, as sent.
    pub login: &'a str,
    /// Who, where that was proved.
    pub person: Option<&'a str>,
    /// How many of what.
    pub sums: &'a [RefusalSum],
}

/// Refusals of one connection that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalSum {
    /// Why, for programs.
    pub code: RefusalCode,
    /// What was asked for; none where there were too many different things.
    pub asked: Option<String>,
    /// How many.
    pub count: u64,
}

/// `evidence.viewed`
#[derive(Clone, Copy, Debug)]
pub struct EvidenceViewed<'a> {
    /// The client's address.
    pub source: SocketAddr,
    /// The SSH user name, as sent.
    pub login: &'a str,
    /// Who looks.
    pub person: &'a str,
    /// How: `list`, `show`, `play`, `follow`, `export`.
    pub what: &'static str,
    /// At which session; none for a list.
    pub session: Option<Uuid>,
    /// Whose that is.
    pub session_of: Option<&'a str>,
}

/// `gateway.asked`
#[derive(Clone, Copy, Debug)]
pub struct GatewayAsked<'a> {
    /// The client's address.
    pub source: SocketAddr,
    /// The SSH user name, as sent.
    pub login: &'a str,
    /// Who.
    pub person: &'a str,
    /// What was asked of the gateway: `nodes`, `end 0123abcd`.
    pub command: &'a str,
    /// The exit status of the answer.
    pub status: u32,
}

/// `session.lane`
#[derive(Clone, Copy, Debug)]
pub struct SessionLane<'a> {
    /// The session as Session Manager names it.
    pub session_manager_id: &'a str,
    /// The calls that it was begun by.
    pub calls: &'a CallIds,
}

/// `session.sshd`
#[derive(Clone, Copy, Debug)]
pub struct SessionSshd<'a> {
    /// As whom it was logged in there: the login's user of the node, or the configuration's.
    pub user: &'a str,
    /// By what the node was known: the fingerprint of its host key.
    pub host_key: &'a str,
    /// What was logged in with: `user-ca`, `instance-connect`.
    pub credential: &'a str,
}

/// `forward.connected`
#[derive(Clone, Copy, Debug)]
pub struct ForwardConnected<'a> {
    /// What carries it: `helper`, `agent`.
    pub way: &'a str,
    /// The address that was dialled, where that is known.
    pub address: Option<&'a str>,
    /// It is a tunnel: what passes is encrypted between the client and the node's own sshd.
    pub end_to_end: bool,
}

/// `forward.inside`
#[derive(Clone, Copy, Debug)]
pub struct ForwardInside {
    /// `ssh`, `vnc`.
    pub protocol: &'static str,
    /// Who said so first: `client`, `target`.
    pub by: &'static str,
}

/// `command.run`
#[derive(Clone, Copy, Debug)]
pub struct CommandRun<'a> {
    /// The line; none where no more than its hash is kept.
    pub command: Option<&'a str>,
    /// The SHA-256 of the line.
    pub sha256: [u8; 32],
    /// How it was learnt: `exec`, `marks`, `unproved-marks`, `screen`.
    pub how: &'a str,
    /// How sure that is, from 0 to 1.
    pub confidence: f64,
    /// `allowed`, `refused`; none where nobody was asked.
    pub verdict: Option<&'a str>,
    /// What carries the session on where the gateway does not see it: `mosh`, ….
    pub way_out: Option<&'a str>,
    /// Its exit status, where it is known.
    pub exit: Option<i32>,
}

/// `recording.gap`
#[derive(Clone, Copy, Debug)]
pub struct RecordingGap<'a> {
    /// How many bytes of the streams went by without being kept.
    pub bytes: u64,
    /// Why.
    pub why: &'a str,
}

/// `session.interrupted`
#[derive(Clone, Copy, Debug)]
pub struct SessionInterrupted {
    /// How many heads its gateway had signed.
    pub checkpoints: u64,
}

/// `session.sealed`
#[derive(Clone, Copy, Debug)]
pub struct SessionSealed<'a> {
    /// `<day>/<session>`.
    pub folder: &'a str,
    /// The SHA-256 of the text of its last checkpoint, in hex.
    pub head: &'a str,
}

/// `session.deleted`
#[derive(Clone, Copy, Debug)]
pub struct SessionDeleted<'a> {
    /// `<day>/<session>`.
    pub folder: &'a str,
    /// Who.
    pub person: &'a str,
    /// Where.
    pub node: &'a str,
    /// In which account and region.
    pub realm: &'a str,
}

/// `holds.changed`
#[derive(Clone, Copy, Debug)]
pub struct HoldsChanged<'a> {
    /// Their hash, by which they are kept.
    pub holds_set: &'a str,
    /// How many there are.
    pub holds: usize,
}

/// `sessions.heads`
#[derive(Clone, Copy, Debug)]
pub struct SessionsHeads<'a> {
    /// Of each session that runs the folder, and the SHA-256 of the text of its latest checkpoint in hex.
    pub heads: &'a [(String, String)],
}

/// `session.progress`
#[derive(Clone, Copy, Debug)]
pub struct SessionProgress {
    /// Bytes from the client.
    pub stdin: u64,
    /// Bytes to the client.
    pub stdout: u64,
    /// Bytes to the client, beside the others.
    pub stderr: u64,
}

/// `session.exit`
#[derive(Clone, Copy, Debug)]
pub struct SessionExit<'a> {
    /// How the command ended.
    pub exit: &'a Exit,
}

/// `session.closed`
#[derive(Clone, Debug)]
pub struct SessionClosed<'a> {
    /// `finished`, `client-gone`, `failed`, `killed`, `interrupted`.
    pub outcome: &'static str,
    /// The sentence the person got, where it did not end by itself.
    pub why: Option<&'a str>,
    /// How long it lasted.
    pub milliseconds: u64,
    /// What the client sent.
    pub stdin: Total,
    /// What the client got.
    pub stdout: Total,
    /// What the client got beside that.
    pub stderr: Total,
}

/// All of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: [u8; 32],
}

/// `events.left_out`
#[derive(Clone, Copy, Debug)]
pub struct LeftOut<'a> {
    /// Whose they were; none means people who had not logged in.
    pub person: Option<&'a str>,
    /// How many.
    pub count: u64,
}

impl Event<'_> {
    /// The event's name in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ConfigurationLoaded(_) => "configuration.loaded",
            Self::ConfigurationRefused(_) => "configuration.refused",
            Self::LoginAccepted(_) => "login.accepted",
            Self::LoginRefused(_) => "login.refused",
            Self::ChannelRefused(_) => "channel.refused",
            Self::RefusalsSummed(_) => "refusals.summed",
            Self::GatewayAsked(_) => "gateway.asked",
            Self::EvidenceViewed(_) => "evidence.viewed",
            Self::ReasonAsked(_) => "reason.asked",
            Self::SessionJudged(_) => "session.judged",
            Self::SessionOpened(_) => "session.opened",
            Self::AlertRaised(_) => "alert.raised",
            Self::SessionLane(_) => "session.lane",
            Self::SessionSshd(_) => "session.sshd",
            Self::ForwardConnected(_) => "forward.connected",
            Self::ForwardInside(_) => "forward.inside",
            Self::CommandRun(_) => "command.run",
            Self::RecordingGap(_) => "recording.gap",
            Self::SessionInterrupted(_) => "session.interrupted",
            Self::SessionSealed(_) => "session.sealed",
            Self::SessionDeleted(_) => "session.deleted",
            Self::HoldsChanged(_) => "holds.changed",
            Self::SessionsHeads(_) => "sessions.heads",
            Self::SessionProgress(_) => "session.progress",
            Self::SessionExit(_) => "session.exit",
            Self::SessionClosed(_) => "session.closed",
            Self::FileAsked(_) => "file.asked",
            Self::FileOpened(_) => "file.opened",
            Self::FileClosed(_) => "file.closed",
            Self::FileOperation(_) => "file.operation",
            Self::FilesSummed(_) => "file.summed",
            Self::LeftOut(_) => "events.left_out",
        }
    }

    /// Whether anybody can cause it, as often as they like, without being allowed anything.
    pub(super) fn is_noise(&self) -> bool {
        matches!(
            self,
            Self::LoginRefused(_)
                | Self::ChannelRefused(_)
                | Self::RefusalsSummed(_)
                | Self::GatewayAsked(_)
                | Self::LeftOut(_)
        )
    }

    /// Whose part of the log an event outside a session takes; none for strangers.
    pub(super) fn person(&self) -> Option<&str> {
        match self {
            Self::LoginAccepted(event) => Some(event.person),
            Self::ChannelRefused(event) => event.person,
            Self::RefusalsSummed(event) => event.person,
            Self::GatewayAsked(event) => Some(event.person),
            Self::EvidenceViewed(event) => Some(event.person),
            Self::ReasonAsked(event) => Some(event.person),
            Self::LeftOut(event) => event.person,
            _ => None,
        }
    }

    pub(super) fn write(&self, to: &mut Fields) {
        match self {
            Self::ConfigurationLoaded(event) => event.write(to),
            Self::ConfigurationRefused(event) => event.write(to),
            Self::LoginAccepted(event) => event.write(to),
            Self::LoginRefused(event) => event.write(to),
            Self::ChannelRefused(event) => event.write(to),
            Self::RefusalsSummed(event) => event.write(to),
            Self::GatewayAsked(event) => event.write(to),
            Self::EvidenceViewed(event) => event.write(to),
            Self::ReasonAsked(event) => event.write(to),
            Self::SessionJudged(event) => event.write(to),
            Self::SessionOpened(event) => event.write(to),
            Self::AlertRaised(event) => event.write(to),
            Self::SessionLane(event) => event.write(to),
            Self::SessionSshd(event) => {
                to.text("user", event.user);
                to.text("host_key", event.host_key);
                to.text("credential", event.credential);
            }
            Self::ForwardConnected(event) => {
                to.text("way", event.way);
                to.maybe("address", event.address);
                if event.end_to_end {
                    to.value("end_to_end", true);
                }
            }
            Self::ForwardInside(event) => {
                to.text("protocol", event.protocol);
                to.text("by", event.by);
            }
            Self::CommandRun(event) => event.write(to),
            Self::RecordingGap(event) => event.write(to),
            Self::SessionInterrupted(event) => to.value("checkpoints", event.checkpoints),
            Self::SessionSealed(event) => event.write(to),
            Self::SessionDeleted(event) => event.write(to),
            Self::HoldsChanged(event) => event.write(to),
            Self::SessionsHeads(event) => event.write(to),
            Self::SessionProgress(event) => event.write(to),
            Self::SessionExit(event) => event.write(to),
            Self::SessionClosed(event) => event.write(to),
            Self::FileAsked(event) => event.write(to),
            Self::FileOpened(event) => event.write(to),
            Self::FileClosed(event) => event.write(to),
            Self::FileOperation(event) => event.write(to),
            Self::FilesSummed(event) => event.write(to),
            Self::LeftOut(event) => event.write(to),
        }
    }
}

impl LoginAccepted<'_> {
    fn write(&self, to: &mut Fields) {
        to.text("source", &self.source.to_string());
        to.text("login", self.login);
        to.text("person", self.person);
        to.text("proof", self.proof);
        to.text("profile", self.profile);
        to.second_factor(self.second_factor);
        to.certificate(self.certificate);
        to.sign_in(self.sign_in);
        to.hop(self.hop);
    }
}

impl LoginRefused<'_> {
    fn write(&self, to: &mut Fields) {
        to.text("source", &self.source.to_string());
        to.text("login", self.login);
        to.names("earlier_logins", self.earlier_logins);
        let tried = |tried: &MethodTried| {
            let mut fields = Fields::new();
            fields.text("method", &tried.method);
            fields.value("requests", tried.requests);
            fields
        };
        to.list("methods", self.methods.iter().map(tried));
        to.text("asked", &self.keys);
        to.names("algorithms", self.algorithms);
        to.text("profile", self.profile);
        to.text("code", self.code.name());
        to.text("reason", self.reason);
    }
}

impl RefusalsSummed<'_> {
    fn write(&self, to: &mut Fields) {
        to.text("source", &self.source.to_string());
        to.text("login", self.login);
        to.maybe("person", self.person);
        let sum = |sum: &RefusalSum| {
            let mut fields = Fields::new();
            fields.text("code", sum.code.name());
            fields.maybe("asked", sum.asked.as_deref());
            fields.value("count", sum.count);
            fields
        };
        to.list("refusals", self.sums.iter().map(sum));
    }
}

impl GatewayAsked<'_> {
    fn write(&self, to: &mut Fields) {
        to.text("source", &self.source.to_string());
        to.text("login", self.login);
        to.text("person", self.person);
        to.text("command", self.command);
        to.value("status", self.status);
    }
}

impl EvidenceViewed<'_> {
    fn write(&self, to: &mut Fields) {
        to.text("source", &self.source.to_string());
        to.text("login", self.login);
        to.text("person", self.person);
        to.text("what", self.what);
        to.maybe("session", self.session.map(|id| id.to_string()).as_deref());
        to.maybe("session_of", self.session_of);
    }
}

impl SessionLane<'_> {
    fn write(&self, to: &mut Fields) {
        to.text("session_manager_id", self.session_manager_id);
        to.maybe("aws_request_id", self.calls.start.as_deref());
        to.maybe("aws_assume_role_request_id", self.calls.assume_role.as_deref());
    }
}

impl CommandRun<'_> {
    fn write(&self, to: &mut Fields) {
        to.maybe("command", self.command);
        to.digest("command_sha256", &self.sha256);
        to.text("how", self.how);
        to.value("confidence", self.confidence);
        to.maybe("verdict", self.verdict);
        to.maybe("way_out", self.way_out);
        if let Some(exit) = self.exit {
            to.value("exit", exit);
        }
    }
}

impl RecordingGap<'_> {
    fn write(&self, to: &mut Fields) {
        to.value("bytes", self.bytes);
        to.text("why", self.why);
    }
}

impl SessionSealed<'_> {
    fn write(&self, to: &mut Fields) {
        to.text("folder", self.folder);
        to.text("head", self.head);
    }
}

impl SessionDeleted<'_> {
    fn write(&self, to: &mut Fields) {
        to.text("folder", self.folder);
        to.text("person", self.person);
        to.text("node", self.node);
        to.text("realm", self.realm);
    }
}

impl HoldsChanged<'_> {
    fn write(self, to: &mut Fields) {
        to.text("holds_set", self.holds_set);
        to.value("holds", self.holds);
    }
}

impl SessionsHeads<'_> {
    fn write(&self, to: &mut Fields) {
        let head = |(folder, head): &(String, String)| {
            let mut fields = Fields::new();
            fields.text("folder", folder);
            fields.text("head", head);
            fields
        };
        to.list("heads", self.heads.iter().map(head));
    }
}

impl SessionProgress {
    fn write(self, to: &mut Fields) {
        to.value("stdin_bytes", self.stdin);
        to.value("stdout_bytes", self.stdout);
        to.value("stderr_bytes", self.stderr);
    }
}

impl SessionExit<'_> {
    fn write(&self, to: &mut Fields) {
        match self.exit {
            Exit::Code(code) => to.value("code", *code),
            Exit::Signal { name, core_dumped } => {
                to.text("signal", name);
                to.value("core_dumped", *core_dumped);
            }
            Exit::Unknown => to.value("code", serde_json::Value::Null),
        }
    }
}

impl SessionClosed<'_> {
    fn write(&self, to: &mut Fields) {
        to.text("outcome", self.outcome);
        to.maybe("why", self.why);
        to.value("milliseconds", self.milliseconds);
        for (name, total) in [("stdin", &self.stdin), ("stdout", &self.stdout), ("stderr", &self.stderr)] {
            to.total(name, total);
        }
    }
}

impl LeftOut<'_> {
    fn write(&self, to: &mut Fields) {
        to.maybe("person", self.person);
        to.value("count", self.count);
    }
}
