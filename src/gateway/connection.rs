//! What is known of one connection: who, where to, and which channels it has.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use russh::ChannelId;
use russh::server::{ChannelOpenHandle, Handle, Msg};
use russh::{Channel, ChannelWriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::arrival::Arrival;
use super::attempts::Attempts;
use super::auth::keyboard::Pending;
use super::auth::sign_in::SigningIn;
use super::channel;
use super::client_channel::{ClientChannel, Dialect};
use super::connection_limits::Permit;
use super::ending::{Ended, Ending};
use super::forward::{self, Forwards, NoForward, Wanted};
use super::hop::Surroundings;
use super::inbox::Inbox;
use super::preauth_stream::Reached;
use super::refusals::{Noted, Refusals};
use super::shared::Shared;
use super::shares::{ChannelPlace, ConnectionShare, Held, NARROWEST, TooManyOfAPerson};
use super::stage::Stage;
use crate::config::Algorithms;
use crate::evidence::{ChannelRefused, Event, LoginAccepted, RefusalSum, RefusalsSummed};
use crate::identity::{Identity, Login, LoginError, Purpose, Restrictions};
use crate::model::{ClientFacts, NodeAsked, ReasonText, RefusalCode};
use crate::policy::{Action, Denial};
use crate::session::{Caller, ChannelRequest, Destination, Dialer, Lookup, Reasons, RequestKind};
use crate::transport::{Addresses, ChannelSetup, Commands};

/// One connection's state; the handler's.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) id: Uuid,
    pub(super) source: SocketAddr,
    pub(super) local: Option<SocketAddr>,
    /// What is around it, where it is one inside a hop.
    pub(super) around: Option<Box<Surroundings>>,
    stages: watch::Receiver<Stage>,
    /// Among which those are that protect it.
    pub(super) algorithms: Algorithms,
    /// What the node is told of the connection's ends.
    addresses: Addresses,
    permit: Arc<Permit>,
    ending: Arc<Ending>,
    pub(super) attempts: Attempts,
    /// Somebody who has proved a half of who they are.
    pub(super) pending: Option<Pending>,
    /// Their sign-in at the provider, where one was begun.
    pub(super) signing_in: Option<SigningIn>,
    login: Option<LoggedIn>,
    channels: HashMap<ChannelId, ChannelState>,
    forwards: Forwards,
    /// Channels that the client has closed and that are still winding up: they have a limit, too, or opening and closing
    /// without end would get around the other one.
    closing: Vec<Arc<Inbox>>,
    /// The node's lookup, for the first channel; later ones look again.
    lookup: Option<(Instant, Lookup)>,
    looked_up: bool,
    /// The client's program, and what protects the connection.
    client: Arc<ClientFacts>,
    /// Why, for what its channels open.
    reasons: Arc<Reasons>,
    /// What its commands share.
    commands: Arc<Commands>,
    /// Told once, on the first channel that has a place for it.
    notices: Vec<&'static str>,
    refusals: Refusals,
    /// The client has promised to open no further session.
    no_more_sessions: bool,
}

/// A client's window where nothing can start that would read: libssh2's scp has to send its first byte before it looks at an answer.
const WINDOW_FOR_A_REFUSAL: u32 = 4 * 1024;

/// How old a lookup may be that was begun when the channel was opened.
const LOOKUP_FRESH: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct LoggedIn {
    identity: Identity,
    login: Result<Login, LoginError>,
    share: Arc<ConnectionShare>,
}

/// A channel that is open.
#[derive(Debug)]
pub(super) struct ChannelState {
    pub(super) inbox: Arc<Inbox>,
    /// What the client has set so far, for what it will ask to be started.
    pub(super) setup: ChannelSetup,
    pub(super) reason: Option<ReasonText>,
    /// What the requests so far take here.
    pub(super) held: Held,
    /// Goes along with what starts.
    place: Option<ChannelPlace>,
    /// Taken when something starts on it, so that nothing can start twice: a channel runs one program (RFC 4254, section
    /// 6.5).
    pub(super) writer: Option<ChannelWriteHalf<Msg>>,
    /// What runs on it has a terminal.
    on_terminal: bool,
}

/// What a channel takes of its person's share, for as long as this lives.
#[derive(Debug)]
pub(super) struct ChannelHold {
    _held: Held,
    _place: Option<ChannelPlace>,
}

/// Why a connection gets no further channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooManyChannels {
    #[error("nobody has logged in")]
    NoLogin,
    #[error("{0}")]
    OfAPerson(#[from] TooManyOfAPerson),
    #[error("this connection has {0} channels already, which is the limit")]
    Open(usize),
    #[error("{0} channels of this connection are still being closed, which is the limit")]
    Closing(usize),
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        Arrival { source, local, algorithms }: Arrival,
        permit: Permit,
        stages: watch::Receiver<Stage>,
    ) -> Self {
        let addresses = match local.filter(|_| shared.settings.environment.client_address) {
            Some(gateway) => Addresses::Known { client: source, gateway },
            None => Addresses::Hidden,
        };
        let reasons = Duration::from_secs(60 * u64::from(shared.settings.limits.reason_minutes));
        Self {
            addresses,
            reasons: Arc::new(Reasons::new(reasons)),
            commands: Arc::default(),
            shared,
            id: Uuid::new_v4(),
            client: Arc::default(),
            source,
            local,
            algorithms,
            around: None,
            stages,
            permit: Arc::new(permit),
            ending: Arc::default(),
            attempts: Attempts::default(),
            pending: None,
            signing_in: None,
            login: None,
            channels: HashMap::new(),
            forwards: Forwards::default(),
            closing: Vec::new(),
            lookup: None,
            looked_up: false,
            notices: Vec::new(),
            refusals: Refusals::default(),
            no_more_sessions: false,
        }
    }

    pub(super) fn permit(&self) -> &Arc<Permit> {
        &self.permit
    }

    pub(super) fn ending(&self) -> &Arc<Ending> {
        &self.ending
    }

    pub(super) fn stages(&self) -> &watch::Receiver<Stage> {
        &self.stages
    }

    /// Somebody has proved who they are.
    pub(super) fn logged_in(&mut self, identity: Identity, login: Result<Login, LoginError>) {
        let accepted = LoginAccepted {
            source: self.source,
            login: self.attempts.login(),
            person: identity.person(),
            proof: identity.proof(),
            profile: self.algorithms.name(),
            second_factor: identity.second_factor(),
            certificate: identity.certificate(),
            sign_in: identity.sign_in(),
            hop: self.by_hop(),
        };
        self.shared.sessions.note(self.id, &Event::LoginAccepted(accepted));
        let has_rules = self.shared.sessions.policy().has_permits(&identity);
        // one connection too many ends, but only when the client knows that it was let in: then it shows why
        let share = self.shared.shares.join(identity.person(), has_rules, self.ending.clone());
        // a sign-in that was not waited for is over
        self.signing_in = None;
        self.login = Some(LoggedIn { identity, login, share });
    }

    /// How far the client is on its way to a login.
    pub(super) fn reached(&self, reached: Reached) {
        self.permit.progress().reach(reached);
    }

    /// Somebody types on it.
    pub(super) fn terminal(&self) {
        self.permit.progress().terminal();
    }

    /// The client has been told that it is in; the limits for those without a login end here. `client` is what it is.
    pub(super) fn let_in(&mut self, client: ClientFacts) {
        self.permit.logged_in();
        if client.says_when_it_asks_no_more() {
            self.commands.expect_more();
        }
        self.client = Arc::new(client);
    }

    /// Who this is and where they want to go, or the sentence that says what is wrong with the login.
    pub(super) fn caller(&self) -> Option<Result<Caller, LoginError>> {
        let LoggedIn { identity, login, .. } = self.login.as_ref()?;
        Some(login.as_ref().map_err(Clone::clone).map(|login| Caller {
            connection: self.id,
            hop: self.by_hop(),
            source: self.source,
            identity: identity.clone(),
            login: login.clone(),
            client: self.client.clone(),
            reasons: self.reasons.clone(),
            commands: self.commands.clone(),
        }))
    }

    /// How it has come.
    pub(super) fn arrival(&self) -> Arrival {
        Arrival { source: self.source, local: self.local, algorithms: self.algorithms }
    }

    /// Whether the login names a node, through which something may be reached.
    pub(super) fn names_a_node(&self) -> bool {
        self.node().is_some()
    }

    /// What dials for it.
    pub(super) fn dialer(&mut self) -> Arc<dyn Dialer> {
        self.forwards.dialer(&self.shared)
    }

    /// Opens a forward through the login's node on a task of its own; or gives back who waits, the code of SSH's, and why not.
    pub(super) fn open_forward(
        &mut self,
        wanted: Wanted<'_>,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        handle: Handle,
    ) -> Option<(ChannelOpenHandle, u32, String)> {
        let (node, action, caller, place) = match self.may_forward(wanted) {
            Ok(allowed) => allowed,
            Err(refused) => {
                let asked = wanted.to_string();
                match &refused.denial {
                    Some(denial) => self.note_denial(&asked, denial),
                    None => self.note_refusal(&asked, refused.code, &refused.why),
                }
                return Some((reply, refused.ssh_code, refused.why));
            }
        };
        let opening = self.forwards.admit(channel, reply, handle, place);
        self.look_up();
        let lookup = self.lookup.take().filter(|(since, _)| since.elapsed() < LOOKUP_FRESH).map(|(_, lookup)| lookup);
        let (shared, dialer) = (self.shared.clone(), self.dialer());
        tokio::spawn(forward::run(shared, caller, Destination { node, lookup }, action, dialer, opening));
        None
    }

    /// What can be said of a forward without asking anybody: it is answered at once.
    fn may_forward(&mut self, wanted: Wanted<'_>) -> Result<(NodeAsked, Action, Caller, ChannelPlace), NoForward> {
        let action = wanted.action().map_err(|why| NoForward::to(&why))?;
        let nobody = || NoForward::full(&TooManyChannels::NoLogin);
        let caller = self.caller().ok_or_else(nobody)?.map_err(|wrong| NoForward::by(&wrong))?;
        let node = self.node().ok_or_else(nobody)?;
        let action = self.shared.sessions.in_truth(action, &node);
        let policy = self.shared.sessions.policy();
        if let Some(denial) = policy.denies_unseen(&caller.identity, &node, &action) {
            return Err(NoForward::denied(denial));
        }
        let most = usize::try_from(self.shared.settings.limits.forwards).unwrap_or(usize::MAX);
        self.forwards.have_room(most).map_err(|full| NoForward::full(&full))?;
        let login = self.login.as_ref().ok_or_else(nobody)?;
        let place = login.share.open_forward(policy.has_permits(&caller.identity));
        Ok((node, action, caller, place.map_err(|full| NoForward::full(&full))?))
    }

    /// The same of what policy refused.
    pub(super) fn note_denial(&mut self, asked: &str, denial: &Denial) {
        let policy = Some((denial.policy.as_str(), denial.version.sha256()));
        self.note_refused(asked, denial.code, &denial.text, policy);
    }

    /// Leaves the event of something that was refused before it was a session.
    pub(super) fn note_refusal(&mut self, asked: &str, code: RefusalCode, reason: &str) {
        self.note_refused(asked, code, reason, None);
    }

    fn note_refused(&mut self, asked: &str, code: RefusalCode, reason: &str, policy: Option<(&str, &str)>) {
        let now = Instant::now();
        let (asked, code, reason) = match self.refusals.add(asked, code, now) {
            Noted::Listed => (asked, code, reason),
            Noted::Counted { first: true } => {
                let reason = "too many different things were refused on this connection; the rest is counted";
                ("…", RefusalCode::TooManyRefusals, reason)
            }
            Noted::Counted { first: false } => {
                if let Some(sums) = self.refusals.due(now) {
                    self.note_sums(&sums);
                }
                return;
            }
        };
        let (source, login, person) = (self.source, self.attempts.login(), self.person());
        let refused = ChannelRefused { source, login, person, asked, code, reason, policy, decided: None };
        self.shared.sessions.note(self.id, &Event::ChannelRefused(refused));
    }

    fn note_sums(&self, sums: &[RefusalSum]) {
        let (source, login, person) = (self.source, self.attempts.login(), self.person());
        let summed = RefusalsSummed { source, login, person, sums };
        self.shared.sessions.note(self.id, &Event::RefusalsSummed(summed));
    }

    fn person(&self) -> Option<&str> {
        self.login.as_ref().map(|login| login.identity.person())
    }

    /// Takes a channel in, unless there are as many as may be.
    pub(super) fn admit(&mut self, channel: Channel<Msg>, handle: Handle) -> Result<(), TooManyChannels> {
        self.channels.retain(|_, channel| !channel.inbox.is_done());
        let limit = usize::try_from(self.shared.settings.limits.channels).unwrap_or(usize::MAX);
        if self.channels.len() >= limit {
            return Err(TooManyChannels::Open(limit));
        }
        self.closing.retain(|inbox| !inbox.is_done());
        if self.closing.len() >= limit {
            return Err(TooManyChannels::Closing(limit));
        }
        let LoggedIn { identity, share, .. } = self.login.as_ref().ok_or(TooManyChannels::NoLogin)?;
        let place = share.open_channel(self.shared.sessions.policy().has_permits(identity))?;
        let id = channel.id();
        // the reading half is dropped: what comes in goes through the callbacks into the inbox, which never blocks
        let (_, writer) = channel.split();
        let inbox = Arc::new(Inbox::new(id, handle, place.held()));
        let setup = ChannelSetup { addresses: Some(self.addresses), ..ChannelSetup::default() };
        let held = place.held();
        let (place, writer) = (Some(place), Some(writer));
        let state = ChannelState { inbox, setup, reason: None, held, place, writer, on_terminal: false };
        self.channels.insert(id, state);
        self.look_up();
        Ok(())
    }

    /// Begins to look the node up, for the first channel: by the time that something is to start on it, the node is known. A
    /// connection without a channel asks nobody for anything.
    fn look_up(&mut self) {
        let lookup = self.node().zip(self.login.as_ref()).filter(|_| !self.looked_up);
        let lookup = lookup.and_then(|(node, login)| self.shared.sessions.look_up(&login.identity, &node));
        self.lookup = self.lookup.take().or_else(|| lookup.map(|lookup| (Instant::now(), lookup)));
        self.looked_up = true;
    }

    pub(super) fn channel(&mut self, id: ChannelId) -> Option<&mut ChannelState> {
        self.channels.get_mut(&id)
    }

    /// Whether something runs on a channel, and on a terminal.
    pub(super) fn runs_on_terminal(&self, id: ChannelId) -> bool {
        self.channels.get(&id).is_some_and(|channel| channel.on_terminal)
    }

    pub(super) fn inbox(&self, id: ChannelId) -> Option<&Arc<Inbox>> {
        self.channels.get(&id).map(|channel| &channel.inbox).or_else(|| self.forwards.inbox(id))
    }

    /// The client has closed a channel.
    pub(super) fn close(&mut self, id: ChannelId) {
        self.forwards.close(id);
        if let Some(channel) = self.channels.remove(&id) {
            channel.inbox.hang_up();
            // one on which nothing was started has nothing to wind up
            if channel.writer.is_none() && !channel.inbox.is_done() {
                self.closing.push(channel.inbox);
            }
        }
    }

    /// Something to tell, once.
    pub(super) fn notice(&mut self, text: &'static str) {
        if !self.notices.contains(&text) {
            self.notices.push(text);
        }
    }

    /// Whether a shell on this channel is a session of the agent's own, which has no exit status.
    pub(super) fn shell_has_no_status(&self, id: ChannelId) -> bool {
        let has_terminal = self.channels.get(&id).is_some_and(|channel| channel.setup.pty.is_some());
        self.shared.settings.agent_shells && has_terminal && self.node().is_some()
    }

    /// What the proof takes from whoever has logged in; nothing before.
    pub(super) fn restrictions(&self) -> Restrictions {
        self.login.as_ref().map(|login| login.identity.restrictions().clone()).unwrap_or_default()
    }

    /// The login as it was taken apart, and whose it is.
    pub(super) fn login(&self) -> Option<(&Identity, &Result<Login, LoginError>)> {
        self.login.as_ref().map(|LoggedIn { identity, login, .. }| (identity, login))
    }

    /// The node that the login names.
    pub(super) fn node(&self) -> Option<NodeAsked> {
        let LoggedIn { identity, login, .. } = self.login.as_ref()?;
        let name = login.as_ref().ok()?.node_for(identity.person())?;
        Some(self.shared.sessions.asked(name))
    }

    /// How wide a window is for what is about to start, before that is decided; the rest comes with the decision.
    pub(super) fn first_window(&self) -> u32 {
        let may_start = self
            .node()
            .zip(self.login.as_ref())
            .is_some_and(|(node, login)| self.shared.sessions.policy().may_concern(&login.identity, &node));
        if may_start { NARROWEST.min(self.shared.settings.window) } else { WINDOW_FOR_A_REFUSAL }
    }

    /// The client opens no further session, it says.
    pub(super) fn promise_no_more_sessions(&mut self) {
        self.no_more_sessions = true;
        self.commands.expect_no_more();
    }

    /// Whether a session may still be opened. A client that breaks its promise is none that its person started, and ends,
    /// as in OpenSSH. So does one whose person is here no more; others are who they are now, in the groups that they are in.
    pub(super) fn may_open_sessions(&mut self) -> Result<(), Ended> {
        if self.no_more_sessions {
            self.ending.end(Ended::PromiseBroken);
        }
        self.may_open()
    }

    /// The same of anything else than sessions, of which no promise is known.
    pub(super) fn may_open(&mut self) -> Result<(), Ended> {
        if let Some(login) = &mut self.login {
            match self.shared.people.current().renew(&login.identity, SystemTime::now(), Purpose::Open) {
                Ok(identity) => login.identity = identity,
                Err(why) => self.ending.end(Ended::Unproved(why.code())),
            }
        }
        self.ending.asked().map_or(Ok(()), Err)
    }

    /// Starts what was asked for on the channel's own task, once.
    pub(super) fn start(&mut self, id: ChannelId, asked: RequestKind, handle: Handle) {
        let Some(caller) = self.caller() else { return };
        let forced = self.restrictions();
        let (kind, replaced) = match forced.command() {
            Some(command) => (RequestKind::forced(command), Some(asked)),
            None => (asked, None),
        };
        if let Err(wrong) = &caller {
            self.note_refusal(kind.action().name(), RefusalCode::LoginUnreadable, &wrong.to_string());
        }
        let shared = self.shared.clone();
        // a connection that was idle since asks again
        let lookup = self.lookup.take().filter(|(since, _)| since.elapsed() < LOOKUP_FRESH).map(|(_, lookup)| lookup);
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let Some(writer) = channel.writer.take() else { return };
        let (setup, reason) = (std::mem::take(&mut channel.setup), channel.reason.take());
        channel.on_terminal = setup.pty.is_some();
        let request = ChannelRequest { kind, replaced, setup, reason };
        let inbox = channel.inbox.clone();
        if let RequestKind::Exec(command) = &request.kind {
            channel.held.add(command.len());
        }
        let held = (std::mem::take(&mut channel.held), channel.place.take());
        // a program that speaks SFTP shows nobody what is on its stderr before it starts
        let for_a_person = request.kind != RequestKind::Sftp;
        let notices = if for_a_person { std::mem::take(&mut self.notices) } else { Vec::new() };
        let newline = newline(request.setup.pty.is_some());
        let client = ClientChannel { id, writer, inbox, handle, newline, dialect: Dialect::of(&request.kind) };
        let served = channel::run(shared, caller, request, lookup, notices, client);
        tokio::spawn(async move {
            served.await;
            drop(held);
        });
    }

    /// Takes a channel on which the gateway itself will speak: nothing can be started on it any more.
    pub(super) fn take_channel(&mut self, id: ChannelId, handle: Handle) -> Option<(ClientChannel, ChannelHold)> {
        let channel = self.channels.get_mut(&id)?;
        let writer = channel.writer.take()?;
        let hold = ChannelHold { _held: std::mem::take(&mut channel.held), _place: channel.place.take() };
        let (inbox, dialect) = (channel.inbox.clone(), Dialect::Plain);
        Some((ClientChannel { id, writer, inbox, handle, newline: newline(false), dialect }, hold))
    }

    /// Refuses in a sentence what was to be started on a channel, and closes it; false where there is nothing to refuse,
    /// because something runs on it or it is not there.
    pub(super) fn decline(&mut self, id: ChannelId, sentence: String, handle: Handle) -> bool {
        let Some(writer) = self.channels.get_mut(&id).and_then(|channel| channel.writer.take()) else { return false };
        let Some(ChannelState { inbox, setup, held, place, .. }) = self.channels.remove(&id) else { return false };
        self.closing.push(inbox.clone());
        let client =
            ClientChannel { id, writer, inbox, handle, newline: newline(setup.pty.is_some()), dialect: Dialect::Plain };
        tokio::spawn(async move {
            tokio::select! {
                declined = client.decline(&sentence) => if let Err(error) = declined {
                    tracing::debug!(%error, "the client did not take why its request was refused");
                },
                // one that takes nothing must not hold its place for ever
                () = tokio::time::sleep(UNREAD) => {}
            }
            client.inbox.finish();
            drop((held, place));
        });
        true
    }
}

/// How a line ends on a channel: a terminal in raw mode needs the carriage return.
fn newline(has_terminal: bool) -> &'static str {
    if has_terminal { "\r\n" } else { "\n" }
}

/// How long a sentence may wait for a client that takes nothing.
const UNREAD: Duration = Duration::from_secs(5);

/// The end of a connection, whatever ended it, is the end of its channels.
impl Drop for Connection {
    fn drop(&mut self) {
        for channel in self.channels.values() {
            channel.inbox.hang_up();
        }
        self.forwards.hang_up();
        if let Some(ended) = self.ending.asked() {
            self.note_refusal("the connection", ended.code(), &ended.to_string());
        }
        if let Some(sums) = self.refusals.rest() {
            self.note_sums(&sums);
        }
        if self.login.is_none()
            && let Some(refused) = self.attempts.refused(self.source, self.algorithms)
        {
            self.shared.sessions.note(self.id, &Event::LoginRefused(refused));
        }
    }
}
