//! One connection of a forward, whichever way it is carried: a direction to read, one to write, and how long it may last.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::time::Instant;

use super::lane::PortStream;
use crate::evidence::{Recorded, Unrecorded};
use crate::policy::Grant;
use crate::transport::limits::{Clock, LimitReached, Limits, sleep_until};
use crate::transport::plain_port::Ended;
use crate::transport::relay::RelayStream;

/// A connection that a node has made.
#[derive(Debug)]
pub struct ForwardStream {
    /// What the other end says.
    pub reader: ForwardReader,
    /// What it is told.
    pub writer: ForwardWriter,
    /// How long it may go on.
    pub limits: ForwardLimits,
    /// How it is carried.
    pub way: Way,
    /// The address that was dialled, where that is known.
    pub address: Option<SocketAddr>,
}

/// What carries a forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A port session of the agent's.
    Agent,
    /// The gateway's helper on the node.
    Helper,
}

/// From the target.
pub struct ForwardReader(ReadEnd);

/// To the target.
pub struct ForwardWriter(WriteEnd);

enum ReadEnd {
    Port(Arc<PortStream>),
    Plain(ReadHalf<DuplexStream>, Ended),
    Relay(ReadHalf<RelayStream>),
}

enum WriteEnd {
    Port(Arc<PortStream>),
    Plain(WriteHalf<DuplexStream>),
    Relay(WriteHalf<RelayStream>),
}

/// Most bytes of one read.
const CHUNK: usize = 32 << 10;

/// How long a forward may go on, and be silent.
#[derive(Debug)]
pub struct ForwardLimits {
    clock: Mutex<Clock>,
    /// What is obliged to may become less while it lasts.
    grant: Arc<Grant>,
}

impl Way {
    /// Its name in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Helper => "helper",
        }
    }
}

impl ForwardStream {
    /// One of a port session.
    pub(super) fn of_port(stream: PortStream, limits: ForwardLimits) -> Self {
        let stream = Arc::new(stream);
        Self {
            reader: ForwardReader(ReadEnd::Port(stream.clone())),
            writer: ForwardWriter(WriteEnd::Port(stream)),
            limits,
            way: Way::Agent,
            address: None,
        }
    }

    /// A port session that is this connection's alone.
    pub(super) fn of_plain(stream: DuplexStream, ended: Ended, limits: ForwardLimits) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader: ForwardReader(ReadEnd::Plain(reader, ended)),
            writer: ForwardWriter(WriteEnd::Plain(writer)),
            limits,
            way: Way::Agent,
            address: None,
        }
    }

    /// One of the helper's relay.
    pub(super) fn of_relay(stream: RelayStream, address: Option<SocketAddr>, limits: ForwardLimits) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader: ForwardReader(ReadEnd::Relay(reader)),
            writer: ForwardWriter(WriteEnd::Relay(writer)),
            limits,
            way: Way::Helper,
            address,
        }
    }
}

impl ForwardReader {
    /// The next bytes; nothing at the end. May be cancelled without losing any.
    pub async fn read(&mut self) -> io::Result<Option<Unrecorded>> {
        let read = match &mut self.0 {
            ReadEnd::Port(stream) => stream.read().await?,
            ReadEnd::Plain(stream, ended) => match chunk(stream).await? {
                None => match ended.lost() {
                    Some(why) => return Err(io::Error::other(why)),
                    None => None,
                },
                some => some,
            },
            ReadEnd::Relay(stream) => chunk(stream).await?,
        };
        Ok(read.map(Unrecorded::new))
    }

    /// Whether the other direction goes on after this one's end.
    pub fn half_closes(&self) -> bool {
        match self.0 {
            // its agent closes the whole connection
            ReadEnd::Port(_) | ReadEnd::Plain(..) => false,
            ReadEnd::Relay(_) => true,
        }
    }
}

impl ForwardWriter {
    /// Hands bytes on, once they are recorded; waits while the target does not read.
    pub async fn write(&mut self, bytes: Recorded) -> io::Result<()> {
        let bytes: Bytes = bytes.into_bytes();
        match &mut self.0 {
            WriteEnd::Port(stream) => stream.write(bytes).await,
            WriteEnd::Plain(stream) => stream.write_all(&bytes).await,
            WriteEnd::Relay(stream) => stream.write_all(&bytes).await,
        }
    }

    /// The client sends no more. By a port session's stream the target can't be told that alone: its end ends both directions, so
    /// it is told when the target has said nothing for a while.
    pub async fn finish(&mut self, limits: &ForwardLimits) -> io::Result<()> {
        match &mut self.0 {
            WriteEnd::Relay(stream) => stream.shutdown().await,
            WriteEnd::Port(stream) => {
                is_silent(limits).await;
                stream.finish();
                Ok(())
            }
            WriteEnd::Plain(stream) => {
                is_silent(limits).await;
                stream.shutdown().await
            }
        }
    }
}

/// Bytes of a stream, as they come; nothing at its end. One that is given up has read nothing.
async fn chunk(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Bytes>> {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    let read = stream.read_buf(&mut buffer).await?;
    Ok((read > 0).then(|| buffer.freeze()))
}

/// Waits until the target has said nothing for a while, by a way on which it can't be told of its client's end alone.
async fn is_silent(limits: &ForwardLimits) {
    let since = Instant::now();
    loop {
        let until = limits.active_at().max(since) + LAST_WORDS;
        if until <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(until).await;
    }
}

/// How long a target may take to say something after its client's end, by a way on which it does not learn of that.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl ForwardLimits {
    pub(super) fn new(limits: Limits, grant: Arc<Grant>) -> Self {
        Self { clock: Mutex::new(Clock::new(limits, Instant::now())), grant }
    }

    /// Bytes have passed, in whichever direction.
    pub fn touch(&self) {
        self.clock().touch(Instant::now());
    }

    fn active_at(&self) -> Instant {
        self.clock().active()
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a limit is reached.
    pub async fn reached(&self) -> LimitReached {
        loop {
            let deadline = {
                let mut clock = self.clock();
                clock.keep_to(Limits::of(&self.grant));
                if let Some(why) = clock.over(Instant::now()) {
                    return why;
                }
                clock.deadline()
            };
            sleep_until(deadline).await;
        }
    }
}

impl fmt::Debug for ForwardReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardReader").finish_non_exhaustive()
    }
}

impl fmt::Debug for ForwardWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardWriter").finish_non_exhaustive()
    }
}
