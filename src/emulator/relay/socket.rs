//! One websocket of a session: both directions, in one task.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode};

use super::faults::Fate;
use super::frame::{Kind, kind};
use super::mailbox::{Cut, Next};
use crate::emulator::end::End;
use crate::emulator::session::Session;

/// The websockets' limits: small buffers, because there are many sockets.
pub(crate) fn websocket_config(message: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .write_buffer_size(32 << 10)
        .max_write_buffer_size((64 << 10) + 2 * message)
        .max_message_size(Some(message))
        .max_frame_size(Some(message))
}

/// A websocket that has opened its end of a session.
pub(crate) struct Socket<S> {
    stream: WebSocketStream<S>,
    session: Arc<Session>,
    role: End,
    epoch: u64,
    /// Read, and not yet taken by the other side.
    held: Option<Bytes>,
    unflushed: bool,
    closing: bool,
    /// While a frame is held: when the peer is next to hear that we live. While closing: when to stop waiting.
    timer: Pin<Box<Sleep>>,
    timing: bool,
    /// When the next frame comes out of a long line.
    due: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Takes over that end of the session.
    pub(crate) fn new(stream: WebSocketStream<S>, session: Arc<Session>, role: End) -> Self {
        let epoch = session.attach(role);
        let timer = Box::pin(sleep_until(Instant::now()));
        Self {
            stream,
            session,
            role,
            epoch,
            held: None,
            unflushed: false,
            closing: false,
            timer,
            timing: false,
            due: None,
        }
    }

    /// Relays until the socket ends, however it ends.
    pub(crate) async fn run(mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // First of all, and not only where a frame could be written: a peer that takes nothing can be cut off, too.
        if self.session.mailbox(self.role).poll_cut(cx, self.epoch).is_ready() {
            return Poll::Ready(());
        }
        let written = self.poll_write(cx);
        let read = if written == Progress::Over { Progress::Over } else { self.poll_read(cx) };
        if written == Progress::Over || read == Progress::Over {
            return Poll::Ready(());
        }
        if self.timing && self.timer.as_mut().poll(cx).is_ready() {
            if self.closing {
                return Poll::Ready(());
            }
            // While we don't read, its pings go unanswered and it would give up on us: an unasked pong does as well.
            if Pin::new(&mut self.stream).start_send(Message::Pong(Bytes::new())).is_err() {
                return Poll::Ready(());
            }
            self.unflushed = true;
            self.set_timer(HOLD);
            cx.waker().wake_by_ref();
        } else if written == Progress::More || read == Progress::More {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Hands out what is queued for this end: many frames, one flush.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Progress {
        let mut progress = Progress::Waiting;
        let session = self.session.clone();
        for turn in 0.. {
            if turn == BURST {
                progress = Progress::More;
                break;
            }
            if self.closing {
                break;
            }
            match Pin::new(&mut self.stream).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Progress::Over,
                Poll::Pending => break,
            }
            let message = match session.mailbox(self.role).poll_next(cx, self.epoch) {
                Poll::Pending => {
                    if self.poll_due(cx) {
                        continue;
                    }
                    break;
                }
                Poll::Ready(Next::Frame(frame)) => Message::Binary(frame),
                Poll::Ready(Next::Replaced | Next::Cut(Cut::Abort | Cut::Loss)) => return Progress::Over,
                Poll::Ready(Next::Finished | Next::Cut(Cut::Close)) => {
                    self.closing = true;
                    self.set_timer(GOODBYE);
                    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
                }
            };
            if Pin::new(&mut self.stream).start_send(message).is_err() {
                return Progress::Over;
            }
            self.unflushed = true;
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Progress::Over,
                Poll::Pending => {}
            }
        }
        // The timer for a goodbye must be polled once to be armed.
        if self.closing && progress == Progress::Waiting { Progress::Waiting } else { progress }
    }

    /// Waits for the first frame on a long line. True if it is there by now.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.session.mailbox(self.role).next_due() else { return false };
        let due = self.due.get_or_insert_with(|| Box::pin(sleep_until(at)));
        due.as_mut().reset(at);
        due.as_mut().poll(cx).is_ready()
    }

    /// Reads while the other side takes; then wakes it once for all of it.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Progress {
        let session = self.session.clone();
        let mut progress = Progress::More;
        for _ in 0..BURST {
            if self.held.is_some() {
                if session.mailbox(self.role.other()).poll_offer(cx, &mut self.held).is_pending() {
                    if !self.timing {
                        self.set_timer(HOLD);
                    }
                    progress = Progress::Waiting;
                    break;
                }
                self.timing = self.closing;
            }
            match Pin::new(&mut self.stream).poll_next(cx) {
                Poll::Pending => {
                    progress = Progress::Waiting;
                    break;
                }
                Poll::Ready(None | Some(Err(_))) => {
                    progress = Progress::Over;
                    break;
                }
                Poll::Ready(Some(Ok(Message::Binary(frame)))) => {
                    if let Taken::CutOff = self.take(frame) {
                        progress = Progress::Over;
                        break;
                    }
                }
                // Pings are answered by the websocket itself; text after the opening means nothing.
                Poll::Ready(Some(Ok(_))) => {}
            }
        }
        session.mailbox(self.role.other()).wake_reader();
        progress
    }

    /// Keeps what this end may send to the other.
    fn take(&mut self, frame: Bytes) -> Taken {
        let kind = kind(&frame);
        let happens = match (self.role, kind) {
            (End::Client, Kind::Input) | (End::Agent, Kind::Output) => self.session.note_activity(),
            (_, Kind::Acknowledge) => None,
            (End::Agent, Kind::State) => {
                self.session.agent_state(frame);
                return Taken::Done;
            }
            _ => return Taken::Done,
        };
        if let Some(moment) = happens {
            self.session.suffer(moment);
            if self.session.mailbox(self.role).is_losing() {
                return Taken::CutOff;
            }
        }
        self.session.faults().show(self.session.id(), self.role.other(), &frame);
        match self.session.faults().judge(self.session.id(), self.role.other(), kind) {
            Fate::Pass => self.held = Some(frame),
            Fate::Drop => {}
            Fate::Duplicate => {
                self.session.mailbox(self.role.other()).offer_now(frame.clone());
                self.held = Some(frame);
            }
            Fate::Delay(time, permit) => {
                let (session, other) = (self.session.clone(), self.role.other());
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    session.mailbox(other).offer_now(frame);
                    drop(permit);
                });
            }
        }
        Taken::Done
    }

    fn set_timer(&mut self, after: Duration) {
        self.timer.as_mut().reset(Instant::now() + after);
        self.timing = true;
    }
}

impl<S> Drop for Socket<S> {
    fn drop(&mut self) {
        // What the other side did not take in time is lost with the socket, but never an acknowledgement, unless everything
        // is to be lost.
        if let Some(frame) = self.held.take()
            && kind(&frame) == Kind::Acknowledge
            && !self.session.mailbox(self.role).is_losing()
        {
            self.session.mailbox(self.role.other()).offer_now(frame);
        }
        self.session.detach(self.role, self.epoch);
    }
}

/// What became of a frame that was read.
enum Taken {
    /// It is kept, or it is none that is relayed.
    Done,
    /// With it this websocket is taken away: it is lost, and so is what was not read yet.
    CutOff,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// A waker is registered.
    Waiting,
    /// There is more; it is somebody else's turn first.
    More,
    /// The socket is done with.
    Over,
}

/// Frames in one go, so that no session keeps the others waiting.
const BURST: usize = 64;
/// The agent gives up on a silent socket after 60 s.
const HOLD: Duration = Duration::from_secs(20);
/// How long the peer has to answer a close frame.
const GOODBYE: Duration = Duration::from_secs(3);
