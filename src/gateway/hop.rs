//! Hops: `ssh -J gate web-1`, `ProxyCommand ssh -W %h:%p gate`. A client asks the gateway for a way to a node's port 22, and
//! speaks SSH over it. Nothing is dialled: the gateway itself answers, in the node's name.
//!
//! ```text
//!  ssh ── connection: who it is ── channel to web-1:22 ─┬─ Action::Hop: judged, recorded
//!                                                       └─▶ connection inside ── channels ─▶ sessions, each judged anew
//! ```
//!
//! The connection inside is one like any other, with two exceptions: who it is was proved around it, so that nothing is asked for,
//! and its node is the hop's, so that its user name says only as whom and why. A way from in there goes through its node, and is none to
//! another hop.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use russh::Channel;
use russh::server::{Auth, ChannelOpenHandle, Handle, Msg};
use tokio::sync::watch;
use uuid::Uuid;

use super::arrival::Arrival;
use super::auth::keyboard::refuse;
use super::channel_stream::ChannelStream;
use super::client_channel::ClientChannel;
use super::connection::{ChannelHold, Connection};
use super::connection_limits::Permit;
use super::ending::Ended;
use super::forward::{self, CONNECT_FAILED, NoForward, Opening, PROHIBITED, RESOURCE_SHORTAGE, Wanted};
use super::handler::NO_FORWARDING_BY_KEY;
use super::server::{HANG_UP, serve};
use super::shared::Shared;
use super::stage::Stage;
use crate::evidence::ByHop;
use crate::identity::{Around, Identity, Login, LoginError, Proved, Purpose};
use crate::model::{NodeAsked, NodeName, ReasonText, RefusalCode};
use crate::session::{Caller, Destination, Dialer, HopSession, Outcome, Refused};

/// The port that a node's sshd would have.
const SSH_PORT: u32 = 22;

const PORT_OF_NO_NODE: &str = "your login names no node, so it reaches nodes by their port 22 (ssh -J), where the gateway answers for \
    them; for another port name the node in the login: ssh -L ... <node>@<gateway>";

const NOBODY_INSIDE: &str = "nobody logged in inside the hop";

const NO_NODE_NAME: &str = "a hop goes to a node: an id (i-..., mi-..., ecs:...), a name of letters, digits, '.', '-' and '_', or \
    tag:Key=Value";

/// What is around a connection inside a hop.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// The connection and the hop.
    by: ByHop,
    /// Whose it is.
    identity: Identity,
    /// Where it leads.
    node: NodeName,
    /// The user name that was logged in with.
    login: String,
    /// The reason that was given there.
    reason: Option<ReasonText>,
}

/// Where a client wants to hop to.
#[derive(Debug)]
pub(super) struct HopTo {
    host: String,
    port: u32,
    /// What the login says, where it says one plain word, as clients send their local user's name: unless that is a node, it means none.
    unless: Option<NodeAsked>,
}

impl Connection {
    /// Whether it is one inside a hop.
    pub(super) fn is_inside(&self) -> bool {
        self.around.is_some()
    }

    /// The hop that it came by.
    pub(super) fn by_hop(&self) -> Option<ByHop> {
        self.around.as_ref().map(|around| around.by)
    }

    /// Lets in whoever is inside a hop, whatever they show: who they are is known. Nobody else.
    pub(super) fn let_in_by_hop(&mut self, user: &str) -> Auth {
        let Some(around) = &self.around else { return refuse() };
        let now = std::time::SystemTime::now();
        // by now it may be nobody any more, or somebody in other groups
        let identity = match self.shared.people.current().renew(&around.identity, now, Purpose::Open) {
            Ok(identity) => identity,
            Err(why) => {
                self.attempts.refuse(why.code(), why.to_string());
                return refuse();
            }
        };
        let known = Around {
            person: identity.person(),
            node: &around.node,
            login: &around.login,
            reason: around.reason.as_ref(),
        };
        let login = Login::inside(user, known);
        self.pending = None;
        match self.ask_besides(Proved::Enough(identity), login.as_ref().ok()) {
            Proved::Half(half) => self.half_way(user, login, half),
            Proved::Enough(identity) => {
                self.logged_in(identity, login);
                Auth::Accept
            }
        }
    }

    /// What a way to a host and port is where it is a hop: the login names no node, or one word that need be none.
    pub(super) fn hop_to(&self, host: &str, port: u32) -> Option<HopTo> {
        let (identity, login) = self.login()?;
        let unless = match login.as_ref().map(|login| (login, login.node_for(identity.person()))) {
            Err(_) | Ok((_, None)) => None,
            Ok((login, Some(node))) if login.is_plain() && port == SSH_PORT && names_another(host, node) => self.node(),
            Ok(_) => return None,
        };
        Some(HopTo { host: host.to_owned(), port, unless })
    }

    /// Opens a hop, or says why not. What takes time is its own task's.
    pub(super) async fn open_hop(
        &mut self,
        channel: Channel<Msg>,
        to: HopTo,
        reply: ChannelOpenHandle,
        handle: Handle,
    ) {
        let asked = format!("hop to {}:{}", to.host, to.port);
        let (node, caller) = match self.may_hop(&to) {
            Ok(may) => may,
            Err((code, sentence)) => {
                self.note_refusal(&asked, code, &sentence);
                return forward::refuse(reply, PROHIBITED, &sentence).await;
            }
        };
        if let Err(ended) = self.may_open() {
            return forward::refuse(reply, PROHIBITED, &ended.to_string()).await;
        }
        let id = channel.id();
        if let Err(full) = self.admit(channel, handle.clone()) {
            let sentence = full.to_string();
            self.note_refusal(&asked, RefusalCode::TooManyChannels, &sentence);
            return forward::refuse(reply, RESOURCE_SHORTAGE, &sentence).await;
        }
        let Some((client, hold)) = self.take_channel(id, handle) else { return };
        let around = Surroundings {
            by: ByHop { connection: self.id, session: Uuid::nil() },
            identity: caller.identity.clone(),
            node: node.written().clone(),
            login: self.attempts.login().to_owned(),
            reason: caller.login.reason().cloned(),
        };
        let hop = Hop {
            dialer: self.dialer(),
            shared: self.shared.clone(),
            arrival: self.arrival(),
            stages: self.stages().clone(),
            caller,
            node,
            unless: to.unless,
            around,
            client,
        };
        let served = hop.run(reply);
        tokio::spawn(async move {
            served.await;
            drop::<ChannelHold>(hold);
        });
    }

    /// Whose hop it is and where to, as far as that can be said without asking anybody.
    fn may_hop(&self, to: &HopTo) -> Result<(NodeAsked, Caller), (RefusalCode, String)> {
        if !self.restrictions().lets_forward() {
            return Err((RefusalCode::TakenByTheKey, NO_FORWARDING_BY_KEY.to_owned()));
        }
        let unreadable = |wrong: LoginError| (RefusalCode::LoginUnreadable, wrong.to_string());
        let caller = self.caller().unwrap_or(Err(LoginError::Empty)).map_err(unreadable)?;
        if to.port != SSH_PORT {
            return Err((RefusalCode::PortOfNoNode, PORT_OF_NO_NODE.to_owned()));
        }
        let node = Login::node_of(&to.host).map_err(|_| (RefusalCode::NodeUnknown, NO_NODE_NAME.to_owned()))?;
        Ok((self.shared.sessions.asked(&node), caller))
    }
}

/// Whether a host is neither the node of the login nor what a node calls itself.
fn names_another(host: &str, node: &NodeName) -> bool {
    let itself =
        host == node.as_str() || host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok();
    !itself && Login::node_of(host).is_ok()
}

/// A hop that is being opened.
struct Hop {
    shared: Arc<Shared>,
    /// Where it turns out to be a forward.
    dialer: Arc<dyn Dialer>,
    /// How the connection around has come, and so what is inside.
    arrival: Arrival,
    stages: watch::Receiver<Stage>,
    caller: Caller,
    node: NodeAsked,
    unless: Option<NodeAsked>,
    around: Surroundings,
    client: ClientChannel,
}

/// Why there is no hop.
enum NoHop {
    /// The client has gone.
    Gone,
    /// The login names this node after all, so that it is a forward through it.
    Forward(NodeAsked),
    Refused(Refused),
}

impl Hop {
    /// Opens it and serves what is inside, to its end. Boxed, because what is inside could hold such a future again for all that the
    /// compiler knows.
    fn run(self, reply: ChannelOpenHandle) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let inbox = self.client.inbox.clone();
            match self.open().await {
                Ok(session) => self.serve(session, reply).await,
                Err(NoHop::Gone) => {}
                Err(NoHop::Forward(through)) => self.forward(through, reply).await,
                Err(NoHop::Refused(refused)) => self.refuse(&refused, reply).await,
            }
            inbox.finish();
        })
    }

    async fn open(&self) -> Result<HopSession, NoHop> {
        let Self { shared, caller, node, client, .. } = self;
        let opening = async {
            if let Some(login) = &self.unless
                && shared.sessions.may_be_a_node(&caller.identity, login).await
            {
                return Err(NoHop::Forward(login.clone()));
            }
            let to = Destination { node: node.clone(), lookup: None };
            shared.sessions.open_hop(caller, to).await.map_err(NoHop::Refused)
        };
        tokio::select! {
            opened = Box::pin(opening) => opened,
            () = client.inbox.gone() => Err(NoHop::Gone),
        }
    }

    async fn refuse(&self, refused: &Refused, reply: ChannelOpenHandle) {
        let code = match refused {
            Refused::NoSuchNode(_) | Refused::Node(_) => CONNECT_FAILED,
            _ => PROHIBITED,
        };
        forward::refuse(reply, code, &in_words(refused, &self.caller, &self.node)).await;
    }

    /// A forward through the login's node to what else is called so, as that node sees it.
    async fn forward(self, through: NodeAsked, reply: ChannelOpenHandle) {
        let Self { shared, dialer, caller, node, client, .. } = self;
        let action = match (Wanted::Port { host: node.written().as_str(), port: SSH_PORT }).action() {
            Ok(action) => action,
            Err(why) => return forward::refuse(reply, PROHIBITED, &NoForward::to(&why).why).await,
        };
        let opening = Opening { id: client.id, writer: client.writer, reply, inbox: client.inbox, place: None };
        let to = Destination { node: through, lookup: None };
        forward::run(shared, caller, to, action, dialer, opening).await;
    }

    async fn serve(self, session: HopSession, reply: ChannelOpenHandle) {
        let Self { shared, dialer: _, arrival, stages, caller: _, node, unless: _, mut around, client } = self;
        let keys = match shared.hosts.of_node(node.written()) {
            Ok(keys) => keys,
            Err(error) => {
                tracing::error!(%error, "no certificate for a hop");
                let sentence = "the gateway has no certificate for this hop; ask whoever runs it";
                let (_, end) = session.attach(());
                end.close(&Outcome::Failed(sentence.to_owned())).await;
                return forward::refuse(reply, CONNECT_FAILED, sentence).await;
            }
        };
        reply.accept().await;
        client.inbox.open_window(shared.settings.window);
        around.by.session = session.id();
        let (stream, end) = session.attach(ChannelStream::new(&client));
        let permit = Permit::inside();
        let progress = permit.progress().clone();
        let (config, registry) = (shared.settings.russh(&keys, arrival.algorithms), shared.sessions.registry().clone());
        let mut connection = Connection::new(shared, arrival, permit, stages);
        connection.around = Some(Box::new(around));
        let (inside, ending) = (connection.id, connection.ending().clone());
        let passed = || {
            let (received, sent) = progress.bytes();
            received + sent
        };
        let mut serving = Box::pin(serve(config, stream, connection));
        let outcome = tokio::select! {
            () = &mut serving => {
                if progress.is_logged_in() { Outcome::Finished } else { Outcome::Failed(NOBODY_INSIDE.to_owned()) }
            }
            why = end.over(passed) => {
                // each session inside says so on its own channel, and then the connection
                registry.kill_those_of(inside, &why);
                if tokio::time::timeout(HANG_UP, &mut serving).await.is_err() {
                    ending.end(Ended::HopOver(why.clone()));
                    serving.await;
                }
                Outcome::Killed(why)
            }
        };
        if let Err(error) = client.finish().await {
            tracing::debug!(%error, "the client did not hear that its hop is over");
        }
        end.close(&outcome).await;
    }
}

/// The sentence of a refusal, with where the reason of a hop goes where it is one that is missing.
fn in_words(refused: &Refused, caller: &Caller, node: &NodeAsked) -> String {
    match refused.code() {
        RefusalCode::ReasonNeeded | RefusalCode::ReasonUnsuitable => {
            let person = caller.identity.person();
            format!("{refused}; for a hop it is the gateway's login: ssh -J '{person}/+<reason>@<gateway>' {node}")
        }
        _ => refused.to_string(),
    }
}
