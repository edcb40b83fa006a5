//! The types of `gateway.toml`. Their documentation is the schema's, so it says what a person needs to choose a value.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use portcullis_sinks::SinksConfig;
use portcullis_sinks::retention::Policy as Retention;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Algorithms, AlgorithmsFor, IamKeys, Lanes, Oidc, Password, ProxyProtocol, Rung, Sshd};

/// The whole of `gateway.toml`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the gateway listens and who it is.
    pub gateway: Gateway,
    /// What one client, or all of them, may take.
    pub limits: Limits,
    /// Which variables a client may set for what it runs on a node.
    pub environment: Environment,
    /// Who may log in, and with which keys.
    pub people: Vec<Person>,
    /// How the keys are read that IAM users hold, of people who have `keys_from_iam`.
    pub iam_keys: IamKeys,
    /// Who may say by certificates who somebody is.
    pub certificate_authorities: Vec<CertificateAuthority>,
    /// What is revoked, whosever it was.
    pub revocation: Revocation,
    /// Which proofs are enough, and for whom: the first of these that is for somebody. Without any a key, a certificate or a password is
    /// enough for everybody; with some, nothing is for somebody whom none names.
    pub proofs: Vec<EnoughProofs>,
    /// What has to come besides a key or a certificate, where `proofs` or a policy wants it.
    pub second_factor: SecondFactor,
    /// An OpenID provider at which people sign in, where `proofs` wants it.
    pub oidc: Option<Oidc>,
    /// Where it is written what they may do. What no policy permits is denied.
    pub policy: PolicyFiles,
    /// The AWS accounts and regions whose nodes are reached: at least one.
    #[schemars(length(min = 1))]
    pub realms: Vec<Realm>,
    /// How SSH channels are carried over Session Manager sessions.
    pub lanes: Lanes,
    /// How nodes are reached by their own sshd.
    pub sshd: Sshd,
    /// What is kept about every session.
    pub evidence: Evidence,
    /// Where sessions are found again.
    pub index: Index,
}

impl Config {
    /// The same with what another one says of people: who they are, in which roles, and what they may do.
    #[must_use]
    pub fn with_people_of(&self, other: &Self) -> Self {
        let of_realm = |realm: &Realm| match other.realms.iter().find(|there| there.name == realm.name) {
            Some(there) => Realm { identity: there.identity, roles: there.roles.clone(), ..realm.clone() },
            None => realm.clone(),
        };
        let realms = self.realms.iter().map(of_realm).collect();
        let Self { people, iam_keys, certificate_authorities, revocation, proofs, second_factor, policy, .. } =
            other.clone();
        let before = self.clone();
        Self { people, iam_keys, certificate_authorities, revocation, proofs, second_factor, policy, realms, ..before }
    }

    /// Where the host CA's key is.
    pub fn host_ca_path(&self) -> PathBuf {
        self.gateway.host_ca.clone().unwrap_or_else(|| self.evidence.directory.with_file_name("host-ca-key"))
    }

    /// The sections in which another one says something else.
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let sections = |config: &Self| match serde_json::to_value(config) {
            Ok(serde_json::Value::Object(sections)) => sections,
            // plain values always are one
            _ => serde_json::Map::new(),
        };
        let (here, there) = (sections(self), sections(other));
        here.into_iter().filter(|(name, value)| there.get(name) != Some(value)).map(|(name, _)| name).collect()
    }
}

/// Where the gateway listens and who it is.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Addresses to listen on. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Private host keys in OpenSSH's format, the preferred one first: ed25519 or ECDSA.
    pub host_keys: Vec<PathBuf>,
    /// Host certificates for those keys, if a host CA signs them.
    pub host_certificates: Vec<PathBuf>,
    /// The host CA's private key, by which clients know the nodes that they hop to (`ssh -J`); `host-ca-key` beside the evidence directory
    /// where it is not said. It is made where there is none, with its public half in `<host_ca>.pub`; gateways of a fleet have the same.
    pub host_ca: Option<PathBuf>,
    /// A text shown before login.
    pub banner: Option<String>,
    /// RSA keys in the same format, for clients that know no other: shown where `legacy` is spoken, and nowhere else.
    pub legacy_host_keys: Vec<PathBuf>,
    /// Which algorithms are spoken.
    pub algorithms: Algorithms,
    /// With whom others are spoken: the first of these that is for a client.
    pub algorithms_for: Vec<AlgorithmsFor>,
    /// Balancers that say by the PROXY protocol for whom they connect.
    pub proxy_protocol: ProxyProtocol,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 2222))],
            host_keys: ["ed25519", "ecdsa"]
                .map(|kind| PathBuf::from(format!("/etc/portcullis/ssh_host_{kind}_key")))
                .to_vec(),
            host_certificates: Vec::new(),
            host_ca: None,
            banner: None,
            legacy_host_keys: Vec::new(),
            algorithms: Algorithms::default(),
            algorithms_for: Vec::new(),
            proxy_protocol: ProxyProtocol::default(),
        }
    }
}

/// What one client, or all of them, may take.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Seconds from the TCP connection to a finished login; then the connection is closed.
    #[schemars(range(min = 1, max = 600))]
    pub login_seconds: u32,
    /// Seconds for the answer to a question, such as for a code, from when the key or certificate was proved.
    #[schemars(range(min = 10, max = 600))]
    pub answer_seconds: u32,
    /// Authentication attempts on one connection.
    #[schemars(range(min = 1, max = 100))]
    pub auth_attempts: u32,
    /// Connections at once.
    #[schemars(range(min = 1))]
    pub connections: u32,
    /// Connections at once from one address.
    #[schemars(range(min = 1))]
    pub connections_per_address: u32,
    /// Connections at once that have not logged in yet. Where there are more, those that say nothing go first, then those
    /// that stand still for a second.
    #[schemars(range(min = 1))]
    pub unauthenticated: u32,
    /// Channels at once on one connection.
    #[schemars(range(min = 1, max = 1024))]
    pub channels: u32,
    /// Connections at once of one person.
    #[schemars(range(min = 1))]
    pub connections_per_person: u32,
    /// Channels at once of one person, on all their connections.
    #[schemars(range(min = 1))]
    pub channels_per_person: u32,
    /// Forwarded connections (`-L`, `-D`) at once on one connection; they are none of its channels.
    #[schemars(range(min = 1, max = 4096))]
    pub forwards: u32,
    /// Forwarded connections at once of one person, on all their connections.
    #[schemars(range(min = 1))]
    pub forwards_per_person: u32,
    /// Connections at once of a person whom no policy lets do anything.
    #[schemars(range(min = 1))]
    pub connections_without_rules: u32,
    /// Channels at once of a person whom no policy lets do anything, on all their connections.
    #[schemars(range(min = 1))]
    pub channels_without_rules: u32,
    /// Bytes that one person may have sent and no node has taken, on all their connections. A channel's window is 2 MiB; where
    /// the windows of all come to more than half of this, further ones are narrower, down to 64 KiB. The connection that holds
    /// the most ends when there are more bytes all the same. As many again may have come from nodes and wait for their clients.
    #[schemars(range(min = 2_097_152))]
    pub buffered_bytes_per_person: u64,
    /// The same for everybody together: the person who holds the most loses a connection when there are more.
    #[schemars(range(min = 2_097_152))]
    pub buffered_bytes: u64,
    /// Minutes for which a reason counts that was given on a connection: channels that are opened on it later, to the same node,
    /// are for that reason where they have none of their own. 0 asks for each.
    #[schemars(range(max = 1440))]
    pub reason_minutes: u32,
    /// Seconds of silence after which the client is asked whether it is still there; 0 never asks.
    #[schemars(range(max = 3600))]
    pub keepalive_seconds: u32,
    /// Unanswered questions of that kind after which the connection is closed.
    #[schemars(range(min = 1, max = 100))]
    pub keepalive_unanswered: u32,
    /// Bytes after which the SSH keys are exchanged again, per direction.
    #[schemars(range(min = 1_048_576, max = 1_073_741_824_u64))]
    pub rekey_bytes: u64,
    /// Seconds after which the SSH keys are exchanged again.
    #[schemars(range(min = 60, max = 86_400))]
    pub rekey_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            login_seconds: 20,
            answer_seconds: 120,
            auth_attempts: 10,
            connections: 1024,
            connections_per_address: 256,
            unauthenticated: 100,
            channels: 64,
            connections_per_person: 128,
            channels_per_person: 512,
            forwards: 512,
            forwards_per_person: 2048,
            connections_without_rules: 4,
            channels_without_rules: 16,
            buffered_bytes_per_person: 128 << 20,
            buffered_bytes: 512 << 20,
            reason_minutes: 60,
            keepalive_seconds: 60,
            keepalive_unanswered: 2,
            rekey_bytes: 1 << 30,
            rekey_seconds: 3600,
        }
    }
}

/// Which variables a client may set for what it runs on a node.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Environment {
    /// Names, or beginnings of names that end in `*`. Names that change what a program loads or runs (`LD_*`, `PATH`,
    /// `BASH_ENV`, …) are never let through, whatever is written here.
    pub accept: Vec<String>,
    /// Whether nodes learn a client's address, in `SSH_CONNECTION` and `SSH_CLIENT` as from sshd. It stands in arguments
    /// there, which every user of the node can read. If not, both say `UNKNOWN`.
    pub client_address: bool,
}

impl Default for Environment {
    fn default() -> Self {
        let accept = ["TERM", "LANG", "LC_*", "GIT_PROTOCOL"].map(str::to_owned).to_vec();
        Self { accept, client_address: true }
    }
}

/// Somebody who may log in.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The name that policies and evidence use: 1 to 64 letters, digits, `.`, `-`, `_` or `@`.
    pub name: String,
    /// Public keys as lines of `authorized_keys`: ed25519, ECDSA, or RSA of 2048 bits and more, with the options of sshd(8) in
    /// front of them or none.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Files of such lines, or directories of which every file whose name ends in `.pub` is read. They are looked at every second.
    #[serde(default)]
    pub keys_from: Vec<PathBuf>,
    /// IAM users whose active SSH public keys (those that a user uploads for CodeCommit) are this person's: `"ada"`, or `"main/ada"` with
    /// the realm in whose account the user is, which is needed where there are several. A user's keys are one person's.
    #[serde(default)]
    pub keys_from_iam: Vec<String>,
    /// A password, for tools that know nothing else: off unless it is written down, and only from networks that are named. The login
    /// says whose it is: `ada/web-1`.
    #[serde(default)]
    pub password: Option<Password>,
    /// The groups that they are in, which policies name: `Group::"developers"`.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// Who may say by certificates who somebody is. A principal that is the name of one of the people is that person.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateAuthority {
    /// What policies and evidence call it.
    pub name: String,
    /// Its public keys, each as a line of a `.pub` file.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Files of such lines. They are looked at every second.
    #[serde(default)]
    pub keys_from: Vec<PathBuf>,
    /// What a principal stands for, where it is not the name of a person.
    #[serde(default)]
    pub principals: BTreeMap<String, Principal>,
    /// A principal that no other key here speaks of is a person of that name, also where `people` has none.
    #[serde(default)]
    pub unlisted_people: bool,
    /// The person for whom a certificate without principals stands. Without this it proves nothing.
    #[serde(default)]
    pub without_principals: Option<String>,
    /// Critical options that a certificate must have.
    #[serde(default)]
    pub require: Vec<CriticalOption>,
    /// Hours for which a certificate may be made; one that is made for longer proves nothing.
    #[serde(default)]
    #[schemars(range(min = 1, max = 876_000))]
    pub longest_hours: Option<u32>,
    /// What a certificate has opened goes on when its time is over. Nothing new opens in either case.
    #[serde(default)]
    pub sessions_outlive_certificates: bool,
    /// Files that say which of its certificates are revoked: made by `ssh-keygen -k`, or with the lines of keys' `.pub` files. While
    /// one can't be read, none of its certificates counts. They are looked at every second.
    #[serde(default)]
    pub revoked: Vec<PathBuf>,
}

/// What is revoked, whosever it was.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Revocation {
    /// Files that say which keys and certificates are: made by `ssh-keygen -k`, or with the lines of keys' `.pub` files. While one
    /// can't be read, no key and no certificate counts, and nobody logs in. They are looked at every second.
    pub files: Vec<PathBuf>,
}

/// Proofs that are enough, and whom for.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnoughProofs {
    /// Whom it is for, by name; `*` is everybody.
    #[serde(default)]
    pub people: Vec<String>,
    /// Whom it is for, by group.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Any one of these is enough.
    pub enough: Vec<Combination>,
}

/// Proofs that are enough together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Combination {
    /// A key.
    #[serde(rename = "key")]
    Key,
    /// A certificate.
    #[serde(rename = "certificate")]
    Certificate,
    /// A key, and a code.
    #[serde(rename = "key and totp")]
    KeyAndTotp,
    /// A certificate, and a code.
    #[serde(rename = "certificate and totp")]
    CertificateAndTotp,
    /// A password, from one of the networks that it counts from.
    #[serde(rename = "password")]
    Password,
    /// A password, and a code.
    #[serde(rename = "password and totp")]
    PasswordAndTotp,
    /// A sign-in at the provider of `oidc`, without a key.
    #[serde(rename = "oidc")]
    Oidc,
    /// A sign-in, and a code.
    #[serde(rename = "oidc and totp")]
    OidcAndTotp,
    /// A key, and a sign-in.
    #[serde(rename = "key and oidc")]
    KeyAndOidc,
    /// A certificate, and a sign-in.
    #[serde(rename = "certificate and oidc")]
    CertificateAndOidc,
}

/// What has to come besides a key or a certificate.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SecondFactor {
    /// A file of the secrets that one-time codes are made by (RFC 6238), for the gateway's user alone. A line is a person's name and
    /// their secret in base32, or as an `otpauth://totp/` address. It is looked at every second.
    pub totp_secrets: Option<PathBuf>,
    /// Minutes for which somebody who has answered is not asked again, with the same key or certificate's key and from the same
    /// address. 0 asks at each login.
    #[schemars(range(max = 1440))]
    pub remembered_minutes: u32,
}

/// What a principal of a certificate stands for.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Principal {
    /// A person.
    pub person: Option<String>,
    /// Groups, besides those that the person is in anyway.
    pub groups: Vec<String>,
}

/// A critical option of a certificate (OpenSSH's PROTOCOL.certkeys).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CriticalOption {
    /// A command that is run in the place of whatever is asked for.
    ForceCommand,
    /// The addresses from which it counts.
    SourceAddress,
    /// A security key must know who touches it.
    VerifyRequired,
}

impl CriticalOption {
    /// As the certificate has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ForceCommand => "force-command",
            Self::SourceAddress => "source-address",
            Self::VerifyRequired => "verify-required",
        }
    }
}

/// Where policies are. They are written in Cedar, with the words of `portcullis.cedarschema`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyFiles {
    /// A directory of which every file whose name ends in `.cedar` is read.
    pub directory: Option<PathBuf>,
    /// Further files.
    pub files: Vec<PathBuf>,
}

impl Default for PolicyFiles {
    fn default() -> Self {
        Self { directory: Some(PathBuf::from("policies")), files: Vec::new() }
    }
}

/// An AWS account and region whose nodes are reached. Credentials come from the SDK's usual places.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Realm {
    /// What logins (`<node>.<name>`), policies and evidence call it: 1 to 63 lower-case letters, digits and `-`, neither first nor
    /// last. No two have one name.
    #[schemars(regex(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// The region; without it, the SDK's usual places (AWS_REGION, the profile, the instance).
    pub region: Option<String>,
    /// The profile in the shared AWS configuration.
    pub profile: Option<String>,
    /// Where the services are, when not where the region says.
    #[serde(default)]
    pub endpoints: Endpoints,
    /// A PEM file with the only certificate authorities to trust for AWS, in place of the system's.
    pub ca_bundle: Option<PathBuf>,
    /// `http://host:port` of the proxy for everything to AWS; without it, HTTPS_PROXY and NO_PROXY.
    pub proxy: Option<String>,
    /// As whom AWS sees sessions: `person`, each in a role of theirs, or `gateway`, all of them as the gateway.
    #[serde(default)]
    pub identity: SeenAs,
    /// Which role is whose, where `identity` is `person`. The first that is for somebody is theirs, and who has none is
    /// refused in this realm.
    #[serde(default)]
    pub roles: Vec<RoleOfPeople>,
    /// Which construction carries channels to the realm's nodes, whatever `lanes.rung` says.
    pub via: Option<Rung>,
    /// Session Manager's own logging is off for the lanes (they carry an encoding nobody can read) because Portcullis's
    /// evidence replaces it. Where the account asks for logging and this is false, channels are refused.
    #[serde(default)]
    pub evidence_replaces_agent_logging: bool,
}

/// As whom AWS sees sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SeenAs {
    /// As the person: a role of theirs is assumed with their name.
    #[default]
    Person,
    /// As the gateway, whoever it is for.
    Gateway,
}

/// A role and whose it is.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleOfPeople {
    /// Its ARN, such as `arn:aws:iam::123456789012:role/portcullis-developers`, in the account of the nodes.
    pub role: String,
    /// Whose it is, by name; `*` is everybody.
    #[serde(default)]
    pub people: Vec<String>,
    /// Whose it is, by group.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What the role's trust policy asks for in `sts:ExternalId`, where it does.
    pub external_id: Option<String>,
    /// Minutes that credentials are good for; sessions go on, with new ones. No more than the role's own longest, and no more
    /// than 60 where the gateway has its own credentials from a role, as on an instance.
    #[serde(default = "an_hour")]
    #[schemars(range(min = 15, max = 720))]
    pub minutes: u32,
    /// The ARN of the role that the person's own ID token is exchanged for (`sts:AssumeRoleWithWebIdentity`), which trusts the provider of
    /// `oidc`: `role` itself, or another one from which `role` is assumed. Without it the gateway assumes `role`. With it `role` is
    /// nobody's who has logged in without signing in.
    pub web_identity: Option<String>,
}

fn an_hour() -> u32 {
    60
}

/// Where the services are, when not where the region says.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Endpoints {
    /// Systems Manager's API, `https://…`.
    pub ssm: Option<String>,
    /// STS, `https://…`, which gives out people's roles.
    pub sts: Option<String>,
    /// The Resource Groups Tagging API, `https://…`, which has the tags of nodes.
    pub tagging: Option<String>,
    /// IAM, `https://…`, which has the keys of its users.
    pub iam: Option<String>,
    /// The message service, `wss://…`: stream URLs with this host are accepted besides AWS's own.
    pub ssmmessages: Option<String>,
}

/// What is kept about every session.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Evidence {
    /// The directory of the event log. It must exist and be writable by the gateway alone.
    pub directory: PathBuf,
    /// Bytes that the event log may take. At the limit, sessions end and none opens: rotate it before.
    #[schemars(range(min = 1_048_576))]
    pub max_bytes: u64,
    /// Bytes of it that the events of one session may take; then that session ends. Never more than a quarter of `max_bytes`.
    #[schemars(range(min = 65_536))]
    pub session_bytes: u64,
    /// Bytes of it that the events of one person may take in a day; then their sessions end, and others go on. Never more
    /// than a quarter of `max_bytes`.
    #[schemars(range(min = 65_536))]
    pub person_bytes: u64,
    /// Bytes of it that may be taken in a day by all connections on which nobody logs in; beyond that they are only
    /// counted. Never more than a quarter of `max_bytes`.
    #[schemars(range(min = 65_536))]
    pub stranger_bytes: u64,
    /// Questions about files (sizes, links, names that are not there) that one session has listed one by one in a minute;
    /// more are summed by kind.
    #[schemars(range(max = 100_000))]
    pub questions_a_minute: u32,
    /// What this gateway is called in evidence, and its key: 1 to 64 letters, digits, `.`, `-` and `_`. The host's name where it is not said.
    pub name: Option<String>,
    /// The key that heads of evidence are signed with; beside the directory, `<directory>-key`, where it is not said. It is made where
    /// there is none; its public half stands in `<key_file>.pub`.
    pub key_file: Option<PathBuf>,
    /// Whether a session ends that can't be recorded (`required`), goes on with a gap that its record tells of (`best-effort`), or has no folder at
    /// all (`journal`): then the event log alone tells of it, unless a policy wants something of it recorded or guarded.
    pub recording: RecordingWish,
    /// Bytes of the beginning of each stream that are kept of a command without a terminal; of the rest its length and hash.
    #[schemars(range(max = 67_108_864))]
    pub output_head_bytes: u64,
    /// Bytes that the folder of one session may take; then that session ends.
    #[schemars(range(min = 65_536))]
    pub session_recording_bytes: u64,
    /// Bytes that the folders of one person's sessions may take in a day; then their sessions end, and others go on.
    #[schemars(range(min = 65_536))]
    pub person_recording_bytes: u64,
    /// Bytes of the file system that recordings leave free: below that sessions end, and none opens.
    pub reserve_bytes: u64,
    /// Regular expressions of what is not kept of commands, terminals and streams, besides what is known to look like a secret; of a match
    /// its first group, where it has one.
    pub redact: Vec<String>,
    /// Whether what is known to look like a secret (`password=…`, private keys, tokens) is kept.
    pub keep_known_secrets: bool,
    /// Whether a session at a terminal begins with a line that says that it is recorded.
    pub notice: bool,
    /// Whether shells are told, by variables, to mark where their prompts and commands begin and how they ended: bash does. The marks are for
    /// the record; the client never sees them.
    pub shell_marks: bool,
    /// The key of AWS KMS that the folders of sessions are encrypted by, each under a data key of its own: an ARN, or `alias/…`. Without it
    /// they are not. No session opens while the key is not to be had.
    pub kms_key: Option<String>,
    /// The region of an alias; without it, the SDK's usual places. An ARN says it itself.
    pub kms_region: Option<String>,
    /// Where AWS KMS is, `https://…`, when not where the region says.
    pub kms_endpoint: Option<String>,
    /// Where evidence goes besides.
    pub sinks: SinksConfig,
    /// For how long folders of sessions stay on the disk.
    pub retention: Retention,
}

impl Evidence {
    /// Where the key is that heads are signed with.
    pub fn key_path(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| {
            let mut beside = self.directory.clone().into_os_string();
            beside.push("-key");
            beside.into()
        })
    }
}

/// The index of sessions.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Index {
    /// A PostgreSQL server, `postgres://user:password@host/database`, which several gateways may share; or a file of SQLite's. Where it is
    /// not said: `index.sqlite` in the evidence directory.
    pub url: Option<String>,
}

/// What becomes of a session that can't be recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingWish {
    /// It ends.
    #[default]
    Required,
    /// It goes on, and its record tells of the gap.
    BestEffort,
    /// None is, but where policy wants something recorded: the event log alone tells of it.
    Journal,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/var/lib/portcullis/evidence"),
            max_bytes: 4 << 30,
            session_bytes: 256 << 20,
            person_bytes: 1 << 30,
            stranger_bytes: 512 << 20,
            questions_a_minute: 600,
            name: None,
            key_file: None,
            recording: RecordingWish::Required,
            output_head_bytes: 64 << 10,
            session_recording_bytes: 1 << 30,
            person_recording_bytes: 8 << 30,
            reserve_bytes: 1 << 30,
            redact: Vec::new(),
            keep_known_secrets: false,
            notice: true,
            shell_marks: false,
            kms_key: None,
            kms_region: None,
            kms_endpoint: None,
            sinks: SinksConfig::default(),
            retention: Retention::default(),
        }
    }
}
