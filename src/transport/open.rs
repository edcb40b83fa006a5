//! Opening a transport: a grant goes in and is used up, a channel comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::account::Account;
use super::agent_shell;
use super::channel::{ChannelSetup, Input, OpenChannel, Output, ends};
use super::context::ChannelContext;
use super::environment::by_way;
use super::error::TransportError;
use super::file_service::{self, FileService};
use super::helper::link::Link;
use super::helper::output_window::OutputBudget;
use super::herald::Herald;
use super::ladder::Ladder;
use super::lane_opener::LaneOpener;
use super::lanes;
use super::limits::{Clock, Limits};
use super::node_places::{NodePermit, NodePlaces};
use super::options::{Job, Options};
use super::parameter::{self, Carried};
use super::relay::{self, Relay};
use super::sshd::SshdOptions;
use crate::backend::lanes::Lanes;
use crate::backend::{BackendError, Realms};
use crate::config::{ForwardTransport, Helper, Rung, ShellTransport};
use crate::evidence::LaneRecord;
use crate::model::{RealmName, SshdPorts};
use crate::policy::{Action, Grant, JudgedLine};

/// How channels are carried.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// Which helper nodes use.
    pub helper: Helper,
    /// Whether data may be deflated on its way.
    pub compress: bool,
    /// Allow one rung only; none means the best that works.
    pub rung: Option<Rung>,
    /// Bytes of payload in a frame. The official peers send 1024; the real agent takes more, the service's limit is not
    /// published.
    pub payload: usize,
    /// How many channels one node carries at once; each takes up to two worker processes there.
    pub channels_per_node: usize,
    /// How many of them one person may have.
    pub channels_per_person: usize,
    /// What carries shells.
    pub shell: ShellTransport,
    /// The realms in which Portcullis's evidence takes the place of the agent's own log, where the account asks for one.
    pub evidence_replaces_logging: BTreeSet<RealmName>,
    /// End a channel when no byte has passed for so long, however long the account allows.
    pub idle_limit: Option<Duration>,
    /// What carries forwards.
    pub forward: ForwardTransport,
    /// Host names of forwards may be looked up by a node's agent, where nobody sees what they stand for.
    pub agent_looks_names_up: bool,
    /// Where nodes' own sshds listen, which no forward reaches.
    pub sshd_ports: SshdPorts,
    /// The one rung that is allowed in some realms, whatever is elsewhere.
    pub rung_by_realm: BTreeMap<RealmName, Rung>,
    /// How nodes' own sshds are reached.
    pub sshd: SshdOptions,
    /// Bytes of output that wait here until clients take them, of all.
    pub output_bytes: usize,
    /// The same of one person.
    pub output_bytes_per_person: usize,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            helper: Helper::Auto,
            compress: true,
            rung: None,
            payload: 1024,
            channels_per_node: 500,
            channels_per_person: 500,
            shell: ShellTransport::Helper,
            evidence_replaces_logging: BTreeSet::new(),
            idle_limit: None,
            forward: ForwardTransport::Helper,
            agent_looks_names_up: false,
            sshd_ports: SshdPorts::default(),
            rung_by_realm: BTreeMap::new(),
            sshd: SshdOptions::default(),
            output_bytes: 512 << 20,
            output_bytes_per_person: 128 << 20,
        }
    }
}

/// What a channel begins with.
struct Start {
    options: Options,
    /// The `command` parameter.
    command: String,
    link: Link,
    /// Whether the in lane is opened at once.
    eager: bool,
    /// A place among the node's channels that it has already.
    place: Option<NodePermit>,
}

/// Opens channels to nodes.
#[derive(Debug)]
pub struct Transport {
    pub(super) lanes: Arc<dyn Lanes>,
    pub(super) options: TransportOptions,
    pub(super) ladder: Ladder,
    accounts: BTreeMap<RealmName, Account>,
    pub(super) places: NodePlaces,
    pub(super) output: Arc<OutputBudget>,
}

impl Transport {
    /// Channels over these lanes, in the accounts of these realms.
    pub fn new(realms: &Realms, lanes: Arc<dyn Lanes>, options: TransportOptions) -> Self {
        let has_sshd = options.sshd.credential.is_some();
        let ladder = Ladder::new(options.rung).with(options.rung_by_realm.clone(), has_sshd);
        let account = |realm: &RealmName| {
            let replaces = options.evidence_replaces_logging.contains(realm);
            Some((realm.clone(), Account::new(realms.directory(realm)?.clone(), replaces)))
        };
        let accounts = realms.names().iter().filter_map(account).collect();
        let places = NodePlaces::new(options.channels_per_node, options.channels_per_person);
        let output = Arc::new(OutputBudget::new(options.output_bytes, options.output_bytes_per_person));
        Self { lanes, options, ladder, accounts, places, output }
    }

    /// Makes the minutes of the account's preferences so long.
    #[cfg(test)]
    pub(super) fn set_minute(&mut self, minute: Duration) {
        self.accounts.values_mut().for_each(|account| account.set_minute(minute));
    }

    pub(super) fn account(&self, realm: &RealmName) -> Result<&Account, BackendError> {
        let none = || BackendError::Refused(format!("this gateway serves no realm {realm}"));
        self.accounts.get(realm).ok_or_else(none)
    }

    /// Opens the shell or the command that the grant is for.
    pub async fn open(
        &self,
        grant: Grant,
        evidence: LaneRecord,
        setup: ChannelSetup,
        herald: Herald,
    ) -> Result<OpenChannel, TransportError> {
        self.open_alone(Arc::new(grant), evidence, setup, herald).await
    }

    /// The same of one that shares nothing with others of its connection.
    pub(super) async fn open_alone(
        &self,
        grant: Arc<Grant>,
        evidence: LaneRecord,
        setup: ChannelSetup,
        herald: Herald,
    ) -> Result<OpenChannel, TransportError> {
        if self.is_by_sshd(&grant) {
            return self.open_by_sshd(None, grant, evidence, setup, herald).await;
        }
        let closed = setup.stdin_closed && setup.pty.is_none();
        let window = self.output.window(grant.identity().person(), setup.pty.is_some());
        let credit = window.bytes();
        let mut link = Link::new(Instant::now(), closed, window);
        let variables = by_way(&setup.env);
        if let Some(over_lane) = variables.over_lane.clone() {
            link.send_variables(over_lane);
        }
        let (user, helper) = (grant.os_user(), self.options.helper);
        let (options, parameter) = match grant.action() {
            Action::Shell if setup.pty.is_some() && self.options.shell == ShellTransport::Agent => {
                return self.open_agent_shell(grant, evidence, setup, herald).await;
            }
            Action::Shell => (Options::shell(&setup, &variables, user, helper, directory()?), "shell:".to_owned()),
            Action::Exec { command } => {
                let carried = match grant.terms().recording.hashed_commands {
                    true => parameter::hashed(command)?,
                    false => parameter::encode(command)?,
                };
                if let Carried::OverLane(_) = carried {
                    link.send_command(Bytes::copy_from_slice(command));
                }
                let options = Options::command(&setup, &variables, user, helper, directory()?);
                let modelled = grant.commands().is_some_and(JudgedLine::takes_the_modelled_shell);
                let options = if modelled { options.by_bin_sh() } else { options };
                (options, carried.parameter().to_owned())
            }
            Action::Files
            | Action::File { .. }
            | Action::Command { .. }
            | Action::SetVariable { .. }
            | Action::RunAs
            | Action::Forward { .. }
            | Action::ForwardSocket { .. }
            | Action::Tunnel { .. }
            | Action::Review { .. }
            | Action::EndSession { .. }
            | Action::Hop => return Err(TransportError::NothingToRun),
        };
        let eager = setup.pty.is_some();
        let options = options.compressed(self.options.compress).with_credit(credit);
        let start = Start { options, command: parameter, link, eager, place: None };
        let (input, output) = self.start(grant, &evidence, start, &herald).await?;
        Ok(OpenChannel { input, output })
    }

    async fn open_agent_shell(
        &self,
        grant: Arc<Grant>,
        evidence: LaneRecord,
        setup: ChannelSetup,
        herald: Herald,
    ) -> Result<OpenChannel, TransportError> {
        if let Some(user) = grant.os_user() {
            return Err(TransportError::AgentShellUser(user.to_owned()));
        }
        let permit = wanted(self.places.take(&grant, &herald), &herald).await?;
        let limits = self.own_limits().and(Limits::of(&grant));
        let opener = LaneOpener::new(self.lanes.clone(), grant, evidence.clone());
        let lane = opener.open(agent_shell::request(self.options.payload)).await?;
        let (input, client, deliveries) = ends();
        let size = setup.pty.map(|pty| pty.size);
        // the account's own limits are the service's business here: the document is the account's
        let clock = Clock::new(limits, Instant::now());
        let lifetime = clock.lifetime();
        tokio::spawn(async move {
            agent_shell::run(lane, size, clock, client).await;
            drop(permit);
        });
        Ok(OpenChannel { input, output: Output { deliveries, lifetime } })
    }

    /// Opens a file service.
    pub async fn open_files(
        &self,
        grant: Grant,
        evidence: LaneRecord,
        herald: Herald,
    ) -> Result<FileService, TransportError> {
        grant.judge(&Action::Files).map_err(TransportError::Denied)?;
        let grant = Arc::new(grant);
        if self.is_by_sshd(&grant) {
            return self.open_files_by_sshd(grant, evidence, herald).await;
        }
        let options = Options::files(grant.os_user(), self.options.helper, directory()?);
        let window = self.output.window(grant.identity().person(), false);
        let options = options.compressed(self.options.compress).with_credit(window.bytes());
        let link = Link::new(Instant::now(), false, window);
        let start = Start { options, command: "files:".to_owned(), link, eager: true, place: None };
        let (input, output) = self.start(grant.clone(), &evidence, start, &herald).await?;
        Ok(file_service::start(grant, input, output.deliveries))
    }

    /// Opens a relay, which many forwards may share. On a node that has none, each of its answers says so.
    pub async fn open_relay(
        &self,
        grant: impl Into<Arc<Grant>>,
        evidence: LaneRecord,
        herald: Herald,
    ) -> Result<Relay, TransportError> {
        let grant = grant.into();
        if !matches!(grant.action(), Action::Forward { .. } | Action::ForwardSocket { .. }) {
            return Err(TransportError::NothingToRelay);
        }
        // a node's own sshd has none that would be recorded: forwards take the agent's port sessions there
        if self.options.helper == Helper::Sh
            || self.is_by_sshd(&grant)
            || !self.ladder.may_have_relay(grant.node(), Instant::now())
        {
            return Ok(Relay::absent(grant, self.output.clone()));
        }
        self.start_relay(grant, &evidence, ("relay:", false), None, &herald).await
    }

    /// Opens a relay whose streams are commands of this grant's kind, in a place that is taken already.
    pub(super) async fn open_shared(
        &self,
        grant: Arc<Grant>,
        evidence: LaneRecord,
        place: NodePermit,
    ) -> Result<Relay, TransportError> {
        if !matches!(grant.action(), Action::Exec { .. }) {
            return Err(TransportError::NothingToRun);
        }
        let what = ("commands:", self.options.compress);
        self.start_relay(grant, &evidence, what, Some(place), &Herald::default()).await
    }

    async fn start_relay(
        &self,
        grant: Arc<Grant>,
        evidence: &LaneRecord,
        (command, compressed): (&str, bool),
        place: Option<NodePermit>,
        herald: &Herald,
    ) -> Result<Relay, TransportError> {
        let node = grant.node().clone();
        let window = self.output.window(grant.identity().person(), false);
        let options = Options::relay(grant.os_user(), self.options.helper, directory()?);
        let options = options.compressed(compressed).with_credit(window.bytes());
        let link = Link::new(Instant::now(), false, window);
        let start = Start { options, command: command.to_owned(), link, eager: true, place };
        let (input, output) = self.start(grant.clone(), evidence, start, herald).await?;
        let ladder = self.ladder.clone();
        let absent = move || ladder.lacks_relay(&node, Instant::now());
        Ok(relay::start(grant, self.output.clone(), input, output.deliveries, absent))
    }

    async fn start(
        &self,
        grant: Arc<Grant>,
        evidence: &LaneRecord,
        start: Start,
        herald: &Herald,
    ) -> Result<(Input, Output), TransportError> {
        let Start { options, command, link, eager, place } = start;
        let (permit, terms) = wanted(
            async {
                let permit = match place {
                    Some(place) => place,
                    None => self.places.take(&grant, herald).await?,
                };
                Ok((permit, self.account(&grant.node().realm)?.terms().await?))
            },
            herald,
        )
        .await?;
        let limits = match options.job() {
            // each of its streams keeps to those of whoever has it, and it goes when nobody has any
            Job::Relay => Limits::default(),
            Job::Command | Job::Files => terms.limits.and(self.own_limits()).and(Limits::of(&grant)),
        };
        let mut context = ChannelContext {
            rung: self.ladder.rung(grant.node(), Instant::now()),
            opener: LaneOpener::new(self.lanes.clone(), grant, evidence.clone()),
            options,
            command,
            ladder: self.ladder.clone(),
            _permit: permit,
            payload: self.options.payload,
            clock: Clock::new(limits, Instant::now()),
            terms,
            eager,
        };
        let first = context.open_first().await?;
        let (input, client, deliveries) = ends();
        let lifetime = context.clock.lifetime();
        tokio::spawn(lanes::run(context, first, link, client));
        Ok((input, Output { deliveries, lifetime }))
    }

    /// What the configuration allows, whatever the account does.
    pub(super) fn own_limits(&self) -> Limits {
        Limits { idle: self.options.idle_limit, longest: None }
    }
}

/// What comes before anything is started on a node, for as long as somebody wants it. What has been started is wound up instead.
pub(super) async fn wanted<T>(
    preparing: impl Future<Output = Result<T, TransportError>>,
    herald: &Herald,
) -> Result<T, TransportError> {
    tokio::select! {
        // first: who has gone gets no place that comes free at the same time
        biased;
        () = herald.unheard() => Err(TransportError::GivenUp),
        prepared = preparing => prepared,
    }
}

/// How the name of the helper's directory begins, as no other does: 128 bits.
fn directory() -> Result<String, TransportError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| TransportError::NoRandomness(error.to_string()))?;
    Ok(hex::encode(bytes))
}
