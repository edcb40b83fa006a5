//! How often passwords may be guessed from one address, and how many are looked at in one moment.
//!
//! An address is barred for seconds and never for longer: behind it may be a person beside a tool that has an old password. Nobody
//! can bar a person, since wrong passwords count against where they come from and not against whose they should be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::connection_limits::network;

/// The wrong passwords of all addresses, and the places to look at one.
#[derive(Debug)]
pub(super) struct Guesses {
    /// When as many are forgotten as were wrong.
    wrong: Mutex<HashMap<IpAddr, Instant>>,
    places: Semaphore,
}

/// The right to look at one password.
#[derive(Debug)]
pub(super) struct MayLook<'a>(#[expect(dead_code, reason = "held, and given back when dropped")] SemaphorePermit<'a>);

/// So many wrong ones at once, and then one in each of these times: 8,640 a day, of the 10^14 that the worst password has which
/// `portcullis password` takes.
const AT_ONCE: u32 = 6;
const FORGOTTEN: Duration = Duration::from_secs(10);

/// Each takes a core and tens of MiB for a tenth of a second.
const AT_A_TIME: usize = 2;

/// How long one waits for its place; then it is refused, since what has connected must be answered in its time.
const PATIENCE: Duration = Duration::from_secs(5);

/// Addresses remembered. Where there are more, all of them are barred who are new, until some are forgotten.
const MOST_SOURCES: usize = 65_536;

impl Default for Guesses {
    fn default() -> Self {
        Self { wrong: Mutex::default(), places: Semaphore::new(AT_A_TIME) }
    }
}

impl Guesses {
    /// Whether a password from there is looked at now. It counts as wrong until it [was right](Self::right), so that many that
    /// come at once are no way around.
    pub(super) async fn may_look(&self, source: IpAddr) -> Option<MayLook<'_>> {
        if !self.count(source, Instant::now()) {
            return None;
        }
        timeout(PATIENCE, self.places.acquire()).await.ok()?.ok().map(MayLook)
    }

    /// It was right.
    pub(super) fn right(&self, source: IpAddr) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).remove(&network(source));
    }

    fn count(&self, source: IpAddr, now: Instant) -> bool {
        let source = network(source);
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= MOST_SOURCES && !wrong.contains_key(&source) {
            wrong.retain(|_, until| *until > now);
            if wrong.len() >= MOST_SOURCES {
                return false;
            }
        }
        let until = wrong.entry(source).or_insert(now);
        let next = (*until).max(now) + FORGOTTEN;
        let looks = next <= now + FORGOTTEN * AT_ONCE;
        if looks {
            *until = next;
        }
        looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn guesses_run_out_for_an_address_and_come_back_within_seconds() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let looked_at = (0..100).filter(|_| guesses.count(HERE, now)).count();
        assert_eq!(looked_at, 6);
        assert!(guesses.count(THERE, now), "another's");
        let later = now + FORGOTTEN;
        assert!(guesses.count(HERE, later) && !guesses.count(HERE, later), "one is forgotten, and one alone");
        guesses.right(HERE);
        assert!(guesses.count(HERE, later), "who knows the password begins anew");
    }

    #[test]
    fn the_memory_is_bounded_and_full_it_lets_nobody_guess() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let source = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(n));
        assert!((0..65_536).all(|n| guesses.count(source(n), now)));
        assert!(!guesses.count(source(70_000), now), "full");
        assert!(guesses.count(source(1), now), "one that is known goes on");
        assert!(guesses.count(source(70_000), now + FORGOTTEN * 3), "what is over has gone");
    }

    #[tokio::test(start_paused = true)]
    async fn two_are_looked_at_at_a_time_and_who_waits_too_long_is_refused() {
        let guesses = Guesses::default();
        let first = guesses.may_look(HERE).await.unwrap();
        let _second = guesses.may_look(HERE).await.unwrap();
        assert!(guesses.may_look(THERE).await.is_none());
        drop(first);
        assert!(guesses.may_look(THERE).await.is_some());
    }
}
