//! The handle on a relay, and its streams, which are read and written by tasks of their own.
//!
//! ```text
//!   RelayStream 1 ─┐                                  ┌─ run ◀─ the helper's output
//!   RelayStream 2 ─┼─▶ Mutex<State { Mux, wakers }> ◀─┤
//!   Relay  ────────┘   dial, resolve                  └─ run ─▶ its input
//! ```
//!
//! Nobody holds the lock while waiting. A stream that finds nothing to read, or no room to write, leaves its waker.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, oneshot};

use super::error::RelayError;
use super::frame::{StreamId, Target};
use super::mux::{Mux, MuxEvent};
use super::stream::Read;
use crate::data_channel::{wait, wake};
use crate::policy::Grant;
use crate::transport::helper::output_window::OutputBudget;

/// How long a look-up may take: a resolver asks each of its servers for some seconds.
const LOOKUP_TIME: Duration = Duration::from_secs(15);

/// A way through a node to whatever it reaches, which many streams share. Clones share it as well; it ends when neither a
/// clone nor a stream of it is left.
#[derive(Clone, Debug)]
pub struct Relay {
    grant: Arc<Grant>,
    output: Arc<OutputBudget>,
    shared: Arc<Shared>,
    _holder: Arc<Holder>,
}

/// One stream through a node. Dropping one that was not shut down resets it; of one that was, what was written is still
/// carried.
#[derive(Debug)]
pub struct RelayStream {
    id: StreamId,
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// There may be something to send, or nobody left who would.
    pub(super) driver: Notify,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) mux: Mux,
    /// The streams that somebody has.
    streams: HashMap<StreamId, Waiting>,
    lookups: HashMap<StreamId, oneshot::Sender<Result<Vec<IpAddr>, RelayError>>>,
    /// No handle is left.
    pub(super) unheld: bool,
    /// Why nothing goes any more.
    pub(super) over: Option<RelayError>,
}

/// Who waits for a stream.
#[derive(Debug, Default)]
struct Waiting {
    reader: Option<Waker>,
    writer: Option<Waker>,
    opened: Option<Result<(), RelayError>>,
}

/// What all clones of a handle have in common.
#[derive(Debug)]
struct Holder(Arc<Shared>);

impl Relay {
    /// A handle, and what its driver shares with it.
    pub(super) fn new(grant: Arc<Grant>, output: Arc<OutputBudget>) -> (Self, Arc<Shared>) {
        let shared = Arc::new(Shared { state: Mutex::default(), driver: Notify::new() });
        let holder = Arc::new(Holder(Arc::clone(&shared)));
        (Self { grant, output, shared: Arc::clone(&shared), _holder: holder }, shared)
    }

    /// One that is known not to be there.
    pub(in crate::transport) fn absent(grant: Arc<Grant>, output: Arc<OutputBudget>) -> Self {
        let (relay, shared) = Self::new(grant, output);
        shared.lock().end(RelayError::NotOnThisNode);
        relay
    }

    /// Why it carries nothing any more, if so: whoever wants to dial opens another.
    pub fn ended(&self) -> Option<RelayError> {
        self.shared.lock().over.clone()
    }

    /// The addresses that the node's resolver has for a name.
    ///
    /// # Errors
    ///
    /// There is no such name, or no answer; or the relay is gone.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, RelayError> {
        let (answer, answered) = oneshot::channel();
        let asked = {
            let mut state = self.shared.lock();
            if let Some(over) = &state.over {
                return Err(over.clone());
            }
            let id = state.mux.look_up(host)?;
            state.lookups.insert(id, answer);
            Asked { id, shared: &self.shared }
        };
        self.shared.driver.notify_one();
        let found = tokio::time::timeout(LOOKUP_TIME, answered).await;
        drop(asked);
        match found {
            Err(_) => Err(RelayError::TimedOut),
            Ok(Err(_)) => Err(self.ended().unwrap_or(RelayError::Idle)),
            Ok(Ok(Ok(found))) if found.is_empty() => Err(RelayError::NoSuchName),
            Ok(Ok(found)) => found,
        }
    }

    /// Connects from the node. That gives up by itself after ten seconds, and when it is dropped.
    ///
    /// # Errors
    ///
    /// Why there is no connection; or the relay is gone.
    pub async fn dial(&self, target: Target) -> Result<RelayStream, RelayError> {
        let stream = self.begin(target)?;
        stream.opened().await?;
        Ok(stream)
    }

    /// Begins to open a stream. From now on the relay is not let go of.
    pub(in crate::transport) fn begin(&self, target: Target) -> Result<RelayStream, RelayError> {
        let window = self.output.window(self.grant.identity().person(), true);
        let stream = {
            let mut state = self.shared.lock();
            if let Some(over) = &state.over {
                return Err(over.clone());
            }
            let id = state.mux.open(target, window)?;
            state.streams.insert(id, Waiting::default());
            RelayStream { id, shared: Arc::clone(&self.shared) }
        };
        self.shared.driver.notify_one();
        Ok(stream)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.lock().unheld = true;
        self.0.driver.notify_one();
    }
}

/// A look-up that somebody waits for.
struct Asked<'a> {
    id: StreamId,
    shared: &'a Shared,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.lookups.remove(&self.id);
        state.mux.forget_lookup(self.id);
    }
}

impl RelayStream {
    /// Waits until its other end is there, or it is clear that it won't be. To be asked once.
    pub(in crate::transport) async fn opened(&self) -> Result<(), RelayError> {
        poll_fn(|cx| self.poll_opened(cx)).await
    }

    fn poll_opened(&self, cx: &mut Context<'_>) -> Poll<Result<(), RelayError>> {
        let mut state = self.shared.lock();
        let State { streams, over, .. } = &mut *state;
        let Some(waiting) = streams.get_mut(&self.id) else { return Poll::Ready(Err(RelayError::Idle)) };
        match (waiting.opened.take(), over) {
            (Some(opened), _) => Poll::Ready(opened),
            (None, Some(over)) => Poll::Ready(Err(over.clone())),
            (None, None) => {
                wait(&mut waiting.writer, cx);
                Poll::Pending
            }
        }
    }
}

impl AsyncRead for RelayStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        match state.mux.read(self.id, buf.remaining()) {
            Read::Data(bytes) => {
                buf.put_slice(&bytes);
                if state.mux.has_output() {
                    // the node may send more
                    self.shared.driver.notify_one();
                }
                Poll::Ready(Ok(()))
            }
            Read::Eof => Poll::Ready(Ok(())),
            Read::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            // not to be taken for an end: more may have been on its way
            Read::Empty if let Some(over) = &state.over => Poll::Ready(Err(gone(over))),
            Read::Empty => {
                if let Some(waiting) = state.streams.get_mut(&self.id) {
                    wait(&mut waiting.reader, cx);
                }
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for RelayStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.shared.lock();
        if let Some(over) = &state.over {
            return Poll::Ready(Err(gone(over)));
        }
        match state.mux.write(self.id, buf) {
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(0) if !buf.is_empty() => {
                if let Some(waiting) = state.streams.get_mut(&self.id) {
                    wait(&mut waiting.writer, cx);
                }
                // that it is held up is news
                self.shared.driver.notify_one();
                Poll::Pending
            }
            Some(taken) => {
                self.shared.driver.notify_one();
                Poll::Ready(Ok(taken))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// As with a socket: it has its place behind what was written, and is not waited for.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.lock().mux.finish(self.id);
        self.shared.driver.notify_one();
        Poll::Ready(Ok(()))
    }
}

impl Drop for RelayStream {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.streams.remove(&self.id);
        state.mux.drop_stream(self.id);
        drop(state);
        self.shared.driver.notify_one();
    }
}

fn gone(over: &RelayError) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, over.clone())
}

impl fmt::Debug for Shared {
    /// Without what people say to each other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// A panic elsewhere leaves the state as it was: every change under the lock is complete.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells whom the news concerns.
    pub(super) fn deliver(&mut self) {
        while let Some(event) = self.mux.poll_event() {
            match event {
                MuxEvent::Opened(id) => self.opened(id, Ok(())),
                MuxEvent::Refused(id, error) => self.opened(id, Err(error)),
                MuxEvent::Readable(id) => {
                    if let Some(waiting) = self.streams.get_mut(&id) {
                        wake(&mut waiting.reader);
                    }
                }
                MuxEvent::Writable(id) => {
                    if let Some(waiting) = self.streams.get_mut(&id) {
                        wake(&mut waiting.writer);
                    }
                }
                MuxEvent::Found(id, found) => {
                    if let Some(answer) = self.lookups.remove(&id) {
                        // who does not wait any more needs no answer
                        let _ = answer.send(found);
                    }
                }
            }
        }
    }

    fn opened(&mut self, id: StreamId, opened: Result<(), RelayError>) {
        if let Some(waiting) = self.streams.get_mut(&id) {
            waiting.opened = Some(opened);
            wake(&mut waiting.writer);
        }
    }

    /// Nothing goes any more: nobody must wait. The first reason is the one that counts.
    pub(super) fn end(&mut self, why: RelayError) {
        let why = self.over.get_or_insert(why);
        for waiting in self.streams.values_mut() {
            wake(&mut waiting.reader);
            wake(&mut waiting.writer);
        }
        for (_, answer) in self.lookups.drain() {
            let _ = answer.send(Err(why.clone()));
        }
    }
}
