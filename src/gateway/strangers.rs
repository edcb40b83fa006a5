//! Those who are connected and have not logged in: who goes where there is not room for all.
//!
//! ```text
//!  places taken    0 ──────── a tenth ─────────────────────────── all
//!  a new one       comes in   comes in, and with a chance that    comes in for another: the silent first, then who has
//!                             grows from 30 % to all, one who     only said what it is, then who stands still for a
//!                             is silent for a second goes         second; else it does not come in
//! ```
//!
//! Where all places are taken, an address has a share of them, an eighth. What it holds beyond that goes for others, busy or
//! not; and whoever comes from an address that has its share takes no place of an address that has less. So one address that
//! is always in the middle of logins keeps nobody else out.
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

/// The part of the places that one address has where all are taken.
const SHARE_PART: usize = 8;

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

    /// Whether there is room for one more from there; somebody else may have to go for it.
    pub(super) fn make_room(&mut self, source: IpAddr, now: Instant) -> bool {
        let taken = self.held.len();
        if taken >= self.most {
            return self.evict_one(source, now);
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

    /// Ends whoever is least likely to be in the middle of a login. One who may well be goes only where its address holds more
    /// than its share.
    fn evict_one(&mut self, newcomer: IpAddr, now: Instant) -> bool {
        let mut of_a_source: HashMap<IpAddr, usize> = HashMap::new();
        for stranger in self.held.values() {
            *of_a_source.entry(stranger.source).or_default() += 1;
        }
        let holds = |source: IpAddr| of_a_source.get(&source).copied().unwrap_or_default();
        let share = (self.most / SHARE_PART).max(1);
        let newcomers = holds(newcomer);
        let blameless = |stranger: &Stranger| !self.penalties.in_force(stranger.source, now);
        let in_turn = |(number, stranger): &(&u64, &Stranger)| {
            let at_rest = stranger.is_at_rest(now);
            let reached = stranger.progress.reached().max(Reached::Identified);
            // many that have just come from one address may be a person's own
            let neighbours = if at_rest { holds(stranger.source) } else { 0 };
            (reached, !at_rest, blameless(stranger), Reverse(neighbours), **number)
        };
        let all = || self.held.iter();
        // who has just come has had no time to say anything
        let silent = all().filter(|(_, stranger)| stranger.is_silent(now)).min_by_key(in_turn);
        let beyond_share = || {
            let beyond = |source| holds(source) > share.max(newcomers) && source != newcomer;
            let fullest = |entry: &(&u64, &Stranger)| {
                (blameless(entry.1), Reverse(holds(entry.1.source)), entry.1.source, in_turn(entry))
            };
            all().filter(|(_, stranger)| beyond(stranger.source)).min_by_key(fullest)
        };
        let resting = || {
            // a line of text costs a stranger nothing; a key exchange does
            let may_go =
                |stranger: &Stranger| stranger.progress.reached() < Reached::Asking || stranger.is_at_rest(now);
            let reachable = |stranger: &Stranger| newcomers < share || stranger.source == newcomer;
            all().filter(|(_, stranger)| may_go(stranger) && reachable(stranger)).min_by_key(in_turn)
        };
        let first = silent.or_else(beyond_share).or_else(resting);
        let Some(number) = first.map(|(number, _)| *number) else { return false };
        self.evict(number, now);
        true
    }

    /// One of those who are silent, whichever.
    fn drop_early(&mut self, now: Instant) {
        let silent = self.held.iter().filter(|(_, stranger)| stranger.is_silent(now));
        let silent: Vec<u64> = silent.map(|(number, _)| *number).collect();
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
        // it is a person who types; the time for an answer has an end of its own, and their address its share
        if self.progress.reached() == Reached::HalfWay {
            return false;
        }
        // a slow client that gets on is no idle one
        let since = self.progress.moved().map_or(self.since, |moved| moved.max(self.since));
        now.saturating_duration_since(since) >= AT_REST
    }

    fn is_silent(&self, now: Instant) -> bool {
        self.progress.reached() == Reached::Nothing && self.is_at_rest(now)
    }
}

/// What a connection that ended without a login has done.
fn offence(progress: &Progress) -> Offence {
    match progress.reached() {
        _ if progress.has_expired() => Offence::Lingered,
        Reached::Nothing | Reached::Identified => Offence::Nothing,
        Reached::Asking | Reached::KnownKey | Reached::HalfWay => Offence::Refused,
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
            let source = IpAddr::from([192, 0, 2, source]);
            if !self.strangers.make_room(source, self.now) {
                return None;
            }
            self.last += 1;
            let progress = Arc::new(Progress::default());
            self.strangers.enter(self.last, source, progress.clone(), self.now);
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
    fn an_address_that_is_always_busy_has_its_share_and_keeps_nobody_out() {
        let mut bench = Bench::new(16);
        let busy: Vec<_> = (0..16).map(|_| bench.come(66).unwrap()).collect();
        busy.iter().for_each(|progress| progress.reach(Reached::Asking));
        assert!(bench.come(66).is_none(), "it takes its own no more than others'");
        // the others come, one after the other, and whoever has come stays
        let others: Vec<_> = (0..14).map(|n| bench.come(n).expect("a place of the fullest")).collect();
        assert_eq!(busy.iter().filter(|progress| progress.was_evicted()).count(), 14);
        assert!(bench.come(66).is_none() && others.iter().all(|progress| !progress.was_evicted()));
        // one that only says what it is gives way to who has less than a share, and not to who has one
        others[0].reach(Reached::Identified);
        bench.come(66);
        assert!(!others[0].was_evicted());
        bench.come(99).unwrap();
        assert!(others[0].was_evicted());
    }

    #[test]
    fn au13_who_is_asked_for_a_code_keeps_their_place_but_for_what_their_address_holds_beyond_its_share() {
        let mut bench = Bench::new(16);
        let asked: Vec<_> = (0..16).map(|_| bench.come(66).unwrap()).collect();
        asked.iter().for_each(|progress| progress.reach(Reached::HalfWay));
        bench.later(60_000);
        assert!(bench.come(66).is_none(), "they are all that there is room for");
        let others: Vec<_> = (0..14).map(|n| bench.come(n).expect("a place of the fullest")).collect();
        assert_eq!(asked.iter().filter(|progress| progress.was_evicted()).count(), 14);
        // a person who types is not at rest, however long it takes
        others.iter().for_each(|progress| progress.reach(Reached::HalfWay));
        bench.later(60_000);
        assert!(bench.come(99).is_none());
        assert!(others.iter().all(|progress| !progress.was_evicted()));
    }

    #[test]
    fn of_the_addresses_beyond_their_share_those_under_a_penalty_give_first() {
        let mut bench = Bench::new(16);
        let fuller: Vec<_> = (0..9).map(|_| bench.come(1).unwrap()).collect();
        let blamed: Vec<_> = (0..7).map(|_| bench.come(2).unwrap()).collect();
        fuller.iter().chain(&blamed).for_each(|progress| progress.reach(Reached::Asking));
        bench.come(3).unwrap().reach(Reached::Asking);
        assert!(fuller[0].was_evicted());
        for _ in 0..2 {
            bench.strangers.penalties.add(IpAddr::from([192, 0, 2, 2]), Offence::Lingered, bench.now);
        }
        bench.come(4).unwrap();
        assert!(blamed[0].was_evicted() && !fuller[1].was_evicted());
    }

    #[test]
    fn who_gets_on_is_not_at_rest() {
        let mut bench = Bench::new(1);
        bench.now -= Duration::from_millis(1500);
        let slow = bench.come(1).unwrap();
        bench.later(1500);
        slow.reach(Reached::Asking);
        assert!(bench.come(2).is_none());
        bench.later(1100);
        bench.come(2).unwrap();
        assert!(slow.was_evicted());
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
