//! Those who are connected and have not logged in: who goes where there is not room for all.
//!
//! ```text
//!  places taken    0 ──────── a tenth ─────────────────────────── all
//!  a new one       comes in   comes in, and with a chance that    comes in for another: the silent first, then who has
//!                             grows from 30 % to all, one who     only said what it is, then who stands still for a
//!                             is silent for a second goes         second; else it does not come in
//! ```
//!
//! `MaxStartups 10:30:100` of OpenSSH drops the newcomer, of whom it knows nothing. Here it is one of those who stand
//! around: whoever says nothing is mostly no client, while a person's says who it is in the first milliseconds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::penalties::{Offence, Penalties};
use super::preauth_stream::{Progress, Reached};

/// From a tenth of the places on, somebody silent goes with a chance of 30 in 100, which grows until all are taken
/// (`MaxStartups` of sshd_config(5)).
const BEGIN_PART: usize = 10;
const FIRST_CHANCE: usize = 30;
const CERTAIN: usize = 100;

/// How long a client may be at one place of a login before it may lose it to others: a few round trips.
const AT_REST: Duration = Duration::from_secs(1);

/// A number below that one, at random.
pub(super) type Draw = fn(usize) -> usize;

/// Those without a login, the oldest first, and what is remembered of addresses.
#[derive(Debug)]
pub(super) struct Strangers {
    most: usize,
    held: BTreeMap<u64, Stranger>,
    penalties: Penalties,
    draw: Draw,
}

#[derive(Debug)]
struct Stranger {
    source: IpAddr,
    since: Instant,
    progress: Arc<Progress>,
}

impl Strangers {
    pub(super) fn new(most: usize, draw: Draw) -> Self {
        Self { most, held: BTreeMap::new(), penalties: Penalties::default(), draw }
    }

    /// Whether there is room for one more; somebody else may have to go for it.
    pub(super) fn make_room(&mut self, now: Instant) -> bool {
        let taken = self.held.len();
        if taken >= self.most {
            return self.evict_one(now);
        }
        let begin = self.most.div_ceil(BEGIN_PART);
        if taken >= begin {
            let chance = FIRST_CHANCE + (CERTAIN - FIRST_CHANCE) * (taken - begin) / (self.most - begin).max(1);
            if (self.draw)(CERTAIN) < chance {
                self.drop_early(now);
            }
        }
        true
    }

    pub(super) fn enter(&mut self, number: u64, source: IpAddr, progress: Arc<Progress>, now: Instant) {
        self.held.insert(number, Stranger { source, since: now, progress });
    }

    /// Somebody has logged in.
    pub(super) fn logged_in(&mut self, number: u64) {
        if let Some(stranger) = self.held.remove(&number) {
            self.penalties.forgive(stranger.source);
        }
    }

    /// A connection has ended.
    pub(super) fn left(&mut self, number: u64, now: Instant) {
        if let Some(stranger) = self.held.remove(&number) {
            self.penalties.add(stranger.source, offence(&stranger.progress), now);
        }
    }

    /// Ends whoever is least likely to be in the middle of a login; not one who may well be.
    fn evict_one(&mut self, now: Instant) -> bool {
        let mut of_a_source: HashMap<IpAddr, usize> = HashMap::new();
        for stranger in self.held.values() {
            *of_a_source.entry(stranger.source).or_default() += 1;
        }
        // a line of text costs a stranger nothing; a key exchange does
        let may_go = |stranger: &Stranger| stranger.progress.reached() < Reached::Asking || stranger.is_at_rest(now);
        let first = self.held.iter().filter(|(_, stranger)| may_go(stranger)).min_by_key(|(number, stranger)| {
            let at_rest = stranger.is_at_rest(now);
            // who has just come has had no time to say anything
            let silent = at_rest && stranger.progress.reached() == Reached::Nothing;
            let reached = if silent { Reached::Nothing } else { stranger.progress.reached().max(Reached::Identified) };
            let blameless = !self.penalties.in_force(stranger.source, now);
            // many that have just come from one address may be a person's own
            let neighbours = of_a_source.get(&stranger.source).filter(|_| at_rest).copied().unwrap_or_default();
            (reached, !at_rest, blameless, Reverse(neighbours), **number)
        });
        let Some(number) = first.map(|(number, _)| *number) else { return false };
        self.evict(number, now);
        true
    }

    /// One of those who are silent, whichever.
    fn drop_early(&mut self, now: Instant) {
        let silent = |stranger: &Stranger| stranger.progress.reached() == Reached::Nothing && stranger.is_at_rest(now);
        let silent: Vec<u64> =
            self.held.iter().filter(|(_, stranger)| silent(stranger)).map(|(number, _)| *number).collect();
        if !silent.is_empty()
            && let Some(number) = silent.get((self.draw)(silent.len()))
        {
            self.evict(*number, now);
        }
    }

    fn evict(&mut self, number: u64, now: Instant) {
        if let Some(stranger) = self.held.remove(&number) {
            stranger.progress.evict();
            self.penalties.add(stranger.source, Offence::Lingered, now);
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.held.len()
    }
}

impl Stranger {
    fn is_at_rest(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= AT_REST
    }
}

/// What a connection that ended without a login has done.
fn offence(progress: &Progress) -> Offence {
    match progress.reached() {
        _ if progress.has_expired() => Offence::Lingered,
        Reached::Nothing | Reached::Identified => Offence::Nothing,
        Reached::Asking | Reached::KnownKey => Offence::Refused,
    }
}

/// A number below `end`, at random; where the system has no randomness, the least.
pub(super) fn draw(end: usize) -> usize {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        return 0;
    }
    usize::from_ne_bytes(bytes).checked_rem(end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        strangers: Strangers,
        now: Instant,
        last: u64,
    }

    impl Bench {
        /// Nobody goes early.
        fn new(most: usize) -> Self {
            Self { strangers: Strangers::new(most, |end| end - 1), now: Instant::now(), last: 0 }
        }

        fn later(&mut self, milliseconds: u64) {
            self.now += Duration::from_millis(milliseconds);
        }

        fn come(&mut self, source: u8) -> Option<Arc<Progress>> {
            if !self.strangers.make_room(self.now) {
                return None;
            }
            self.last += 1;
            let progress = Arc::new(Progress::default());
            self.strangers.enter(self.last, IpAddr::from([192, 0, 2, source]), progress.clone(), self.now);
            Some(progress)
        }
    }

    #[test]
    fn the_silent_go_first_the_oldest_of_them_before_others() {
        let mut bench = Bench::new(3);
        let said: Vec<_> = (0..3).map(|n| bench.come(n).unwrap()).collect();
        said[0].reach(Reached::Identified);
        bench.later(1100);
        bench.come(9).unwrap();
        let fresh = bench.come(8).unwrap();
        fresh.reach(Reached::Identified);
        assert_eq!(said.iter().map(|p| p.was_evicted()).collect::<Vec<_>>(), [false, true, true]);
        bench.come(7).unwrap();
        assert!(said[0].was_evicted(), "it stands still, and the others have just come");
    }

    #[test]
    fn who_may_be_in_the_middle_of_a_login_is_left_alone_and_who_stands_still_is_not() {
        let mut bench = Bench::new(2);
        let (first, second) = (bench.come(1).unwrap(), bench.come(2).unwrap());
        first.reach(Reached::KnownKey);
        second.reach(Reached::Asking);
        bench.later(900);
        assert!(bench.come(3).is_none(), "all are busy");
        bench.later(200);
        let third = bench.come(3).unwrap();
        assert!(second.was_evicted() && !first.was_evicted());
        third.reach(Reached::Asking);
        bench.later(1100);
        bench.come(4).unwrap();
        assert!(third.was_evicted() && !first.was_evicted(), "a known key stays longest");
    }

    #[test]
    fn an_address_that_holds_many_and_one_under_a_penalty_go_before_others() {
        let mut bench = Bench::new(4);
        let alone = bench.come(1).unwrap();
        let many: Vec<_> = (0..3).map(|_| bench.come(2).unwrap()).collect();
        bench.later(1100);
        bench.come(3).unwrap();
        assert!(many[0].was_evicted() && !alone.was_evicted());
        // its second offence is a penalty, which outweighs numbers
        let mut bench = Bench::new(4);
        let source = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..2 {
            bench.strangers.penalties.add(source, Offence::Lingered, bench.now);
        }
        let (many, blamed) = ((0..3).map(|_| bench.come(2).unwrap()).collect::<Vec<_>>(), bench.come(1).unwrap());
        bench.later(1100);
        bench.come(3).unwrap();
        assert!(blamed.was_evicted() && !many[0].was_evicted());
    }

    #[test]
    fn places_that_run_out_take_some_of_the_silent_early_and_never_who_has_said_something() {
        let mut bench = Bench::new(20);
        bench.strangers.draw = |_| 0;
        let silent: Vec<_> = (0..9).map(|n| bench.come(n).unwrap()).collect();
        assert_eq!(bench.strangers.count(), 9, "nobody has been silent for a second");
        bench.later(1100);
        bench.come(100).unwrap();
        assert!(silent[0].was_evicted() && !silent[1].was_evicted());
        silent[1..].iter().for_each(|progress| progress.reach(Reached::Identified));
        bench.come(101).unwrap();
        assert!(silent.iter().all(|progress| !progress.was_evicted()));
    }

    #[test]
    fn what_came_of_a_connection_is_remembered_and_a_login_makes_up_for_it() {
        let mut bench = Bench::new(9);
        let source = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..3 {
            bench.come(1).unwrap().reach(Reached::Asking);
            bench.strangers.left(bench.last, bench.now);
        }
        assert!(bench.strangers.penalties.in_force(source, bench.now), "three refusals");
        bench.come(1).unwrap();
        bench.strangers.logged_in(bench.last);
        assert!(!bench.strangers.penalties.in_force(source, bench.now));
    }
}
