//! From the other end: events in order, a whole batch at a time. Not reading them stops the socket.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;

use super::event::{ChannelEvent, DriverEvent};
use super::queue::Inbox;

/// From the node. Not reading it stops the socket: there is no queue without a bound behind it.
#[derive(Debug)]
pub struct ChannelReader {
    events: EventReader,
}

/// From the other end, in the core's words.
#[derive(Debug)]
pub struct EventReader {
    inbox: Arc<Inbox>,
    batch: VecDeque<DriverEvent>,
}

impl ChannelReader {
    /// The client's view of a channel.
    pub fn new(events: EventReader) -> Self {
        Self { events }
    }

    /// The next event; `None` when nothing will follow. May be cancelled without losing any.
    pub async fn next(&mut self) -> Option<ChannelEvent> {
        loop {
            if let Some(event) = ChannelEvent::from_driver(self.events.next().await?) {
                return Some(event);
            }
        }
    }

    /// An event that came with the last one, if there is any: what only looks at those gives nobody else a turn.
    pub fn next_at_hand(&mut self) -> Option<ChannelEvent> {
        loop {
            if let Some(event) = ChannelEvent::from_driver(self.events.batch.pop_front()?) {
                return Some(event);
            }
        }
    }
}

impl EventReader {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox, batch: VecDeque::new() }
    }

    /// The next event; `None` when nothing will follow. May be cancelled without losing any.
    pub async fn next(&mut self) -> Option<DriverEvent> {
        if self.batch.is_empty() {
            poll_fn(|cx| self.inbox.poll_batch(cx, &mut self.batch)).await?;
        }
        self.batch.pop_front()
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        self.inbox.reader_gone();
    }
}
