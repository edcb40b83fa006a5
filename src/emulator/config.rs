//! What the embedded Session Manager is started with.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use super::fault::Fault;
use super::iam::PolicyError;

/// How to start a [`super::Service`].
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Where to listen; port 0 takes a free one. Without TLS this must be a loopback address.
    pub listen: SocketAddr,
    /// TLS, which the real agent insists on; `None` speaks plain HTTP.
    pub tls: Option<SelfMadeTls>,
    /// Host (and port, if not the listening one) for the URLs that the service hands out; the listening address if absent.
    pub advertise: Option<String>,
    /// The region whose name signatures must carry.
    pub region: String,
    /// The account's twelve digits.
    pub account: String,
    /// Who may call.
    pub keys: Vec<ApiKey>,
    /// The roles that `AssumeRole` and `AssumeRoleWithWebIdentity` give out.
    pub roles: Vec<Role>,
    /// The OpenID providers whose tokens roles may trust.
    pub identity_providers: Vec<IdentityProvider>,
    /// Names and tags of nodes; nodes not listed here become known when their agent first reports.
    pub nodes: Vec<NodeConfig>,
    /// The account's preferences (`SSM-SessionManagerRunShell`), JSON text; the built-in ones if absent.
    pub preferences: Option<String>,
    /// Refuses documents with `separateOutputStream`, as an account with a strict document schema would.
    pub refuse_separate_output_stream: bool,
    /// Refuses a client's websocket whose upgrade is not signed.
    pub require_signed_upgrade: bool,
    /// Tells the agent to pause publication while the client's websocket is away.
    pub pause_publication: bool,
    /// How long a minute of the preferences' limits lasts, and of a role's credentials; tests shorten it.
    pub minute: Duration,
    /// How long the token of a websocket is good for.
    pub token_lifetime: Duration,
    /// Bounds on what callers can make the service hold.
    pub limits: Limits,
    /// What goes wrong from the start.
    pub faults: Vec<Fault>,
    /// Where records of calls go, as CloudTrail keeps them; nowhere if absent.
    pub trail: Option<PathBuf>,
}

impl ServiceConfig {
    /// The defaults: plain HTTP, region `us-east-1`, no keys, the cloud's limits.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            tls: None,
            advertise: None,
            region: "us-east-1".to_owned(),
            account: "123456789012".to_owned(),
            keys: Vec::new(),
            roles: Vec::new(),
            identity_providers: Vec::new(),
            nodes: Vec::new(),
            preferences: None,
            refuse_separate_output_stream: false,
            require_signed_upgrade: false,
            pause_publication: true,
            minute: Duration::from_secs(60),
            token_lifetime: Duration::from_secs(600),
            limits: Limits::default(),
            faults: Vec::new(),
            trail: None,
        }
    }
}

/// Bounds on what callers can make the service hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// TCP connections at once.
    pub connections: usize,
    /// Live sessions at once.
    pub sessions: usize,
    /// Ended sessions kept for `DescribeSessions`.
    pub history: usize,
    /// The longest websocket message, in bytes.
    pub message: usize,
    /// Bytes queued towards one end of a session before the other end is no longer read.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 8192, sessions: 4096, history: 1000, message: 1 << 20, queue: 256 << 10 }
    }
}

/// The service's own TLS: a certificate authority made at start, and a certificate from it for the listening address,
/// `localhost` and the loopback addresses. [`super::Service::ca_pem`] has the authority's certificate.
#[derive(Clone, Debug, Default)]
pub struct SelfMadeTls {
    /// Further host names and addresses.
    pub names: Vec<String>,
}

/// A pair of keys and who it stands for.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The public half, such as `AKIA…`.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: Zeroizing<String>,
    /// The principal, such as `arn:aws:iam::123456789012:user/alice`.
    pub principal_arn: String,
    /// What the principal may do: policies of IAM, JSON text. What none of them allows is denied.
    pub policies: Vec<String>,
    /// The principal's tags; `SSMSessionRunAs` names the OS user for Run-As.
    pub tags: BTreeMap<String, String>,
    /// The nodes that the key is an agent's of.
    pub speaks_for: SpeaksFor,
}

/// Whose agent a key is: in the cloud an instance's own role, or what it got when it registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SpeaksFor {
    /// No node's.
    #[default]
    Nobody,
    /// Any node's.
    AnyNode,
    /// This node's.
    #[cfg_attr(not(test), expect(dead_code, reason = "the demo's agent key is any node's; tests have one's own"))]
    Node(String),
}

impl ApiKey {
    /// A key for a user of Session Manager: every client call, no agent call.
    pub fn client(id: impl Into<String>, secret: impl Into<String>, arn: impl Into<String>) -> Self {
        Self::new(id, secret, arn, vec![CLIENT_POLICY.to_owned()])
    }

    /// A key for an agent: agent calls for any node.
    pub fn agent(id: impl Into<String>, secret: impl Into<String>, arn: impl Into<String>) -> Self {
        let speaks_for = SpeaksFor::AnyNode;
        Self { speaks_for, ..Self::new(id, secret, arn, vec![AGENT_POLICY.to_owned()]) }
    }

    /// A key that may do what these policies say.
    pub fn new(
        id: impl Into<String>,
        secret: impl Into<String>,
        arn: impl Into<String>,
        policies: Vec<String>,
    ) -> Self {
        Self {
            access_key_id: id.into(),
            secret_access_key: Zeroizing::new(secret.into()),
            principal_arn: arn.into(),
            policies,
            tags: BTreeMap::new(),
            speaks_for: SpeaksFor::default(),
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("access_key_id", &self.access_key_id)
            .field("principal_arn", &self.principal_arn)
            .field("policies", &self.policies)
            .field("tags", &self.tags)
            .field("speaks_for", &self.speaks_for)
            .finish_non_exhaustive()
    }
}

/// An OpenID provider that IAM knows, in the service's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityProvider {
    /// As its tokens call it (`iss`), `https://…`, or `http://…` of a provider on loopback.
    pub issuer: String,
    /// For whom its tokens may be (`aud`).
    pub audiences: Vec<String>,
    /// The keys that it publishes: a JWK set, JSON text. The service asks nobody for them.
    pub keys: String,
}

/// A role that `AssumeRole` gives out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Such as `arn:aws:iam::123456789012:role/operators`.
    pub arn: String,
    /// Who may become it: a trust policy of IAM, JSON text.
    pub trust: String,
    /// What it may do: policies of IAM, JSON text.
    pub policies: Vec<String>,
    /// Its tags, which its sessions have unless they bring others.
    pub tags: BTreeMap<String, String>,
    /// The longest session.
    pub longest: Duration,
}

impl Role {
    /// A role with IAM's default for the length of its sessions, an hour, and without tags.
    pub fn new(arn: impl Into<String>, trust: impl Into<String>, policies: Vec<String>) -> Self {
        let longest = Duration::from_secs(3600);
        Self { arn: arn.into(), trust: trust.into(), policies, tags: BTreeMap::new(), longest }
    }
}

/// Everything that a client of Session Manager calls.
const CLIENT_POLICY: &str = r#"{
  "Version": "2012-10-17",
  "Statement": {
    "Effect": "Allow",
    "Action": [
      "ssm:StartSession", "ssm:ResumeSession", "ssm:TerminateSession", "ssm:DescribeSessions", "ssm:GetConnectionStatus",
      "ssm:DescribeInstanceInformation", "ssm:*Document", "ssm:UpdateDocumentDefaultVersion", "ssmmessages:OpenDataChannel",
      "tag:GetResources", "iam:*SSHPublicKey*"
    ],
    "Resource": "*"
  }
}"#;

/// What an agent calls, as in AWS's `AmazonSSMManagedInstanceCore`.
const AGENT_POLICY: &str = r#"{
  "Version": "2012-10-17",
  "Statement": {
    "Effect": "Allow",
    "Action": [
      "ssm:UpdateInstanceInformation", "ssm:ListAssociations", "ssm:ListInstanceAssociations", "ssm:DescribeAssociation",
      "ssm:PutInventory", "ssm:PutComplianceItems", "ec2messages:*", "ssmmessages:CreateControlChannel",
      "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"
    ],
    "Resource": "*"
  }
}"#;

/// What is known of a node before its agent reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeConfig {
    /// `i-…`, `mi-…`.
    pub id: String,
    /// Tags, the `Name` among them.
    pub tags: BTreeMap<String, String>,
}

impl NodeConfig {
    /// A node with a `Name` tag.
    pub fn named(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { id: id.into(), tags: BTreeMap::from([("Name".to_owned(), name.into())]) }
    }

    /// The same node with one more tag.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}; choose another address, or port 0 for a free one")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Plain HTTP would be open to a network.
    #[error("refusing to listen on {0} without TLS; use a loopback address or turn TLS on")]
    PlainOnNetwork(SocketAddr),
    /// The certificate or its key is missing or unusable.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// A principal's policy can't be read.
    #[error("the policies of {of} are not usable: {why}")]
    Policy {
        /// Whose, by ARN.
        of: String,
        /// What is wrong.
        why: PolicyError,
    },
    /// The keys of an identity provider can't be read.
    #[error("the keys of the identity provider {issuer} are no JWK set")]
    Keys {
        /// Whose.
        issuer: String,
    },
    /// The file of the trail can't be written.
    #[error("the trail {path} can't be written: {source}", path = .path.display())]
    Trail {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The preferences are no session document.
    #[error("the preferences (SSM-SessionManagerRunShell) are not usable: {0}")]
    Preferences(String),
}
