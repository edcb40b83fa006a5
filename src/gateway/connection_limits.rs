//! Who is connected, counted against the limits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::preauth_stream::Progress;
use super::settings::Settings;
use super::strangers::{Strangers, draw};

/// How many connections a gateway has room for, and who has them.
#[derive(Debug)]
pub(super) struct ConnectionLimits {
    total: usize,
    per_address: usize,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    strangers: Strangers,
    last: u64,
}

/// One connection's permit; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    place: Option<Place>,
    progress: Arc<Progress>,
}

/// A connection's place among all.
#[derive(Debug)]
struct Place {
    limits: Arc<ConnectionLimits>,
    address: IpAddr,
    number: u64,
}

/// Which limit leaves no room, by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
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
            held: Mutex::new(Held {
                total: 0,
                by_address: HashMap::new(),
                strangers: Strangers::new(size(settings.limits.unauthenticated), draw),
                last: 0,
            }),
        }
    }

    /// A permit, or the limit that is reached. Where those who have not logged in hold all of theirs, whoever of them is
    /// least likely to be in the middle of a login makes room: strangers must not be able to lock anybody out.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<Permit, LimitReached> {
        let address = network(address);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.total >= self.total {
            return Err(LimitReached::Connections);
        }
        if held.by_address.get(&address).is_some_and(|here| *here >= self.per_address) {
            return Err(LimitReached::ConnectionsPerAddress);
        }
        if !held.strangers.make_room(address, now) {
            return Err(LimitReached::Unauthenticated);
        }
        *held.by_address.entry(address).or_default() += 1;
        held.total += 1;
        held.last += 1;
        let number = held.last;
        let progress = Arc::new(Progress::default());
        held.strangers.enter(number, address, progress.clone(), now);
        Ok(Permit { place: Some(Place { limits: self.clone(), address, number }), progress })
    }
}

/// What one subscriber has: an address of IPv4, a whole /64 of IPv6 (RFC 6177, section 2).
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

impl Permit {
    /// Of a connection inside another one's channel, which has its place there; nobody who is a stranger has one.
    pub(super) fn inside() -> Self {
        Self { place: None, progress: Arc::default() }
    }

    /// How far the connection is, for the stream under it.
    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Somebody has logged in on it: it is no longer one of those that others may have, nor has its stream an end.
    pub(super) fn logged_in(&self) {
        self.progress.logged_in();
        if let Some(Place { limits, number, .. }) = &self.place {
            limits.held.lock().unwrap_or_else(PoisonError::into_inner).strangers.logged_in(*number);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.limits.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.strangers.left(self.number, Instant::now());
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
    use super::super::preauth_stream::Reached;
    use super::*;
    use crate::config::{Environment, Limits};

    fn limits(connections: u32, per_address: u32, unauthenticated: u32) -> Arc<ConnectionLimits> {
        let limits = Limits { connections, connections_per_address: per_address, unauthenticated, ..Limits::default() };
        Arc::new(ConnectionLimits::new(&Settings::new(&limits, &Environment::default(), None)))
    }

    fn take(limits: &Arc<ConnectionLimits>, address: &str) -> Result<Permit, LimitReached> {
        limits.take(address.parse().unwrap(), Instant::now())
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
        first.progress().reach(Reached::Asking);
        assert_eq!(take(&limits, "192.0.2.2").unwrap_err(), LimitReached::Unauthenticated);
        first.logged_in();
        first.logged_in();
        let second = take(&limits, "192.0.2.2").unwrap();
        drop((first, second));
        let held = limits.held.lock().unwrap();
        assert_eq!((held.strangers.count(), held.total, held.by_address.len()), (0, 0, 0));
    }

    #[test]
    fn who_goes_for_others_counts_as_connected_until_it_has_gone() {
        let limits = limits(99, 99, 2);
        let hoard: Vec<_> = (0..2).map(|_| take(&limits, "192.0.2.1").unwrap()).collect();
        let _third = take(&limits, "192.0.2.1").unwrap();
        assert!(hoard[0].progress().was_evicted() && !hoard[1].progress().was_evicted());
        assert_eq!(limits.held.lock().unwrap().total, 3);
        drop(hoard);
        assert_eq!(limits.held.lock().unwrap().total, 1);
    }
}
