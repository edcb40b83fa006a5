//! One data channel: the websocket, the protocol's state machine and the session's bounded queues.
//!
//! ```text
//!               ┌─ commands ─▶ ┌────────────────┐ ─ feed, flush ─▶
//!    session ───┤   (bounded)  │ driver, 1 task │                    websocket, again after a loss
//!               └◀─ arrivals ─ │  DataChannel   │ ◀─── next ────────
//!                   (bounded)  └────────────────┘
//! ```
//!
//! The driver stops reading the websocket while the session does not take what arrived, so a terminal that does not
//! read holds its client back, and no one else: every session has a driver of its own. It stops taking commands while the
//! send window is full. Frames are fed in batches and flushed once, and reading goes on while a flush waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use portcullis_protocol::channel::{AgentRole, DataChannel, Event, Limits, Role};
use portcullis_protocol::payload::{SessionState, SessionType};
use portcullis_protocol::{Flag, PayloadType, Size};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::endpoint::{CallError, Socket};
use super::socket::{Clock, Pulse, connect, sleep_until};
use super::{Context, VERSION};

/// The session's end of its data channel. Dropping it closes the websocket without a word, as the real agent does.
#[derive(Debug)]
pub(super) struct Wire {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    _open: DropGuard,
}

/// What arrives for the session, in order.
pub(super) type Arrivals = mpsc::Receiver<Arrival>;

/// One thing from the client.
#[derive(Debug)]
pub(super) enum Arrival {
    Data(Bytes),
    Size(Size),
    Flag(Flag),
}

/// The wire has gone: nothing can be sent any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// How a data channel is opened.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) session_id: String,
    /// Told in a handshake; `None` for sessions that have none.
    pub(super) handshake: Option<SessionType>,
    pub(super) separate_streams: bool,
    /// Whether input is taken before [`Wire::ready`] was called.
    pub(super) ready: bool,
    /// Cancelled when the service closes the channel.
    pub(super) cancel: CancellationToken,
}

#[derive(Debug)]
enum Command {
    Stream(PayloadType, Bytes),
    Flag(Flag),
    State(SessionState),
    Ready,
    /// Answered when everything is acknowledged and flushed.
    Drain(oneshot::Sender<()>),
}

#[derive(Debug, Clone, Default)]
struct Status {
    paused: bool,
    /// Set once data may flow: the client's version, if there was a handshake.
    established: Option<Option<String>>,
    /// Why the channel is of no more use.
    fault: Option<String>,
}

impl Wire {
    /// Gets a token, opens the websocket and starts the driver. Tries five times.
    pub(super) async fn open(context: &Arc<Context>, opening: Opening) -> Result<(Self, Arrivals), CallError> {
        let socket = connect(context, &opening.session_id).await?;
        let payload = context.manner.payload;
        let limits = Limits {
            // what was held back of a character may come on top
            payload: payload + 3,
            send_buffer: context.manner.send_buffer,
            receive_buffer: context.manner.receive_buffer,
            window_min: (64 << 10).max(payload * 4),
            ack_timeout: None,
            reconnect_timeout: None,
            ..Limits::default()
        };
        let role = Role::Agent(AgentRole {
            version: VERSION.to_owned(),
            handshake: opening.handshake,
            asks_old_clients_to_update: opening.separate_streams,
            ..AgentRole::default()
        });
        let clock = Clock::start();
        let mut channel = DataChannel::new(role, limits, Uuid::new_v4().as_u64_pair().0, clock.now());
        if !opening.ready {
            channel.set_ready(false);
        }
        let (commands, inbox) = mpsc::channel(context.manner.queue);
        let (outbox, arrivals) = mpsc::channel(context.manner.arrivals);
        let (report, status) = watch::channel(Status::default());
        let open = CancellationToken::new();
        let driver = Driver {
            context: Arc::clone(context),
            session_id: opening.session_id,
            channel,
            clock,
            commands: inbox,
            unsent: None,
            arrivals: outbox,
            untaken: None,
            drains: Vec::new(),
            status: report,
            cancel: opening.cancel,
        };
        tokio::spawn(driver.run(socket, open.clone()));
        Ok((Self { commands, status, _open: open.drop_guard() }, arrivals))
    }

    /// Waits until data may flow. Gives the client's version if there was a handshake, or a sentence why there is none.
    pub(super) async fn established(&self) -> Result<Option<String>, String> {
        let mut status = self.status.clone();
        let settled = status.wait_for(|status| status.established.is_some() || status.fault.is_some()).await;
        match settled.as_deref() {
            Ok(Status { established: Some(version), .. }) => Ok(version.clone()),
            Ok(Status { fault: Some(fault), .. }) => Err(fault.clone()),
            _ => Err("the data channel has gone".to_owned()),
        }
    }

    /// Why the channel failed, if it did.
    pub(super) fn fault(&self) -> Option<String> {
        self.status.borrow().fault.clone()
    }

    /// Sends data; waits while the client does not keep up. Nothing is sent of nothing.
    pub(super) async fn send(&self, kind: PayloadType, bytes: Bytes) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.command(Command::Stream(kind, bytes)).await
    }

    pub(super) async fn flag(&self, flag: Flag) -> Result<(), Gone> {
        self.command(Command::Flag(flag)).await
    }

    /// Input is taken from now on.
    pub(super) async fn ready(&self) -> Result<(), Gone> {
        self.command(Command::Ready).await
    }

    /// Waits until the client has acknowledged everything, at most two seconds.
    pub(super) async fn drain(&self) {
        let (done, drained) = oneshot::channel();
        let wait = async {
            if self.command(Command::Drain(done)).await.is_ok() {
                let _ = drained.await;
            }
        };
        if tokio::time::timeout(DRAIN_MAX, wait).await.is_err() {
            tracing::debug!("the client has not acknowledged everything within {} s", DRAIN_MAX.as_secs());
        }
    }

    /// Tells the service, not the client, that the program has ended.
    pub(super) async fn terminating(&self) {
        let tell = self.command(Command::State(SessionState::Terminating));
        let _ = tokio::time::timeout(DRAIN_MAX, tell).await;
    }

    pub(super) fn is_paused(&self) -> bool {
        self.status.borrow().paused
    }

    /// Waits while publication is paused.
    pub(super) async fn until_active(&self) -> Result<(), Gone> {
        if !self.is_paused() {
            return Ok(());
        }
        let mut status = self.status.clone();
        status.wait_for(|status| !status.paused).await.map(|_| ()).map_err(|_| Gone)
    }

    async fn command(&self, command: Command) -> Result<(), Gone> {
        self.commands.send(command).await.map_err(|_| Gone)
    }
}

struct Driver {
    context: Arc<Context>,
    session_id: String,
    channel: DataChannel,
    clock: Clock,
    commands: mpsc::Receiver<Command>,
    /// Data that the send buffer had no room for. No further command is taken meanwhile.
    unsent: Option<(PayloadType, Bytes)>,
    arrivals: mpsc::Sender<Arrival>,
    /// Something that the session had no room for. The websocket is not read meanwhile.
    untaken: Option<Arrival>,
    drains: Vec<oneshot::Sender<()>>,
    status: watch::Sender<Status>,
    cancel: CancellationToken,
}

impl Driver {
    async fn run(mut self, socket: Socket, open: CancellationToken) {
        self.channel.send_session_state(self.clock.now(), SessionState::Connected, &self.session_id);
        let mut socket = Some(socket);
        loop {
            let lost = match socket.take() {
                Some(socket) => {
                    self.channel.handle_connected(self.clock.now());
                    tokio::select! {
                        biased;
                        () = open.cancelled() => return,
                        ended = self.serve(socket) => ended,
                    }
                }
                None => return self.detached(&open).await,
            };
            self.channel.handle_disconnected(self.clock.now());
            match lost {
                Ended::Lost(why) => tracing::debug!(session = %self.session_id, "the data channel was cut: {why}"),
                Ended::Failed => return self.failed(&open).await,
            }
            socket = tokio::select! {
                () = open.cancelled() => return,
                again = connect(&self.context, &self.session_id) => match again {
                    Ok(socket) => Some(socket),
                    Err(error) => {
                        tracing::warn!(session = %self.session_id, "the data channel does not come back: {error}");
                        None
                    }
                },
            };
        }
    }

    /// Serves one websocket until it is lost or the channel fails.
    async fn serve(&mut self, socket: Socket) -> Ended {
        let (mut sink, mut stream) = socket.split();
        let mut pulse = Pulse::start();
        let mut flushing = false;
        loop {
            self.take_commands();
            if !flushing {
                match self.feed(&mut sink).await {
                    Ok(fed) => flushing = fed,
                    Err(error) => return Ended::Lost(error.to_string()),
                }
            }
            if !flushing && (self.channel.is_drained() || self.channel.is_closed()) && self.unsent.is_none() {
                for drain in self.drains.drain(..) {
                    let _ = drain.send(());
                }
            }
            self.hand_over();
            if self.channel.error().is_some() {
                return Ended::Failed;
            }
            let wake = self.channel.poll_timeout().map(|time| self.clock.instant(time));
            let takes_commands = self.unsent.is_none();
            let reads = self.untaken.is_none() && self.channel.wants_input();
            tokio::select! {
                flushed = sink.flush(), if flushing => match flushed {
                    Ok(()) => flushing = false,
                    Err(error) => return Ended::Lost(error.to_string()),
                },
                message = stream.next(), if reads => {
                    if let Err(lost) = self.receive(message, &mut stream, &mut pulse) {
                        return lost;
                    }
                }
                command = self.commands.recv(), if takes_commands => match command {
                    Some(command) => self.apply(command),
                    // the session has let go; `run` sees it
                    None => std::future::pending().await,
                },
                has_room = async { self.arrivals.reserve().await.is_ok() }, if self.untaken.is_some() => {
                    if let Some(arrival) = self.untaken.take().filter(|_| has_room) {
                        // nobody else sends, so the room is still there
                        let _ = self.arrivals.try_send(arrival);
                    }
                }
                () = sleep_until(wake) => {
                    // an error is found at the top
                    let _ = self.channel.handle_timeout(self.clock.now());
                }
                () = pulse.due(!flushing) => match pulse.beat() {
                    Some(ping) => match sink.feed(ping).await {
                        Ok(()) => flushing = true,
                        Err(error) => return Ended::Lost(error.to_string()),
                    },
                    // A blocked session does not read, so it sees no pongs either; the real one reconnects then as well.
                    None => return Ended::Lost("the service has not answered a ping for 60 s".to_owned()),
                },
            }
            self.report();
        }
    }

    /// Takes what is there without waiting, as far as there is room. Says whether it took anything.
    fn take_commands(&mut self) -> bool {
        let mut took = false;
        if let Some((kind, bytes)) = self.unsent.take() {
            let length = bytes.len();
            self.write(kind, bytes);
            took = self.unsent.as_ref().is_none_or(|(_, rest)| rest.len() < length);
        }
        for _ in 0..COMMANDS_PER_WAKE {
            if self.unsent.is_some() {
                break;
            }
            let Ok(command) = self.commands.try_recv() else { break };
            self.apply(command);
            took = true;
        }
        took
    }

    fn apply(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Stream(kind, bytes) => self.write(kind, bytes),
            Command::Flag(flag) => self.channel.send_flag(now, flag),
            Command::State(state) => self.channel.send_session_state(now, state, &self.session_id),
            Command::Ready => self.channel.set_ready(true),
            Command::Drain(done) => self.drains.push(done),
        }
    }

    fn write(&mut self, kind: PayloadType, mut bytes: Bytes) {
        self.channel.write(self.clock.now(), kind, &mut bytes);
        if self.channel.is_closed() {
            return;
        }
        self.unsent = (!bytes.is_empty()).then_some((kind, bytes));
    }

    /// Feeds a bounded batch of messages. Says whether there is something to flush.
    async fn feed(&mut self, sink: &mut SplitSink<Socket, Message>) -> Result<bool, WsError> {
        let mut fed = 0;
        while fed < BATCH_BYTES {
            let Some(message) = self.channel.poll_transmit(self.clock.now()) else {
                // what went out has made room for what waits
                if self.take_commands() { continue } else { break }
            };
            fed += message.len();
            sink.feed(Message::Binary(message)).await?;
        }
        Ok(fed > 0)
    }

    /// Takes one message, and those that are there already.
    fn receive(
        &mut self,
        first: Option<Result<Message, WsError>>,
        stream: &mut SplitStream<Socket>,
        pulse: &mut Pulse,
    ) -> Result<(), Ended> {
        let now = self.clock.now();
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(message) = next {
            match message {
                Some(Ok(Message::Binary(message))) => {
                    // an error is found when it is served
                    let _ = self.channel.handle_message(now, message);
                }
                Some(Ok(Message::Pong(_))) => pulse.answered(),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Ended::Lost(error.to_string())),
                None => return Err(Ended::Lost("the service closed it".to_owned())),
            }
            taken += 1;
            if taken == MESSAGES_PER_WAKE || !self.channel.wants_input() {
                break;
            }
            next = stream.next().now_or_never();
        }
        Ok(())
    }

    /// Gives the session what arrived, as far as it has room.
    fn hand_over(&mut self) {
        while self.untaken.is_none() {
            let Some(event) = self.channel.poll_event() else { return };
            let arrival = match event {
                Event::Established { client_version, .. } => {
                    self.status.send_modify(|status| status.established = Some(client_version));
                    continue;
                }
                // what the agent does not know it takes for data, but only data is data
                Event::Data { kind: PayloadType::Output, bytes } => Arrival::Data(bytes),
                Event::Data { .. } => continue,
                Event::Size(size) => Arrival::Size(size),
                Event::Flag(flag) => Arrival::Flag(flag),
                Event::Paused | Event::Resumed => continue,
                Event::Closed { .. } => {
                    self.cancel.cancel();
                    continue;
                }
            };
            if let Err(mpsc::error::TrySendError::Full(arrival)) = self.arrivals.try_send(arrival) {
                self.untaken = Some(arrival);
            }
        }
    }

    /// The pause overtakes data that waits to be taken, as it does in the real agent.
    fn report(&self) {
        let paused = self.channel.is_paused();
        if self.channel.is_closed() {
            self.cancel.cancel();
        }
        self.status.send_if_modified(|status| std::mem::replace(&mut status.paused, paused) != paused);
    }

    /// The channel broke the rules or was refused: the session is told and cancelled.
    async fn failed(mut self, open: &CancellationToken) {
        let fault = self.channel.error().map(ToString::to_string).unwrap_or_default();
        tracing::debug!(session = %self.session_id, "the data channel failed: {fault}");
        self.status.send_modify(|status| status.fault = Some(fault));
        self.cancel.cancel();
        self.commands.close();
        open.cancelled().await;
    }

    /// Five attempts failed: the session runs on without its client until the control channel ends it. What it writes
    /// waits, so its program blocks.
    async fn detached(mut self, open: &CancellationToken) {
        while self.unsent.is_none() {
            let command = tokio::select! {
                () = open.cancelled() => return,
                command = self.commands.recv() => command,
            };
            match command {
                Some(Command::Drain(done)) => drop(done),
                Some(command) => self.apply(command),
                None => return,
            }
        }
        open.cancelled().await;
    }
}

enum Ended {
    /// The websocket was lost; the channel is as it was.
    Lost(String),
    /// The channel failed for good.
    Failed,
}

type WsError = tokio_tungstenite::tungstenite::Error;

const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Below the websocket's own write buffer, so that feeding does not wait.
const BATCH_BYTES: usize = 256 << 10;
const COMMANDS_PER_WAKE: usize = 64;
const MESSAGES_PER_WAKE: usize = 128;
