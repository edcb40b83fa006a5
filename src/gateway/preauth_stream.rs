//! The stream under a connection. Until somebody has logged in it has an end: in time, and in bytes.
//!
//! RFC 4252, section 4, asks a server for such a deadline; the library has no deadline for a login and no limit on what it buffers before one; both are here, below it, where
//! nothing above can forget them. After the login the stream is transparent.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::proxy_header::SIGNATURE;

/// What a client may send before it has logged in: a key exchange is under 4 KiB, a signed RSA-8192 attempt 2.5 KiB.
pub(super) const BYTES_BEFORE_LOGIN: u64 = 64 * 1024;

/// How long a client may say nothing at all. It needs nobody's answer for its first line, so a round trip is enough.
const IDENTIFICATION: Duration = Duration::from_secs(3);

/// What is known of a connection below SSH; shared with its permit, which is told of the login.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Once the client has been told so; never taken back.
    logged_in: AtomicBool,
    reached: AtomicU8,
    /// When it came so far.
    moved: Mutex<Option<Instant>>,
    /// The time for a login was over.
    expired: AtomicBool,
    /// It began with a header of the PROXY protocol.
    claimed_another: AtomicBool,
    evicted: Notify,
    /// Somebody types on it, or has.
    terminal: AtomicBool,
    cut: Cut,
    received: AtomicU64,
    sent: AtomicU64,
}

/// The end of a connection that nothing above the stream can end any more: its client takes nothing.
#[derive(Debug, Default)]
struct Cut {
    done: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Cut {
    fn check(&self) -> io::Result<()> {
        if !self.done.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "ended by the gateway"))
    }
}

/// How far a client has come on its way to a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reached {
    /// It has not said what it is.
    Nothing,
    /// It has identified itself (RFC 4253, section 4.2).
    Identified,
    /// The keys are exchanged, and it asks to be let in.
    Asking,
    /// It has named a key that somebody has here.
    KnownKey,
    /// Its person is asked for something: because what they have proved is not enough alone, or to sign in. Of those who have proved
    /// nothing few are (`oidc.pending`).
    HalfWay,
}

/// How long a login may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    /// All of it, where nobody is asked for anything.
    pub(super) login: Duration,
    /// From when somebody is asked.
    pub(super) answer: Duration,
}

impl Progress {
    /// It has come so far.
    pub(super) fn reach(&self, reached: Reached) {
        if self.reached.fetch_max(reached as u8, Ordering::AcqRel) < reached as u8 {
            *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// When it last came further than it had been.
    pub(super) fn moved(&self) -> Option<Instant> {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reached(&self) -> Reached {
        let reached = self.reached.load(Ordering::Acquire);
        let all = [Reached::HalfWay, Reached::KnownKey, Reached::Asking, Reached::Identified];
        all.into_iter().find(|step| *step as u8 == reached).unwrap_or(Reached::Nothing)
    }

    /// Whether it has let the time for a login pass.
    pub(super) fn has_expired(&self) -> bool {
        self.expired.load(Ordering::Acquire)
    }

    /// Whether it has claimed to be another's, as only listed balancers may.
    pub(super) fn has_claimed_another(&self) -> bool {
        self.claimed_another.load(Ordering::Acquire)
    }

    /// Ends the stream, whoever has logged in on it.
    pub(super) fn cut(&self) {
        self.cut.done.store(true, Ordering::Release);
        self.cut.reader.wake();
        self.cut.writer.wake();
    }

    /// Lifts the limits.
    pub(super) fn logged_in(&self) {
        self.logged_in.store(true, Ordering::Release);
    }

    pub(super) fn is_logged_in(&self) -> bool {
        self.logged_in.load(Ordering::Acquire)
    }

    /// One of its channels is a terminal.
    pub(super) fn terminal(&self) {
        self.terminal.store(true, Ordering::Release);
    }

    pub(super) fn has_terminal(&self) -> bool {
        self.terminal.load(Ordering::Acquire)
    }

    /// Ends a connection on which nobody has logged in.
    pub(super) fn evict(&self) {
        self.evicted.notify_one();
    }

    /// Whether it was evicted since this was last asked.
    #[cfg(test)]
    pub(super) fn was_evicted(&self) -> bool {
        use futures_util::FutureExt as _;
        self.evicted.notified().now_or_never().is_some()
    }

    /// Comes back with the reason when a connection without a login must end.
    async fn preauth_deadline(self: Arc<Self>, time: Time) -> io::Error {
        let silent = async {
            sleep(IDENTIFICATION).await;
            if self.reached() > Reached::Nothing {
                std::future::pending::<()>().await;
            }
        };
        let login = async {
            sleep(time.login).await;
            // a person types more slowly than a program signs
            if let Some(asked) = self.moved().filter(|_| self.reached() == Reached::HalfWay) {
                sleep_until(asked + time.answer).await;
            }
        };
        let late = |missed: &str| {
            self.expired.store(true, Ordering::Release);
            io::Error::new(io::ErrorKind::TimedOut, missed)
        };
        tokio::select! {
            () = silent => late("no identification in time"),
            // however busy it was: a handshake that trickles is no reason for more time
            () = login => late("no login in time"),
            // where others need the permit; a notification that came before this waits is kept
            () = self.evicted.notified() => {
                io::Error::new(io::ErrorKind::ConnectionAborted, "its place was given to another connection")
            }
        }
    }

    /// Bytes received and sent so far.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }
}

/// A stream with an end and a byte limit until the login.
pub(super) struct PreauthStream<S> {
    inner: S,
    progress: Arc<Progress>,
    /// Comes with the reason when the time for a login is over.
    end: Option<Pin<Box<dyn Future<Output = io::Error> + Send>>>,
}

impl<S> PreauthStream<S> {
    pub(super) fn new(inner: S, time: Time, progress: Arc<Progress>) -> Self {
        let end: Pin<Box<dyn Future<Output = io::Error> + Send>> = Box::pin(progress.clone().preauth_deadline(time));
        Self { inner, progress, end: Some(end) }
    }

    /// An error once there is no time left for a login; registers for it until then.
    fn check_end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(end) = &mut self.end else { return Ok(()) };
        if self.progress.is_logged_in() {
            self.end = None;
            return Ok(());
        }
        match end.as_mut().poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(why) => {
                // whoever asks again is told again
                self.end = Some(Box::pin(std::future::ready(io::Error::new(why.kind(), why.to_string()))));
                Err(why)
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PreauthStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check_end(cx)?;
        let before = buf.filled().len();
        self.progress.cut.reader.register(cx.waker());
        self.progress.cut.check()?;
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let read = (buf.filled().len() - before) as u64;
        let received = self.progress.received.fetch_add(read, Ordering::Relaxed) + read;
        // either version; the library would take the second one's first lines for a greeting before the identification
        let begins = buf.filled().get(before..).unwrap_or_default();
        if received == read && (begins.starts_with(&SIGNATURE) || begins.starts_with(b"PROXY ")) {
            self.progress.claimed_another.store(true, Ordering::Release);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a header of the PROXY protocol")));
        }
        if self.end.is_some() && received > BYTES_BEFORE_LOGIN {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "too much before login")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PreauthStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_end(cx)?;
        self.progress.cut.writer.register(cx.waker());
        self.progress.cut.check()?;
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.progress.sent.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn within(login: u64) -> Time {
        Time { login: Duration::from_millis(login), answer: Duration::from_secs(120) }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_for_more_has_time_to_answer_and_no_more_than_that() {
        let (_client, server) = duplex(64);
        let progress = Arc::new(Progress::default());
        let mut stream = PreauthStream::new(server, within(20_000), progress.clone());
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_secs(1)).await;
        progress.reach(Reached::HalfWay);
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), 121);
    }

    #[tokio::test]
    async fn reading_and_writing_end_at_the_deadline() {
        let (mut client, server) = duplex(1024);
        let mut stream = PreauthStream::new(server, within(50), Arc::default());
        client.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (_client, server) = duplex(8);
        let mut stream = PreauthStream::new(server, within(50), Arc::default());
        let stuck = stream.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(stuck.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn whoever_is_evicted_before_a_login_leaves_and_nobody_after() {
        for logged_in in [false, true] {
            let (mut client, server) = duplex(8);
            let progress = Arc::new(Progress::default());
            let mut stream = PreauthStream::new(server, within(20_000), progress.clone());
            if logged_in {
                progress.logged_in();
            }
            progress.evict();
            client.write_all(b"x").await.unwrap();
            let read = stream.read_u8().await.map_err(|error| error.kind());
            let expected = if logged_in { Ok(b'x') } else { Err(io::ErrorKind::ConnectionAborted) };
            assert_eq!(read, expected);
        }
    }

    #[tokio::test]
    async fn bytes_are_limited_before_the_login_and_not_after() {
        let (mut client, server) = duplex(1 << 20);
        let progress = Arc::new(Progress::default());
        let mut stream = PreauthStream::new(server, within(20_000), progress.clone());
        let limit = usize::try_from(BYTES_BEFORE_LOGIN).unwrap();
        client.write_all(&vec![0; limit]).await.unwrap();
        stream.read_exact(&mut vec![0; limit]).await.unwrap();
        client.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::InvalidData);

        let (mut client, server) = duplex(1 << 20);
        let mut stream = PreauthStream::new(server, within(50), progress.clone());
        progress.logged_in();
        client.write_all(&vec![0; limit * 2]).await.unwrap();
        stream.read_exact(&mut vec![0; limit * 2]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
    }
}
