//! The two queues between a data channel's task and the application, bounded in bytes.
//!
//! ```text
//!   ChannelWriter ──▶ Outbox: data in order, size (the newest only), flags ──▶ driver ──▶ core ──▶ socket
//!   ChannelReader ◀── Inbox: events, handed over a whole batch at a time  ◀── driver ◀── core ◀── socket
//! ```
//!
//! A lock is taken once per batch and not once per frame; neither side ever waits while it holds one. A writer waits for
//! room; the driver never does: it stops reading the socket while the inbox is full.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use portcullis_protocol::channel::Event;
use portcullis_protocol::payload::SessionState;
use portcullis_protocol::{Flag, PayloadType, Size};
use tokio::sync::{Semaphore, oneshot};

use super::event::DriverEvent;

/// What an event costs besides its bytes, so that a flood of tiny ones is bounded as well.
const EVENT_COST: usize = 64;

/// More commands than this at once make no sense: later ones are dropped.
const MAX_COMMANDS: usize = 16;

/// The channel has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data channel has ended")]
pub struct ChannelGone;

/// Towards the other end.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<OutState>,
    /// How many bytes writers may have waiting in front of the core.
    capacity: usize,
    space: Semaphore,
    driver: AtomicWaker,
}

#[derive(Debug, Default)]
struct OutState {
    data: VecDeque<Chunk>,
    size: Option<Size>,
    commands: VecDeque<Command>,
    writers_gone: bool,
    ended: bool,
}

/// What overtakes data.
#[derive(Debug)]
pub(super) enum Command {
    Size(Size),
    Flag(Flag),
    /// Answered when everything that was sent before is acknowledged.
    Drain(oneshot::Sender<()>),
    /// Agent only.
    Ready(bool),
    /// Agent only: the session's state, and its name.
    State(SessionState, String),
}

/// Bytes on their way into the core, and the room they hold until they are there.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) kind: PayloadType,
    pub(super) bytes: Bytes,
    room: usize,
}

/// From the other end.
#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<InState>,
    /// How many bytes may wait for the reader; one event always may.
    capacity: usize,
    driver: AtomicWaker,
}

#[derive(Debug, Default)]
struct InState {
    events: VecDeque<DriverEvent>,
    cost: usize,
    reader: Option<Waker>,
    reader_gone: bool,
    ended: bool,
}

impl Outbox {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        let (state, driver) = (Mutex::default(), AtomicWaker::new());
        Arc::new(Self { state, capacity, space: Semaphore::new(capacity), driver })
    }

    /// Queues bytes once there is room for them; more than fits at once goes when all else is gone.
    pub(super) async fn send(&self, kind: PayloadType, bytes: Bytes) -> Result<(), ChannelGone> {
        let room = bytes.len().max(1).min(self.capacity);
        let permits = u32::try_from(room).unwrap_or(u32::MAX);
        self.space.acquire_many(permits).await.map_err(|_| ChannelGone)?.forget();
        self.change(|state| state.data.push_back(Chunk { kind, bytes, room }))
    }

    /// Replaces a size that has not gone out yet: only the newest counts.
    pub(super) fn resize(&self, size: Size) -> Result<(), ChannelGone> {
        self.change(|state| state.size = Some(size))
    }

    pub(super) fn command(&self, command: Command) -> Result<(), ChannelGone> {
        self.change(|state| {
            if state.commands.len() < MAX_COMMANDS {
                state.commands.push_back(command);
            }
        })
    }

    pub(super) fn writers_gone(&self) {
        let _ = self.change(|state| state.writers_gone = true);
    }

    fn change(&self, change: impl FnOnce(&mut OutState)) -> Result<(), ChannelGone> {
        {
            let mut state = lock(&self.state);
            if state.ended {
                return Err(ChannelGone);
            }
            change(&mut state);
        }
        self.driver.wake();
        Ok(())
    }

    // The driver's side.

    pub(super) fn register(&self, waker: &Waker) {
        self.driver.register(waker);
    }

    pub(super) fn take_command(&self) -> Option<Command> {
        let mut state = lock(&self.state);
        state.size.take().map(Command::Size).or_else(|| state.commands.pop_front())
    }

    pub(super) fn take_data(&self) -> Option<Chunk> {
        lock(&self.state).data.pop_front()
    }

    /// A chunk is in the core: its room is free again.
    pub(super) fn release(&self, chunk: &Chunk) {
        self.space.add_permits(chunk.room);
    }

    /// Nothing waits in front of the core.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.state).data.is_empty()
    }

    pub(super) fn has_no_writer(&self) -> bool {
        lock(&self.state).writers_gone
    }

    /// Nothing is taken any more; whoever waits for room learns it.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        state.data.clear();
        // Whoever waits for a drain waits in vain.
        state.commands.clear();
        self.space.close();
    }
}

impl Inbox {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), capacity: capacity.max(1), driver: AtomicWaker::new() })
    }

    /// Everything that has come since the last call; `None` after the end.
    pub(super) fn poll_batch(&self, cx: &Context<'_>, batch: &mut VecDeque<DriverEvent>) -> Poll<Option<()>> {
        {
            let mut state = lock(&self.state);
            if state.events.is_empty() {
                if state.ended {
                    return Poll::Ready(None);
                }
                match &mut state.reader {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                return Poll::Pending;
            }
            std::mem::swap(&mut state.events, batch);
            // only a full inbox holds the driver up: a wake-up for every key would come between it and its echo
            if std::mem::take(&mut state.cost) < self.capacity {
                return Poll::Ready(Some(()));
            }
        }
        self.driver.wake();
        Poll::Ready(Some(()))
    }

    pub(super) fn reader_gone(&self) {
        {
            let mut state = lock(&self.state);
            state.reader_gone = true;
            state.events.clear();
            state.cost = 0;
        }
        self.driver.wake();
    }

    // The driver's side.

    pub(super) fn register(&self, waker: &Waker) {
        self.driver.register(waker);
    }

    /// Hands over what `next` gives until it is empty or the inbox is full. Whether anything was taken, and whether it was
    /// all.
    pub(super) fn fill(&self, mut next: impl FnMut() -> Option<DriverEvent>) -> (bool, bool) {
        let (mut moved, mut added) = (false, false);
        let (waker, room) = {
            let mut state = lock(&self.state);
            while state.cost < self.capacity {
                let Some(event) = next() else { break };
                moved = true;
                // Without a reader nothing is kept, but the channel goes on: a writer may still be there.
                if !state.reader_gone {
                    state.cost += event.cost();
                    state.events.push_back(event);
                    added = true;
                }
            }
            (if added { state.reader.take() } else { None }, state.cost < self.capacity)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        (moved, room)
    }

    pub(super) fn has_no_reader(&self) -> bool {
        lock(&self.state).reader_gone
    }

    /// Nothing follows what is queued already.
    pub(super) fn end(&self, last: Option<DriverEvent>) {
        let waker = {
            let mut state = lock(&self.state);
            if !state.reader_gone {
                state.events.extend(last);
            }
            state.ended = true;
            state.reader.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl DriverEvent {
    fn cost(&self) -> usize {
        EVENT_COST
            + match self {
                Self::Channel(Event::Data { bytes, .. }) => bytes.len(),
                _ => 0,
            }
    }
}

/// A panic elsewhere leaves these queues as they were: every change under the lock is complete.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn event() -> DriverEvent {
        DriverEvent::Channel(Event::Data { kind: PayloadType::Output, bytes: Bytes::from_static(b"x") })
    }

    const OUTBOX_BYTES: usize = 256 << 10;
    const INBOX_BYTES: usize = 256 << 10;
    const SOON: Duration = Duration::from_millis(50);

    #[tokio::test(start_paused = true)]
    async fn a_writer_waits_for_room_and_control_does_not() {
        let outbox = Outbox::new(OUTBOX_BYTES);
        outbox.send(PayloadType::Output, Bytes::from(vec![0; OUTBOX_BYTES])).await.unwrap();
        let more = outbox.send(PayloadType::Output, Bytes::from_static(b"x"));
        tokio::pin!(more);
        assert!(timeout(SOON, &mut more).await.is_err());
        outbox.resize(Size { cols: 80, rows: 24 }).unwrap();
        outbox.resize(Size { cols: 81, rows: 24 }).unwrap();
        outbox.command(Command::Flag(Flag::TerminateSession)).unwrap();
        assert!(matches!(outbox.take_command(), Some(Command::Size(Size { cols: 81, rows: 24 }))));
        assert!(matches!(outbox.take_command(), Some(Command::Flag(Flag::TerminateSession))));
        assert!(outbox.take_command().is_none());
        let chunk = outbox.take_data().unwrap();
        outbox.release(&chunk);
        timeout(SOON, more).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_fits_goes_alone() {
        let outbox = Outbox::new(OUTBOX_BYTES);
        outbox.send(PayloadType::Output, Bytes::from(vec![0; 3 * OUTBOX_BYTES])).await.unwrap();
        assert!(timeout(SOON, outbox.send(PayloadType::Output, Bytes::from_static(b"x"))).await.is_err());
        let chunk = outbox.take_data().unwrap();
        outbox.release(&chunk);
        assert_eq!(outbox.space.available_permits(), OUTBOX_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_wakes_a_waiting_writer() {
        let outbox = Outbox::new(OUTBOX_BYTES);
        outbox.send(PayloadType::Output, Bytes::from(vec![0; OUTBOX_BYTES])).await.unwrap();
        let waiting = tokio::spawn({
            let outbox = Arc::clone(&outbox);
            async move { outbox.send(PayloadType::Output, Bytes::from_static(b"x")).await }
        });
        tokio::task::yield_now().await;
        outbox.end();
        assert_eq!(timeout(SOON, waiting).await.unwrap().unwrap(), Err(ChannelGone));
        assert_eq!(outbox.resize(Size { cols: 1, rows: 1 }), Err(ChannelGone));
    }

    #[test]
    fn the_inbox_is_bounded_in_bytes_even_for_tiny_events() {
        let inbox = Inbox::new(INBOX_BYTES);
        let mut given = 0_usize;
        let (moved, room) = inbox.fill(|| {
            given += 1;
            Some(event())
        });
        assert!(moved && !room);
        assert!(given <= INBOX_BYTES / EVENT_COST, "{given}");
        inbox.reader_gone();
        let mut rest = 10_000;
        let (moved, room) = inbox.fill(|| {
            rest -= 1;
            (rest > 0).then(event)
        });
        assert!(moved && room && rest == 0);
    }
}
