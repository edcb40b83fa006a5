//! Small writes next to each other, on their way to become one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::table::OpenEntry;
use crate::transport::file_service::LARGEST_WRITE;

/// Writes of one file, each starting where the last one ended.
#[derive(Debug)]
pub(super) struct Gather {
    pub(super) entry: Arc<OpenEntry>,
    pub(super) offset: u64,
    pub(super) ids: Vec<u32>,
    pub(super) room: Vec<OwnedSemaphorePermit>,
    pieces: Vec<Bytes>,
    length: usize,
}

impl Gather {
    /// Starts with one write.
    pub(super) fn new(entry: Arc<OpenEntry>, id: u32, offset: u64, data: Bytes, room: OwnedSemaphorePermit) -> Self {
        Self { entry, offset, ids: vec![id], room: vec![room], length: data.len(), pieces: vec![data] }
    }

    /// Whether a write goes on where these end, and fits.
    pub(super) fn takes(&self, entry: &Arc<OpenEntry>, offset: u64, data: &Bytes) -> bool {
        Arc::ptr_eq(&self.entry, entry)
            && self.offset.checked_add(self.length as u64) == Some(offset)
            && self.length + data.len() <= LARGEST_WRITE
    }

    /// Adds a write that [`Self::takes`].
    pub(super) fn add(&mut self, id: u32, data: Bytes, room: OwnedSemaphorePermit) {
        self.length += data.len();
        self.ids.push(id);
        self.pieces.push(data);
        self.room.push(room);
    }

    /// Whether another write as large as the last one would not fit.
    pub(super) fn is_full(&self) -> bool {
        self.length + self.pieces.last().map_or(0, Bytes::len) > LARGEST_WRITE
    }

    /// The bytes in one piece.
    pub(super) fn bytes(&mut self) -> Bytes {
        if self.pieces.len() == 1 {
            return self.pieces.swap_remove(0);
        }
        let mut joined = BytesMut::with_capacity(self.length);
        for piece in self.pieces.drain(..) {
            joined.extend_from_slice(&piece);
        }
        joined.freeze()
    }
}

/// How many writes the node has not answered yet.
#[derive(Debug, Default)]
pub(super) struct Flights {
    count: AtomicUsize,
    landed: Notify,
}

/// One of them, until dropped.
#[derive(Debug)]
pub(super) struct Flight(Arc<Flights>);

impl Flights {
    pub(super) fn start(self: &Arc<Self>) -> Flight {
        self.count.fetch_add(1, Ordering::Relaxed);
        Flight(Arc::clone(self))
    }

    /// Waits until fewer than `limit` are unanswered.
    pub(super) async fn below(&self, limit: usize) {
        loop {
            let landed = self.landed.notified();
            if self.count.load(Ordering::Relaxed) < limit {
                return;
            }
            landed.await;
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.landed.notify_one();
    }
}
