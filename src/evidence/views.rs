//! Views of a session's record: each can note what its holder does, and nothing else.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::error::EvidenceError;
use super::event::{Event, ForwardConnected, ForwardInside, SessionLane, SessionSshd};
use super::file_event::{FileAsked, FileClosed, FileOpened, FileOperation};
use super::proof::{Recorded, Unrecorded};
use super::record::{Shared, lock};
use crate::model::{CallIds, Exit, SessionId, WindowSize};
use crate::policy::{Denial, Grant};

/// Takes what the client sends.
#[derive(Debug)]
pub struct InputRecord {
    shared: Arc<Shared>,
}

/// Takes what the client gets.
#[derive(Debug)]
pub struct OutputRecord {
    shared: Arc<Shared>,
}

/// Takes the sessions of Session Manager that carry a session.
#[derive(Clone, Debug)]
pub struct LaneRecord {
    shared: Arc<Shared>,
    /// What was noted so far, for whoever else they carry.
    noted: Arc<Mutex<Vec<(SessionId, CallIds)>>>,
}

/// Takes what is known of a forward.
#[derive(Debug)]
pub struct ForwardRecord {
    shared: Arc<Shared>,
}

/// Takes what is done to files.
#[derive(Clone, Debug)]
pub struct FileRecord {
    shared: Arc<Shared>,
}

/// When something that the node said may go on.
pub enum Taken {
    /// Now.
    Now(Bytes),
    /// When it is in the session's folder.
    Later(BoxFuture<'static, Result<Bytes, EvidenceError>>),
}

/// Which of a session's output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal; for files, the answers of the protocol.
    Stdout,
    /// Standard error.
    Stderr,
}

impl InputRecord {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The client said this; it may go on.
    pub async fn take(&self, bytes: Bytes) -> Result<Recorded, EvidenceError> {
        self.count(&bytes)?;
        self.shared.keep_input(&bytes).await?;
        Ok(Recorded::new(bytes))
    }

    /// A line that was typed is not run, because policy refuses it.
    pub async fn refused(&self, line: &str, denial: &Denial) -> Result<(), EvidenceError> {
        self.shared.line_refused(line, denial).await
    }

    /// The line as it stands at a shell's prompt, where there is one.
    pub fn line(&self) -> Option<String> {
        self.shared.line()
    }

    /// Whether a shell waits for a line: all that was entered before has been read.
    pub fn waits(&self) -> bool {
        self.shared.waits()
    }

    /// How long the terminal has shown nothing new.
    pub fn silent_for(&self) -> Duration {
        self.shared.silent_for()
    }

    /// The client's window has another size.
    pub async fn resize(&self, size: WindowSize) -> Result<(), EvidenceError> {
        self.shared.keep_resize(size).await
    }

    /// The client said this, to the gateway itself.
    pub fn count(&self, bytes: &[u8]) -> Result<(), EvidenceError> {
        self.shared.pass(&self.shared.stdin, bytes)
    }
}

impl OutputRecord {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The node said this. It may go on at once where nothing is kept of it, and otherwise when that is in the session's folder.
    ///
    /// What comes later owns all that it needs: whoever stops waiting for it goes on with it the next time, or what the node said is lost.
    pub fn take(&self, stream: Stream, bytes: Unrecorded) -> Result<Taken, EvidenceError> {
        self.shared.intact()?;
        let bytes = match self.shared.without_marks(bytes.as_slice()) {
            Some(shown) => Unrecorded::new(shown.into()),
            None => bytes,
        };
        self.count(stream, bytes.as_slice())?;
        let entries = self.shared.entries_of_output(stream, bytes.as_slice());
        if entries.is_empty() {
            return Ok(Taken::Now(bytes.open()));
        }
        let shared = self.shared.clone();
        Ok(Taken::Later(Box::pin(async move {
            shared.keep_recorded(entries, bytes.as_slice().len()).await?;
            Ok(bytes.open())
        })))
    }

    /// The node says nothing more: what of it has been held back until then, where that is anything.
    pub fn held_back(&self) -> Option<Unrecorded> {
        self.shared.held_back().map(|held| Unrecorded::new(held.into()))
    }

    /// The gateway itself said this.
    pub fn count(&self, stream: Stream, bytes: &[u8]) -> Result<(), EvidenceError> {
        match stream {
            Stream::Stdout => self.shared.pass(&self.shared.stdout, bytes),
            Stream::Stderr => self.shared.pass(&self.shared.stderr, bytes),
        }
    }

    /// The command ended so. The first one counts.
    pub async fn exit(&self, exit: &Exit) -> Result<(), EvidenceError> {
        self.shared.exit(exit).await
    }

    /// Whether a line was lost, so that nothing more may be said.
    pub fn intact(&self) -> Result<(), EvidenceError> {
        self.shared.intact()
    }
}

impl LaneRecord {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, noted: Arc::default() }
    }

    /// What another session has been carried by so far carries this one as well.
    pub async fn shares(&self, with: &Self) -> Result<(), EvidenceError> {
        let noted = lock(&with.noted).clone();
        for (session, calls) in &noted {
            self.opened(session, calls).await?;
        }
        Ok(())
    }

    /// The session's number.
    pub fn session(&self) -> Uuid {
        self.shared.id
    }

    /// The node's own sshd carries it.
    pub async fn by_sshd(&self, event: SessionSshd<'_>) -> Result<(), EvidenceError> {
        self.shared.write(&Event::SessionSshd(event)).await
    }

    /// This Session Manager session was started to carry part of it. One that comes too late to be used may be noted after
    /// the session's end.
    pub async fn opened(&self, session: &SessionId, calls: &CallIds) -> Result<(), EvidenceError> {
        lock(&self.noted).push((session.clone(), calls.clone()));
        self.shared.write(&Event::SessionLane(SessionLane { session_manager_id: &session.0, calls })).await
    }
}

impl ForwardRecord {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The node has connected; written before the first byte.
    pub async fn connected(&self, way: &str, address: Option<&str>, end_to_end: bool) -> Result<(), EvidenceError> {
        self.shared.write(&Event::ForwardConnected(ForwardConnected { way, address, end_to_end })).await
    }

    /// One end has said first that it speaks a protocol in which nobody sees what is done.
    pub async fn inside(&self, inside: ForwardInside) -> Result<(), EvidenceError> {
        self.shared.write(&Event::ForwardInside(inside)).await
    }
}

impl FileRecord {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What was done may be something that somebody is to know at once.
    pub async fn raise_alerts(&self, grant: &Grant) -> Result<(), EvidenceError> {
        self.shared.raise_alerts(grant).await
    }

    /// The node is about to be asked for a change.
    pub async fn asked(&self, event: FileAsked<'_>) -> Result<(), EvidenceError> {
        self.shared.write(&Event::FileAsked(event)).await
    }

    /// A transfer begins.
    pub async fn opened(&self, event: FileOpened<'_>) -> Result<(), EvidenceError> {
        self.shared.write(&Event::FileOpened(event)).await
    }

    /// A transfer is over.
    pub async fn closed(&self, event: FileClosed<'_>) -> Result<(), EvidenceError> {
        self.shared.write(&Event::FileClosed(event)).await
    }

    /// Something that leaves the node as it was, done or refused: one by one, or summed where there are many.
    pub async fn question(&self, event: FileOperation<'_>) -> Result<(), EvidenceError> {
        self.shared.ask(event).await
    }

    /// Something else was done, or refused.
    pub async fn operation(&self, event: FileOperation<'_>) -> Result<(), EvidenceError> {
        self.shared.write(&Event::FileOperation(event)).await
    }
}
