//! The sessions: who opened them, where they are in their life, and their two ends.
//!
//! ```text
//!   StartSession ──▶ Connecting ──agent opens──▶ Connected ◀──client opens again── Disconnected
//!                        │                        │   └────── client leaves ──────────▲
//!                        ▼                        ▼
//!                     task complete (Success, Failed) · TerminateSession · idle · too long
//!                        └────────▶ Terminated / Failed: channel_closed to whoever is there
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use portcullis_protocol::Message;
use portcullis_protocol::payload::{AgentSessionState, SessionState};
use time::OffsetDateTime;
use uuid::Uuid;

use super::faults::FaultState;
use super::http::keys::same;
use super::relay::frame::{channel_closed, publication};
use super::relay::mailbox::{Cut, Mailbox};

/// One of the two ends of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The plugin, or a gateway.
    Client,
    /// The node.
    Agent,
}

impl End {
    /// The opposite end.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Agent,
            Self::Agent => Self::Client,
        }
    }
}

/// A session that has not ended, for tests and tools.
#[derive(Clone, Debug)]
pub struct LiveSession {
    /// Its id.
    pub id: String,
    /// The node.
    pub target: String,
    /// Whose it is, as an ARN.
    pub owner: String,
    /// The document's name.
    pub document: String,
    /// Whether the client's websocket is there.
    pub client_attached: bool,
    /// Whether the agent's websocket is there.
    pub agent_attached: bool,
    /// Whether publication is paused.
    pub paused: bool,
    /// Stream frames relayed so far, both ways.
    pub frames: u64,
}

/// `Status` of `DescribeSessions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Connecting,
    Connected,
    Disconnected,
    Terminated,
    Failed,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connecting => "Connecting",
            Self::Connected => "Connected",
            Self::Disconnected => "Disconnected",
            Self::Terminated => "Terminated",
            Self::Failed => "Failed",
        }
    }

    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Terminated | Self::Failed)
    }
}

/// What a new session is made of.
pub(crate) struct NewSession {
    pub(crate) id: String,
    pub(crate) target: String,
    pub(crate) document: String,
    pub(crate) owner: String,
    pub(crate) reason: Option<String>,
    /// The longest silence.
    pub(crate) idle: Duration,
    /// The longest life.
    pub(crate) duration: Option<Duration>,
    /// The document's own word for the longest life, in minutes.
    pub(crate) duration_minutes: Option<u32>,
}

/// One session.
pub(crate) struct Session {
    new: NewSession,
    started: OffsetDateTime,
    started_at: Instant,
    to_client: Mailbox,
    to_agent: Mailbox,
    /// Stream frames relayed: what idle limits go by.
    activity: AtomicU64,
    faults: Arc<FaultState>,
    pause: bool,
    state: Mutex<State>,
}

struct State {
    status: Status,
    details: String,
    ended: Option<(OffsetDateTime, Instant)>,
    client_tokens: Tokens,
    agent_tokens: Tokens,
    paused: bool,
    /// The agent has reported the end, but its last frames may still be on their way through here.
    finishing: Option<(Status, String, Instant)>,
    counted: u64,
    active_at: Instant,
}

/// A session as `DescribeSessions` has it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) target: String,
    pub(crate) document: String,
    pub(crate) owner: String,
    pub(crate) reason: Option<String>,
    pub(crate) status: Status,
    pub(crate) details: String,
    pub(crate) started: OffsetDateTime,
    pub(crate) ended: Option<OffsetDateTime>,
    pub(crate) duration_minutes: Option<u32>,
}

impl Session {
    pub(crate) fn id(&self) -> &str {
        &self.new.id
    }

    pub(crate) fn target(&self) -> &str {
        &self.new.target
    }

    pub(crate) fn faults(&self) -> &FaultState {
        &self.faults
    }

    /// The queue towards that end.
    pub(crate) fn mailbox(&self, towards: End) -> &Mailbox {
        match towards {
            End::Client => &self.to_client,
            End::Agent => &self.to_agent,
        }
    }

    pub(crate) fn note_activity(&self) {
        self.activity.fetch_add(1, Ordering::Relaxed);
    }

    /// A token that lets that end open its websocket; `None` once the session is over.
    pub(crate) fn issue_token(&self, end: End, lifetime: Duration) -> Option<String> {
        let mut state = self.lock();
        if state.status.is_over() {
            return None;
        }
        Some(state.tokens(end).issue(lifetime))
    }

    /// Whether that end may open its websocket with this token now.
    pub(crate) fn admits(&self, end: End, token: &str) -> bool {
        let mut state = self.lock();
        !state.status.is_over() && state.tokens(end).check(token)
    }

    /// A websocket of that end is there; the number is its claim on the mailbox.
    pub(crate) fn attach(&self, end: End) -> u64 {
        let mut state = self.lock();
        let epoch = self.mailbox(end).attach();
        match end {
            End::Client => {
                if state.paused {
                    state.paused = false;
                    self.to_agent.push_service(publication(false, self.id()));
                }
                if state.status == Status::Disconnected {
                    state.status = Status::Connected;
                }
            }
            End::Agent => {
                if state.status == Status::Connecting {
                    state.status = Status::Connected;
                }
                // The agent forgets a pause when it reconnects; the client is still away.
                if state.paused {
                    self.to_agent.push_service(publication(true, self.id()));
                }
            }
        }
        epoch
    }

    /// The websocket with that claim is gone.
    pub(crate) fn detach(&self, end: End, epoch: u64) {
        let mut state = self.lock();
        if !self.mailbox(end).detach(epoch) || state.status.is_over() {
            return;
        }
        self.faults.note_loss(end);
        match end {
            End::Client => {
                state.status = if state.status == Status::Connected { Status::Disconnected } else { state.status };
                if self.pause && self.to_agent.push_service(publication(true, self.id())) {
                    state.paused = true;
                    self.faults.note_pause();
                }
            }
            End::Agent => {
                if let Some((status, output, _)) = state.finishing.take() {
                    self.end(&mut state, status, &output, false);
                }
            }
        }
    }

    /// Pauses or resumes by hand. False if the agent is not there.
    pub(crate) fn publish(&self, paused: bool) -> bool {
        let mut state = self.lock();
        let told = self.to_agent.push_service(publication(paused, self.id()));
        state.paused = if told { paused } else { state.paused };
        told
    }

    /// What the agent tells the service, and nobody else.
    pub(crate) fn agent_state(&self, frame: Bytes) {
        let told = Message::decode(frame).ok().and_then(|message| AgentSessionState::decode(&message.payload).ok());
        if let Some(told) = told {
            tracing::debug!(session = self.id(), state = ?told.state, "the agent reports");
            if told.state == SessionState::Terminating {
                "The program ended.".clone_into(&mut self.lock().details);
            }
        }
    }

    /// The agent has reported the end of its task. The client hears of it after the agent's last frame.
    pub(crate) fn task_complete(&self, success: bool, output: &str) {
        let mut state = self.lock();
        if state.status.is_over() {
            return;
        }
        let status = if success { Status::Terminated } else { Status::Failed };
        match self.to_agent.is_attached() {
            true => state.finishing = Some((status, output.to_owned(), Instant::now() + LAST_FRAMES)),
            false => self.end(&mut state, status, output, false),
        }
    }

    /// Ends it from this side. False if it had ended.
    pub(crate) fn terminate(&self, output: &str) -> bool {
        let mut state = self.lock();
        if state.status.is_over() {
            return false;
        }
        self.end(&mut state, Status::Terminated, output, true);
        true
    }

    /// Applies the limits; the text is what the node's control channel is to be told.
    pub(crate) fn tick(&self, now: Instant) -> Option<&'static str> {
        let mut state = self.lock();
        if let Some((_, ended)) = state.ended {
            // The agent closes its socket itself, after its last frames; this is for one that does not.
            if now.duration_since(ended) > LINGER {
                self.to_agent.cut(Cut::Abort);
                self.to_client.cut(Cut::Abort);
            }
            return None;
        }
        if let Some((status, output, _)) = state.finishing.take_if(|(_, _, deadline)| *deadline <= now) {
            self.end(&mut state, status, &output, false);
            return None;
        }
        let counted = self.activity.load(Ordering::Relaxed);
        if counted != state.counted {
            state.counted = counted;
            state.active_at = now;
        }
        let text = if self.new.duration.is_some_and(|most| now.duration_since(self.started_at) >= most) {
            TOO_LONG
        } else if now.duration_since(state.active_at) >= self.new.idle {
            IDLE
        } else {
            return None;
        };
        self.end(&mut state, Status::Terminated, text, true);
        Some(text)
    }

    pub(crate) fn record(&self) -> Record {
        let state = self.lock();
        Record {
            id: self.new.id.clone(),
            target: self.new.target.clone(),
            document: self.new.document.clone(),
            owner: self.new.owner.clone(),
            reason: self.new.reason.clone(),
            status: state.status,
            details: state.details.clone(),
            started: self.started,
            ended: state.ended.map(|(at, _)| at),
            duration_minutes: self.new.duration_minutes,
        }
    }

    pub(crate) fn describe(&self) -> LiveSession {
        let paused = self.lock().paused;
        LiveSession {
            id: self.new.id.clone(),
            target: self.new.target.clone(),
            owner: self.new.owner.clone(),
            document: self.new.document.clone(),
            client_attached: self.to_client.is_attached(),
            agent_attached: self.to_agent.is_attached(),
            paused,
            frames: self.activity.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().status.is_over()
    }

    fn end(&self, state: &mut State, status: Status, output: &str, tell_agent: bool) {
        state.status = status;
        state.ended = Some((OffsetDateTime::now_utc(), Instant::now()));
        if !output.is_empty() {
            output.clone_into(&mut state.details);
        }
        self.to_client.finish(Some(channel_closed(self.id(), self.target(), output)));
        if tell_agent {
            self.to_agent.push_service(channel_closed(self.id(), self.target(), output));
        }
        tracing::debug!(session = self.id(), status = status.name(), output, "the session is over");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tokens(&mut self, end: End) -> &mut Tokens {
        match end {
            End::Client => &mut self.client_tokens,
            End::Agent => &mut self.agent_tokens,
        }
    }
}

/// The last few tokens of one socket: a retry may come with an older one.
#[derive(Default)]
pub(crate) struct Tokens(VecDeque<(zeroize::Zeroizing<String>, Instant)>);

impl Tokens {
    pub(crate) fn issue(&mut self, lifetime: Duration) -> String {
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        if self.0.len() >= 4 {
            self.0.pop_front();
        }
        self.0.push_back((zeroize::Zeroizing::new(token.clone()), Instant::now() + lifetime));
        token
    }

    pub(crate) fn check(&self, token: &str) -> bool {
        let now = Instant::now();
        self.0.iter().fold(false, |found, (known, until)| found | (same(known, token) && *until > now))
    }
}

/// All sessions: the live ones, and the last of the ended ones.
pub(crate) struct Sessions {
    most_live: usize,
    most_ended: usize,
    queue: usize,
    pause: bool,
    faults: Arc<FaultState>,
    all: Mutex<HashMap<String, Arc<Session>>>,
}

impl Sessions {
    pub(crate) fn new(limits: super::config::Limits, pause: bool, faults: Arc<FaultState>) -> Self {
        Self {
            most_live: limits.sessions,
            most_ended: limits.history,
            queue: limits.queue,
            pause,
            faults,
            all: Mutex::default(),
        }
    }

    /// Takes up a new session; `None` if there are too many.
    pub(crate) fn open(&self, new: NewSession) -> Option<Arc<Session>> {
        let mut all = self.lock();
        if all.values().filter(|session| !session.is_over()).count() >= self.most_live {
            return None;
        }
        let now = Instant::now();
        let session = Arc::new(Session {
            started: OffsetDateTime::now_utc(),
            started_at: now,
            to_client: Mailbox::new(self.queue),
            to_agent: Mailbox::new(self.queue),
            activity: AtomicU64::new(0),
            faults: self.faults.clone(),
            pause: self.pause,
            state: Mutex::new(State {
                status: Status::Connecting,
                details: String::new(),
                ended: None,
                client_tokens: Tokens::default(),
                agent_tokens: Tokens::default(),
                paused: false,
                finishing: None,
                counted: 0,
                active_at: now,
            }),
            new,
        });
        all.insert(session.id().to_owned(), session.clone());
        Some(session)
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.lock().get(id).cloned()
    }

    pub(crate) fn live(&self) -> Vec<Arc<Session>> {
        self.lock().values().filter(|session| !session.is_over()).cloned().collect()
    }

    /// Every session, newest first.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut all: Vec<Record> = self.lock().values().map(|session| session.record()).collect();
        all.sort_by(|a, b| b.started.cmp(&a.started).then_with(|| b.id.cmp(&a.id)));
        all
    }

    /// Applies limits, and forgets what ended longest ago. Gives the sessions whose nodes must hear of their end.
    pub(crate) fn tick(&self, now: Instant) -> Vec<(Arc<Session>, &'static str)> {
        let sessions: Vec<Arc<Session>> = self.lock().values().cloned().collect();
        let mut ended: Vec<(Instant, &str)> = Vec::new();
        let mut over = Vec::new();
        for session in &sessions {
            if let Some(text) = session.tick(now) {
                over.push((session.clone(), text));
            }
            if let Some((_, at)) = session.lock().ended
                && now.duration_since(at) > LINGER
            {
                ended.push((at, session.id()));
            }
        }
        if ended.len() > self.most_ended {
            ended.sort_unstable();
            let mut all = self.lock();
            for (_, id) in &ended[..ended.len() - self.most_ended] {
                all.remove(*id);
            }
        }
        over
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The texts that a client shows; the first is the cloud's own.
const TOO_LONG: &str = "Max session duration reached. Your session has been terminated.";
const IDLE: &str = "Your session timed out due to inactivity.";
/// How long the agent's last frames may take to reach a slow client after the agent reported the end.
const LAST_FRAMES: Duration = Duration::from_secs(30);
/// How long the agent may take to close its websocket after the end.
const LINGER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Sessions {
        let limits = super::super::config::Limits { sessions: 2, history: 1, ..Default::default() };
        Sessions::new(limits, true, Arc::new(FaultState::new()))
    }

    fn new(id: &str) -> NewSession {
        NewSession {
            id: id.into(),
            target: "i-1".into(),
            document: "D".into(),
            owner: "arn:x".into(),
            reason: Some("why".into()),
            idle: Duration::from_secs(10),
            duration: Some(Duration::from_secs(60)),
            duration_minutes: Some(1),
        }
    }

    #[test]
    fn the_life_of_a_session() {
        let sessions = sessions();
        let session = sessions.open(new("s-1")).unwrap();
        let status = || session.record().status;
        assert_eq!(status(), Status::Connecting);
        let agent = session.attach(End::Agent);
        let client = session.attach(End::Client);
        assert_eq!(status(), Status::Connected);
        session.detach(End::Client, client);
        assert_eq!((status(), session.describe().paused), (Status::Disconnected, true));
        let client = session.attach(End::Client);
        assert_eq!((status(), session.describe().paused), (Status::Connected, false));
        session.task_complete(true, "");
        assert_eq!(status(), Status::Connected, "the agent's last frames may still be on their way");
        session.detach(End::Agent, agent);
        assert_eq!(status(), Status::Terminated);
        assert!(session.record().ended.is_some());
        assert_eq!(session.issue_token(End::Client, Duration::from_secs(9)), None);
        session.detach(End::Client, client);
        assert_eq!(status(), Status::Terminated);
    }

    #[test]
    fn a_replaced_socket_does_not_count_as_a_departure() {
        let sessions = sessions();
        let session = sessions.open(new("s-1")).unwrap();
        session.attach(End::Agent);
        let first = session.attach(End::Client);
        session.attach(End::Client);
        session.detach(End::Client, first);
        assert_eq!((session.record().status, session.describe().paused), (Status::Connected, false));
    }

    #[test]
    fn limits_end_it_and_activity_keeps_it() {
        let sessions = sessions();
        let session = sessions.open(new("s-1")).unwrap();
        let at = |seconds| session.started_at + Duration::from_secs(seconds);
        assert!(sessions.tick(at(9)).is_empty());
        session.note_activity();
        assert!(sessions.tick(at(9)).is_empty() && sessions.tick(at(18)).is_empty());
        let over = sessions.tick(at(19));
        assert_eq!((over.len(), over[0].1), (1, IDLE));
        assert_eq!(session.record().details, IDLE);
        let session = sessions.open(new("s-2")).unwrap();
        session.note_activity();
        let over = sessions.tick(session.started_at + Duration::from_secs(61));
        assert_eq!(over[0].1, TOO_LONG);
    }

    #[test]
    fn live_sessions_and_history_are_bounded() {
        let sessions = sessions();
        let first = sessions.open(new("s-1")).unwrap();
        let second = sessions.open(new("s-2")).unwrap();
        assert!(sessions.open(new("s-3")).is_none());
        assert!(first.terminate("") && !first.terminate("") && second.terminate(""));
        sessions.tick(Instant::now() + LINGER + Duration::from_secs(1));
        let left: Vec<String> = sessions.records().into_iter().map(|record| record.id).collect();
        assert_eq!(left, ["s-2"]);
    }

    #[test]
    fn only_the_last_four_tokens_open_and_only_for_a_while() {
        let mut tokens = Tokens::default();
        let issued: Vec<String> = (0..5).map(|_| tokens.issue(Duration::from_secs(60))).collect();
        let good: Vec<bool> = issued.iter().map(|token| tokens.check(token)).collect();
        assert_eq!(good, [false, true, true, true, true]);
        assert!(!tokens.check("") && !tokens.check(&issued[1][1..]));
        let old = tokens.issue(Duration::ZERO);
        assert!(!tokens.check(&old));
    }
}
