//! A session that runs: the transport's ends, which nobody has but through its record.
//!
//! ```text
//!  client ── SessionInput ──▶ InputRecord ──Recorded──▶ transport::Input ──▶ node
//!  client ◀─ SessionOutput ◀─ OutputRecord ◀─Unrecorded─ transport::Output ◀─ node
//!
//!  client ◀── RecordedStream: both directions ──▶ sftp, scp ──▶ FileService ──▶ node
//! ```

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use uuid::Uuid;

use super::close::SessionEnd;
use super::coming_end::ComingEnd;
use super::guard::{self, Guard, Held, Typed};
use crate::evidence::{EvidenceError, FileRecord, InputRecord, OutputRecord, SessionRecord, Stream, Taken, Unrecorded};
use crate::identity::Roster;
use crate::model::{Exit, WindowSize};
use crate::policy::Policies;
use crate::transport::file_service::FileService;
use crate::transport::{Input, OpenChannel, Output, Said, TransportError};

/// A shell or a command that runs.
#[derive(Debug)]
pub struct RunningSession {
    input: SessionInput,
    output: SessionOutput,
    end: SessionEnd,
    coming: ComingEnd,
}

/// Towards the command.
#[derive(Debug)]
pub struct SessionInput {
    way: Input,
    record: InputRecord,
    guard: Option<Guard>,
}

/// From the command.
#[derive(Debug)]
pub struct SessionOutput {
    way: Output,
    record: OutputRecord,
    /// What the node has said and is being recorded: whoever stopped waiting for that comes back to it.
    recording: Option<Recording>,
}

/// What will go on once it is recorded.
struct Recording {
    stream: Stream,
    recorded: BoxFuture<'static, Result<Bytes, EvidenceError>>,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("stream", &self.stream).finish_non_exhaustive()
    }
}

fn out(stream: Stream, bytes: Bytes) -> Out {
    match stream {
        Stream::Stdout => Out::Stdout(bytes),
        Stream::Stderr => Out::Stderr(bytes),
    }
}

/// One thing the node says, once it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// Standard output, or the terminal.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// The command has ended. Output may still follow, from what it left running.
    Exit(Exit),
    /// No word of the node's: a sentence about the way to it.
    Notice(&'static str),
}

/// A file service that runs.
#[derive(Debug)]
pub struct FileSession {
    service: FileService,
    end: SessionEnd,
}

/// A file session that has its client.
#[derive(Debug)]
pub struct AttachedFiles<S> {
    /// What the client and the gateway say to each other.
    pub stream: RecordedStream<S>,
    /// The way to the files.
    pub service: FileService,
    /// Where is noted what is done to them.
    pub record: FileRecord,
    /// The session's end.
    pub end: SessionEnd,
}

/// A stream of which every byte is in the record: what is read as the session's input, what is written as its output.
#[derive(Debug)]
pub struct RecordedStream<S> {
    stream: S,
    input: InputRecord,
    output: OutputRecord,
}

impl RunningSession {
    pub(super) fn new(channel: OpenChannel, end: SessionEnd, roster: Roster, guarded: Option<Policies>) -> Self {
        let OpenChannel { input, output } = channel;
        Self {
            coming: ComingEnd::new(end.standing(), roster, output.lifetime()),
            input: SessionInput {
                way: input,
                record: end.record().input(),
                guard: guarded.map(|policies| Guard::new(end.standing(), policies)),
            },
            output: SessionOutput { way: output, record: end.record().output(), recording: None },
            end,
        }
    }

    /// The session's number.
    pub fn id(&self) -> Uuid {
        self.end.id()
    }

    /// Whether its folder has what it does.
    pub fn is_recorded(&self) -> bool {
        self.end.is_recorded()
    }

    /// Its two directions, its end, and what is known of that before it comes.
    pub fn split(self) -> (SessionInput, SessionOutput, SessionEnd, ComingEnd) {
        (self.input, self.output, self.end, self.coming)
    }
}

/// Why input went nowhere.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It could not be recorded.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The command takes no more.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Policy refuses a line that was typed; it was abandoned, and what came behind it with it.
    #[error("{0}")]
    Held(String),
}

impl SessionInput {
    /// Records bytes and hands them on; waits while the command does not read, and where a guard looks at what is typed until
    /// that has.
    pub async fn write(&self, bytes: Bytes) -> Result<(), InputError> {
        match &self.guard {
            None => self.hand_on(bytes).await,
            // few shells have one: boxed, so that the others have no room for it
            Some(guard) => Box::pin(self.write_guarded(guard, bytes)).await,
        }
    }

    async fn write_guarded(&self, guard: &Guard, bytes: Bytes) -> Result<(), InputError> {
        let mut pieces = guard::pieces(bytes).into_iter().peekable();
        // a program reads the rest: not waited for at each line
        let mut elsewhere = false;
        while let Some(piece) = pieces.next() {
            match piece {
                Typed::Text(text) => {
                    guard.typed();
                    self.hand_on(text).await?;
                }
                Typed::Enter(enter) => {
                    if let Err(Held { line, denial }) = guard.judge(&self.record).await {
                        self.record.refused(&line, &denial).await?;
                        self.hand_on(Bytes::from_static(guard::ABANDON)).await?;
                        return Err(InputError::Held(denial.text));
                    }
                    self.hand_on(enter).await?;
                    if pieces.peek().is_some() && !elsewhere {
                        elsewhere = !guard::reads_again(&self.record).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn hand_on(&self, bytes: Bytes) -> Result<(), InputError> {
        Ok(self.way.write(self.record.take(bytes).await?).await?)
    }

    /// The client has closed its input.
    pub async fn eof(&self) -> Result<(), TransportError> {
        self.way.eof().await
    }

    /// The client's window has changed. Never waits behind data.
    pub async fn resize(&self, size: WindowSize) -> Result<(), InputError> {
        self.record.resize(size).await?;
        Ok(self.way.resize(size).await?)
    }

    /// The client sends a signal, named as in RFC 4254, section 6.9. Never waits behind data.
    pub async fn signal(&self, name: &str) -> Result<(), TransportError> {
        self.way.signal(name).await
    }

    /// Nobody reads the standard output any more.
    pub async fn close_output(&self) -> Result<(), TransportError> {
        self.way.close_output().await
    }
}

impl SessionOutput {
    /// The next thing the node says, once it is recorded; `None` after the end of all output. Nothing is lost where somebody stops
    /// waiting for it and asks again.
    pub async fn next(&mut self) -> Option<Result<Out, TransportError>> {
        loop {
            let next = match self.recording.is_some() {
                true => self.recorded().await,
                false => self.said().await,
            };
            match next {
                // what was only for the record
                Some(Ok(Out::Stdout(bytes) | Out::Stderr(bytes))) if bytes.is_empty() => {}
                next => return next,
            }
        }
    }
}

impl SessionOutput {
    async fn said(&mut self) -> Option<Result<Out, TransportError>> {
        let said = match self.way.next().await {
            Some(Ok(said)) => said,
            Some(Err(error)) => return Some(Err(error)),
            None => return self.record(Stream::Stdout, self.record.held_back()?).await,
        };
        let recorded = match said {
            Said::Stdout(bytes) => return self.record(Stream::Stdout, bytes).await,
            Said::Stderr(bytes) => return self.record(Stream::Stderr, bytes).await,
            Said::Exit(exit) => self.record.exit(&exit).await.map(|()| Out::Exit(exit)),
            Said::Notice(sentence) => Ok(Out::Notice(sentence)),
        };
        // no byte goes on that was not recorded, and whoever hears this ends the session
        Some(recorded.map_err(TransportError::from))
    }

    async fn record(&mut self, stream: Stream, bytes: Unrecorded) -> Option<Result<Out, TransportError>> {
        match self.record.take(stream, bytes) {
            Ok(Taken::Now(bytes)) => Some(Ok(out(stream, bytes))),
            Ok(Taken::Later(recorded)) => {
                self.recording = Some(Recording { stream, recorded });
                self.recorded().await
            }
            Err(error) => Some(Err(error.into())),
        }
    }

    async fn recorded(&mut self) -> Option<Result<Out, TransportError>> {
        let Recording { stream, recorded } = self.recording.as_mut()?;
        let (stream, recorded) = (*stream, recorded.await);
        self.recording = None;
        Some(recorded.map(|bytes| out(stream, bytes)).map_err(TransportError::from))
    }
}

impl FileSession {
    pub(super) fn new(service: FileService, end: SessionEnd) -> Self {
        Self { service, end }
    }

    /// The service and the record for whoever answers this client; what the two say to each other is recorded.
    pub fn attach<S>(self, client: S) -> AttachedFiles<S> {
        let record = self.end.record();
        AttachedFiles {
            stream: RecordedStream::new(client, record),
            service: self.service,
            record: record.files(),
            end: self.end,
        }
    }
}

impl<S> RecordedStream<S> {
    pub(super) fn new(stream: S, record: &SessionRecord) -> Self {
        Self { stream, input: record.input(), output: record.output() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RecordedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let recorded = self.input.count(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(recorded.map_err(io::Error::other).inspect_err(|_| buf.set_filled(before)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RecordedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // how much the client takes is known afterwards; that it may have it must be known before
        self.output.intact().map_err(io::Error::other)?;
        let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        let recorded = self.output.count(Stream::Stdout, buf.get(..taken).unwrap_or_default());
        Poll::Ready(recorded.map(|()| taken).map_err(io::Error::other))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
