//! Opening a session: every channel, whatever client or request made it, comes through here.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::JoinHandle;
use uuid::Uuid;

use super::close::{Outcome, SessionEnd};
use super::reasons::{AsksWhy, Reasons};
use super::registry::{Registration, Registry, Running};
use super::request::{ChannelRequest, RequestKind};
use super::running::{FileSession, RunningSession};
use crate::backend::{BackendError, BoxFuture, Listing, Node, Realms, Resolved};
use crate::evidence::{ChannelRefused, DecidedOn, Event, EventLog, EvidenceError, LaneRecord, Opening, SessionRecord};
use crate::identity::{ActsAs, Identity, Login, Purpose, Roster, Unproved};
use crate::model::{NodeAsked, NodeForm, NodeName, RealmName, ReasonText, RefusalCode, ago};
use crate::policy::{Action, Decision, Denial, Grant, Policies, Policy, Request, Standing};
use crate::transport::file_service::FileService;
use crate::transport::{ChannelSetup, Herald, News, OpenChannel, Transport, TransportError};

/// What opens ways to nodes. It takes the [`Grant`], so that nothing else can be opened with it.
pub trait NodeTransport: Send + Sync + fmt::Debug {
    /// A shell or a command.
    fn open(
        &self,
        grant: Grant,
        record: LaneRecord,
        setup: ChannelSetup,
        herald: Herald,
    ) -> BoxFuture<'_, Result<OpenChannel, TransportError>>;

    /// A file service.
    fn open_files(
        &self,
        grant: Grant,
        record: LaneRecord,
        herald: Herald,
    ) -> BoxFuture<'_, Result<FileService, TransportError>>;
}

impl NodeTransport for Transport {
    fn open(
        &self,
        grant: Grant,
        record: LaneRecord,
        setup: ChannelSetup,
        herald: Herald,
    ) -> BoxFuture<'_, Result<OpenChannel, TransportError>> {
        Box::pin(self.open(grant, record, setup, herald))
    }

    fn open_files(
        &self,
        grant: Grant,
        record: LaneRecord,
        herald: Herald,
    ) -> BoxFuture<'_, Result<FileService, TransportError>> {
        Box::pin(self.open_files(grant, record, herald))
    }
}

/// Opens sessions.
#[derive(Debug)]
pub struct SessionOpener {
    roster: Roster,
    policies: Policies,
    realms: Arc<Realms>,
    transport: Arc<dyn NodeTransport>,
    log: Arc<EventLog>,
    registry: Registry,
}

/// Somebody on an SSH connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The connection, for evidence.
    pub connection: Uuid,
    /// Where they connect from.
    pub source: SocketAddr,
    /// Who they are.
    pub identity: Identity,
    /// Where to and why, as they logged in.
    pub login: Login,
    /// Why, as they have said on this connection before.
    pub reasons: Arc<Reasons>,
}

/// A node that is being looked up ahead of time.
#[derive(Debug)]
pub struct Lookup(JoinHandle<Resolved>);

/// Where they want to go.
#[derive(Debug)]
pub struct Destination {
    /// The node, as they asked for it.
    pub node: NodeAsked,
    /// The node's lookup, where it was begun when the channel was opened.
    pub lookup: Option<Lookup>,
}

/// Why there is no session; the text is a sentence for the person.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Policy.
    #[error("{}", .0.text)]
    Denied(Denial),
    /// Policy, whatever node the name may be.
    #[error("{}", .0.text)]
    NotConcerned(Denial),
    /// It is allowed, and nobody could do it in AWS.
    #[error(
        "there is no role in AWS for {person} in the realm {realm}: none of its [[realms.roles]] names them or a group of theirs; \
         ask whoever runs the gateway"
    )]
    NoRole {
        /// Who.
        person: String,
        /// Where.
        realm: RealmName,
    },
    /// It is allowed, and their role in AWS is got by a token that they have not brought.
    #[error(
        "it takes a sign-in to be {person} in AWS in the realm {realm}, and this login has none: log in by signing in, with ssh -o \
         PubkeyAuthentication=no where a key is enough as well"
    )]
    NotSignedIn {
        /// Who.
        person: String,
        /// Where.
        realm: RealmName,
    },
    /// The name is no node's.
    #[error("{0}")]
    NoSuchNode(BackendError),
    /// The node can't be reached.
    #[error("{0}")]
    Node(BackendError),
    /// It can't be recorded, so it can't be.
    #[error("{0}")]
    Evidence(#[from] EvidenceError),
    /// The way to the node did not open.
    #[error("{0}")]
    Transport(#[from] TransportError),
    /// Somebody ended it while it was being opened.
    #[error("{reason}")]
    Killed {
        /// The sentence.
        reason: String,
        /// It is among those that run until the person has been told: the gateway's end waits for that.
        place: Registration,
    },
}

impl Refused {
    /// What policy said, where it is policy that refuses.
    fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Denied(denial) | Self::NotConcerned(denial) => Some(denial),
            _ => None,
        }
    }

    /// The same for programs.
    pub fn code(&self) -> RefusalCode {
        match self {
            Self::Denied(denial) | Self::NotConcerned(denial) => denial.code,
            Self::NoRole { .. } => RefusalCode::NoAwsRole,
            Self::NotSignedIn { .. } => RefusalCode::AwsRoleNeedsSignIn,
            Self::NoSuchNode(_) => RefusalCode::NodeUnknown,
            Self::Node(BackendError::Target(_) | BackendError::Several { .. }) => RefusalCode::NodeNotConnected,
            Self::Node(
                BackendError::Refused(_)
                | BackendError::Unexpected { .. }
                | BackendError::Denied { .. }
                | BackendError::Credentials { .. },
            ) => RefusalCode::AwsRefused,
            Self::Node(BackendError::Document(_) | BackendError::Parameters { .. }) => RefusalCode::DocumentWrong,
            Self::Node(BackendError::Unreachable(_)) => RefusalCode::AwsUnreachable,
            Self::Evidence(EvidenceError::PersonShare { .. } | EvidenceError::SessionShare { .. }) => {
                RefusalCode::LogShareUsedUp
            }
            Self::Evidence(_) => RefusalCode::NotRecordable,
            Self::Transport(TransportError::NodeFull { .. } | TransportError::NodeShareTaken { .. }) => {
                RefusalCode::NodeFull
            }
            Self::Node(BackendError::Ended { .. }) | Self::Transport(_) => RefusalCode::NoWayToTheNode,
            Self::Killed { .. } => RefusalCode::Killed,
        }
    }
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
        Self { roster, policies, realms: Arc::new(realms), transport, log, registry: Registry::default() }
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
        self.registry.ask_about(|_| true, |standing| self.still(standing, renew(standing.identity())))
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
        let judge = |standing: &Standing| match renew(standing.identity()) {
            Ok(identity) => Ok(standing.of(identity, &self.policies)),
            Err(why) => Err(no_proof(&why)),
        };
        self.registry.ask_about(over, judge)
    }

    /// What somebody asks for by a name of a node.
    pub fn asked(&self, name: &NodeName) -> NodeAsked {
        NodeAsked::of(name, self.realms.names())
    }

    /// The realms whose nodes are reached.
    pub fn realms(&self) -> &[RealmName] {
        self.realms.names()
    }

    /// The task that a policy names for somebody, where there is one.
    async fn task(&self, identity: &Identity, name: &NodeName) -> Option<Node> {
        let asked = self.asked(name);
        let within = self.policies.current().realms_for(identity, asked.realms());
        self.realms.resolve(asked.name(), &within).await.node.ok()
    }

    /// Notes what happened on a connection outside of any session.
    pub fn note(&self, connection: Uuid, event: &Event<'_>) {
        self.log.note(connection, event);
    }

    /// Begins to look a node up, while the client is still asking for a channel; not for somebody who may do nothing there.
    pub fn look_up(&self, identity: &Identity, node: &NodeAsked) -> Option<Lookup> {
        let policy = self.policies.current();
        if !policy.may_concern(identity, node) {
            return None;
        }
        let within = policy.realms_for(identity, node.realms());
        let (realms, name) = (self.realms.clone(), node.name().clone());
        Some(Lookup(tokio::spawn(async move { realms.resolve(&name, &within).await })))
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
        let opening = self.transport.open(grant, end.record().lanes(), setup, herald);
        let (channel, end) = opened(opening, end).await?;
        Ok(RunningSession::new(channel, end, self.roster.clone()))
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
    async fn admit(
        &self,
        caller: &Caller,
        to: Destination,
        action: Action,
        why: Why<'_>,
        replaced: Option<&RequestKind>,
        setup: &mut ChannelSetup,
    ) -> Result<(Grant, SessionEnd), Refused> {
        let asked = format!("{} on {}", action.name(), to.node);
        let mut about = Asked { name: to.node.written().clone(), action: action.clone(), reason: why.given.clone() };
        let mut node = None;
        let admitted = async {
            let grant = self.decide(caller, to, action, why, &mut node, &mut about.reason).await?;
            // files are the gateway's to serve, whatever terminal the client asked for, and no variable gets anywhere
            let pty = setup.pty.is_some() && *grant.action() != Action::Files;
            if *grant.action() != Action::Files {
                self.leave_out_variables(caller, &grant, &mut setup.env);
            }
            let variables = &setup.env;
            let original = replaced.map(|kind| (kind.action().name(), kind.command_line()));
            let opening = Opening { connection: caller.connection, source: caller.source, pty, variables, original };
            let record = SessionRecord::open(&self.log, &grant, opening).await?;
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
            self.note_refusal(caller, &asked, refused, decided.map(|node| about.decided_on(caller, node)));
        })
    }

    async fn decide(
        &self,
        caller: &Caller,
        to: Destination,
        action: Action,
        why: Why<'_>,
        found_node: &mut Option<Node>,
        reason: &mut Option<ReasonText>,
    ) -> Result<Grant, Refused> {
        let policy = self.policies.current();
        if let Some(denial) = policy.denies_unseen(&caller.identity, &to.node, &action) {
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
                return Err(self.no_one_node(&caller.identity, &to.node, &within, &action, error).await);
            }
        };
        let node = found_node.insert(node);
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

    /// Why a name is not one node's: with those that it could be, of which this person may know.
    async fn no_one_node(
        &self,
        identity: &Identity,
        asked: &NodeAsked,
        within: &[RealmName],
        action: &Action,
        error: BackendError,
    ) -> Refused {
        let name = asked.written();
        let policy = self.policies.current();
        match error {
            BackendError::Several { nodes, .. } => {
                let usable = policy.usable_nodes(identity);
                let nodes = nodes.iter().filter(|node| usable.has(&node.facts)).map(Node::node_ref);
                // with its realm it is that one, whatever there is elsewhere
                let called =
                    nodes.map(|node| if self.has_one_realm() { node.id.to_string() } else { node.to_string() });
                match several(name, &called.collect::<Vec<_>>()) {
                    Some(text) => Refused::NoSuchNode(BackendError::Target(text)),
                    None => Refused::NotConcerned(policy.nothing_permits(identity.person(), action, name, None)),
                }
            }
            BackendError::Target(why) => match policy.denies_unnamed(identity, asked, within, action) {
                Some(denial) => Refused::NotConcerned(denial),
                None => Refused::NoSuchNode(BackendError::Target(match self.near(identity, asked, within).await {
                    Some(near) => format!("{why}; did you mean {near}?"),
                    None => why,
                })),
            },
            error => Refused::Node(error),
        }
    }

    /// The name of a node of this person's in these realms that is nearly this one. Nobody is asked for nodes by their ids or tags.
    async fn near(&self, identity: &Identity, asked: &NodeAsked, within: &[RealmName]) -> Option<String> {
        let NodeForm::Word(word) = asked.name().form() else { return None };
        let nodes = self.nodes_in(identity, within).await.nodes;
        let near = nodes.into_iter().map(|node| {
            let far = strsim::levenshtein(word, &node.name);
            if self.has_one_realm() {
                return (far, node.name);
            }
            let name = format!("{}.{}", node.name, node.realm());
            (far.min(strsim::levenshtein(asked.written().as_str(), &name)), name)
        });
        let (far, near) = near.min_by_key(|(far, _)| *far)?;
        (far <= word.chars().count().div_ceil(3)).then_some(near)
    }

    fn has_one_realm(&self) -> bool {
        self.realms.names().len() < 2
    }

    /// The nodes of these realms that a person could be permitted to use, by their names.
    async fn nodes_in(&self, identity: &Identity, within: &[RealmName]) -> Listing {
        let mut listing = self.realms.nodes(within).await;
        let policy = self.policies.current();
        let usable = policy.usable_nodes(identity);
        listing.nodes.retain(|node| usable.has(&node.facts));
        listing.nodes.sort_by(|a, b| (&a.name, a.node_ref()).cmp(&(&b.name, b.node_ref())));
        listing
    }

    /// The nodes that a person could be permitted to use, by their names, and the ECS tasks that policies name for them, so many at most:
    /// those are in no inventory, and looked up one by one.
    pub async fn nodes(&self, identity: &Identity, most_tasks: usize) -> Listing {
        let policy = self.policies.current();
        let mut listing = self.nodes_in(identity, &policy.realms_for(identity, self.realms.names())).await;
        for task in policy.tasks_named_for(identity).iter().take(most_tasks) {
            listing.nodes.extend(self.task(identity, task).await);
        }
        listing
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
struct Why<'a> {
    given: Option<ReasonText>,
    asks: Option<&'a dyn AsksWhy>,
}

/// What somebody asked for, for the event of its refusal.
struct Asked {
    name: NodeName,
    action: Action,
    reason: Option<ReasonText>,
}

impl Asked {
    fn decided_on<'a>(&'a self, caller: &'a Caller, node: &'a Node) -> DecidedOn<'a> {
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
            given_reason: self.reason.as_ref().map(ReasonText::as_str),
        }
    }
}

/// Of a name that several nodes have, those that somebody may know of; nothing where that is none.
fn several(name: &NodeName, ids: &[String]) -> Option<String> {
    let more = if ids.len() > MAX_SHOWN { ", …" } else { "" };
    let shown = ids.iter().take(MAX_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match ids {
        [] => None,
        // the others are not theirs to know of, and it is not decided by that which one a name means
        [one] => Some(format!("{name} is not the name of one node alone; use {one}")),
        ids => Some(format!("{} nodes are called {name}; use one of {shown}{more}", ids.len())),
    }
}

/// Of several nodes by one name, so many are named.
const MAX_SHOWN: usize = 8;

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
        os_user: grant.os_user().map(str::to_owned),
        action: grant.action().name(),
        since: SystemTime::now(),
    }
}

/// What OpenSSH's server calls the command that a client asked for, where another is forced.
const ORIGINAL_COMMAND: &str = "SSH_ORIGINAL_COMMAND";

/// What somebody reads whose proof is none any more.
fn no_proof(why: &Unproved) -> String {
    format!("how you logged in is no proof any more: {why}")
}

/// What somebody reads whose session is allowed no more.
fn changed(denial: &Denial) -> String {
    format!("the policies have changed: {}", denial.text)
}

fn counted_word(variables: usize) -> &'static str {
    if variables == 1 { "variable" } else { "variables" }
}

fn offline(node: &Node) -> BackendError {
    let ping = match node.last_ping.and_then(ago) {
        None => "it has not been heard of".to_owned(),
        Some(ago) => format!("last ping {ago}"),
    };
    BackendError::Target(format!("{} is not connected to Systems Manager: {ping}", node.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    use crate::model::{NodeFacts, NodeRef};

    #[test]
    fn an_absent_node_is_a_sentence_with_its_last_ping() {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let node = |last_ping| Node {
            facts: NodeFacts::bare(NodeRef::for_test("i-1")).into(),
            name: "web-1".to_owned(),
            computer_name: None,
            online: false,
            last_ping,
        };
        let text = |last_ping| offline(&node(last_ping)).to_string();
        assert_eq!(text(Some(now - 14 * 60)), "web-1 is not connected to Systems Manager: last ping 14 min ago");
        assert!(text(Some(now - 90_000)).ends_with("last ping 25 h ago"));
        assert!(text(Some(now + 60)).ends_with("it has not been heard of"));
        assert!(text(None).ends_with("it has not been heard of"));
    }
}
