//! Places for so many at once, from one source and in all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceBounds {
    /// From one source.
    pub of_a_source: usize,
    /// From all.
    pub in_all: usize,
}

/// Those that are taken.
#[derive(Clone, Debug)]
pub struct Places {
    bounds: PlaceBounds,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One that is taken; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    places: Places,
    source: IpAddr,
}

impl Places {
    /// All of them free.
    pub fn new(bounds: PlaceBounds) -> Self {
        Self { bounds, taken: Arc::default() }
    }

    /// One for that source, where there is one left.
    pub fn take(&self, source: IpAddr) -> Option<Place> {
        let mut taken = self.taken();
        let theirs = taken.get(&source).copied().unwrap_or_default();
        if theirs >= self.bounds.of_a_source || taken.values().sum::<usize>() >= self.bounds.in_all {
            return None;
        }
        taken.insert(source, theirs + 1);
        Some(Place { places: self.clone(), source })
    }

    /// Whether nothing is kept of anybody.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.taken().is_empty()
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        match taken.get_mut(&self.source) {
            Some(theirs) if *theirs > 1 => *theirs -= 1,
            _ => drop(taken.remove(&self.source)),
        }
    }
}
