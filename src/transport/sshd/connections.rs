//! One SSH client's connections to nodes' sshds: who may share one, and for how long it is there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connect::Connection;
use crate::evidence::LaneRecord;
use crate::transport::error::TransportError;
use crate::transport::node_places::NodePermit;
use crate::transport::ride::Place;
use crate::transport::sharing::{SharedWay, Sharing};

/// Sessions at once on one connection, as an sshd has them that says nothing else (`MaxSessions`).
const MOST: usize = 10;

/// A connection without channels is kept for so long: clients come back.
const KEPT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_secs(1);

/// What one SSH client's channels are carried by. Its end is theirs.
#[derive(Debug)]
pub(in crate::transport) struct Connections {
    slots: Mutex<HashMap<Sharing, Vec<Slot>>>,
    _open: DropGuard,
    let_go: CancellationToken,
}

/// A connection that is there, or on its way.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) way: SharedWay<Arc<Connection>>,
    usage: Arc<Usage>,
}

/// How much of it is used.
#[derive(Debug)]
pub(super) struct Usage {
    /// Channels on it, or on their way.
    channels: AtomicUsize,
    /// It carries no more than this.
    most: AtomicUsize,
    /// Nothing new goes on it.
    retired: AtomicBool,
    /// Its place among the node's channels, which counts for one of its own.
    place: Arc<Semaphore>,
}

/// One of a connection's channels.
#[derive(Debug)]
pub(super) struct Held {
    usage: Arc<Usage>,
    _place: Place,
}

impl Default for Connections {
    fn default() -> Self {
        let let_go = CancellationToken::new();
        let _open = let_go.clone().drop_guard();
        Self { slots: Mutex::default(), _open, let_go }
    }
}

impl Connections {
    /// One that is there, or on its way, and has room; with the place of its own if no other channel has that.
    pub(super) fn present(&self, sharing: &Sharing) -> Option<(Slot, Option<Held>)> {
        let mut slots = self.lock();
        slots.retain(|_, of_a_kind| {
            of_a_kind.retain(Slot::is_usable);
            !of_a_kind.is_empty()
        });
        let slot = slots.get(sharing)?.iter().find(|slot| slot.has_room())?.clone();
        let held = Place::of_carrier(&slot.usage.place).map(|place| slot.hold(place));
        Some((slot, held))
    }

    /// One with room; it is opened in this place where there is none by now, and whether it is.
    pub(super) fn slot<F>(
        &self,
        sharing: &Sharing,
        place: NodePermit,
        noted: &LaneRecord,
        opening: impl FnOnce() -> F,
    ) -> (Slot, Held, bool)
    where
        F: Future<Output = Result<Arc<Connection>, TransportError>> + Send + 'static,
    {
        let mut slots = self.lock();
        let of_a_kind = slots.entry(sharing.clone()).or_default();
        if let Some(slot) = of_a_kind.iter().find(|slot| slot.is_usable() && slot.has_room()) {
            return (slot.clone(), slot.hold(Place::own(place)), false);
        }
        let usage = Arc::new(Usage {
            channels: AtomicUsize::new(0),
            most: AtomicUsize::new(MOST),
            retired: AtomicBool::new(false),
            place: Arc::new(Semaphore::new(1)),
        });
        let (opening, kept, let_go) = (opening(), usage.clone(), self.let_go.clone());
        let opening = async move {
            let connection = opening.await?;
            tokio::spawn(keep(connection.clone(), kept, place, let_go));
            Ok(connection)
        };
        let way = SharedWay::open(opening, noted.clone(), self.let_go.clone());
        let slot = Slot { way, usage };
        of_a_kind.push(slot.clone());
        let held = Place::of_carrier(&slot.usage.place).map(|place| slot.hold(place));
        // nobody else has had its place yet
        let held = held.unwrap_or_else(|| slot.hold(Place::default()));
        (slot, held, true)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Sharing, Vec<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn hold(&self, place: Place) -> Held {
        self.usage.channels.fetch_add(1, Ordering::Relaxed);
        Held { usage: self.usage.clone(), _place: place }
    }

    fn is_usable(&self) -> bool {
        !self.usage.retired.load(Ordering::Relaxed) && self.way.may_be_used(|connection| connection.ended().is_none())
    }

    fn has_room(&self) -> bool {
        self.usage.channels.load(Ordering::Relaxed) < self.usage.most.load(Ordering::Relaxed)
    }
}

impl Held {
    /// The node opens no further session on that connection: whether that is because of those that it has.
    pub(super) fn was_one_too_many(&self) -> bool {
        let others = self.usage.channels.load(Ordering::Relaxed).saturating_sub(1);
        self.usage.most.fetch_min(others, Ordering::Relaxed);
        others > 0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.usage.channels.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Until nobody has needed it for a while, or whose it is has gone.
async fn keep(connection: Arc<Connection>, usage: Arc<Usage>, place: NodePermit, let_go: CancellationToken) {
    let mut used = Instant::now();
    while connection.ended().is_none() {
        tokio::select! {
            () = let_go.cancelled() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        if usage.channels.load(Ordering::Relaxed) > 0 {
            used = Instant::now();
        } else if used.elapsed() >= KEPT {
            // whoever comes in between finds that, and opens another
            usage.retired.store(true, Ordering::Relaxed);
            if usage.channels.load(Ordering::Relaxed) == 0 {
                break;
            }
        }
    }
    connection.hang_up().await;
    drop(place);
}
