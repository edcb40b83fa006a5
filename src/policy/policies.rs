//! The policies in force, which others may take the place of while the gateway runs.

use std::sync::{Arc, PoisonError, RwLock};

use super::decision::Policy;

/// The policies in force. Everybody who decides has the same; what was allowed before is judged by the newest.
#[derive(Clone, Debug)]
pub struct Policies(Arc<RwLock<Policy>>);

impl Policies {
    /// These, until others come.
    pub fn new(policy: Policy) -> Self {
        Self(Arc::new(RwLock::new(policy)))
    }

    /// Those in force now.
    pub fn current(&self) -> Policy {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts others in force; gives those that were.
    pub fn replace(&self, policy: Policy) -> Policy {
        std::mem::replace(&mut self.0.write().unwrap_or_else(PoisonError::into_inner), policy)
    }
}
