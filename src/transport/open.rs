//! Opening a transport: a grant goes in and is used up, a channel comes out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::account::{Account, Terms};
use super::agent_shell;
use super::channel::{ChannelSetup, Client, Delivery, Input, OpenChannel, Output, TransportError};
use super::file_service::{self, FileService};
use super::helper::link::Link;
use super::inquest::has_failed;
use super::ladder::{Ladder, Rung};
use super::lanes;
use super::limits::{Clock, Limits};
use super::options::{Helper, Options};
use super::parameter::{self, Carried};
use super::plan::{Plan, first_request};
use super::starter::Starter;
use crate::backend::{Backend, BackendError, Lane};
use crate::evidence::Recorder;
use crate::model::NodeId;
use crate::policy::{Action, Grant};

/// How channels are carried.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// Which helper nodes use.
    pub helper: Helper,
    /// Allow one rung only; none means the best that works.
    pub rung: Option<Rung>,
    /// Bytes of payload in a frame. The official peers send 1024; the real agent takes more, the service's limit is not
    /// published.
    pub payload: usize,
    /// How many channels one node carries at once; each takes up to two worker processes there.
    pub channels_per_node: usize,
    /// What carries shells.
    pub shell: ShellTransport,
    /// Portcullis's evidence takes the place of the agent's own log, where the account asks for one.
    pub evidence_replaces_logging: bool,
    /// End a channel when no byte has passed for so long, however long the account allows.
    pub idle_limit: Option<Duration>,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            helper: Helper::Auto,
            rung: None,
            payload: 1024,
            channels_per_node: 500,
            shell: ShellTransport::Helper,
            evidence_replaces_logging: false,
            idle_limit: None,
        }
    }
}

/// What carries an interactive shell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShellTransport {
    /// Lanes and a terminal that the helper makes: a prompt in a tenth of a second, and an exit status.
    #[default]
    Helper,
    /// The agent's own session: slower and without a status, but under the account's shell profile and logging.
    Agent,
}

/// Opens channels to nodes.
#[derive(Debug)]
pub struct Transport {
    backend: Arc<dyn Backend>,
    options: TransportOptions,
    ladder: Ladder,
    account: Account,
    shares: Mutex<HashMap<NodeId, Arc<Semaphore>>>,
}

impl Transport {
    /// Channels over this backend.
    pub fn new(backend: Arc<dyn Backend>, options: TransportOptions) -> Self {
        let ladder = Ladder::new(options.rung);
        let account = Account::new(backend.clone(), options.evidence_replaces_logging);
        Self { backend, options, ladder, account, shares: Mutex::default() }
    }

    /// Makes the minutes of the account's preferences so long.
    #[cfg(test)]
    pub(super) fn set_minute(&mut self, minute: Duration) {
        self.account.set_minute(minute);
    }

    /// Opens the shell or the command that the grant is for.
    pub async fn open(
        &self,
        grant: Grant,
        evidence: Recorder,
        setup: ChannelSetup,
    ) -> Result<OpenChannel, TransportError> {
        let closed = setup.stdin_closed && setup.pty.is_none();
        let mut link = Link::new(Instant::now(), closed);
        let (user, helper) = (grant.os_user(), self.options.helper);
        let (options, parameter) = match grant.action() {
            Action::Shell if setup.pty.is_some() && self.options.shell == ShellTransport::Agent => {
                return self.open_agent_shell(grant, evidence, setup).await;
            }
            Action::Shell => (Options::shell(&setup, user, helper, directory()?), "shell:".to_owned()),
            Action::Exec { command } => {
                let carried = parameter::encode(command).map_err(|error| TransportError::Failed(error.to_string()))?;
                if let Carried::OverLane(_) = carried {
                    link.send_command(Bytes::copy_from_slice(command));
                }
                let options = Options::command(&setup, user, helper, directory()?);
                (options, carried.parameter().to_owned())
            }
            Action::Files => {
                return Err(TransportError::Failed("what was allowed is neither a shell nor a command".to_owned()));
            }
        };
        let eager = setup.pty.is_some();
        let (input, deliveries) = self.start(&grant, &evidence, options, parameter, link, eager).await?;
        Ok(OpenChannel { input, output: Output { deliveries, evidence } })
    }

    async fn open_agent_shell(
        &self,
        grant: Grant,
        evidence: Recorder,
        setup: ChannelSetup,
    ) -> Result<OpenChannel, TransportError> {
        if let Some(user) = grant.os_user() {
            return Err(TransportError::Failed(format!(
                "this gateway opens the agent's own shell, which can't be opened as {user}; leave the user out"
            )));
        }
        let share = self.share(&grant).await?;
        let request = agent_shell::request(grant.node().clone(), grant.reason().cloned(), self.options.payload);
        let lane = self.starter(&evidence).start(request).await.map_err(sentence)?;
        let (input, client, deliveries) = ends();
        let size = setup.pty.map(|pty| pty.size);
        // the account's own limits are the service's business here: the document is the account's
        let clock = Clock::new(self.own_limits(), Instant::now());
        tokio::spawn(async move {
            agent_shell::run(lane, size, clock, client).await;
            drop(share);
        });
        Ok(OpenChannel { input, output: Output { deliveries, evidence } })
    }

    /// Opens a file service.
    pub async fn open_files(&self, grant: Grant, evidence: Recorder) -> Result<FileService, TransportError> {
        if *grant.action() != Action::Files {
            return Err(TransportError::Failed("what was allowed is not a file service".to_owned()));
        }
        let options = Options::files(grant.os_user(), self.options.helper, directory()?);
        let link = Link::new(Instant::now(), false);
        let (input, deliveries) = self.start(&grant, &evidence, options, "files:".to_owned(), link, true).await?;
        Ok(file_service::start(input, deliveries))
    }

    async fn start(
        &self,
        grant: &Grant,
        evidence: &Recorder,
        options: Options,
        command: String,
        link: Link,
        eager: bool,
    ) -> Result<(Input, mpsc::Receiver<Delivery>), TransportError> {
        let share = self.share(grant).await?;
        let terms = self.account.terms().await.map_err(sentence)?;
        let mut plan = Plan {
            starter: self.starter(evidence),
            node: grant.node().clone(),
            reason: grant.reason().cloned(),
            rung: self.ladder.rung(grant.node(), Instant::now()),
            options,
            command,
            ladder: self.ladder.clone(),
            _share: Arc::new(share),
            payload: self.options.payload,
            clock: Clock::new(terms.limits.and(self.own_limits()), Instant::now()),
            eager,
        };
        let first = match self.first_lane(&plan, &terms).await {
            Err(BackendError::Document(error)) if let Some(rung) = self.ladder.below(plan.rung) => {
                tracing::warn!(node = %plan.node, error, "the lanes' documents can't be used; trying one lane");
                plan.rung = rung;
                // that says nothing about the node: once the documents are there, it gets its lanes
                plan.ladder = Ladder::new(Some(rung));
                self.first_lane(&plan, &terms).await
            }
            // the agent could not do with the session; nothing has run, since it waits for the gateway's handshake
            Err(BackendError::Ended { session, why })
                if let Some(rung) = self.ladder.below(plan.rung)
                    && has_failed(self.backend.as_ref(), &session).await =>
            {
                tracing::warn!(node = %plan.node, rung = ?plan.rung, why, "the node refused this rung; trying the next");
                plan.rung = rung;
                self.first_lane(&plan, &terms).await
            }
            first => first,
        };
        let first = first.map_err(sentence)?;
        let (input, client, receiver) = ends();
        tokio::spawn(lanes::run(plan, first, link, client));
        Ok((input, receiver))
    }

    async fn first_lane(&self, plan: &Plan, terms: &Terms) -> Result<Lane, BackendError> {
        terms.allow(plan.rung)?;
        plan.starter.start(first_request(plan)).await
    }

    fn starter(&self, evidence: &Recorder) -> Starter {
        Starter { backend: self.backend.clone(), evidence: evidence.lane_log() }
    }

    /// What the configuration allows, whatever the account does.
    fn own_limits(&self) -> Limits {
        Limits { idle: self.options.idle_limit, longest: None }
    }

    /// The channel's share of what a node carries at once; first come, first served.
    async fn share(&self, grant: &Grant) -> Result<OwnedSemaphorePermit, TransportError> {
        let node = grant.node();
        let semaphore = {
            let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
            shares
                .entry(node.clone())
                .or_insert_with(|| Arc::new(Semaphore::new(self.options.channels_per_node)))
                .clone()
        };
        match tokio::time::timeout(SHARE_WAIT, semaphore.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(TransportError::Failed(format!(
                "{} carries {} channels already, the most that this gateway allows; close one, or try again later",
                grant.node_name(),
                self.options.channels_per_node
            ))),
        }
    }
}

/// The two sides of a channel: the pump's and the lanes'.
fn ends() -> (Input, Client, mpsc::Receiver<Delivery>) {
    let (data, data_receiver) = mpsc::channel(4);
    let (control, control_receiver) = mpsc::channel(16);
    let (deliveries, receiver) = mpsc::channel(4);
    (Input { data, control }, Client { data: data_receiver, control: control_receiver, deliveries }, receiver)
}

fn sentence(error: BackendError) -> TransportError {
    TransportError::Failed(error.to_string())
}

/// A name for the helper's directory that nobody can guess: 128 bits.
fn directory() -> Result<String, TransportError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| TransportError::Failed(format!("the gateway's system has no random numbers: {error}")))?;
    Ok(Bytes::copy_from_slice(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// How long a channel waits for a share.
const SHARE_WAIT: Duration = Duration::from_secs(30);
