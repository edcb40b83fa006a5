//! What one channel's client has sent and nobody has taken yet.
//!
//! ```text
//!  connection task ──data, EOF──▶ ┌ chunks, counted in bytes ┐ ──▶ reader task ─▶ node
//!   (never waits)  ──resize─────▶ ┤ the latest size          ├ ──▶ control task
//!                  ──signal─────▶ └ a few signals            ┘
//! ```
//!
//! All channels of a connection share one task that reads the socket, so it must never wait for one of them: it puts
//! things in here. The queue of bytes is bounded by the channel's window, which is none at all until something starts and
//! grows only as the reader takes bytes; what all of a person's queues hold is bounded by their share.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use russh::ChannelId;
use russh::server::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::shares::Held;
use crate::model::WindowSize;

/// Signals kept for a session that is slow to start; more are dropped, as a kernel merges pending ones.
const MAX_SIGNALS: usize = 16;

/// Chunks that are kept apart; a client that sends a byte at a time gets them merged.
const MAX_CHUNKS: usize = 1024;

/// A window's part that is given back at once (RFC 4254, section 5.2): less would be a message for every few packets,
/// more would let the client run dry.
const WINDOW_PARTS: u32 = 8;

/// Half a window in this time fills it: more than anybody types, and less than a client's on the other side of the world.
const PACE: Duration = Duration::from_secs(1);

/// One channel's queue; the connection's task puts in, the channel's tasks take out.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    inner: Mutex<Inner>,
    credit: Option<Credit>,
    control: Notify,
    gone: Notify,
}

/// How the client is told that it may send more.
#[derive(Debug)]
struct Credit {
    id: ChannelId,
    handle: Handle,
}

#[derive(Debug, Default)]
struct Inner {
    chunks: VecDeque<Bytes>,
    /// The bytes in all chunks.
    held: Held,
    /// How wide the window may become. How wide it is, `held` knows.
    widest: u32,
    /// Since the client was last told that it may send more.
    taken: usize,
    /// Since when so many bytes were taken, for no longer than [`PACE`].
    pace: Option<(Instant, u32)>,
    /// The client sends no more (RFC 4254, section 5.3); it may still take output.
    eof: bool,
    /// The client has closed the channel, or its connection has ended: nobody is there to be told anything.
    gone: bool,
    /// The channel's own task has ended: nobody is there to take anything.
    done: bool,
    reader: Option<Waker>,
    size: Option<WindowSize>,
    signals: VecDeque<String>,
    output: Wanted,
}

/// Whether the client still shows what a command says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wanted {
    #[default]
    Yes,
    /// No more, and the node is to know.
    NoMore,
    /// The node knows.
    Told,
}

/// Something that is not data, and does not wait behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// The terminal's new size.
    Resize(WindowSize),
    /// A signal's name, without `SIG`.
    Signal(String),
    /// Nobody reads the standard output any more.
    CloseOutput,
}

impl Inbox {
    /// The inbox of a channel on which nothing has started, so that it has no window.
    pub(super) fn new(id: ChannelId, handle: Handle, held: Held) -> Self {
        let inner = Mutex::new(Inner { held, ..Inner::default() });
        Self { inner, credit: Some(Credit { id, handle }), ..Self::default() }
    }

    /// Makes the window so wide, or as wide as its person's share allows, and says by how much it grew: the caller tells the
    /// client.
    pub(super) fn widen(&self, window: u32) -> u32 {
        let mut inner = self.lock();
        if inner.gone || inner.done {
            return 0;
        }
        inner.widest = inner.widest.max(window);
        let (before, window) = (inner.held.window(), inner.held.window_of_at_most(inner.widest));
        inner.held.set_window(before.max(window));
        window.saturating_sub(before)
    }

    /// Makes the window so wide, or as wide as its person's share allows, and tells the client.
    pub(super) fn open_window(&self, window: u32) {
        let more = self.widen(window);
        if more > 0
            && let Some(Credit { id, handle }) = &self.credit
        {
            handle.grow_window(*id, more);
        }
    }

    /// Lets the window become so wide, for a client that uses the one it has: somebody who types never does.
    pub(super) fn let_window_grow(&self, window: u32) {
        let mut inner = self.lock();
        inner.widest = inner.widest.max(window);
    }

    /// Bytes from the client. Small ones are merged, so that the queue's own cost stays in proportion.
    pub(super) fn push(&self, data: Bytes) {
        let mut inner = self.lock();
        if inner.gone || inner.done || inner.eof || data.is_empty() {
            return;
        }
        inner.held.add(data.len());
        inner.chunks.push_back(data);
        if inner.chunks.len() >= MAX_CHUNKS {
            inner.merge();
        }
        inner.wake_reader();
    }

    /// The client will send no more.
    pub(super) fn eof(&self) {
        let mut inner = self.lock();
        inner.eof = true;
        inner.wake_reader();
    }

    /// The terminal's size has changed; only the latest counts.
    pub(super) fn resize(&self, size: WindowSize) {
        self.lock().size = Some(size);
        self.control.notify_one();
    }

    /// The client sends a signal.
    pub(super) fn signal(&self, name: String) {
        let mut inner = self.lock();
        if inner.signals.len() < MAX_SIGNALS {
            inner.signals.push_back(name);
        }
        drop(inner);
        self.control.notify_one();
    }

    /// The client shows no more of the output. Once is enough.
    pub(super) fn close_output(&self) {
        let mut inner = self.lock();
        if inner.output == Wanted::Yes {
            inner.output = Wanted::NoMore;
        }
        drop(inner);
        self.control.notify_one();
    }

    /// The client has closed the channel, or is gone altogether.
    pub(super) fn hang_up(&self) {
        let mut inner = self.lock();
        inner.gone = true;
        // nobody gets what is left
        inner.forget();
        inner.wake_reader();
        drop(inner);
        self.gone.notify_waiters();
    }

    /// The channel's own end: nobody will take anything any more.
    pub(super) fn finish(&self) {
        let mut inner = self.lock();
        inner.done = true;
        inner.forget();
    }

    /// Whether the channel has come to its own end.
    pub(super) fn is_done(&self) -> bool {
        self.lock().done
    }

    /// Whether the client has hung up.
    pub(super) fn is_gone(&self) -> bool {
        self.lock().gone
    }

    /// Waits for the client to hang up.
    pub(super) async fn gone(&self) {
        let gone = self.gone.notified();
        tokio::pin!(gone);
        gone.as_mut().enable();
        if !self.lock().gone {
            gone.await;
        }
    }

    /// Waits until the client has been gone for a while.
    pub(super) async fn gone_for(&self, time: Duration) {
        self.gone().await;
        tokio::time::sleep(time).await;
    }

    /// The next bytes; `None` at the client's EOF or when it is gone. One task at a time may wait here.
    pub(super) async fn next(&self) -> Option<Bytes> {
        poll_fn(|cx| self.poll_next(cx, usize::MAX)).await
    }

    /// Like [`next`](Self::next), at most `limit` bytes.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>, limit: usize) -> Poll<Option<Bytes>> {
        let mut inner = self.lock();
        if inner.gone {
            return Poll::Ready(None);
        }
        let Some(front) = inner.chunks.front_mut() else {
            if inner.eof || inner.done {
                return Poll::Ready(None);
            }
            inner.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let taken = front.split_to(front.len().min(limit));
        if !front.has_remaining() {
            inner.chunks.pop_front();
        }
        inner.held.take(taken.len());
        inner.taken += taken.len();
        if inner.taken >= inner.step() {
            let more = inner.give_back();
            if more > 0
                && let Some(Credit { id, handle }) = &self.credit
            {
                handle.grow_window(*id, more);
            }
        }
        Poll::Ready(Some(taken))
    }

    /// Waits until the client has sent something: `true` if that is EOF and nothing before it.
    pub(super) async fn starts_with_eof(&self) -> bool {
        poll_fn(|cx| {
            let mut inner = self.lock();
            if !inner.chunks.is_empty() || inner.gone {
                return Poll::Ready(false);
            }
            if inner.eof {
                return Poll::Ready(true);
            }
            inner.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The next thing that is not data.
    pub(super) async fn next_control(&self) -> Control {
        loop {
            let next = {
                let mut inner = self.lock();
                let next = inner.size.take().map(Control::Resize);
                next.or_else(|| inner.signals.pop_front().map(Control::Signal)).or_else(|| {
                    let told = inner.output == Wanted::NoMore;
                    told.then(|| inner.output = Wanted::Told).map(|()| Control::CloseOutput)
                })
            };
            match next {
                Some(control) => return control,
                None => self.control.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What must have been taken before the client is told.
    fn step(&self) -> usize {
        (self.held.window() / WINDOW_PARTS) as usize
    }

    /// How much more the client may send for what has been taken: as much, more where it fills its window again and again,
    /// less where windows have to become narrower. What it may send already can't be taken back.
    fn give_back(&mut self) -> u32 {
        let window = self.held.window();
        let taken = u32::try_from(std::mem::take(&mut self.taken)).unwrap_or(u32::MAX);
        let now = Instant::now();
        let (since, so_far) = self.pace.filter(|(since, _)| now < *since + PACE).unwrap_or((now, 0));
        let so_far = taken.saturating_add(so_far);
        self.pace = Some((since, so_far));
        let aim = self.held.window_of_at_most(if so_far >= window / 2 { self.widest } else { window });
        let next = aim.max(window.saturating_sub(taken));
        self.held.set_window(next);
        next + taken - window
    }

    fn forget(&mut self) {
        self.chunks.clear();
        self.held.clear();
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// A client that sends a byte at a time must not cost a hundred bytes for each.
    fn merge(&mut self) {
        let mut all = Vec::with_capacity(self.held.bytes());
        self.chunks.drain(..).for_each(|chunk| all.extend_from_slice(&chunk));
        self.chunks.push_back(all.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_out_in_order_and_then_the_end() {
        let inbox = Inbox::default();
        for n in 0..5000_u32 {
            inbox.push(Bytes::copy_from_slice(&n.to_be_bytes()));
        }
        inbox.eof();
        inbox.push(Bytes::from_static(b"after the end"));
        let mut all = Vec::new();
        while let Some(bytes) = inbox.next().await {
            all.extend_from_slice(&bytes);
        }
        let expected: Vec<u8> = (0..5000_u32).flat_map(u32::to_be_bytes).collect();
        assert_eq!(all, expected);
    }

    /// Sends as much as the window lets it, and takes it: how wide the window is then.
    fn fill_and_take(inbox: &Inbox) -> u32 {
        let window = inbox.lock().held.window();
        inbox.push(vec![0; window as usize].into());
        let mut context = Context::from_waker(Waker::noop());
        while inbox.poll_next(&mut context, 1024).is_ready() {}
        inbox.lock().held.window()
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_grows_for_who_fills_it_and_not_for_who_types() {
        let inbox = Inbox::default();
        assert_eq!((inbox.widen(64 << 10), inbox.widen(64 << 10)), (64 << 10, 0));
        inbox.let_window_grow(2 << 20);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..5_000 {
            inbox.push(Bytes::from_static(b"a key and its echo"));
            assert!(inbox.poll_next(&mut context, usize::MAX).is_ready());
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        assert_eq!(inbox.lock().held.window(), 64 << 10);
        assert_eq!(fill_and_take(&inbox), 2 << 20);
        // nobody is there to have one
        inbox.hang_up();
        assert_eq!(inbox.widen(4 << 20), 0);
        assert_eq!(inbox.lock().held.window(), 0);
    }

    #[tokio::test]
    async fn control_does_not_wait_behind_data_and_sizes_collapse() {
        let inbox = Inbox::default();
        inbox.push(Bytes::from_static(b"data"));
        let size = |cols| WindowSize { cols, ..WindowSize::default() };
        (1..200).for_each(|cols| inbox.resize(size(cols)));
        (0..100).for_each(|_| inbox.signal("INT".to_owned()));
        assert_eq!(inbox.next_control().await, Control::Resize(size(199)));
        for _ in 0..MAX_SIGNALS {
            assert_eq!(inbox.next_control().await, Control::Signal("INT".to_owned()));
        }
        assert!(tokio::time::timeout(Duration::from_millis(20), inbox.next_control()).await.is_err());
    }

    #[tokio::test]
    async fn eof_first_is_told_from_data_first() {
        let inbox = Inbox::default();
        inbox.eof();
        assert!(inbox.starts_with_eof().await);
        let inbox = Inbox::default();
        inbox.push(Bytes::from_static(b"x"));
        inbox.eof();
        assert!(!inbox.starts_with_eof().await);
        let inbox = Inbox::default();
        inbox.hang_up();
        assert!(!inbox.starts_with_eof().await);
        inbox.gone().await;
        assert_eq!(inbox.next().await, None);
    }
}
