//! One session: who opened it, where it is in its life, and its two ends.
//!
//! ```text
//!   StartSession ──▶ Connecting ──agent opens──▶ Connected ◀──client opens again── Disconnected
//!                        │                        │   └────── client leaves ──────────▲
//!                        ▼                        ▼
//!                     task complete (Success, Failed) · TerminateSession · idle · too long
//!                        └────────▶ Terminated / Failed: channel_closed to whoever is there
//! ```

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use portcullis_protocol::Message;
use portcullis_protocol::payload::{AgentSessionState, SessionState};
use time::OffsetDateTime;

use super::end::End;
use super::fault::Moment;
use super::relay::faults::FaultState;
use super::relay::frame::{channel_closed, publication};
use super::relay::mailbox::{Cut, Mailbox};
use super::tokens::Tokens;

/// A session that has not ended, as tests see it.
#[cfg(test)]
#[derive(Clone, Debug)]
pub struct LiveSession {
    /// Its id.
    pub id: String,
    /// Whose it is, as an ARN.
    pub owner: String,
    /// Whether the client's websocket is there.
    pub client_attached: bool,
    /// Whether the agent's websocket is there.
    pub agent_attached: bool,
    /// Whether publication is paused.
    pub paused: bool,
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
    /// The owner's unique id, which policies compare with `aws:userid`.
    pub(crate) owner_id: String,
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
    pub(super) started_at: Instant,
    to_client: Mailbox,
    to_agent: Mailbox,
    /// Stream frames relayed: what idle limits go by.
    activity: AtomicU64,
    faults: Arc<FaultState>,
    /// Faults that happen once, by how many stream frames have passed, and how many of them have happened.
    moments: Vec<(u64, Moment)>,
    happened: AtomicUsize,
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
    /// An end that may not come back before then.
    kept_away: Option<(End, Instant)>,
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
    /// A session that nobody has come to yet; each of its queues holds so many bytes.
    pub(crate) fn new(new: NewSession, queue: usize, pause: bool, faults: Arc<FaultState>) -> Self {
        let now = Instant::now();
        Self {
            started: OffsetDateTime::now_utc(),
            started_at: now,
            to_client: Mailbox::with_latency(queue, faults.latency()),
            to_agent: Mailbox::with_latency(queue, faults.latency()),
            activity: AtomicU64::new(0),
            moments: faults.moments(),
            happened: AtomicUsize::new(0),
            faults,
            pause,
            state: Mutex::new(State {
                status: Status::Connecting,
                details: String::new(),
                ended: None,
                client_tokens: Tokens::default(),
                agent_tokens: Tokens::default(),
                paused: false,
                kept_away: None,
                finishing: None,
                counted: 0,
                active_at: now,
            }),
            new,
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.new.id
    }

    pub(crate) fn target(&self) -> &str {
        &self.new.target
    }

    pub(crate) fn owner_id(&self) -> &str {
        &self.new.owner_id
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

    /// A stream frame has come. What is to happen after so many of them, if anything: each once.
    pub(crate) fn note_activity(&self) -> Option<Moment> {
        let passed = self.activity.fetch_add(1, Ordering::Relaxed) + 1;
        let next = self.happened.load(Ordering::Relaxed);
        let (_, moment) = self.moments.get(next).filter(|(after, _)| passed >= *after)?;
        let claimed = self.happened.compare_exchange(next, next + 1, Ordering::AcqRel, Ordering::Relaxed);
        claimed.ok().map(|_| *moment)
    }

    /// Lets happen what was asked for.
    pub(crate) fn suffer(self: &Arc<Self>, moment: Moment) {
        tracing::debug!(session = self.id(), ?moment, "a fault, as asked for");
        match moment {
            Moment::Cut(end, length) => {
                if let Some(length) = length {
                    self.lock().kept_away = Some((end, Instant::now() + length));
                }
                self.cut(end, Cut::Loss);
            }
            Moment::Pause(length) => {
                self.to_agent.push_service(publication(true, self.id()));
                let Some(length) = length else { return };
                let session = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(length).await;
                    session.to_agent.push_service(publication(false, session.id()));
                });
            }
        }
    }

    /// Whether that end was cut off for longer than now.
    pub(crate) fn is_kept_away(&self, end: End) -> bool {
        self.lock().kept_away.is_some_and(|(away, until)| away == end && Instant::now() < until)
    }

    /// Takes one end's websocket away. False if there is no such socket.
    pub(crate) fn cut(&self, end: End, how: Cut) -> bool {
        let cut = self.mailbox(end).cut(how);
        if cut && how == Cut::Loss {
            self.mailbox(end.other()).lose();
        }
        cut
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
    #[cfg(test)]
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

    #[cfg(test)]
    pub(crate) fn describe(&self) -> LiveSession {
        let paused = self.lock().paused;
        LiveSession {
            id: self.new.id.clone(),
            owner: self.new.owner.clone(),
            client_attached: self.to_client.is_attached(),
            agent_attached: self.to_agent.is_attached(),
            paused,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().status.is_over()
    }

    /// When it ended, if that is so long ago that nothing of it is on its way any more.
    pub(crate) fn settled_at(&self, now: Instant) -> Option<Instant> {
        let (_, ended) = self.lock().ended?;
        (now.duration_since(ended) > LINGER).then_some(ended)
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

/// The texts that a client shows; the first is the cloud's own.
pub(super) const TOO_LONG: &str = "Max session duration reached. Your session has been terminated.";
pub(super) const IDLE: &str = "Your session timed out due to inactivity.";
/// How long the agent's last frames may take to reach a slow client after the agent reported the end.
const LAST_FRAMES: Duration = Duration::from_secs(30);
/// How long the agent may take to close its websocket after the end.
pub(super) const LINGER: Duration = Duration::from_secs(10);
