//! One SSH connection's shared helpers: who may share one, and which commands do.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::evidence::LaneRecord;
use crate::policy::Grant;
use crate::transport::node_places::NodePermit;
use crate::transport::open::Transport;
use crate::transport::sharing::{SharedRelay, Sharing};
use crate::transport::sshd::Connections;

/// What one SSH connection's commands share. Its end is theirs, once they have ended.
#[derive(Debug)]
pub struct Commands {
    state: Mutex<State>,
    /// The client will ask for nothing more, it says.
    no_more: AtomicBool,
    /// If it were not to, it would say so.
    more: AtomicBool,
    /// Its connections to nodes' own sshds.
    pub(in crate::transport) sshd: Connections,
    _open: DropGuard,
    let_go: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    /// Those that are there, or on their way.
    shared: HashMap<Sharing, Slot>,
    /// Who has had a command on this connection.
    seen: HashSet<Sharing>,
}

/// A helper that is there, or on its way.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) helper: SharedRelay,
    /// Its place among the node's channels counts for one command on it.
    place: Arc<Semaphore>,
}

/// A command's place among the channels that its node carries.
#[derive(Debug, Default)]
pub(in crate::transport) struct Place {
    /// That of what carries it,
    _of_helper: Option<OwnedSemaphorePermit>,
    /// or its own.
    _own: Option<NodePermit>,
}

impl Default for Commands {
    fn default() -> Self {
        let let_go = CancellationToken::new();
        let _open = let_go.clone().drop_guard();
        Self {
            state: Mutex::default(),
            no_more: AtomicBool::default(),
            more: AtomicBool::default(),
            sshd: Connections::default(),
            _open,
            let_go,
        }
    }
}

impl Commands {
    /// The client has promised to ask for nothing more.
    pub fn expect_no_more(&self) {
        self.no_more.store(true, Ordering::Relaxed);
    }

    /// The client is one that would promise that.
    pub fn expect_more(&self) {
        self.more.store(true, Ordering::Relaxed);
    }

    /// Whether a command is to share: where there was another, or will be.
    pub(super) fn is_to_share(&self, sharing: &Sharing) -> bool {
        let is_first = self.lock().seen.insert(sharing.clone());
        !self.no_more.load(Ordering::Relaxed) && (self.more.load(Ordering::Relaxed) || !is_first)
    }

    /// The helper that is there or on its way, and its place if no other command has that.
    pub(super) fn present(&self, sharing: &Sharing) -> Option<(Slot, Option<Place>)> {
        let mut state = self.lock();
        state.shared.retain(|_, slot| slot.is_usable());
        let slot = state.shared.get(sharing)?.clone();
        let place = slot.take_place();
        Some((slot, place))
    }

    /// The helper, which is opened in this place where there is none by now; and whether it is.
    pub(super) fn slot(
        &self,
        transport: &Arc<Transport>,
        (sharing, grant): (&Sharing, &Arc<Grant>),
        evidence: &LaneRecord,
        place: NodePermit,
    ) -> (Slot, Place, bool) {
        let mut state = self.lock();
        if let Some(slot) = state.shared.get(sharing).filter(|slot| slot.is_usable()) {
            return (slot.clone(), Place::own(place), false);
        }
        let opening = {
            let (transport, grant, evidence, place) =
                (transport.clone(), grant.clone(), evidence.clone(), place.clone());
            async move { transport.open_shared(grant, evidence, place).await }
        };
        let helper = SharedRelay::open(opening, evidence.clone(), self.let_go.clone());
        let slot = Slot { helper, place: Arc::new(Semaphore::new(1)) };
        let place = slot.take_place().unwrap_or_else(|| Place::own(place));
        state.shared.insert(sharing.clone(), slot.clone());
        (slot, place, true)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The place of what carries it, if no other command has that: it counts for one.
    pub(in crate::transport) fn of_carrier(place: &Arc<Semaphore>) -> Option<Self> {
        let of_helper = place.clone().try_acquire_owned().ok()?;
        Some(Self { _of_helper: Some(of_helper), _own: None })
    }

    pub(in crate::transport) fn own(place: NodePermit) -> Self {
        Self { _of_helper: None, _own: Some(place) }
    }
}

impl Slot {
    fn take_place(&self) -> Option<Place> {
        Place::of_carrier(&self.place)
    }

    fn is_usable(&self) -> bool {
        self.helper.is_usable(|_| false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Action;

    #[test]
    fn whoever_is_to_have_more_than_one_command_shares() {
        let of = |node| Sharing::of(&Grant::for_test(node, Action::Exec { command: b"true".to_vec() }));
        let (web, db) = (of("web-1"), of("db-1"));
        // nothing is known of it: its second command shows that it has several, and only there
        let unknown = Commands::default();
        assert_eq!(
            [&web, &web, &db, &web, &db].map(|sharing| unknown.is_to_share(sharing)),
            [false, true, false, true, true]
        );
        let master = Commands::default();
        master.expect_more();
        assert!(master.is_to_share(&web) && master.is_to_share(&db));
        let alone = Commands::default();
        alone.expect_more();
        alone.expect_no_more();
        assert!(!alone.is_to_share(&web));
    }
}
