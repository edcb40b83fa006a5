//! Who somebody is by now to whom something was granted: their groups may be others, and what is done later is asked about those.

use std::sync::{Arc, Mutex, PoisonError};

use super::facts::{Facts, FactsError};
use crate::identity::Identity;

/// Who it is by now, where that is not who it was. A grant and what it was given for have one in common.
#[derive(Clone, Debug, Default)]
pub(super) struct ByNow(Arc<Mutex<Option<Known>>>);

type Known = Arc<Result<Who, FactsError>>;

/// Somebody, and what policies are told of them.
#[derive(Debug)]
pub(super) struct Who {
    pub(super) identity: Identity,
    pub(super) facts: Facts,
}

impl ByNow {
    pub(super) fn who(&self) -> Option<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, who: Result<Who, FactsError>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(who));
    }
}

/// Who it is the identities say.
impl PartialEq for ByNow {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for ByNow {}
