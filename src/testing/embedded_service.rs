//! The embedded Session Manager and, unless a test is the agent itself, a node behind it.

use std::ffi::OsString;
use std::ops::Deref;
use std::time::Duration;

use aws_credential_types::Credentials;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::backend::aws::AwsOptions;
use crate::emulator::agent::{Agent, AgentConfig, Fidelity};
use crate::emulator::{ApiKey, NodeConfig, SelfMadeTls, Service, ServiceConfig};

/// The node that every embedded service knows.
pub(crate) const NODE: &str = "mi-0123456789abcdef0";

/// Long for a busy machine: who waits longer waits for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const REGION: &str = "us-east-1";

/// A service that runs until this is dropped, and its node.
pub(crate) struct EmbeddedService {
    service: Service,
    trail: Option<std::path::PathBuf>,
    _agent: Option<Agent>,
    /// For what a test or its node needs files for.
    pub(crate) directory: TempDir,
}

/// What is to be started.
pub(crate) struct Builder {
    config: ServiceConfig,
    fidelity: Option<Fidelity>,
    path: Option<OsString>,
}

impl EmbeddedService {
    /// A service on loopback without TLS, with one node called `demo` and an agent in a hurry.
    pub(crate) fn builder() -> Builder {
        let mut config = ServiceConfig::new("127.0.0.1:0".parse().unwrap());
        config.keys = vec![
            ApiKey::client("AKIDCLIENT", "client-secret", "arn:aws:iam::123456789012:user/gateway"),
            ApiKey::agent("AKIDAGENT", "agent-secret", "arn:aws:iam::123456789012:role/node"),
        ];
        config.nodes = vec![NodeConfig::named(NODE, "demo").tag("env", "test")];
        Builder { config, fidelity: Some(Fidelity::Fast), path: None }
    }

    /// How the gateway reaches it.
    pub(crate) fn aws_options(&self) -> AwsOptions {
        let ca_bundle = self.service.ca_pem().map(|pem| {
            let path = self.directory.path().join("ca.pem");
            std::fs::write(&path, pem).unwrap();
            path
        });
        let plain = ca_bundle.is_none();
        AwsOptions {
            region: Some(REGION.into()),
            endpoint_ssm: Some(self.service.url()),
            endpoint_sts: Some(self.service.url()),
            endpoint_tagging: Some(self.service.url()),
            endpoint_iam: Some(self.service.url()),
            endpoint_ssmmessages: plain.then(|| self.service.url().replace("http", "ws")),
            ca_bundle,
            credentials: Some(Credentials::new("AKIDCLIENT", "client-secret", None, None, "test")),
            ..AwsOptions::default()
        }
    }

    /// The file of the service's records, if it writes any.
    pub(crate) fn trail(&self) -> Option<&std::path::Path> {
        self.trail.as_deref()
    }

    pub(crate) async fn shutdown(self) {
        self.service.shutdown().await;
    }

    /// Where the node's helpers keep what they need while they run.
    pub(crate) fn runtime_directory(&self) -> std::path::PathBuf {
        self.directory.path().join("run")
    }

    /// Waits until the service knows of no session any more.
    pub(crate) async fn no_session_is_left(&self) {
        let none = async {
            while !self.faults().sessions().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let left = || format!("left behind: {:?}", self.faults().sessions().len());
        timeout(PATIENCE, none).await.unwrap_or_else(|_| panic!("{}", left()));
    }
}

impl Deref for EmbeddedService {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl Builder {
    /// As in the cloud: TLS, here with a private authority, and no upgrade to a websocket without a signature.
    pub(crate) fn with_tls(mut self) -> Self {
        self.config.tls = Some(SelfMadeTls { names: Vec::new() });
        self.config.require_signed_upgrade = true;
        self
    }

    /// How true to the real one the agent is.
    pub(crate) fn with_fidelity(mut self, fidelity: Fidelity) -> Self {
        self.fidelity = Some(fidelity);
        self
    }

    /// Where the node's programs are looked for.
    pub(crate) fn with_path(mut self, path: OsString) -> Self {
        self.path = Some(path);
        self
    }

    /// The test speaks for the node.
    pub(crate) fn without_agent(mut self) -> Self {
        self.fidelity = None;
        self
    }

    /// Whatever else is to be otherwise with the service.
    pub(crate) fn configured(mut self, change: impl FnOnce(&mut ServiceConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Starts it, and waits until its node is there.
    pub(crate) async fn start(self) -> EmbeddedService {
        let directory = tempfile::tempdir().unwrap();
        let mut config = self.config;
        // a name alone is in there
        config.trail = config.trail.map(|name| directory.path().join(name));
        let trail = config.trail.clone();
        let service = Service::start(config).await.unwrap();
        let mut started = EmbeddedService { service, trail, _agent: None, directory };
        if let Some(fidelity) = self.fidelity {
            started._agent = Some(started.agent(fidelity, self.path).await);
        }
        started
    }
}

impl EmbeddedService {
    async fn agent(&self, fidelity: Fidelity, path: Option<OsString>) -> Agent {
        let keys = Credentials::new("AKIDAGENT", "agent-secret", None, None, "test");
        let mut config = AgentConfig::new(self.url(), REGION, NODE, keys, self.directory.path().join("agent"));
        config.fidelity = fidelity;
        config.ca_pem = self.ca_pem();
        std::fs::create_dir(self.runtime_directory()).unwrap();
        config.env = vec![("XDG_RUNTIME_DIR".into(), self.runtime_directory().into())];
        config.env.extend(path.map(|path| ("PATH".into(), path)));
        let agent = Agent::start(config).unwrap();
        timeout(PATIENCE, agent.connected()).await.expect("the agent connects");
        agent
    }
}
