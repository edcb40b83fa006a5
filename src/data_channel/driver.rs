//! One task per data channel: socket ⇄ core ⇄ application. No decision of the protocol is made here.
//!
//! ```text
//!             ┌────────────────────────── one wake-up ──────────────────────────┐
//!   socket ──▶ read while the core wants input  ──▶ core ──▶ events ──▶ Inbox ──▶ EventReader
//!   socket ◀── feed many, flush once            ◀── core ◀── take while it has room ◀── Outbox ◀── ChannelWriter
//!   clock  ──▶ timers of the core, ping, reconnect                                └─ commands first
//!             └── bounded: after that the task yields to the others ─────────────┘
//! ```
//!
//! Back-pressure: a reader that does not read fills the inbox, then the core, which then wants no input, so that the
//! socket is not read; a node that does not acknowledge fills the core's send buffer, then the outbox, so that writers
//! wait. The two directions do not wait for each other.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream as _;
use portcullis_protocol::PayloadType;
use portcullis_protocol::channel::{DataChannel, Event};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::tungstenite::Message;

use super::clock::Clock;
use super::connection::{Connection, Up};
use super::event::{ChannelEnd, ChannelStatus, DriverEvent, Loss};
use super::keepalive::Keepalive;
use super::options::ChannelOptions;
use super::queue::{Chunk, Command, Inbox, Outbox};
use super::reconnect::{Attempts, ConnectError, Connected, Connector, Finish, Next};

/// Websocket messages read in one round.
const READS: usize = 128;
/// Rounds in one wake-up.
const ROUNDS: usize = 4;
/// A connection that lasts this long is good, even if nothing was heard.
const GOOD_AFTER: Duration = Duration::from_secs(5);
/// What [`Connector::finish`] is given.
const FINISH_TIMEOUT: Duration = Duration::from_secs(15);

/// Drives one channel until it is over.
pub(super) struct Driver<C: Connector> {
    core: DataChannel,
    clock: Clock,
    connector: Arc<C>,
    connection: Connection<C::Io>,
    attempts: Attempts,
    keepalive: Keepalive,
    outbox: Arc<Outbox>,
    inbox: Arc<Inbox>,
    status: watch::Sender<ChannelStatus>,
    /// What [`ChannelStatus`] says of pauses: the lock is taken only for news.
    told_paused: (bool, u64),
    /// Taken from the outbox, not yet all in the core.
    chunk: Option<Chunk>,
    /// To be answered when everything is acknowledged.
    drains: Vec<oneshot::Sender<()>>,
    /// News of our own that goes before the core's.
    news: Option<DriverEvent>,
    /// The reader has not taken all there is.
    reader_is_slow: bool,
    /// The exit code has been delivered: the end is near.
    exited: bool,
    /// The core has said that the channel is closed.
    closed: bool,
    /// It is over as soon as the reader has what came before.
    failed: Option<Ending>,
    linger: Duration,
    linger_until: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

/// How the loop ended, and what the reader still has to learn.
struct Ending {
    how: Finish,
    last: Option<DriverEvent>,
}

/// The driver's ends of what its user holds.
pub(super) struct Ends {
    pub(super) outbox: Arc<Outbox>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) status: watch::Sender<ChannelStatus>,
}

impl<C: Connector> Driver<C> {
    pub(super) fn new(
        core: DataChannel,
        clock: Clock,
        connector: Arc<C>,
        first: Connected<C::Io>,
        options: ChannelOptions,
        ends: Ends,
    ) -> Self {
        let mut driver = Self {
            core,
            clock,
            connector,
            connection: Connection::Over,
            attempts: Attempts::new(options.reconnect),
            outbox: ends.outbox,
            inbox: ends.inbox,
            status: ends.status,
            told_paused: (false, 0),
            chunk: None,
            drains: Vec::new(),
            news: None,
            reader_is_slow: false,
            exited: false,
            closed: false,
            failed: None,
            linger: options.linger,
            linger_until: None,
            sleep: Box::pin(tokio::time::sleep(options.keepalive.every)),
            keepalive: options.keepalive,
        };
        driver.connected(first);
        driver
    }

    /// Runs until the channel is over and its session is out of the way.
    pub(super) async fn run(mut self) {
        let end = std::future::poll_fn(|cx| self.poll(cx)).await;
        self.outbox.end();
        self.inbox.end(end.last);
        let connector = Arc::clone(&self.connector);
        // The socket goes first: the service then stops publishing to us.
        drop(self);
        if tokio::time::timeout(FINISH_TIMEOUT, connector.finish(end.how)).await.is_err() {
            tracing::warn!("a session could not be terminated in time; the service ends it at its idle limit");
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        self.outbox.register(cx.waker());
        self.inbox.register(cx.waker());
        for _ in 0..ROUNDS {
            let mut moved = self.poll_connection(cx);
            moved |= self.take_commands();
            self.run_timers();
            moved |= self.send(cx);
            self.answer_drains(moved);
            self.report();
            let (delivered, room) = self.deliver();
            moved |= delivered;
            self.reader_is_slow = !room;
            if self.closed {
                return Poll::Ready(Ending { how: Finish::Closed, last: None });
            }
            if room && let Some(end) = self.failed.take() {
                return Poll::Ready(end);
            }
            if self.nobody_is_left() {
                return Poll::Ready(Ending { how: Finish::Abandoned, last: None });
            }
            if !moved {
                return self.poll_sleep(cx);
            }
        }
        // There is more to do, but others wait as well.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads the socket, or brings it back. Whether anything happened.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.connection {
            Connection::Up(_) => self.receive(cx),
            Connection::Waiting(at) if *at <= Instant::now() => {
                self.connection = Connection::Dialling(Arc::clone(&self.connector).connect());
                true
            }
            Connection::Waiting(_) | Connection::Over => false,
            Connection::Dialling(dial) => match dial.as_mut().poll(cx) {
                Poll::Pending => false,
                Poll::Ready(Ok(connected)) => {
                    self.connected(connected);
                    self.news = Some(DriverEvent::Reconnected);
                    true
                }
                Poll::Ready(Err(ConnectError::Transient(error))) => {
                    self.try_again(error);
                    true
                }
                Poll::Ready(Err(ConnectError::Permanent(sentence))) => {
                    self.fail(Finish::Abandoned, Loss::Disconnected(sentence));
                    true
                }
                Poll::Ready(Err(ConnectError::SessionEnded(sentence))) => {
                    self.fail(Finish::SessionEnded, Loss::Disconnected(sentence));
                    true
                }
            },
        }
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.clock.now();
        for count in 0..READS {
            let Connection::Up(up) = &mut self.connection else { return true };
            if !self.core.wants_input() {
                if self.reader_is_slow {
                    up.pulse.not_listening(Instant::now());
                }
                return count > 0;
            }
            let message = match Pin::new(&mut up.socket).poll_next(cx) {
                Poll::Pending => return count > 0,
                Poll::Ready(Some(Ok(message))) => message,
                Poll::Ready(Some(Err(error))) => {
                    self.lost(format!("the websocket broke: {error}"));
                    return true;
                }
                Poll::Ready(None) => {
                    self.lost("the service closed the websocket".into());
                    return true;
                }
            };
            if count == 0 {
                up.pulse.heard(Instant::now());
            }
            match message {
                Message::Binary(frame) => {
                    up.good = true;
                    // An error ends the channel: `run_timers` sees it, once for all ways to cause one.
                    let _ = self.core.handle_message(now, frame);
                }
                // The answer is queued already, and must go out.
                Message::Ping(_) => up.unflushed = true,
                Message::Pong(_) => {
                    up.pulse.answered(Instant::now());
                    up.good = true;
                }
                // About once an hour. Its sender need not close the connection as well, so we don't wait for that.
                Message::Close(frame) => {
                    let code = frame.map_or(1005, |frame| u16::from(frame.code));
                    self.lost(format!("the service closed the websocket ({code})"));
                    return true;
                }
                Message::Text(_) | Message::Frame(_) => {}
            }
        }
        true
    }

    /// Commands always; data only while the core has room.
    fn take_commands(&mut self) -> bool {
        let now = self.clock.now();
        let mut moved = false;
        while let Some(command) = self.outbox.take_command() {
            match command {
                Command::Size(size) => self.core.send_size(now, size),
                Command::Flag(flag) => self.core.send_flag(now, flag),
                Command::Ready(ready) => self.core.set_ready(ready),
                Command::State(state, session) => self.core.send_session_state(now, state, &session),
                Command::Drain(done) => {
                    self.drains.retain(|drain| !drain.is_closed());
                    self.drains.push(done);
                }
            }
            moved = true;
        }
        while self.core.send_capacity() > 0 {
            let Some(mut chunk) = self.chunk.take().or_else(|| self.outbox.take_data()) else { break };
            moved |= self.core.write(now, chunk.kind, &mut chunk.bytes) > 0;
            if !chunk.bytes.is_empty() {
                self.chunk = Some(chunk);
                break;
            }
            self.outbox.release(&chunk);
        }
        moved
    }

    fn run_timers(&mut self) {
        let now = self.clock.now();
        if self.core.poll_timeout().is_some_and(|deadline| deadline <= now) {
            // As above: the error is looked at below.
            let _ = self.core.handle_timeout(now);
        }
        if let Some(error) = self.core.error()
            && !matches!(self.connection, Connection::Over)
        {
            let error = error.clone();
            self.fail(Finish::Abandoned, Loss::Failed(error));
        }
        let Connection::Up(up) = &mut self.connection else { return };
        let now = Instant::now();
        up.good |= now.duration_since(up.since) >= GOOD_AFTER;
        if up.good {
            self.attempts.healthy();
        }
        if up.pulse.is_dead(now) {
            self.lost("nothing was heard for a long time, not even the answer to a ping".into());
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) -> bool {
        let Connection::Up(up) = &mut self.connection else { return false };
        match up.send(cx, &mut self.core, self.clock.now()) {
            Ok(moved) => moved,
            Err(error) => {
                self.lost(format!("the websocket broke: {error}"));
                true
            }
        }
    }

    /// Everything is acknowledged: nothing waits in front of the core, in it or behind it.
    fn answer_drains(&mut self, moved: bool) {
        // What moves may bring more; the round after the last looks again.
        if self.drains.is_empty() || moved || self.chunk.is_some() || !self.core.is_drained() {
            return;
        }
        let flushed = matches!(&self.connection, Connection::Up(up) if up.is_flushed());
        if flushed && self.outbox.is_empty() {
            for drain in self.drains.drain(..) {
                let _ = drain.send(());
            }
        }
    }

    /// What the user must know before it has read everything.
    fn report(&mut self) {
        let paused = (self.core.is_paused(), self.core.pauses());
        if self.told_paused != paused {
            self.told_paused = paused;
            self.status.send_modify(|status| (status.paused, status.pauses) = paused);
        }
        if self.core.is_closed() {
            self.status.send_if_modified(|status| status.end.replace(ChannelEnd::Closed).is_none());
        }
    }

    /// Hands events over. Whether there were any, and whether the reader has all there are.
    fn deliver(&mut self) -> (bool, bool) {
        let (core, news, exited, closed) = (&mut self.core, &mut self.news, &mut self.exited, &mut self.closed);
        self.inbox.fill(|| {
            if let Some(news) = news.take() {
                return Some(news);
            }
            let event = core.poll_event()?;
            match &event {
                Event::Data { kind: PayloadType::ExitCode, .. } => *exited = true,
                Event::Closed { .. } => *closed = true,
                _ => {}
            }
            Some(DriverEvent::Channel(event))
        })
    }

    fn connected(&mut self, connected: Connected<C::Io>) {
        self.connection = Connection::Up(Box::new(Up::new(connected, self.keepalive.clone())));
        self.core.handle_connected(self.clock.now());
    }

    fn lost(&mut self, why: String) {
        tracing::debug!(%why, "a data channel's websocket was lost");
        self.core.handle_disconnected(self.clock.now());
        self.try_again(why);
    }

    fn try_again(&mut self, why: String) {
        match self.attempts.failed(Instant::now(), Some(why), jitter()) {
            Next::At(at) => self.connection = Connection::Waiting(at),
            Next::GiveUp(sentence) => self.fail(Finish::Abandoned, Loss::Disconnected(sentence)),
        }
    }

    fn fail(&mut self, how: Finish, loss: Loss) {
        self.connection = Connection::Over;
        if self.failed.is_none() {
            self.status.send_modify(|status| status.end = Some(ChannelEnd::Lost(loss.clone())));
            self.failed = Some(Ending { how, last: Some(DriverEvent::Lost(loss)) });
        }
    }

    /// Nobody reads and nobody writes. After an exit code the service is about to close the channel by itself, which
    /// spares a call; the agent must have its acknowledgements for that.
    fn nobody_is_left(&mut self) -> bool {
        if !self.outbox.has_no_writer() || !self.inbox.has_no_reader() {
            return false;
        }
        if !self.exited || !matches!(self.connection, Connection::Up(_)) {
            return true;
        }
        let now = Instant::now();
        now >= *self.linger_until.get_or_insert(now + self.linger)
    }

    /// Sleeps until the next deadline of any kind. The timer is moved only when it must ring earlier: it rings early
    /// now and then, which costs less than moving it at every frame.
    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let mut deadline = self.core.poll_timeout().map(|time| self.clock.instant(time));
        let mut earlier = |other: Instant| deadline = Some(deadline.map_or(other, |at| at.min(other)));
        match &self.connection {
            // A ping that is due and can't be sent is no reason to be awake.
            Connection::Up(up) => earlier(up.pulse.deadline(!up.blocked)),
            Connection::Waiting(at) => earlier(*at),
            // Both wake the task by themselves, or never.
            Connection::Dialling(_) | Connection::Over => {}
        }
        if let Some(linger) = self.linger_until {
            earlier(linger);
        }
        let Some(deadline) = deadline else { return Poll::Pending };
        if self.sleep.deadline() > deadline || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(deadline);
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                cx.waker().wake_by_ref();
                break;
            }
            self.sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl<C: Connector> Drop for Driver<C> {
    /// Also when the runtime ends or something here panics: nobody must wait for a task that is gone.
    fn drop(&mut self) {
        self.outbox.end();
        self.inbox.end(None);
    }
}

fn jitter() -> u8 {
    let mut byte = [0];
    // Without randomness the waits are merely regular.
    let _ = getrandom::fill(&mut byte);
    byte[0]
}
