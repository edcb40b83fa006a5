//! The sessions whose records are open, for what is done to all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use uuid::Uuid;

use super::record::{Shared, lock};

/// The open records. They are held by whoever carries their sessions, not by this.
#[derive(Debug, Default)]
pub(super) struct Live(Mutex<HashMap<Uuid, Weak<Shared>>>);

impl Live {
    pub(super) fn enter(&self, session: Uuid, record: &Arc<Shared>) {
        lock(&self.0).insert(session, Arc::downgrade(record));
    }

    pub(super) fn leave(&self, session: Uuid) {
        lock(&self.0).remove(&session);
    }

    /// That of one session.
    pub(super) fn get(&self, session: Uuid) -> Option<Arc<Shared>> {
        lock(&self.0).get(&session).and_then(Weak::upgrade)
    }

    /// Puts away what recordings of terminals hold in memory where nothing has passed for a while.
    pub(super) fn rest(&self) {
        let all: Vec<_> = lock(&self.0).values().filter_map(Weak::upgrade).collect();
        for record in all {
            record.rest();
        }
    }
}
