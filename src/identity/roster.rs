//! Everybody who may log in now; others may take their place while the gateway runs.

use std::sync::{Arc, PoisonError, RwLock};

use super::People;

/// The people in force.
#[derive(Clone, Debug)]
pub struct Roster(Arc<RwLock<Arc<People>>>);

impl Roster {
    /// Those in force now.
    pub fn current(&self) -> Arc<People> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts others in force.
    pub fn replace(&self, people: People) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(people);
    }
}

impl From<People> for Roster {
    fn from(people: People) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(people))))
    }
}
