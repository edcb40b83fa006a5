//! Who is connected, counted against the limits.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::settings::Settings;
use super::stream::Progress;

/// The places of a gateway.
#[derive(Debug)]
pub(super) struct Slots {
    total: usize,
    per_address: usize,
    unauthenticated: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Those who have not logged in, the oldest first.
    strangers: BTreeMap<u64, Stranger>,
    last: u64,
}

#[derive(Debug)]
struct Stranger {
    address: IpAddr,
    progress: Arc<Progress>,
}

/// One connection's place; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    address: IpAddr,
    number: u64,
}

impl Slots {
    pub(super) fn new(settings: &Settings) -> Self {
        let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            total: size(settings.limits.connections),
            per_address: size(settings.limits.connections_per_address),
            unauthenticated: size(settings.limits.unauthenticated),
            taken: Mutex::default(),
        }
    }

    /// A place, or the name of the limit that is reached. Where strangers have taken all of theirs, the address that holds
    /// the most makes room: one address must not be able to lock everybody else out.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, progress: Arc<Progress>) -> Result<Slot, &'static str> {
        // one person has a whole /64 of IPv6
        let address = match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
            v4 => v4,
        };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.total >= self.total {
            return Err("connections");
        }
        if taken.by_address.get(&address).is_some_and(|here| *here >= self.per_address) {
            return Err("connections_per_address");
        }
        if taken.strangers.len() >= self.unauthenticated && !taken.make_room(address) {
            return Err("unauthenticated");
        }
        *taken.by_address.entry(address).or_default() += 1;
        taken.total += 1;
        taken.last += 1;
        let number = taken.last;
        taken.strangers.insert(number, Stranger { address, progress });
        Ok(Slot { slots: self.clone(), address, number })
    }
}

impl Taken {
    /// Puts out the oldest stranger of the address that has the most of them, if that is more than this one would have.
    fn make_room(&mut self, address: IpAddr) -> bool {
        let mut held: HashMap<IpAddr, (usize, u64)> = HashMap::new();
        for (number, stranger) in &self.strangers {
            held.entry(stranger.address).or_insert((0, *number)).0 += 1;
        }
        let here = held.get(&address).map_or(0, |(strangers, _)| *strangers) + 1;
        let Some((most, oldest)) = held.into_values().max() else { return false };
        if most <= here {
            return false;
        }
        if let Some(stranger) = self.strangers.remove(&oldest) {
            stranger.progress.put_out();
        }
        true
    }
}

impl Slot {
    /// Somebody has logged in on it.
    pub(super) fn logged_in(&self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.strangers.remove(&self.number);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.logged_in();
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Limits};

    fn slots(connections: u32, per_address: u32, unauthenticated: u32) -> Arc<Slots> {
        let limits = Limits { connections, connections_per_address: per_address, unauthenticated, ..Limits::default() };
        Arc::new(Slots::new(&Settings::new(&limits, &Environment::default(), None)))
    }

    fn take(slots: &Arc<Slots>, address: &str) -> Result<Slot, &'static str> {
        slots.take(address.parse().unwrap(), Arc::default())
    }

    #[test]
    fn limits_hold_and_places_come_back() {
        let slots = slots(3, 2, 10);
        let first = take(&slots, "192.0.2.1").unwrap();
        let _second = take(&slots, "::ffff:192.0.2.1").unwrap();
        assert_eq!(take(&slots, "192.0.2.1").unwrap_err(), "connections_per_address");
        let _third = take(&slots, "192.0.2.2").unwrap();
        assert_eq!(take(&slots, "192.0.2.3").unwrap_err(), "connections");
        drop(first);
        drop(take(&slots, "192.0.2.1").unwrap());
        assert_eq!(slots.taken.lock().unwrap().by_address.len(), 2);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let slots = slots(9, 1, 9);
        let _first = take(&slots, "2001:db8::1").unwrap();
        assert!(take(&slots, "2001:db8::ffff:0:1").is_err());
        take(&slots, "2001:db8:0:1::1").unwrap();
    }

    #[test]
    fn those_who_have_not_logged_in_have_a_limit_of_their_own() {
        let slots = slots(9, 9, 1);
        let first = take(&slots, "192.0.2.1").unwrap();
        assert_eq!(take(&slots, "192.0.2.2").unwrap_err(), "unauthenticated");
        first.logged_in();
        first.logged_in();
        let second = take(&slots, "192.0.2.2").unwrap();
        drop((first, second));
        let taken = slots.taken.lock().unwrap();
        assert_eq!((taken.strangers.len(), taken.total, taken.by_address.len()), (0, 0, 0));
    }

    #[test]
    fn whoever_holds_most_places_without_a_login_makes_room_for_others() {
        let slots = slots(99, 99, 4);
        let hoard: Vec<_> = (0..4).map(|_| Arc::new(Progress::default())).collect();
        let address = "192.0.2.1".parse().unwrap();
        let held: Vec<_> = hoard.iter().map(|progress| slots.take(address, progress.clone()).unwrap()).collect();
        assert_eq!(take(&slots, "192.0.2.1").unwrap_err(), "unauthenticated");
        let _second = take(&slots, "192.0.2.2").unwrap();
        let put_out = |n: usize| hoard[n].was_put_out();
        assert!(put_out(0) && !put_out(1));
        let _third = take(&slots, "192.0.2.3").unwrap();
        assert!(put_out(1) && !put_out(2));
        // two of one and one each of two others: nobody has so much more that another should have it
        assert_eq!(take(&slots, "192.0.2.2").unwrap_err(), "unauthenticated");
        let _fourth = take(&slots, "192.0.2.4").unwrap();
        assert_eq!(take(&slots, "192.0.2.5").unwrap_err(), "unauthenticated");
        // who was put out still counts as connected until it has gone
        assert_eq!(slots.taken.lock().unwrap().total, 7);
        drop(held);
        assert_eq!(slots.taken.lock().unwrap().total, 3);
    }
}
