//! The multiplexer's async side, for both roles: streams that are read and written by tasks of their own.
//!
//! ```text
//!   MuxStream 3 ─┐                      ┌─ run ◀─ input:  bytes of the channel, while the budget has room
//!   MuxStream 5 ─┼─▶ Mutex<Mux> ◀───────┤
//!   MuxStreams  ─┘   (open, accept)     └─ run ─▶ output: one frame at a time, while the channel takes them
//! ```
//!
//! The protocol's [`Mux`] is behind one lock that nobody holds while waiting. A stream that finds nothing to read, or no
//! room to write, leaves its waker, and [`MuxDriver::run`] wakes it when the multiplexer says so. Nothing is queued
//! besides what the multiplexer bounds itself.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use portcullis_protocol::Time;
use portcullis_protocol::mux::{Mux, MuxError, MuxEvent, MuxLimits, MuxRole, Read, StreamId};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::clock::{Clock, sleep_until};
use super::wakers::{wait, wake};

/// Opens streams, and accepts the other end's.
#[derive(Debug)]
pub struct MuxStreams {
    shared: Arc<Shared>,
}

/// One stream. It may be read and written at the same time; dropping it finishes it, and discards what was not read.
#[derive(Debug)]
pub struct MuxStream {
    id: StreamId,
    shared: Arc<Shared>,
}

/// Joins the multiplexer to its data channel while it is run.
#[derive(Debug)]
pub struct MuxDriver {
    clock: Clock,
    shared: Arc<Shared>,
}

/// The multiplexer is over, or this stream was finished here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the multiplexed stream has ended")]
pub struct StreamGone;

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There may be something to send, or room to receive.
    driver: Notify,
}

#[derive(Debug)]
struct State {
    mux: Mux,
    /// The streams that somebody holds.
    held: HashMap<StreamId, Held>,
    /// Opened by the other end, and accepted by nobody yet.
    opened: VecDeque<StreamId>,
    acceptor: Option<Waker>,
    /// Nobody will accept any more.
    refuses: bool,
    /// Nobody drives the multiplexer any more.
    over: bool,
    /// Since when the budget has had no room, while it has none.
    full: Option<Instant>,
}

/// Who waits for a stream.
#[derive(Debug)]
struct Held {
    reader: Option<Waker>,
    writer: Option<Waker>,
    finished: bool,
    /// When something was read last.
    read: Instant,
    /// It was ended because its reader held up the others.
    stalled: bool,
}

impl Held {
    fn new() -> Self {
        Self { reader: None, writer: None, finished: false, read: Instant::now(), stalled: false }
    }
}

impl MuxStreams {
    /// A multiplexer over a data channel, and what must be run for it to move.
    pub fn new(role: MuxRole, limits: MuxLimits) -> (Self, MuxDriver) {
        let clock = Clock::start();
        let state = State {
            mux: Mux::new(role, limits, clock.now()),
            held: HashMap::new(),
            opened: VecDeque::new(),
            acceptor: None,
            refuses: false,
            over: false,
            full: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), driver: Notify::new() });
        (Self { shared: Arc::clone(&shared) }, MuxDriver { clock, shared })
    }

    /// Opens a stream, as whoever forwards does. `None` if there are too many, or the multiplexer is over.
    pub fn open(&self) -> Option<MuxStream> {
        let id = {
            let mut state = self.shared.lock();
            if state.over {
                return None;
            }
            let id = state.mux.open()?;
            state.held.insert(id, Held::new());
            id
        };
        self.shared.driver.notify_one();
        Some(MuxStream { id, shared: Arc::clone(&self.shared) })
    }

    /// How many streams somebody holds.
    pub fn count(&self) -> usize {
        self.shared.lock().held.len()
    }

    /// Whether nothing moves any more.
    pub fn is_over(&self) -> bool {
        self.shared.lock().over
    }

    /// Finishes at once what the other end opens, now and from now on.
    pub fn accept_none(&self) {
        {
            let mut state = self.shared.lock();
            state.refuses = true;
            for id in std::mem::take(&mut state.opened) {
                state.mux.reset(id);
            }
        }
        self.shared.driver.notify_one();
    }

    /// How long the budget has had no room: nothing is received then, of any stream.
    pub fn full_for(&self) -> Option<Duration> {
        self.shared.lock().full.map(|since| since.elapsed())
    }

    /// Ends the stream that holds up the others, where there is one: the budget has no room, nobody has read of this one for so
    /// long, and of all such ones it takes the most. Its reader learns that by [`MuxStream::has_stalled`].
    pub fn end_stalled(&self, patience: Duration) -> Option<StreamId> {
        let mut state = self.shared.lock();
        if state.mux.wants_input() || state.held.len() < 2 {
            return None;
        }
        let State { mux, held, .. } = &mut *state;
        let stands = held.iter_mut().filter(|(_, held)| held.read.elapsed() >= patience);
        let (id, held) = stands.max_by_key(|(id, _)| mux.backlog(**id)).filter(|(id, _)| mux.backlog(**id) > 0)?;
        let id = *id;
        held.stalled = true;
        wake(&mut held.reader);
        wake(&mut held.writer);
        mux.reset(id);
        drop(state);
        self.shared.driver.notify_one();
        Some(id)
    }

    /// The next stream that the other end opens; `None` when the multiplexer is over. May be cancelled.
    pub async fn accept(&self) -> Option<MuxStream> {
        let id = poll_fn(|cx| {
            let mut state = self.shared.lock();
            if let Some(id) = state.opened.pop_front() {
                state.held.insert(id, Held::new());
                return Poll::Ready(Some(id));
            }
            if state.over {
                return Poll::Ready(None);
            }
            wait(&mut state.acceptor, cx);
            Poll::Pending
        });
        Some(MuxStream { id: id.await?, shared: Arc::clone(&self.shared) })
    }
}

impl MuxStream {
    /// The stream's number.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Waits until there is something to read, or the end.
    pub async fn readable(&self) {
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            if state.over || state.mux.is_readable(self.id) {
                return Poll::Ready(());
            }
            if let Some(held) = state.held.get_mut(&self.id) {
                wait(&mut held.reader, cx);
            }
            Poll::Pending
        })
        .await;
    }

    /// Whether the other end has finished it, and everything was read.
    pub fn has_ended(&self) -> bool {
        let state = self.shared.lock();
        state.mux.is_readable(self.id) && state.mux.backlog(self.id) == 0
    }

    /// Whether there are bytes to read.
    pub fn has_bytes(&self) -> bool {
        self.shared.lock().mux.backlog(self.id) > 0
    }

    /// Whether it was ended because nobody read it while others waited.
    pub fn has_stalled(&self) -> bool {
        self.shared.lock().held.get(&self.id).is_some_and(|held| held.stalled)
    }

    /// The next bytes; `None` when the other end has finished the stream, or the multiplexer is over. May be cancelled
    /// without losing any.
    pub async fn read(&self) -> Option<Bytes> {
        let bytes = poll_fn(|cx| {
            let mut state = self.shared.lock();
            match state.mux.read(self.id) {
                Read::Data(bytes) => {
                    if let Some(held) = state.held.get_mut(&self.id) {
                        held.read = Instant::now();
                    }
                    Poll::Ready(Some(bytes))
                }
                Read::End => Poll::Ready(None),
                Read::Empty if state.over => Poll::Ready(None),
                Read::Empty => {
                    if let Some(held) = state.held.get_mut(&self.id) {
                        wait(&mut held.reader, cx);
                    }
                    Poll::Pending
                }
            }
        });
        let bytes = bytes.await?;
        // the budget may have room again
        self.shared.driver.notify_one();
        Some(bytes)
    }

    /// Writes everything; waits while the other end does not keep up.
    ///
    /// # Errors
    ///
    /// [`StreamGone`] if the stream is finished or the multiplexer is over.
    pub async fn write_all(&self, mut bytes: Bytes) -> Result<(), StreamGone> {
        while !bytes.is_empty() {
            poll_fn(|cx| {
                let mut state = self.shared.lock();
                let State { mux, held, over, .. } = &mut *state;
                let Some(held) = held.get_mut(&self.id).filter(|held| !held.finished && !*over) else {
                    return Poll::Ready(Err(StreamGone));
                };
                if mux.write(self.id, &mut bytes) > 0 {
                    return Poll::Ready(Ok(()));
                }
                wait(&mut held.writer, cx);
                Poll::Pending
            })
            .await?;
            self.shared.driver.notify_one();
        }
        Ok(())
    }

    /// Nothing more will be written; what was written is sent first. Programs of AWS take it for the end of both ways.
    pub fn finish(&self) {
        {
            let mut state = self.shared.lock();
            if let Some(held) = state.held.get_mut(&self.id) {
                held.finished = true;
            }
            state.mux.finish(self.id);
        }
        self.shared.driver.notify_one();
    }
}

impl Drop for MuxStream {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.held.remove(&self.id);
            state.mux.finish(self.id);
            state.discard(self.id);
        }
        self.shared.driver.notify_one();
    }
}

impl Drop for MuxStreams {
    /// Nobody accepts any more.
    fn drop(&mut self) {
        self.accept_none();
    }
}

impl MuxDriver {
    /// Moves bytes between the multiplexer and its channel until `input` ends or nobody takes `output`.
    ///
    /// # Errors
    ///
    /// What the multiplexer fails with: the other end sends no frames, or gives no sign of life.
    pub async fn run(self, input: impl Stream<Item = Bytes>, output: mpsc::Sender<Bytes>) -> Result<(), MuxError> {
        tokio::pin!(input);
        loop {
            let (sends, receives, timeout) = self.shared.lock().turn();
            let timeout = timeout.map(|at| self.clock.instant(at));
            tokio::select! {
                // Room first, then the frame: the one that is taken is the one whose turn it is then.
                room = output.reserve(), if sends => {
                    let Ok(room) = room else { return Ok(()) };
                    if let Some(frame) = self.shared.lock().mux.poll_output() {
                        room.send(frame);
                    }
                }
                // While the budget has no room the channel is not read, so that it holds the other end back.
                bytes = input.next(), if receives => match bytes {
                    Some(bytes) => self.shared.lock().mux.handle_input(self.clock.now(), bytes)?,
                    None => return Ok(()),
                },
                // A stream has written, read, or gone.
                () = self.shared.driver.notified() => {}
                () = sleep_until(timeout) => self.shared.lock().mux.handle_timeout(self.clock.now())?,
            }
        }
    }
}

impl Drop for MuxDriver {
    /// Nobody must wait for streams that nothing moves any more.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.over = true;
        wake(&mut state.acceptor);
        for held in state.held.values_mut() {
            wake(&mut held.reader);
            wake(&mut held.writer);
        }
    }
}

impl Shared {
    /// A panic elsewhere leaves the multiplexer as it was: every change under the lock is complete.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Wakes whom the news concerns. Whether there is something to send, whether to receive, and the next deadline.
    fn turn(&mut self) -> (bool, bool, Option<Time>) {
        while let Some(event) = self.mux.poll_event() {
            match event {
                MuxEvent::Opened(id) if self.refuses => self.mux.reset(id),
                MuxEvent::Opened(id) => {
                    self.opened.push_back(id);
                    wake(&mut self.acceptor);
                }
                MuxEvent::Readable(id) => match self.held.get_mut(&id) {
                    Some(held) => {
                        // what has just come can't have been read before
                        held.read = Instant::now();
                        wake(&mut held.reader);
                    }
                    // not accepted yet: it waits
                    None if self.opened.contains(&id) => {}
                    None => self.discard(id),
                },
                MuxEvent::Writable(id) => {
                    if let Some(held) = self.held.get_mut(&id) {
                        wake(&mut held.writer);
                    }
                }
            }
        }
        let receives = self.mux.wants_input();
        self.full = if receives { None } else { self.full.or_else(|| Some(Instant::now())) };
        (!self.mux.is_flushed(), receives, self.mux.poll_timeout())
    }

    /// What nobody reads must not hold the others up.
    fn discard(&mut self, id: StreamId) {
        while let Read::Data(_) = self.mux.read(id) {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;
    use tokio_util::task::AbortOnDropHandle;

    use super::*;

    /// Two ends joined by pipes of a few frames, as a data channel would.
    struct Joined {
        client: MuxStreams,
        server: MuxStreams,
        drivers: [AbortOnDropHandle<Result<(), MuxError>>; 2],
    }

    fn joined(limits: &MuxLimits) -> Joined {
        let (client, near) = MuxStreams::new(MuxRole::Client, limits.clone());
        let (server, far) = MuxStreams::new(MuxRole::Server, limits.clone());
        let ((up, from_near), (down, from_far)) = (mpsc::channel(2), mpsc::channel(2));
        let input = |queue| {
            futures_util::stream::unfold(queue, |mut queue: mpsc::Receiver<Bytes>| async {
                Some((queue.recv().await?, queue))
            })
        };
        let near = AbortOnDropHandle::new(tokio::spawn(near.run(input(from_far), up)));
        let far = AbortOnDropHandle::new(tokio::spawn(far.run(input(from_near), down)));
        Joined { client, server, drivers: [near, far] }
    }

    async fn read_all(stream: &MuxStream) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bytes) = stream.read().await {
            all.extend_from_slice(&bytes);
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn streams_carry_both_ways_at_once_and_end_apart() {
        let ends = joined(&MuxLimits::default());
        let whole: Bytes = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        let echo = async {
            for _ in 0..2 {
                let stream = ends.server.accept().await.unwrap();
                let got = read_all(&stream).await;
                stream.write_all(got.into()).await.unwrap();
            }
        };
        let talk = async {
            for _ in 0..2 {
                let stream = ends.client.open().unwrap();
                stream.write_all(whole.clone()).await.unwrap();
                stream.finish();
                assert_eq!(stream.write_all(Bytes::from_static(b"x")).await, Err(StreamGone));
                assert!(read_all(&stream).await == whole);
            }
        };
        timeout(Duration::from_secs(60), async { tokio::join!(echo, talk) }).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_read_holds_its_writer_and_dropping_it_frees_the_others() {
        let limits = MuxLimits { receive_budget: 64 << 10, send_buffer: 16 << 10, ..MuxLimits::default() };
        let ends = joined(&limits);
        let (stalled, other) = (ends.client.open().unwrap(), ends.client.open().unwrap());
        let too_much = stalled.write_all(vec![0; 1 << 20].into());
        assert!(timeout(Duration::from_secs(1), too_much).await.is_err(), "nobody reads it");
        drop(ends.server.accept().await.unwrap());
        let far = ends.server.accept().await.unwrap();
        other.write_all(Bytes::from_static(b"well")).await.unwrap();
        assert_eq!(timeout(Duration::from_secs(1), far.read()).await.unwrap().unwrap(), "well");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_channel_wakes_everybody() {
        let Joined { client, server, drivers } = joined(&MuxLimits::default());
        let stream = client.open().unwrap();
        let reading = tokio::spawn(async move { stream.read().await });
        let accepted = server.accept().await.unwrap();
        drop(drivers);
        assert_eq!(timeout(Duration::from_secs(1), reading).await.unwrap().unwrap(), None);
        assert!(server.accept().await.is_none() && client.open().is_none());
        assert_eq!(accepted.write_all(Bytes::from_static(b"x")).await, Err(StreamGone));
    }
}
