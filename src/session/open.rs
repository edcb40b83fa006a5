//! Opening a session: every channel, whatever client or request made it, comes through here.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use uuid::Uuid;

use super::close::{Outcome, SessionEnd};
use super::forward::Dialer;
use super::marks;
use super::nodes::Lookup;
use super::reasons::{AsksWhy, Reasons};
use super::refused::{Refused, changed, no_proof, offline};
use super::registry::{Registry, Running};
use super::request::{ChannelRequest, RequestKind};
use super::running::{FileSession, RunningSession};
use super::tunnel;
use crate::backend::{BoxFuture, Node, Realms};
use crate::evidence::{
    ByHop, ChannelRefused, DecidedOn, Event, EventLog, LaneRecord, Opening, ReasonAsked, Redaction, SessionJudged,
    SessionRecord,
};
use crate::identity::{ActsAs, Identity, Login, Purpose, Roster, Unproved};
use crate::model::{ClientFacts, NodeAsked, NodeName, ReasonText, SshdPorts};
use crate::policy::{Action, Decision, Denial, Grant, Policies, Policy, Request, Standing};
use crate::transport::file_service::FileService;
use crate::transport::{ChannelSetup, Commands, Herald, News, OpenChannel, Ports, Transport, TransportError};

/// What opens ways to nodes. It takes the [`Grant`], so that nothing else can be opened with it.
pub trait NodeTransport: Send + Sync + fmt::Debug {
    /// A shell or a command.
    fn open(
        self: Arc<Self>,
        grant: Grant,
        record: LaneRecord,
        setup: ChannelSetup,
        herald: Herald,
        commands: Arc<Commands>,
    ) -> BoxFuture<'static, Result<OpenChannel, TransportError>>;

    /// A file service.
    fn open_files(
        &self,
        grant: Grant,
        record: LaneRecord,
        herald: Herald,
    ) -> BoxFuture<'_, Result<FileService, TransportError>>;

    /// What the forwards of one SSH connection are dialled by.
    fn dialer(self: Arc<Self>) -> Arc<dyn Dialer>;
}

impl NodeTransport for Transport {
    fn open(
        self: Arc<Self>,
        grant: Grant,
        record: LaneRecord,
        setup: ChannelSetup,
        herald: Herald,
        commands: Arc<Commands>,
    ) -> BoxFuture<'static, Result<OpenChannel, TransportError>> {
        Box::pin(async move { self.open_among(&commands, grant, record, setup, herald).await })
    }

    fn open_files(
        &self,
        grant: Grant,
        record: LaneRecord,
        herald: Herald,
    ) -> BoxFuture<'_, Result<FileService, TransportError>> {
        Box::pin(self.open_files(grant, record, herald))
    }

    fn dialer(self: Arc<Self>) -> Arc<dyn Dialer> {
        Arc::new(Ports::new(self))
    }
}

/// Opens sessions.
#[derive(Debug)]
pub struct SessionOpener {
    roster: Roster,
    pub(super) policies: Policies,
    pub(super) realms: Arc<Realms>,
    pub(super) transport: Arc<dyn NodeTransport>,
    pub(super) log: Arc<EventLog>,
    registry: Registry,
    /// Shells are told to mark their prompts and commands.
    shell_marks: bool,
    /// Where a forward is a tunnel.
    sshd_ports: SshdPorts,
}

/// Somebody on an SSH connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The connection, for evidence.
    pub connection: Uuid,
    /// The hop that it came by, where it came by one.
    pub hop: Option<ByHop>,
    /// Where they connect from.
    pub source: SocketAddr,
    /// Who they are.
    pub identity: Identity,
    /// Where to and why, as they logged in.
    pub login: Login,
    /// By which program, over what.
    pub client: Arc<ClientFacts>,
    /// Why, as they have said on this connection before.
    pub reasons: Arc<Reasons>,
    /// What the connection's commands share.
    pub commands: Arc<Commands>,
}

/// Where they want to go.
#[derive(Debug)]
pub struct Destination {
    /// The node, as they asked for it.
    pub node: NodeAsked,
    /// The node's lookup, where it was begun when the channel was opened.
    pub lookup: Option<Lookup>,
}

impl SessionOpener {
    /// Sessions of these people that this policy allows, on the nodes of these realms, over this transport, recorded in this log.
    pub fn new(
        roster: Roster,
        policies: Policies,
        realms: Realms,
        transport: Arc<dyn NodeTransport>,
        log: Arc<EventLog>,
    ) -> Self {
        Self {
            roster,
            policies,
            realms: Arc::new(realms),
            transport,
            log,
            registry: Registry::default(),
            shell_marks: false,
            sshd_ports: SshdPorts::default(),
        }
    }

    /// Whether shells are told to mark where their prompts and commands begin.
    #[must_use]
    pub fn with_shell_marks(self, shell_marks: bool) -> Self {
        Self { shell_marks, ..self }
    }

    /// At which ports nodes' own sshds listen.
    #[must_use]
    pub fn with_sshd_ports(self, sshd_ports: SshdPorts) -> Self {
        Self { sshd_ports, ..self }
    }

    /// What is asked for in truth, by somebody whose login names this node: a way to its own sshd is a tunnel, however it is written.
    pub fn in_truth(&self, action: Action, node: &NodeAsked) -> Action {
        tunnel::as_asked(&self.sshd_ports, action, node)
    }

    /// The sessions that run.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Who may do what, now.
    pub fn policy(&self) -> Policy {
        self.policies.current()
    }

    /// Asks again about everything that runs, because the policies or the people have changed, and ends what would not be
    /// allowed now; how many that are. `renew` has the person as they are now, or why their proof is none any more.
    pub fn judge_anew(&self, renew: impl Fn(&Identity) -> Result<Identity, Unproved>) -> usize {
        self.registry.ask_about(
            |_| true,
            |id, standing| {
                let stands = self.still(standing, renew(standing.identity()))?;
                let (policy, groups) = (self.policies.current(), stands.identity().groups());
                let judged = SessionJudged { groups, policy_set: policy.version().sha256() };
                self.log.note_of(id, &Event::SessionJudged(judged));
                Ok(stands)
            },
        )
    }

    /// What was decided, of somebody who is this by now; or why it would not be allowed now.
    fn still(&self, standing: &Standing, renewed: Result<Identity, Unproved>) -> Result<Standing, String> {
        let identity = renewed.map_err(|why| no_proof(&why))?;
        if identity.acts_as(standing.realm()) != standing.identity().acts_as(standing.realm()) {
            return Err("your role in AWS has changed".to_owned());
        }
        standing.judge(&self.policies, &identity).map_err(|denial| changed(&denial))?;
        Ok(standing.of(identity, &self.policies))
    }

    /// Ends what goes on by a proof that had an end, and is none any more; how many that are.
    pub fn end_expired(&self, now: SystemTime, renew: impl Fn(&Identity) -> Result<Identity, Unproved>) -> usize {
        let over = |standing: &Standing| standing.identity().ends().is_some_and(|end| now >= end);
        let judge = |_, standing: &Standing| match renew(standing.identity()) {
            Ok(identity) => Ok(standing.of(identity, &self.policies)),
            Err(why) => Err(no_proof(&why)),
        };
        self.registry.ask_about(over, judge)
    }

    /// Notes what happened on a connection outside of any session.
    pub fn note(&self, connection: Uuid, event: &Event<'_>) {
        self.log.note(connection, event);
    }

    /// A shell or a command. Whether the client has closed its input already is learned while the node is looked up.
    pub async fn open(
        &self,
        caller: &Caller,
        to: Destination,
        request: ChannelRequest,
        stdin_closed: impl Future<Output = bool>,
        why: Option<&dyn AsksWhy>,
        herald: Herald,
    ) -> Result<RunningSession, Refused> {
        let ChannelRequest { kind, replaced, mut setup, reason } = request;
        let why = Why { given: caller.login.reason().cloned().or(reason), asks: why };
        let admitted = self.admit(caller, to, kind.action(), why, replaced.as_ref(), &mut setup);
        let (admitted, stdin_closed) = tokio::join!(admitted, stdin_closed);
        let (grant, end) = admitted?;
        herald.bring(News::Allowed);
        // told to what is forced, as sshd tells it; it is the gateway's to set, and no client's variable
        let original = replaced.as_ref().and_then(RequestKind::command_line).filter(|line| !line.contains(&0));
        setup.env.extend(original.map(|line| (ORIGINAL_COMMAND.to_owned(), line.to_vec())));
        let setup = ChannelSetup { stdin_closed, ..setup };
        let guarded = *grant.action() == Action::Shell && setup.pty.is_some() && grant.terms().recording.guarded;
        let commands = caller.commands.clone();
        let opening = self.transport.clone().open(grant, end.record().lanes(), setup, herald, commands);
        let (channel, end) = opened(opening, end).await?;
        let guarded = guarded.then(|| self.policies.clone());
        Ok(RunningSession::new(channel, end, self.roster.clone(), guarded))
    }

    /// A file service, for the sftp subsystem or for a command that is an older scp's.
    pub async fn open_files(
        &self,
        caller: &Caller,
        to: Destination,
        request: ChannelRequest,
        herald: Herald,
    ) -> Result<FileSession, Refused> {
        let ChannelRequest { mut setup, reason, replaced, .. } = request;
        let why = Why { given: caller.login.reason().cloned().or(reason), asks: None };
        let admitted = self.admit(caller, to, Action::Files, why, replaced.as_ref(), &mut setup);
        let (grant, end) = admitted.await?;
        herald.bring(News::Allowed);
        let opening = self.transport.open_files(grant, end.record().lanes(), herald);
        let (service, end) = opened(opening, end).await?;
        Ok(FileSession::new(service, end))
    }

    /// Resolve, decide, record: what comes before any transport. A refusal leaves an event as well.
    pub(super) async fn admit(
        &self,
        caller: &Caller,
        to: Destination,
        action: Action,
        why: Why<'_>,
        replaced: Option<&RequestKind>,
        setup: &mut ChannelSetup,
    ) -> Result<(Grant, SessionEnd), Refused> {
        let (asked_node, action) = (to.node.clone(), self.in_truth(action, &to.node));
        let mut about = Asked { name: to.node.written().clone(), action, reason: why.given.clone() };
        let mut node = None;
        let admitted = async {
            let grant = self.decide(caller, to, why, &mut node, &mut about).await?;
            // files are the gateway's to serve, whatever terminal the client asked for, and no variable gets anywhere
            let terminal = setup.pty.as_ref().filter(|_| *grant.action() != Action::Files).map(|pty| pty.size);
            if *grant.action() != Action::Files {
                self.leave_out_variables(caller, &grant, &mut setup.env);
            }
            let is_shell = *grant.action() == Action::Shell && terminal.is_some();
            let marks = (self.shell_marks && is_shell).then(marks::nonce).flatten();
            let variables = &setup.env;
            let original = replaced.map(|kind| (kind.action().name(), kind.command_line()));
            let opening = Opening {
                connection: caller.connection,
                hop: caller.hop,
                source: caller.source,
                login: &caller.login.to_string(),
                client: &caller.client,
                terminal,
                variables,
                marks: marks.as_ref().map(|(nonce, _)| nonce),
                original,
            };
            let record = SessionRecord::open(&self.log, &grant, opening).await?;
            if let Some((_, text)) = &marks {
                setup.env.extend(marks::variables(text));
            }
            let registration = self.registry.enter(running(record.id(), caller, &grant), grant.standing());
            // others may have come into force since the decision, or since it was looked at who this is, which a slow node can make
            // long ago; and all that runs was asked about before this was among it
            let renewed = self.roster.current().renew(grant.identity(), SystemTime::now(), Purpose::GoOn);
            let as_before = renewed.as_ref().is_ok_and(|identity| identity == grant.identity())
                && *self.policies.current().version() == *grant.version();
            if !as_before && let Err(why) = self.still(&grant.standing(), renewed) {
                self.registry.kill(record.id(), &why);
            }
            Ok((grant, SessionEnd::new(record, registration)))
        };
        let admitted: Result<_, Refused> = admitted.await;
        admitted.inspect_err(|refused| {
            let decided = node.as_ref().filter(|_| matches!(refused, Refused::Denied(_)));
            let decided = decided.map(|node| about.decided_on(caller, node, self.log.redaction()));
            self.note_refusal(caller, &asked_for(&about.action, &asked_node), refused, decided);
        })
    }

    async fn decide(
        &self,
        caller: &Caller,
        to: Destination,
        why: Why<'_>,
        found_node: &mut Option<Node>,
        about: &mut Asked,
    ) -> Result<Grant, Refused> {
        let policy = self.policies.current();
        let Asked { name: _, action, reason } = about;
        if let Some(denial) = policy.denies_unseen(&caller.identity, &to.node, action) {
            return Err(Refused::NotConcerned(denial));
        }
        let within = policy.realms_for(&caller.identity, to.node.realms());
        let found = match to.lookup {
            Some(Lookup(task)) => task.await.ok(),
            None => None,
        };
        let found = match found {
            Some(found) => found,
            None => self.realms.resolve(to.node.name(), &within).await,
        };
        let node = match (found.node, found.silent) {
            // what may be meant is elsewhere, and who may not use this one does not learn that it is here
            (Ok(node), Some(silence)) if !policy.usable_nodes(&caller.identity).has(&node.facts) => {
                return Err(Refused::Node(silence));
            }
            (Ok(node), _) => node,
            (Err(error), _) => {
                return Err(self.no_one_node(&caller.identity, &to.node, &within, action, error).await);
            }
        };
        let node = found_node.insert(node);
        // by now it is known what else the node is called
        *action = tunnel::on(&self.sshd_ports, action.clone(), &node.facts);
        let Why { given, asks } = why;
        let asks = asks.filter(|_| given.is_none());
        let remembered = given.is_none().then(|| caller.reasons.of(node.node_ref())).flatten();
        let mut is_new = given.is_some();
        *reason = given.or(remembered);
        let (mut identity, mut asked) = (caller.identity.clone(), 0);
        let grant = loop {
            let denial = match self.policies.decide(Request {
                identity: &identity,
                source: caller.source.ip(),
                node_name: to.node.written(),
                node: &node.facts,
                os_user: caller.login.os_user(),
                action: action.clone(),
                reason: reason.as_ref(),
            }) {
                Decision::Allow(grant) => break grant,
                Decision::Deny(denial) => denial,
            };
            // a reason is all that is missing
            let asks = asks.filter(|_| denial.wanted_reason.is_some() && asked < MOST_QUESTIONS);
            let answered = match asks {
                Some(asks) => asks.ask(&denial, asked > 0).await,
                None => None,
            };
            if asks.is_some() {
                let answer = answered.as_ref().map(|answered| answered.reason.as_str());
                self.note_question(caller, &format!("{} on {}", action.name(), to.node), &denial, answer);
            }
            let Some(answered) = answered else { return Err(Refused::Denied(denial)) };
            asked += 1;
            is_new = true;
            identity = answered.identity;
            *reason = Some(answered.reason);
        };
        if let Some(reason) = reason.as_ref().filter(|_| is_new) {
            caller.reasons.remember(node.node_ref(), reason);
        }
        // only now: who may not use a node does not learn how it is
        let realm = &grant.node().realm;
        let who = || (grant.identity().person().to_owned(), realm.clone());
        match grant.identity().acts_as(realm) {
            ActsAs::Gateway | ActsAs::Role(_) => {}
            ActsAs::NotSignedIn => {
                let (person, realm) = who();
                return Err(Refused::NotSignedIn { person, realm });
            }
            ActsAs::Nobody => {
                let (person, realm) = who();
                return Err(Refused::NoRole { person, realm });
            }
        }
        if node.online { Ok(grant) } else { Err(Refused::Node(offline(node))) }
    }

    /// Takes out the variables that may not be set there. The session goes on without them, as it does in sshd.
    fn leave_out_variables(&self, caller: &Caller, grant: &Grant, variables: &mut Vec<(String, Vec<u8>)>) {
        let mut refused = Vec::new();
        variables.retain(|(name, value)| {
            let asked = Action::SetVariable { name: name.clone(), value: value.clone() };
            let judged = grant.judge(&asked);
            let allowed = judged.is_ok();
            refused.extend(judged.err().map(|denial| (name.clone(), denial)));
            allowed
        });
        let Some((_, denial)) = refused.first().cloned() else { return };
        let names: Vec<String> = refused.into_iter().map(|(name, _)| name).collect();
        let asked = format!("{} {} on {}", counted_word(names.len()), names.join(", "), grant.node_name());
        self.note_refusal(caller, &asked, &Refused::Denied(denial), None);
    }

    /// Leaves the event of a channel that was refused.
    fn note_question(&self, caller: &Caller, asked: &str, denial: &Denial, answer: Option<&str>) {
        let event = ReasonAsked {
            source: caller.source,
            login: &caller.login.to_string(),
            person: caller.identity.person(),
            asked,
            policy: &denial.policy,
            wanted: denial.wanted_reason.as_deref().unwrap_or_default(),
            answer,
        };
        self.note(caller.connection, &Event::ReasonAsked(event));
    }

    fn note_refusal(&self, caller: &Caller, asked: &str, refused: &Refused, decided: Option<DecidedOn<'_>>) {
        let event = ChannelRefused {
            source: caller.source,
            login: &caller.login.to_string(),
            person: Some(caller.identity.person()),
            asked,
            code: refused.code(),
            reason: &refused.to_string(),
            policy: refused.denial().map(|denial| (denial.policy.as_str(), denial.version.sha256())),
            decided,
        };
        self.note(caller.connection, &Event::ChannelRefused(event));
    }
}

/// How often somebody is asked why.
const MOST_QUESTIONS: u32 = 3;

/// Why somebody wants a session, and whom to ask who has not said.
pub(super) struct Why<'a> {
    pub(super) given: Option<ReasonText>,
    pub(super) asks: Option<&'a dyn AsksWhy>,
}

/// What somebody asked for, for the event of its refusal.
struct Asked {
    name: NodeName,
    action: Action,
    reason: Option<ReasonText>,
}

impl Asked {
    fn decided_on<'a>(&'a self, caller: &'a Caller, node: &'a Node, redaction: &'a Redaction) -> DecidedOn<'a> {
        DecidedOn {
            groups: caller.identity.groups(),
            proof: caller.identity.proof(),
            certificate: caller.identity.certificate(),
            sign_in: caller.identity.sign_in(),
            user_verified: caller.identity.user_verified(),
            node: &node.facts,
            node_name: self.name.as_str(),
            os_user: caller.login.os_user(),
            second_factor: caller.identity.second_factor(),
            action: self.action.name(),
            command: match &self.action {
                Action::Exec { command } => Some(command),
                _ => None,
            },
            redaction,
            given_reason: self.reason.as_ref().map(ReasonText::as_str),
        }
    }
}

/// Waits for a way to the node. One that does not open ends its record at once.
async fn opened<T>(
    opening: impl Future<Output = Result<T, TransportError>>,
    end: SessionEnd,
) -> Result<(T, SessionEnd), Refused> {
    let opened = tokio::select! {
        biased;
        reason = end.killed() => Err(reason),
        opened = opening => Ok(opened),
    };
    match opened {
        Ok(Ok(way)) => Ok((way, end)),
        Ok(Err(error)) => {
            let outcome = match &error {
                TransportError::GivenUp => Outcome::ClientGone,
                error => Outcome::Failed(error.to_string()),
            };
            end.close(&outcome).await;
            Err(Refused::Transport(error))
        }
        Err(reason) => {
            let place = end.close_in_place(&Outcome::Killed(reason.clone())).await;
            Err(Refused::Killed { reason, place })
        }
    }
}

fn running(id: Uuid, caller: &Caller, grant: &Grant) -> Running {
    Running {
        id,
        connection: caller.connection,
        source: caller.source,
        person: grant.identity().person().to_owned(),
        node_name: grant.node_name().clone(),
        node: grant.node().clone(),
        os_user: grant.os_user().map(str::to_owned),
        action: grant.action().name(),
        since: SystemTime::now(),
    }
}

/// What somebody asked for, in an event's words.
fn asked_for(action: &Action, node: &NodeAsked) -> String {
    match action {
        Action::Forward { host, port } if host.contains(':') => format!("forwarding to [{host}]:{port} by {node}"),
        Action::Forward { host, port } => format!("forwarding to {host}:{port} by {node}"),
        Action::ForwardSocket { path } => format!("forwarding to {} by {node}", String::from_utf8_lossy(path)),
        Action::Tunnel { port } => format!("a tunnel to port {port} of {node}"),
        action => format!("{} on {node}", action.name()),
    }
}

/// What OpenSSH's server calls the command that a client asked for, where another is forced.
const ORIGINAL_COMMAND: &str = "SSH_ORIGINAL_COMMAND";

fn counted_word(variables: usize) -> &'static str {
    if variables == 1 { "variable" } else { "variables" }
}
