//! The embedded Session Manager and its node, as `demo` and `emulator` run them: random keys, one service, and nodes of
//! its own.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use aws_credential_types::Credentials;
use base64::Engine as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::exit::{Exit, Failure};
use crate::emulator::agent::{Agent, AgentConfig, Fidelity};
use crate::emulator::{ApiKey, EmulatorError, NodeConfig, Role, Service, ServiceConfig};

/// A service that runs, and what it was told.
pub(super) struct Embedded {
    service: Service,
    agents: Vec<Agent>,
    foreign: Option<Child>,
    keys: Keys,
    region: String,
}

/// How long another program that plays the node may take to end.
const FOREIGN_END: Duration = Duration::from_secs(20);

/// The random keys of one run.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) client: Credentials,
    pub(super) agent: Credentials,
    deployer: Credentials,
}

/// What IAM lets a run's client do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// Everything that a client of Session Manager calls: for whoever comes with whatever program.
    MayAll,
    /// What `deploy/iam` lets a gateway do, and its people: [`ROLE`] is a role of somebody.
    AsDeployed,
}

/// The roles of people, where IAM is as deployed: of whoever tries the demo, and of developers.
pub(super) const ROLE: &str = "arn:aws:iam::123456789012:role/portcullis-you";
pub(super) const DEVELOPERS_ROLE: &str = "arn:aws:iam::123456789012:role/portcullis-developers";

/// The documents of `deploy/iam`, as somebody would put them into an account.
const GATEWAY_POLICY: &str = include_str!("../../deploy/iam/gateway-policy.json");
const SESSIONS_POLICY: &str = include_str!("../../deploy/iam/sessions-policy.json");
const DEPLOYER_POLICY: &str = include_str!("../../deploy/iam/deployer-policy.json");
const PERSON_TRUST: &str = include_str!("../../deploy/iam/person-trust.json");

/// A node in this process.
pub(super) struct Node {
    pub(super) id: String,
    pub(super) name: String,
    /// For the agent's own files.
    pub(super) dir: PathBuf,
    /// Set in every session's environment.
    pub(super) env: Vec<(OsString, OsString)>,
    /// Whether it keeps the pace of AWS's agent.
    pub(super) faithful: bool,
}

/// A service's configuration with these named nodes; [`Embedded::start`] adds the keys.
pub(super) fn service(listen: SocketAddr, region: &str, nodes: impl IntoIterator<Item = NodeConfig>) -> ServiceConfig {
    let mut config = ServiceConfig::new(listen);
    config.region = region.to_owned();
    config.nodes = nodes.into_iter().map(|node| node.tag("portcullis", "allowed")).collect();
    config
}

impl Embedded {
    pub(super) async fn start(mut config: ServiceConfig, may: Client) -> Result<Self, Failure> {
        let (client, agent, deployer) = (random_credentials()?, random_credentials()?, random_credentials()?);
        let keys = Keys { client, agent, deployer };
        let account = &config.account;
        let (client, agent, deployer) = (&keys.client, &keys.agent, &keys.deployer);
        let gateway = format!("arn:aws:iam::{account}:user/portcullis");
        let deployed = |document: &str| document.replace("${Account}", account).replace("${Gateway}", &gateway);
        let (id, secret) = (client.access_key_id(), client.secret_access_key());
        let client = match may {
            Client::MayAll => ApiKey::client(id, secret, gateway.as_str()),
            Client::AsDeployed => {
                let role = |arn| Role::new(arn, deployed(PERSON_TRUST), vec![deployed(SESSIONS_POLICY)]);
                config.roles = [ROLE, DEVELOPERS_ROLE].map(role).to_vec();
                ApiKey::new(id, secret, gateway.as_str(), vec![deployed(GATEWAY_POLICY)])
            }
        };
        config.keys = vec![
            client,
            ApiKey::agent(
                agent.access_key_id(),
                agent.secret_access_key(),
                format!("arn:aws:iam::{account}:role/node"),
            ),
            ApiKey::new(
                deployer.access_key_id(),
                deployer.secret_access_key(),
                format!("arn:aws:iam::{account}:user/deployer"),
                vec![deployed(DEPLOYER_POLICY)],
            ),
        ];
        let region = config.region.clone();
        let service = Service::start(config).await.map_err(|error| emulator_failure(&error))?;
        Ok(Self { service, agents: Vec::new(), foreign: None, keys, region })
    }

    /// Starts a node.
    pub(super) fn with_node(&mut self, node: Node) -> Result<(), Failure> {
        let mut config = AgentConfig::new(self.url(), &self.region, node.id, self.keys.agent.clone(), node.dir);
        config.ca_pem = self.service.ca_pem();
        config.name = Some(node.name);
        config.env = node.env;
        config.fidelity = if node.faithful { Fidelity::Faithful } else { Fidelity::Fast };
        self.agents.push(Agent::start(config).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?);
        Ok(())
    }

    /// Waits until the service knows the nodes that were started here.
    pub(super) async fn nodes_connected(&self) {
        for agent in &self.agents {
            agent.connected().await;
        }
    }

    /// Starts another program as the node: it is told where the service is in its environment, and asked to end by
    /// SIGTERM and by the end of its standard input.
    pub(super) fn with_command(
        &mut self,
        command: &str,
        node: &Node,
        ca_file: &std::path::Path,
    ) -> Result<(), Failure> {
        let keys = &self.keys.agent;
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(format!("exec {command}")).process_group(0).kill_on_drop(true);
        // its standard output would end up among what the demo prints
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
        shell.env("PORTCULLIS_ENDPOINT", self.url()).env("PORTCULLIS_REGION", &self.region);
        shell
            .env("PORTCULLIS_NODE_ID", &node.id)
            .env("PORTCULLIS_NODE_DIR", &node.dir)
            .env("PORTCULLIS_CA_FILE", ca_file);
        shell.env("AWS_ACCESS_KEY_ID", keys.access_key_id()).env("AWS_SECRET_ACCESS_KEY", keys.secret_access_key());
        shell.envs(node.env.iter().map(|(name, value)| (name, value)));
        let child = shell
            .spawn()
            .map_err(|error| Failure::new(Exit::Missing, format!("the node's program can't be started: {error}")))?;
        self.foreign = Some(child);
        Ok(())
    }

    /// Whether the other program that plays the node has ended by itself.
    pub(super) fn command_has_ended(&mut self) -> bool {
        self.foreign.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }

    pub(super) fn url(&self) -> String {
        self.service.url()
    }

    /// The same address for websockets.
    pub(super) fn message_url(&self) -> String {
        self.url().replacen("http", "ws", 1)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.service.address()
    }

    pub(super) fn ca_pem(&self) -> Option<String> {
        self.service.ca_pem()
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn client_credentials(&self) -> Credentials {
        self.keys.client.clone()
    }

    /// Those of whoever puts the lanes' documents into the account.
    pub(super) fn deployer_credentials(&self) -> Credentials {
        self.keys.deployer.clone()
    }

    /// Ends the nodes' sessions, then the service.
    pub(super) async fn stop(self) {
        for agent in self.agents {
            agent.shutdown().await;
        }
        if let Some(child) = self.foreign {
            end_foreign(child).await;
        }
        self.service.shutdown().await;
    }
}

async fn end_foreign(mut child: Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    drop(child.stdin.take());
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::TERM);
        if tokio::time::timeout(FOREIGN_END, child.wait()).await.is_err() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
    let _ = child.wait().await;
}

impl Keys {
    /// As a shared credentials file: `[default]` for clients, `[agent]` for agents, `[deployer]` for whoever puts documents where it
    /// takes another.
    pub(super) fn as_file(&self, deployer: bool) -> String {
        let section = |name: &str, keys: &Credentials| {
            let (id, secret) = (keys.access_key_id(), keys.secret_access_key());
            format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
        };
        let deployer = deployer.then_some(("deployer", &self.deployer));
        let sections = [("default", &self.client), ("agent", &self.agent)].into_iter().chain(deployer);
        sections.map(|(name, keys)| section(name, keys)).collect::<Vec<_>>().join("\n")
    }
}

fn random_credentials() -> Result<Credentials, Failure> {
    let mut bytes = [0; 42];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(Exit::Failed, format!("the system gives no randomness: {error}")))?;
    let (id, secret) = bytes.split_at(12);
    // AWS's shape: AKIA and 16 of A–Z and 2–7; a secret of 40 characters
    let id: String = id.iter().chain(id).take(16).zip(0u32..).map(|(byte, place)| letter(*byte, place)).collect();
    let secret = base64::engine::general_purpose::STANDARD.encode(secret);
    Ok(Credentials::new(format!("AKIA{id}"), secret, None, None, "embedded"))
}

fn letter(byte: u8, place: u32) -> char {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    // a byte that is used a second time gives its other bits
    let bits = if place < 12 { byte & 31 } else { byte >> 3 };
    char::from(ALPHABET[usize::from(bits)])
}

pub(super) fn emulator_failure(error: &EmulatorError) -> Failure {
    let exit = match error {
        EmulatorError::Listen { .. } => Exit::Listen,
        EmulatorError::PlainOnNetwork(_) => Exit::Usage,
        EmulatorError::Tls(_)
        | EmulatorError::Preferences(_)
        | EmulatorError::Policy { .. }
        | EmulatorError::Keys { .. } => Exit::Config,
        EmulatorError::Trail { .. } => Exit::Directory,
    };
    Failure::new(exit, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_look_like_awss_and_differ() {
        let (one, two) = (random_credentials().unwrap(), random_credentials().unwrap());
        assert_eq!((one.access_key_id().len(), one.secret_access_key().len()), (20, 40));
        assert_ne!(one.access_key_id(), two.access_key_id());
        assert_ne!(one.secret_access_key(), two.secret_access_key());
    }
}
