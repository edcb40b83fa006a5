//! One task per data channel: socket ⇄ core ⇄ application. No decision of the protocol is made here.
//!
//! ```text
//!             ┌────────────────────────── one wake-up ──────────────────────────┐
//!   socket ──▶ read while the core wants input  ──▶ core ──▶ events ──▶ Inbox ──▶ ChannelReader
//!   socket ◀── feed many, flush once            ◀── core ◀── take while it has room ◀── Outbox ◀── ChannelWriter
//!   clock  ──▶ timers of the core, ping, reconnect                                └─ size and flags first
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
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{Sink as _, Stream as _};
use portcullis_protocol::channel::{DataChannel, Event};
use portcullis_protocol::{PayloadType, Time};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::DriverEvent;
use super::queue::{Chunk, Control, Inbox, Outbox};
use super::reconnect::{Attempts, ConnectError, ConnectFuture, Connected, Connector, Finish, Next, ReconnectPolicy};

/// Websocket messages read in one round.
const READS: usize = 128;
/// Frames sent in one round.
const SENDS: usize = 256;
/// Rounds in one wake-up.
const ROUNDS: usize = 4;
/// So many pings without a sign, pongs included, while we listen: the connection is dead.
const DEAF_AFTER_PINGS: u32 = 3;
/// A connection that lasts this long is good, even if nothing was heard.
const GOOD_AFTER: Duration = Duration::from_secs(5);
/// After the exit code, how long the service has to close the channel by itself when nobody reads any more.
const LINGER: Duration = Duration::from_secs(3);
/// What [`Connector::finish`] is given.
const FINISH_TIMEOUT: Duration = Duration::from_secs(15);

/// Drives one channel until it is over.
pub(super) struct Driver<C: Connector> {
    core: DataChannel,
    connector: Arc<C>,
    link: Link<C::Io>,
    attempts: Attempts,
    ping_every: Duration,
    outbox: Arc<Outbox>,
    inbox: Arc<Inbox>,
    clock: Clock,
    /// Taken from the outbox, not yet all in the core.
    chunk: Option<Chunk>,
    /// News of our own that goes before the core's.
    news: Option<DriverEvent>,
    /// The reader has not taken all there is.
    reader_is_slow: bool,
    /// The exit code has been delivered: the end is near.
    exited: bool,
    /// The core has said that the channel is closed.
    closed: bool,
    /// It is over as soon as the reader has what came before.
    failed: Option<End>,
    linger: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

enum Link<Io> {
    Up(Box<Up<Io>>),
    Waiting(Instant),
    Dialling(ConnectFuture<Io>),
    /// For good.
    Over,
}

struct Up<Io> {
    socket: WebSocketStream<Io>,
    since: Instant,
    heard: Instant,
    good: bool,
    ping_at: Instant,
    unflushed: bool,
    /// The socket takes nothing now; it wakes the task when it does again.
    blocked: bool,
}

/// How the loop ended, and what the reader still has to learn.
struct End {
    how: Finish,
    last: Option<DriverEvent>,
}

impl<C: Connector> Driver<C> {
    pub(super) fn new(
        core: DataChannel,
        connector: Arc<C>,
        first: Connected<C::Io>,
        policy: ReconnectPolicy,
        ping_every: Duration,
        outbox: Arc<Outbox>,
        inbox: Arc<Inbox>,
    ) -> Self {
        let clock = Clock::new();
        let mut driver = Self {
            core,
            connector,
            link: Link::Waiting(clock.start),
            attempts: Attempts::new(policy),
            ping_every,
            outbox,
            inbox,
            clock,
            chunk: None,
            news: None,
            reader_is_slow: false,
            exited: false,
            closed: false,
            failed: None,
            linger: None,
            sleep: Box::pin(tokio::time::sleep(ping_every)),
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

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.outbox.register(cx.waker());
        self.inbox.register(cx.waker());
        for _ in 0..ROUNDS {
            let mut moved = self.poll_link(cx);
            moved |= self.take_commands();
            self.run_timers();
            moved |= self.send(cx);
            let (delivered, room) = self.deliver();
            moved |= delivered;
            self.reader_is_slow = !room;
            if self.closed {
                return Poll::Ready(End { how: Finish::Closed, last: None });
            }
            if room && let Some(end) = self.failed.take() {
                return Poll::Ready(end);
            }
            if self.nobody_is_left() {
                return Poll::Ready(End { how: Finish::Abandoned, last: None });
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
    fn poll_link(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.link {
            Link::Up(_) => self.receive(cx),
            Link::Waiting(at) if *at <= Instant::now() => {
                self.link = Link::Dialling(Arc::clone(&self.connector).connect());
                true
            }
            Link::Waiting(_) | Link::Over => false,
            Link::Dialling(dial) => match dial.as_mut().poll(cx) {
                Poll::Pending => false,
                Poll::Ready(Ok(connected)) => {
                    self.connected(connected);
                    self.news = Some(DriverEvent::Reconnected);
                    true
                }
                Poll::Ready(Err(ConnectError::Retry(error))) => {
                    self.try_again(error);
                    true
                }
                Poll::Ready(Err(ConnectError::Final(sentence))) => {
                    self.fail(Finish::Abandoned, sentence);
                    true
                }
                Poll::Ready(Err(ConnectError::Gone(sentence))) => {
                    self.fail(Finish::Gone, sentence);
                    true
                }
            },
        }
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.clock.now();
        for count in 0..READS {
            let Link::Up(up) = &mut self.link else { return true };
            if !self.core.wants_input() {
                if self.reader_is_slow {
                    up.heard = Instant::now();
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
                up.heard = Instant::now();
            }
            match message {
                Message::Binary(frame) => {
                    up.good = true;
                    // An error ends the channel: `run_timers` sees it, once for all ways to cause one.
                    let _ = self.core.handle_message(now, frame);
                }
                // The answer is queued already, and must go out.
                Message::Ping(_) => up.unflushed = true,
                Message::Pong(_) => up.good = true,
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

    /// Size and flags always; data only while the core has room.
    fn take_commands(&mut self) -> bool {
        let now = self.clock.now();
        let mut moved = false;
        while let Some(control) = self.outbox.take_control() {
            match control {
                Control::Size(size) => self.core.send_size(now, size),
                Control::Flag(flag) => self.core.send_flag(now, flag),
                Control::Ready(ready) => self.core.set_ready(ready),
                Control::State(state, session) => self.core.send_session_state(now, state, &session),
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
            && !matches!(self.link, Link::Over)
        {
            let sentence = error.to_string();
            self.fail(Finish::Abandoned, sentence);
        }
        let Link::Up(up) = &mut self.link else { return };
        let now = Instant::now();
        up.good |= now.duration_since(up.since) >= GOOD_AFTER;
        if up.good {
            self.attempts.healthy();
        }
        if now.duration_since(up.heard) >= self.ping_every * DEAF_AFTER_PINGS {
            self.lost("nothing was heard for a long time, not even the answer to a ping".into());
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) -> bool {
        let Link::Up(up) = &mut self.link else { return false };
        match up.send(cx, &mut self.core, self.clock.now(), self.ping_every) {
            Ok(moved) => moved,
            Err(error) => {
                self.lost(format!("the websocket broke: {error}"));
                true
            }
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
        let now = Instant::now();
        let mut up = Box::new(Up {
            socket: connected.socket,
            since: now,
            heard: now,
            good: false,
            ping_at: now + self.ping_every,
            unflushed: true,
            blocked: false,
        });
        // A new socket takes a message without asking; if it can't, the first read says why.
        if let Err(error) = Pin::new(&mut up.socket).start_send(Message::text(connected.open)) {
            tracing::debug!(%error, "the open message could not be written");
        }
        self.link = Link::Up(up);
        self.core.handle_connected(self.clock.now());
    }

    fn lost(&mut self, why: String) {
        tracing::debug!(%why, "a data channel's websocket was lost");
        self.core.handle_disconnected(self.clock.now());
        self.try_again(why);
    }

    fn try_again(&mut self, why: String) {
        match self.attempts.failed(Instant::now(), Some(why), jitter()) {
            Next::At(at) => self.link = Link::Waiting(at),
            Next::GiveUp(sentence) => self.fail(Finish::Abandoned, sentence),
        }
    }

    fn fail(&mut self, how: Finish, sentence: String) {
        self.link = Link::Over;
        if self.failed.is_none() {
            self.failed = Some(End { how, last: Some(DriverEvent::Lost(sentence)) });
        }
    }

    /// Nobody reads and nobody writes. After an exit code the service is about to close the channel by itself, which
    /// spares a call; the agent must have its acknowledgements for that.
    fn nobody_is_left(&mut self) -> bool {
        if !self.outbox.has_no_writer() || !self.inbox.has_no_reader() {
            return false;
        }
        if !self.exited || !matches!(self.link, Link::Up(_)) {
            return true;
        }
        let now = Instant::now();
        now >= *self.linger.get_or_insert(now + LINGER)
    }

    /// Sleeps until the next deadline of any kind. The timer is moved only when it must ring earlier: it rings early
    /// now and then, which costs less than moving it at every frame.
    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let mut deadline = self.core.poll_timeout().map(|time| self.clock.instant(time));
        let mut earlier = |other: Instant| deadline = Some(deadline.map_or(other, |at| at.min(other)));
        match &self.link {
            Link::Up(up) => {
                // a ping that is due and can't be sent is no reason to be awake
                if !up.blocked {
                    earlier(up.ping_at);
                }
                earlier(up.heard + self.ping_every * DEAF_AFTER_PINGS);
            }
            Link::Waiting(at) => earlier(*at),
            Link::Dialling(_) | Link::Over => {}
        }
        if let Some(linger) = self.linger {
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

impl<Io: AsyncRead + AsyncWrite + Unpin> Up<Io> {
    /// Feeds what the core has, then flushes once.
    fn send(
        &mut self,
        cx: &mut Context<'_>,
        core: &mut DataChannel,
        now: Time,
        ping_every: Duration,
    ) -> Result<bool, WsError> {
        let mut socket = Pin::new(&mut self.socket);
        let mut moved = false;
        for _ in 0..SENDS {
            let ready = socket.as_mut().poll_ready(cx);
            self.blocked = ready.is_pending();
            match ready {
                Poll::Ready(ready) => ready?,
                Poll::Pending => break,
            }
            if Instant::now() >= self.ping_at {
                self.ping_at = Instant::now() + ping_every;
                socket.as_mut().start_send(Message::Ping(Bytes::from_static(b"keepalive")))?;
                self.unflushed = true;
            }
            let Some(frame) = core.poll_transmit(now) else { break };
            socket.as_mut().start_send(Message::Binary(frame))?;
            self.unflushed = true;
            moved = true;
        }
        if self.unflushed
            && let Poll::Ready(flushed) = socket.poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(moved)
    }
}

impl<C: Connector> Drop for Driver<C> {
    /// Also when the runtime ends or something here panics: nobody must wait for a task that is gone.
    fn drop(&mut self) {
        self.outbox.end();
        self.inbox.end(None);
    }
}

/// The core's time: since the epoch, from a clock that never goes back.
struct Clock {
    start: Instant,
    epoch: Duration,
}

impl Clock {
    fn new() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), epoch }
    }

    fn now(&self) -> Time {
        self.epoch + self.start.elapsed()
    }

    fn instant(&self, time: Time) -> Instant {
        self.start + time.saturating_sub(self.epoch)
    }
}

fn jitter() -> u8 {
    let mut byte = [0];
    // Without randomness the waits are merely regular.
    let _ = getrandom::fill(&mut byte);
    byte[0]
}
