//! A forward: one connection to a port or a socket that a node reaches. It is a session like any other, decided and recorded for
//! itself, but that no byte of it is kept.
//!
//! ```text
//!  client ── ForwardInput  ──▶ InputRecord  ──Recorded──▶ ForwardWriter ──▶ target
//!  client ◀─ ForwardOutput ◀── OutputRecord ◀─Unrecorded─ ForwardReader ◀── target
//! ```

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::close::{Outcome, SessionEnd};
use super::open::{Caller, Destination, SessionOpener, Why};
use super::refused::Refused;
use crate::backend::BoxFuture;
use crate::evidence::{
    EvidenceError, ForwardInside, ForwardRecord, InputRecord, LaneRecord, OutputRecord, Stream, Taken,
};
use crate::policy::{Action, Grant};
use crate::transport::{
    ChannelSetup, DialError, ForwardLimits, ForwardReader, ForwardStream, ForwardWriter, Herald, Ports, TransportError,
};

/// What one SSH connection's forwards are dialled by. It takes the [`Grant`], so that nothing else can be dialled with it.
pub trait Dialer: Send + Sync + fmt::Debug {
    /// Connects to where the grant leads.
    fn dial(&self, grant: Grant, record: LaneRecord, herald: Herald)
    -> BoxFuture<'_, Result<ForwardStream, DialError>>;
}

impl Dialer for Ports {
    fn dial(
        &self,
        grant: Grant,
        record: LaneRecord,
        herald: Herald,
    ) -> BoxFuture<'_, Result<ForwardStream, DialError>> {
        Box::pin(self.dial(grant, record, herald))
    }
}

/// A forward that runs.
#[derive(Debug)]
pub struct RunningForward {
    /// Towards the target.
    pub input: ForwardInput,
    /// From the target.
    pub output: ForwardOutput,
    /// How long it may go on.
    pub limits: Arc<ForwardLimits>,
    /// Its end.
    pub end: SessionEnd,
}

/// Towards the target.
#[derive(Debug)]
pub struct ForwardInput {
    way: ForwardWriter,
    record: InputRecord,
    forward: Arc<ForwardRecord>,
    first: First,
    limits: Arc<ForwardLimits>,
}

/// From the target.
#[derive(Debug)]
pub struct ForwardOutput {
    way: ForwardReader,
    record: OutputRecord,
    forward: Arc<ForwardRecord>,
    first: First,
    limits: Arc<ForwardLimits>,
}

/// Why a forward ended before either side closed it.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// It can't be recorded.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The way to the target, or the target.
    #[error("{0}")]
    Way(io::Error),
}

impl SessionOpener {
    /// What the forwards of one SSH connection are dialled by.
    pub fn dialer(&self) -> Arc<dyn Dialer> {
        self.transport.clone().dialer()
    }

    /// A connection to a port or a socket. It stands when this returns.
    pub async fn open_forward(
        &self,
        caller: &Caller,
        to: Destination,
        action: Action,
        dialer: &dyn Dialer,
        herald: Herald,
    ) -> Result<RunningForward, Refused> {
        // a channel of its own has no variables, so a reason is the login's, or one that was given on the connection before
        let why = Why { given: caller.login.reason().cloned(), asks: None };
        let mut setup = ChannelSetup::default();
        let (grant, end) = self.admit(caller, to, action, why, None, &mut setup).await?;
        let end_to_end = matches!(grant.action(), Action::Tunnel { .. });
        let dialled = tokio::select! {
            biased;
            reason = end.killed() => Err(reason),
            dialled = dialer.dial(grant, end.record().lanes(), herald) => Ok(dialled),
        };
        let stream = match dialled {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let outcome = match &error {
                    DialError::Transport(TransportError::GivenUp) => Outcome::ClientGone,
                    error => Outcome::Failed(error.to_string()),
                };
                end.close(&outcome).await;
                return Err(Refused::Dial(error));
            }
            Err(reason) => {
                let place = end.close_in_place(&Outcome::Killed(reason.clone())).await;
                return Err(Refused::Killed { reason, place });
            }
        };
        let address = stream.address.map(|address| address.to_string());
        let forward = Arc::new(end.record().forward());
        if let Err(error) = forward.connected(stream.way.name(), address.as_deref(), end_to_end).await {
            end.close(&Outcome::Failed(error.to_string())).await;
            return Err(error.into());
        }
        let limits = Arc::new(stream.limits);
        Ok(RunningForward {
            input: ForwardInput {
                way: stream.writer,
                record: end.record().input(),
                forward: forward.clone(),
                first: First::of("client"),
                limits: limits.clone(),
            },
            output: ForwardOutput {
                way: stream.reader,
                record: end.record().output(),
                forward,
                first: First::of("target"),
                limits: limits.clone(),
            },
            limits,
            end,
        })
    }
}

impl RunningForward {
    /// The session's number.
    pub fn id(&self) -> Uuid {
        self.end.id()
    }
}

impl ForwardInput {
    /// Records bytes and hands them on; waits while the target does not read.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ForwardError> {
        self.limits.touch();
        if let Some(inside) = self.first.look(&bytes) {
            self.forward.inside(inside).await?;
        }
        let recorded = self.record.take(bytes).await?;
        self.way.write(recorded).await.map_err(ForwardError::Way)?;
        self.limits.touch();
        Ok(())
    }

    /// The client sends no more.
    pub async fn finish(&mut self) -> Result<(), ForwardError> {
        self.way.finish(&self.limits).await.map_err(ForwardError::Way)
    }
}

impl ForwardOutput {
    /// The next bytes, once they are recorded; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ForwardError> {
        let Some(bytes) = self.way.read().await.map_err(ForwardError::Way)? else { return Ok(None) };
        self.limits.touch();
        let bytes = match self.record.take(Stream::Stdout, bytes)? {
            Taken::Now(bytes) => bytes,
            Taken::Later(recorded) => recorded.await?,
        };
        if let Some(inside) = self.first.look(&bytes) {
            self.forward.inside(inside).await?;
        }
        Ok(Some(bytes))
    }

    /// The client has taken what it was given.
    pub fn taken(&self) {
        self.limits.touch();
    }

    /// Whether the other direction goes on after this one's end.
    pub fn half_closes(&self) -> bool {
        self.way.half_closes()
    }
}

/// The first that one end says, as far as it is looked at: whether it is of a protocol in which nobody sees what is done.
#[derive(Debug)]
struct First {
    by: &'static str,
    seen: Vec<u8>,
    done: bool,
}

/// A server may say some lines before its identification (RFC 4253, section 4.2).
const LOOKED_AT: usize = 1024;

impl First {
    fn of(by: &'static str) -> Self {
        Self { by, seen: Vec::new(), done: false }
    }

    /// Looks at what comes next; tells once.
    fn look(&mut self, bytes: &[u8]) -> Option<ForwardInside> {
        if self.done {
            return None;
        }
        let room = LOOKED_AT - self.seen.len();
        self.seen.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let found = inside(&self.seen);
        if found.is_some() || self.seen.len() >= LOOKED_AT {
            self.done = true;
            self.seen = Vec::new();
        }
        found.map(|protocol| ForwardInside { protocol, by: self.by })
    }
}

/// SSH (RFC 4253, section 4.2) and VNC (RFC 6143, section 7.1.1) begin with the protocol's name.
fn inside(first: &[u8]) -> Option<&'static str> {
    let ssh = |line: &[u8]| [&b"SSH-2.0-"[..], b"SSH-1."].iter().any(|begin| line.starts_with(begin));
    if first.split(|byte| *byte == b'\n').any(ssh) {
        return Some("ssh");
    }
    first.starts_with(b"RFB 00").then_some("vnc")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn protocols_that_hide_what_is_done_are_known_by_their_first_words() {
        for (said, expected) in [
            (&b"SSH-2.0-OpenSSH_9.9\r\n"[..], Some("ssh")),
            (b"SSH-1.99-x\n", Some("ssh")),
            (b"welcome\r\nto this\r\nSSH-2.0-x\r\n", Some("ssh")),
            (b"RFB 003.008\n", Some("vnc")),
            (b"GET / HTTP/1.1\r\nUser-Agent: SSH-2.0-x\r\n", None),
            (b"", None),
            (b"\nRFB 003.008", None),
        ] {
            assert_eq!(inside(said), expected, "{said:?}");
        }
    }

    proptest! {
        #[test]
        fn they_are_known_however_they_are_cut(cuts in proptest::collection::vec(1_usize..9, 0..40), before in "[a-z\n]{0,900}") {
            let said = format!("{before}\nSSH-2.0-OpenSSH\r\n and much more{}", "x".repeat(3000));
            let mut first = First::of("target");
            let mut rest = said.as_bytes();
            let mut told = Vec::new();
            for cut in cuts.into_iter().chain(std::iter::repeat(100)) {
                let (now, then) = rest.split_at(cut.min(rest.len()));
                told.extend(first.look(now));
                rest = then;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(told.len(), 1);
            prop_assert!(first.seen.is_empty() && first.done);
        }
    }
}
