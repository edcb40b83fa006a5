//! The queue towards one end of a session, which outlives that end's websockets.
//!
//! ```text
//!   attached: frames queue up to a bound in bytes, then the offering side waits
//!   never attached yet: the first few stream frames are kept, so that nothing waits for a retransmission
//!   gone: acknowledgements and handshake frames are kept (bounded), data is dropped: its sender repeats it
//!   closing: what is queued goes out, then the websocket is closed; nothing more is taken
//! ```
//!
//! On request it is a long line, too: every frame comes out a while after it went in. And a cut can be a loss: what was
//! queued is gone, and what is offered while that end is away.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::frame::{Kind, is_handshake, kind};

/// See the module.
pub(crate) struct Mailbox {
    capacity: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Queued>,
    /// How long the line is.
    latency: Option<Duration>,
    bytes: usize,
    /// Counts the attachments; a socket with an older number has been replaced.
    epoch: u64,
    attached: bool,
    closing: bool,
    cut: Option<Cut>,
    /// That end was cut off with everything on its way; until it is back, whatever is offered is lost as well.
    losing: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The task of the socket, which hears of a cut even while the socket takes nothing.
    owner: Option<Waker>,
}

struct Queued {
    frame: Bytes,
    /// When it comes out of a long line.
    due: Option<Instant>,
}

/// How a websocket is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The TCP connection ends in the middle of things. What the other end sends meanwhile is dropped if that end repeats it;
    /// acknowledgements, which nobody repeats, wait.
    Abort,
    /// The same, and everything on its way between that end and the service is lost, acknowledgements too, until it is back.
    Loss,
    /// A close frame with code 1000, as the cloud sends about once an hour.
    Close,
}

/// What the socket does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Frame(Bytes),
    /// The session is over and everything has been handed out.
    Finished,
    /// Another socket of the same role has come.
    Replaced,
    Cut(Cut),
}

impl Mailbox {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, inner: Mutex::default() }
    }

    /// One whose frames come out so much later. It holds what a fast sender has on such a line, up to a bound of its own.
    pub(crate) fn with_latency(capacity: usize, latency: Option<Duration>) -> Self {
        let capacity = if latency.is_some() { capacity.max(LONG_LINE) } else { capacity };
        Self { capacity, inner: Mutex::new(Inner { latency, ..Inner::default() }) }
    }

    /// A socket takes over; the number is its claim.
    pub(crate) fn attach(&self) -> u64 {
        let mut inner = self.lock();
        inner.epoch += 1;
        inner.attached = true;
        inner.losing = false;
        inner.cut = None;
        inner.wake_both();
        inner.epoch
    }

    /// The socket is gone. False if another has taken over already.
    pub(crate) fn detach(&self, epoch: u64) -> bool {
        let mut inner = self.lock();
        if inner.epoch != epoch || !inner.attached {
            return false;
        }
        inner.attached = false;
        (inner.reader, inner.owner) = (None, None);
        let mut kept = 0;
        inner.queue.retain(|queued| {
            let keep = match kind(&queued.frame) {
                Kind::Acknowledge => true,
                stream if stream.is_stream() => is_handshake(&queued.frame) && kept < KEPT_HANDSHAKE,
                // The service's own frames are for the socket that is gone.
                _ => false,
            };
            kept += usize::from(keep);
            keep
        });
        inner.count();
        inner.wake_both();
        true
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.lock().attached
    }

    /// Offers a frame; ready once it was taken or dropped. The reading socket is not woken: see [`Self::wake_reader`].
    pub(crate) fn poll_offer(&self, cx: &mut Context<'_>, slot: &mut Option<Bytes>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.attached && !inner.closing && inner.bytes >= self.capacity {
            inner.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(frame) = slot.take() {
            inner.take_in(frame, self.capacity);
        }
        Poll::Ready(())
    }

    /// Takes a frame now, over the bound if need be: for delayed frames, of which there is a bounded number.
    pub(crate) fn offer_now(&self, frame: Bytes) {
        let mut inner = self.lock();
        inner.take_in(frame, self.capacity);
        inner.wake_reader();
    }

    /// Wakes the socket that hands the frames out. Called once after a burst, so that the burst leaves in few writes.
    pub(crate) fn wake_reader(&self) {
        self.lock().wake_reader();
    }

    /// A frame of the service's own, if somebody is there to have it. False if not.
    pub(crate) fn push_service(&self, frame: Bytes) -> bool {
        let mut inner = self.lock();
        if !inner.attached || inner.closing || inner.queue.len() >= MOST_FRAMES {
            return false;
        }
        inner.push(frame);
        inner.wake_reader();
        true
    }

    /// The session is over: this is the last frame, if any; then the socket is to close.
    pub(crate) fn finish(&self, last: Option<Bytes>) {
        let mut inner = self.lock();
        if inner.closing {
            return;
        }
        if inner.attached
            && let Some(frame) = last
        {
            inner.push(frame);
        }
        inner.closing = true;
        inner.wake_both();
    }

    /// Takes the present socket away. False if there is none.
    pub(crate) fn cut(&self, how: Cut) -> bool {
        let mut inner = self.lock();
        if !inner.attached {
            return false;
        }
        inner.cut = Some(how);
        if how == Cut::Loss {
            inner.losing = true;
            inner.lose();
        }
        inner.wake_both();
        true
    }

    /// Loses what an end had sent that was cut off with everything on its way. The service's own frames are not that end's.
    pub(crate) fn lose(&self) {
        self.lock().lose();
    }

    /// Whether that end is cut off with everything on its way.
    pub(crate) fn is_losing(&self) -> bool {
        self.lock().losing
    }

    /// Whether the socket of that number has been taken away without a word. Its task hears of it, whatever else it waits for.
    pub(crate) fn poll_cut(&self, cx: &mut Context<'_>, epoch: u64) -> Poll<Next> {
        let mut inner = self.lock();
        if inner.epoch != epoch {
            return Poll::Ready(Next::Replaced);
        }
        if let Some(how) = inner.cut.take_if(|how| *how != Cut::Close) {
            return Poll::Ready(Next::Cut(how));
        }
        if !inner.owner.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            inner.owner = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// When the first frame comes out of a long line, if it has not yet.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.lock().queue.front().and_then(|queued| queued.due)
    }

    /// What the socket of that number does next.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>, epoch: u64) -> Poll<Next> {
        let mut inner = self.lock();
        if inner.epoch != epoch {
            return Poll::Ready(Next::Replaced);
        }
        if let Some(how) = inner.cut.take() {
            return Poll::Ready(Next::Cut(how));
        }
        let ready = inner.queue.pop_front_if(|queued| queued.due.is_none_or(|due| due <= Instant::now()));
        if let Some(Queued { frame, .. }) = ready {
            inner.bytes -= frame.len();
            // Half empty: worth waking the other side for.
            if inner.bytes <= self.capacity / 2
                && let Some(waker) = inner.writer.take()
            {
                waker.wake();
            }
            return Poll::Ready(Next::Frame(frame));
        }
        if inner.closing && inner.queue.is_empty() {
            return Poll::Ready(Next::Finished);
        }
        inner.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn take_in(&mut self, frame: Bytes, capacity: usize) {
        let keep = !self.closing
            && !self.losing
            && (self.attached
                || match kind(&frame) {
                    Kind::Acknowledge => self.queue.len() < KEPT_ACKNOWLEDGEMENTS,
                    _ if is_handshake(&frame) => self.queue.len() < KEPT_ACKNOWLEDGEMENTS + KEPT_HANDSHAKE,
                    _ => self.epoch == 0 && self.queue.len() < KEPT_BEFORE && self.bytes + frame.len() <= capacity,
                });
        if keep {
            self.push(frame);
        }
    }

    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        let due = self.latency.map(|latency| Instant::now() + latency);
        self.queue.push_back(Queued { frame, due });
    }

    fn lose(&mut self) {
        self.queue.retain(|queued| kind(&queued.frame) == Kind::Other);
        self.count();
    }

    fn count(&mut self) {
        self.bytes = self.queue.iter().map(|queued| queued.frame.len()).sum();
    }

    fn wake_reader(&mut self) {
        if !self.queue.is_empty()
            && let Some(waker) = self.reader.take()
        {
            waker.wake();
        }
    }

    fn wake_both(&mut self) {
        for waker in [self.reader.take(), self.writer.take(), self.owner.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// As many acknowledgements as an agent can have frames outstanding for a client that went away.
const KEPT_ACKNOWLEDGEMENTS: usize = 16_384;
const KEPT_HANDSHAKE: usize = 16;
const KEPT_BEFORE: usize = 64;
/// Bytes on a long line in one direction: at 40 ms each way, some 100 MB/s.
const LONG_LINE: usize = 4 << 20;
/// A control channel that takes nothing for this long a queue is as good as gone.
const MOST_FRAMES: usize = 4096;

#[cfg(test)]
mod tests {
    use portcullis_protocol::MessageType;

    use super::super::frame::tests::frame;
    use super::*;

    fn data(sequence: i64) -> Bytes {
        frame(MessageType::OutputStreamData, sequence, 1, &[7; 100])
    }

    fn ack(sequence: i64) -> Bytes {
        frame(MessageType::Acknowledge, 0, 0, format!("{{\"n\":{sequence}}}").as_bytes())
    }

    fn offer(mailbox: &Mailbox, frame: Bytes) -> bool {
        mailbox.poll_offer(&mut Context::from_waker(Waker::noop()), &mut Some(frame)).is_ready()
    }

    fn next(mailbox: &Mailbox, epoch: u64) -> Option<Next> {
        match mailbox.poll_next(&mut Context::from_waker(Waker::noop()), epoch) {
            Poll::Ready(next) => Some(next),
            Poll::Pending => None,
        }
    }

    #[test]
    fn the_bound_holds_while_attached_and_frames_keep_their_order() {
        let mailbox = Mailbox::new(500);
        let epoch = mailbox.attach();
        let mut taken = 0;
        while offer(&mailbox, data(taken)) {
            taken += 1;
            assert!(taken < 10);
        }
        assert_eq!(taken, 3, "220 bytes each, so that the third goes over 500");
        for sequence in 0..taken {
            assert_eq!(next(&mailbox, epoch), Some(Next::Frame(data(sequence))));
        }
        assert_eq!(next(&mailbox, epoch), None);
        assert!(offer(&mailbox, data(9)));
    }

    #[test]
    fn early_frames_wait_for_the_first_socket() {
        let mailbox = Mailbox::new(1 << 20);
        for sequence in 0..100 {
            assert!(offer(&mailbox, data(sequence)));
        }
        let epoch = mailbox.attach();
        let mut got = 0;
        while let Some(Next::Frame(frame)) = next(&mailbox, epoch) {
            assert_eq!(frame, data(got));
            got += 1;
        }
        assert_eq!(got, 64);
    }

    #[test]
    fn acknowledgements_and_handshake_survive_an_absence_and_data_does_not() {
        let mailbox = Mailbox::new(1 << 20);
        let handshake = frame(MessageType::OutputStreamData, 0, 5, b"{}");
        let first = mailbox.attach();
        for queued in [ack(1), data(1), handshake.clone()] {
            offer(&mailbox, queued);
        }
        assert!(mailbox.push_service(super::super::frame::publication(true, "s")));
        assert!(mailbox.detach(first));
        for queued in [data(2), ack(2)] {
            offer(&mailbox, queued);
        }
        assert!(!mailbox.push_service(data(3)), "nobody is there for the service's frames");
        let second = mailbox.attach();
        for expected in [ack(1), handshake, ack(2)] {
            assert_eq!(next(&mailbox, second), Some(Next::Frame(expected)));
        }
        assert_eq!(next(&mailbox, second), None);
    }

    #[test]
    fn absence_is_bounded() {
        let mailbox = Mailbox::new(1000);
        let epoch = mailbox.attach();
        mailbox.detach(epoch);
        for sequence in 0..20_000 {
            assert!(offer(&mailbox, ack(sequence)), "nobody waits for one who is not there");
        }
        assert_eq!(mailbox.lock().queue.len(), KEPT_ACKNOWLEDGEMENTS);
    }

    #[test]
    fn the_newer_socket_has_it_and_the_older_learns_so() {
        let mailbox = Mailbox::new(1000);
        let (first, second) = (mailbox.attach(), mailbox.attach());
        offer(&mailbox, data(1));
        assert_eq!(next(&mailbox, first), Some(Next::Replaced));
        assert!(!mailbox.detach(first) && mailbox.is_attached());
        assert_eq!(next(&mailbox, second), Some(Next::Frame(data(1))));
    }

    #[test]
    fn finishing_drains_and_cutting_does_not() {
        let mailbox = Mailbox::new(1000);
        let epoch = mailbox.attach();
        offer(&mailbox, data(1));
        mailbox.finish(Some(data(2)));
        assert!(offer(&mailbox, data(3)), "dropped, not waited for");
        assert_eq!(next(&mailbox, epoch), Some(Next::Frame(data(1))));
        assert_eq!(next(&mailbox, epoch), Some(Next::Frame(data(2))));
        assert_eq!(next(&mailbox, epoch), Some(Next::Finished));
        let mailbox = Mailbox::new(1000);
        let epoch = mailbox.attach();
        offer(&mailbox, data(1));
        assert!(mailbox.cut(Cut::Abort));
        assert_eq!(next(&mailbox, epoch), Some(Next::Cut(Cut::Abort)));
        mailbox.detach(epoch);
        assert!(!mailbox.cut(Cut::Abort));
    }

    #[test]
    fn a_loss_takes_what_is_queued_and_what_comes_until_that_end_is_back() {
        let mailbox = Mailbox::new(1 << 20);
        let epoch = mailbox.attach();
        for queued in [data(1), ack(1)] {
            offer(&mailbox, queued);
        }
        assert!(mailbox.cut(Cut::Loss) && mailbox.is_losing());
        offer(&mailbox, ack(2));
        assert_eq!(next(&mailbox, epoch), Some(Next::Cut(Cut::Loss)));
        mailbox.detach(epoch);
        offer(&mailbox, ack(3));
        let again = mailbox.attach();
        assert!(!mailbox.is_losing());
        offer(&mailbox, ack(4));
        assert_eq!(next(&mailbox, again), Some(Next::Frame(ack(4))));
        assert_eq!(next(&mailbox, again), None);
    }

    #[test]
    fn a_cut_is_heard_of_by_a_socket_that_takes_nothing() {
        let mailbox = Mailbox::new(1000);
        let epoch = mailbox.attach();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(mailbox.poll_cut(&mut cx, epoch).is_pending());
        mailbox.cut(Cut::Abort);
        assert_eq!(mailbox.poll_cut(&mut cx, epoch), Poll::Ready(Next::Cut(Cut::Abort)));
        mailbox.attach();
        assert_eq!(mailbox.poll_cut(&mut cx, epoch), Poll::Ready(Next::Replaced));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_line_keeps_order_and_bandwidth_and_is_bounded() {
        const LATENCY: Duration = Duration::from_millis(40);
        let mailbox = Mailbox::with_latency(500, Some(LATENCY));
        let epoch = mailbox.attach();
        for sequence in 0..1000 {
            assert!(offer(&mailbox, data(sequence)), "what is on the line does not keep the sender waiting");
        }
        tokio::time::advance(LATENCY / 2).await;
        offer(&mailbox, data(1000));
        assert_eq!(next(&mailbox, epoch), None);
        tokio::time::advance(LATENCY / 2).await;
        for sequence in 0..1000 {
            assert_eq!(next(&mailbox, epoch), Some(Next::Frame(data(sequence))));
        }
        assert_eq!(next(&mailbox, epoch), None);
        assert_eq!(mailbox.next_due(), Some(Instant::now() + LATENCY / 2));
        mailbox.finish(None);
        assert_eq!(next(&mailbox, epoch), None, "the end waits for what is on the line");
        tokio::time::advance(LATENCY / 2).await;
        assert_eq!(next(&mailbox, epoch), Some(Next::Frame(data(1000))));
        assert_eq!(next(&mailbox, epoch), Some(Next::Finished));
        let mailbox = Mailbox::with_latency(500, Some(LATENCY));
        mailbox.attach();
        let fits = (0..).take_while(|sequence| offer(&mailbox, data(*sequence))).count();
        assert_eq!(fits, LONG_LINE.div_ceil(data(0).len()));
    }
}
