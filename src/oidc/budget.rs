//! How many sign-ins may begin, and go on. Anybody can begin one, and each costs the provider a few calls.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Place, PlaceBounds, Places};

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// At once.
    pub(super) pending: usize,
    /// At once from one address.
    pub(super) pending_per_address: usize,
    /// Begun in a minute.
    pub(super) starts: u32,
}

/// What all sign-ins take from.
#[derive(Debug)]
pub(super) struct Budget {
    /// For those that go on.
    pending: Places,
    starts: Mutex<Starts>,
}

#[derive(Debug)]
struct Starts {
    /// In a minute.
    most: u32,
    of_all: Bucket,
    of_a_source: HashMap<IpAddr, Bucket>,
}

/// So many at once, and as many again in a minute.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    most: f64,
    left: f64,
    since: Instant,
}

/// Addresses that are kept before those are let go of that have all their starts again.
const SOURCES: usize = 1024;

/// The part of a minute's starts that one address may have.
const SHARE: u32 = 5;

impl Budget {
    pub(super) fn new(bounds: Bounds, now: Instant) -> Self {
        let Bounds { pending, pending_per_address, starts: most } = bounds;
        let starts = Starts { most, of_all: Bucket::new(most, now), of_a_source: HashMap::new() };
        let pending = Places::new(PlaceBounds { of_a_source: pending_per_address, in_all: pending });
        Self { pending, starts: Mutex::new(starts) }
    }

    /// Lets one begin, from there and now; it goes on until its place is dropped.
    pub(super) fn take(&self, source: IpAddr, now: Instant) -> Option<Place> {
        let place = self.pending.take(source)?;
        let mut starts = self.starts();
        let Starts { most, of_all, of_a_source } = &mut *starts;
        if of_a_source.len() >= SOURCES {
            of_a_source.retain(|_, bucket| !bucket.is_full(now));
        }
        let share = (*most / SHARE).max(1);
        let mut own = of_a_source.get(&source).copied().unwrap_or_else(|| Bucket::new(share, now));
        // what an address may not have takes nothing from others
        if !own.take(now) || !of_all.take(now) {
            return None;
        }
        of_a_source.insert(source, own);
        Some(place)
    }

    fn starts(&self) -> MutexGuard<'_, Starts> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn new(most: u32, now: Instant) -> Self {
        let most = f64::from(most);
        Self { most, left: most, since: now }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_secs_f64();
        self.left = (self.left + self.most * passed / Duration::from_secs(60).as_secs_f64()).min(self.most);
        self.since = now;
    }

    fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let some = self.left >= 1.0;
        if some {
            self.left -= 1.0;
        }
        some
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left >= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn those_that_go_on_are_few_from_one_address_and_in_all() {
        let now = Instant::now();
        let budget = Budget::new(Bounds { pending: 3, pending_per_address: 2, starts: 600 }, now);
        let take = |last| budget.take(source(last), now);
        let first = [take(1), take(1)];
        assert!(first.iter().all(Option::is_some) && take(1).is_none());
        let other = take(2);
        assert!(other.is_some() && take(3).is_none(), "in all");
        drop(first);
        assert!(take(1).is_some() && take(3).is_some());
        drop(other);
        assert!(budget.pending.is_empty(), "{:?}", budget.pending);
    }

    #[test]
    fn those_that_begin_are_few_in_a_minute_and_one_address_leaves_some_to_others() {
        let start = Instant::now();
        let budget = Budget::new(Bounds { pending: 100, pending_per_address: 100, starts: 10 }, start);
        let begun = |last: u8, seconds| {
            let at = start + Duration::from_secs(seconds);
            (0..100).filter(|_| budget.take(source(last), at).is_some()).count()
        };
        assert_eq!((begun(1, 0), begun(2, 0)), (2, 2));
        assert_eq!((3..20).map(|last| begun(last, 0)).sum::<usize>(), 6, "ten in all");
        assert_eq!(begun(30, 0), 0);
        assert_eq!(begun(1, 30), 1, "half a minute is one of two");
        assert_eq!((31..60).map(|last| begun(last, 90)).sum::<usize>(), 10);
    }

    #[test]
    fn what_is_kept_of_addresses_is_bounded() {
        let start = Instant::now();
        let budget = Budget::new(Bounds { pending: 10, pending_per_address: 10, starts: 10 }, start);
        for minute in 0..2000_u32 {
            let at = start + Duration::from_secs(60 * u64::from(minute));
            assert!(budget.take(IpAddr::from(minute.to_be_bytes()), at).is_some());
        }
        assert!(budget.starts().of_a_source.len() <= SOURCES + 1);
    }
}
