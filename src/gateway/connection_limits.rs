//! Who is connected, counted against the limits.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::preauth_stream::Progress;
use super::settings::Settings;

/// How many connections a gateway has room for, and who has them.
#[derive(Debug)]
pub(super) struct ConnectionLimits {
    total: usize,
    per_address: usize,
    unauthenticated: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Those who have not logged in, the oldest first.
    unauthenticated: BTreeMap<u64, Unauthenticated>,
    last: u64,
}

#[derive(Debug)]
struct Unauthenticated {
    address: IpAddr,
    progress: Arc<Progress>,
}

/// One connection's permit; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    limits: Arc<ConnectionLimits>,
    address: IpAddr,
    number: u64,
    progress: Arc<Progress>,
}

/// Which limit leaves no room, by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LimitReached {
    #[error("connections")]
    Connections,
    #[error("connections_per_address")]
    ConnectionsPerAddress,
    #[error("unauthenticated")]
    Unauthenticated,
}

impl ConnectionLimits {
    pub(super) fn new(settings: &Settings) -> Self {
        let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            total: size(settings.limits.connections),
            per_address: size(settings.limits.connections_per_address),
            unauthenticated: size(settings.limits.unauthenticated),
            held: Mutex::default(),
        }
    }

    /// A permit, or the limit that is reached. Where those who have not logged in hold all of theirs, the address that
    /// holds the most makes room: one address must not be able to lock everybody else out.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Permit, LimitReached> {
        // one subscriber has a whole /64 of IPv6 (RFC 6177, section 2)
        let address = match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
            v4 => v4,
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.total >= self.total {
            return Err(LimitReached::Connections);
        }
        if held.by_address.get(&address).is_some_and(|here| *here >= self.per_address) {
            return Err(LimitReached::ConnectionsPerAddress);
        }
        if held.unauthenticated.len() >= self.unauthenticated && !held.make_room(address) {
            return Err(LimitReached::Unauthenticated);
        }
        *held.by_address.entry(address).or_default() += 1;
        held.total += 1;
        held.last += 1;
        let number = held.last;
        let progress = Arc::new(Progress::default());
        held.unauthenticated.insert(number, Unauthenticated { address, progress: progress.clone() });
        Ok(Permit { limits: self.clone(), address, number, progress })
    }
}

impl Held {
    /// Evicts the oldest of the address that has the most without a login, if that is more than this one would have.
    fn make_room(&mut self, address: IpAddr) -> bool {
        let mut by_address: HashMap<IpAddr, (usize, u64)> = HashMap::new();
        for (number, unauthenticated) in &self.unauthenticated {
            by_address.entry(unauthenticated.address).or_insert((0, *number)).0 += 1;
        }
        let here = by_address.get(&address).map_or(0, |(count, _)| *count) + 1;
        let Some((most, oldest)) = by_address.into_values().max() else { return false };
        if most <= here {
            return false;
        }
        if let Some(evicted) = self.unauthenticated.remove(&oldest) {
            evicted.progress.evict();
        }
        true
    }
}

impl Permit {
    /// How far the connection is, for the stream under it.
    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Somebody has logged in on it: it is no longer one of those that others may have, nor has its stream an end.
    pub(super) fn logged_in(&self) {
        self.progress.logged_in();
        self.leave_unauthenticated();
    }

    fn leave_unauthenticated(&self) {
        let mut held = self.limits.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.unauthenticated.remove(&self.number);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.leave_unauthenticated();
        let mut held = self.limits.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.total -= 1;
        if let Some(here) = held.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                held.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Limits};

    fn limits(connections: u32, per_address: u32, unauthenticated: u32) -> Arc<ConnectionLimits> {
        let limits = Limits { connections, connections_per_address: per_address, unauthenticated, ..Limits::default() };
        Arc::new(ConnectionLimits::new(&Settings::new(&limits, &Environment::default(), None)))
    }

    fn take(limits: &Arc<ConnectionLimits>, address: &str) -> Result<Permit, LimitReached> {
        limits.take(address.parse().unwrap())
    }

    #[test]
    fn limits_hold_and_places_come_back() {
        let limits = limits(3, 2, 10);
        let first = take(&limits, "192.0.2.1").unwrap();
        let _second = take(&limits, "::ffff:192.0.2.1").unwrap();
        assert_eq!(take(&limits, "192.0.2.1").unwrap_err(), LimitReached::ConnectionsPerAddress);
        let _third = take(&limits, "192.0.2.2").unwrap();
        assert_eq!(take(&limits, "192.0.2.3").unwrap_err(), LimitReached::Connections);
        drop(first);
        drop(take(&limits, "192.0.2.1").unwrap());
        assert_eq!(limits.held.lock().unwrap().by_address.len(), 2);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let limits = limits(9, 1, 9);
        let _first = take(&limits, "2001:db8::1").unwrap();
        assert!(take(&limits, "2001:db8::ffff:0:1").is_err());
        take(&limits, "2001:db8:0:1::1").unwrap();
    }

    #[test]
    fn those_who_have_not_logged_in_have_a_limit_of_their_own() {
        let limits = limits(9, 9, 1);
        let first = take(&limits, "192.0.2.1").unwrap();
        assert_eq!(take(&limits, "192.0.2.2").unwrap_err(), LimitReached::Unauthenticated);
        first.logged_in();
        first.logged_in();
        let second = take(&limits, "192.0.2.2").unwrap();
        drop((first, second));
        let held = limits.held.lock().unwrap();
        assert_eq!((held.unauthenticated.len(), held.total, held.by_address.len()), (0, 0, 0));
    }

    #[test]
    fn whoever_holds_most_places_without_a_login_makes_room_for_others() {
        let limits = limits(99, 99, 4);
        let hoard: Vec<_> = (0..4).map(|_| take(&limits, "192.0.2.1").unwrap()).collect();
        assert_eq!(take(&limits, "192.0.2.1").unwrap_err(), LimitReached::Unauthenticated);
        let _second = take(&limits, "192.0.2.2").unwrap();
        let evicted = |n: usize| hoard[n].progress().was_evicted();
        assert!(evicted(0) && !evicted(1));
        let _third = take(&limits, "192.0.2.3").unwrap();
        assert!(evicted(1) && !evicted(2));
        // two of one and one each of two others: nobody has so much more that another should have it
        assert_eq!(take(&limits, "192.0.2.2").unwrap_err(), LimitReached::Unauthenticated);
        let _fourth = take(&limits, "192.0.2.4").unwrap();
        assert_eq!(take(&limits, "192.0.2.5").unwrap_err(), LimitReached::Unauthenticated);
        // who was evicted still counts as connected until it has gone
        assert_eq!(limits.held.lock().unwrap().total, 7);
        drop(hoard);
        assert_eq!(limits.held.lock().unwrap().total, 3);
    }
}
