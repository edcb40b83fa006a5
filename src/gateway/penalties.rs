//! What is remembered of addresses whose connections came to nothing, as in OpenSSH's `PerSourcePenalties`.
//!
//! A penalty locks nobody out: people share an address with strangers (NAT, load balancers). Who is under one only goes
//! first where there are not places enough for all who have not logged in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Why a connection that came to nothing counts against its address, and for how long; the times are those of
/// sshd_config(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offence {
    /// It had no time left, or took a place from others: `grace-exceeded`.
    Lingered,
    /// What it tried was refused: `authfail`.
    Refused,
    /// It tried nothing and went: `noauth`.
    Nothing,
}

impl Offence {
    fn time(self) -> Duration {
        Duration::from_secs(match self {
            Self::Lingered => 10,
            Self::Refused => 5,
            Self::Nothing => 1,
        })
    }
}

/// From so much on a penalty is in force (`min`), and it never grows over that (`max`).
const LEAST: Duration = Duration::from_secs(15);
const MOST: Duration = Duration::from_secs(600);

/// Addresses remembered (`max-sources4`). When there are more, new ones have no penalty (`overflow:permissive`).
const MAX_SOURCES: usize = 65_536;

/// The addresses under a penalty, or on their way to one.
#[derive(Debug, Default)]
pub(super) struct Penalties(HashMap<IpAddr, Instant>);

impl Penalties {
    pub(super) fn add(&mut self, source: IpAddr, offence: Offence, now: Instant) {
        if self.0.len() >= MAX_SOURCES && !self.0.contains_key(&source) {
            self.0.retain(|_, until| *until > now);
            if self.0.len() >= MAX_SOURCES {
                return;
            }
        }
        let until = self.0.entry(source).or_insert(now);
        *until = ((*until).max(now) + offence.time()).min(now + MOST);
    }

    /// Somebody has logged in from there.
    pub(super) fn forgive(&mut self, source: IpAddr) {
        self.0.remove(&source);
    }

    pub(super) fn in_force(&self, source: IpAddr, now: Instant) -> bool {
        self.0.get(&source).is_some_and(|until| until.saturating_duration_since(now) >= LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offences_add_up_and_fade() {
        let (mut penalties, now) = (Penalties::default(), Instant::now());
        let source: IpAddr = [192, 0, 2, 1].into();
        penalties.add(source, Offence::Lingered, now);
        assert!(!penalties.in_force(source, now), "one alone is not enough");
        penalties.add(source, Offence::Refused, now);
        assert!(penalties.in_force(source, now));
        assert!(!penalties.in_force(source, now + Duration::from_secs(1)), "it fades");
        (0..1000).for_each(|_| penalties.add(source, Offence::Lingered, now));
        assert!(penalties.in_force(source, now + MOST - LEAST));
        assert!(!penalties.in_force(source, now + MOST), "no longer than that");
        penalties.forgive(source);
        assert!(!penalties.in_force(source, now));
    }

    #[test]
    fn the_memory_is_bounded_and_lets_go_of_what_is_over() {
        let (mut penalties, now) = (Penalties::default(), Instant::now());
        let source = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(n));
        let count = u32::try_from(MAX_SOURCES).unwrap();
        (0..count + 10).for_each(|n| penalties.add(source(n), Offence::Nothing, now));
        assert_eq!(penalties.0.len(), MAX_SOURCES);
        penalties.add(source(count + 10), Offence::Lingered, now + Duration::from_secs(2));
        assert_eq!(penalties.0.len(), 1);
    }
}
