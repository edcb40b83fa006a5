//! What each person holds of the gateway: connections, channels, and the bytes that they have sent and nobody has taken.
//!
//! ```text
//!  login ──▶ Shares::join ──▶ ConnectionShare ─┬─▶ open_channel ──▶ ChannelPlace    counted while they live
//!                                              └─▶ Held: an inbox, a request        bytes, counted as they come and go
//!
//!  windows promised: over half of a budget ──▶ narrower ones; over three quarters ──▶ the narrowest
//!  bytes held: over a person's budget ──▶ the connection of theirs that holds the most ends, with a sentence
//!              over everybody's       ──▶ the same, of the person that holds the most
//! ```
//!
//! A window bounds one channel; this bounds a person and everybody together, so that nobody can take what others need. Who
//! has many uploads at once has slower ones. A connection ends only over what no window holds back: the narrowest of very
//! many channels, and requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ending::{Ended, Ending};
use crate::config::Limits;
use crate::model::Promised;

/// What one person may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    pub(super) connections: usize,
    pub(super) channels: usize,
    pub(super) forwards: usize,
    pub(super) bytes: usize,
}

/// What somebody without any rule may have waiting here: a few requests with their variables. They can start nothing that
/// would take more.
const BYTES_WITHOUT_RULES: usize = 1 << 20;

/// A window that is never refused to a channel on which something starts: a script, a password, the first words of a protocol.
pub(super) const NARROWEST: u32 = 64 * 1024;

/// Everybody's shares.
#[derive(Debug)]
pub(super) struct Shares {
    with_rules: Allowance,
    without_rules: Allowance,
    bytes: AtomicUsize,
    promised: Promised,
    people: Mutex<HashMap<String, Arc<PersonShare>>>,
}

#[derive(Debug)]
struct PersonShare {
    channels: AtomicUsize,
    forwards: AtomicUsize,
    bytes: AtomicUsize,
    promised: Promised,
    connections: Mutex<Vec<Arc<Counted>>>,
}

/// One connection, as its person's others see it.
#[derive(Debug)]
struct Counted {
    bytes: AtomicUsize,
    ending: Arc<Ending>,
}

/// What one connection holds, of its person's.
#[derive(Debug)]
pub(super) struct ConnectionShare {
    all: Arc<Shares>,
    name: String,
    person: Arc<PersonShare>,
    counted: Arc<Counted>,
}

/// One of a person's channels, or of their forwards, while it lives.
#[derive(Debug)]
pub(super) struct ChannelPlace {
    share: Arc<ConnectionShare>,
    of: Counter,
}

/// What a place is among.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    /// Channels that run something.
    Channels,
    /// Forwards, which take no helper and no process of their own on a node.
    Forwards,
}

/// Bytes that a connection holds, and the window for more of them, until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    share: Option<Arc<ConnectionShare>>,
    bytes: usize,
    window: u32,
}

/// A person has as many channels as they may, on all their connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("you have {most} {} already, on all your connections, which is the limit", match .of {
    Counter::Channels => "channels",
    Counter::Forwards => "forwards",
})]
pub(super) struct TooManyOfAPerson {
    most: usize,
    of: Counter,
}

impl Shares {
    pub(super) fn new(limits: &Limits) -> Self {
        let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let bytes = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            with_rules: Allowance {
                connections: size(limits.connections_per_person),
                channels: size(limits.channels_per_person),
                forwards: size(limits.forwards_per_person),
                bytes: bytes(limits.buffered_bytes_per_person),
            },
            without_rules: Allowance {
                connections: size(limits.connections_without_rules),
                channels: size(limits.channels_without_rules),
                forwards: size(limits.channels_without_rules),
                bytes: BYTES_WITHOUT_RULES,
            },
            bytes: AtomicUsize::new(0),
            promised: Promised::of(bytes(limits.buffered_bytes), NARROWEST),
            people: Mutex::default(),
        }
    }

    /// A person's further connection. One too many has its share as well, and an end.
    pub(super) fn join(self: &Arc<Self>, name: &str, has_rules: bool, ending: Arc<Ending>) -> Arc<ConnectionShare> {
        let mut people = self.people();
        let person = people.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(PersonShare {
                channels: AtomicUsize::new(0),
                forwards: AtomicUsize::new(0),
                bytes: AtomicUsize::new(0),
                promised: Promised::of(self.allowance(has_rules).bytes, NARROWEST),
                connections: Mutex::default(),
            })
        });
        let most = self.judge(person, has_rules).connections;
        let mut connections = person.connections();
        if staying(&connections).count() >= most {
            ending.end(Ended::TooManyConnections { most, has_rules });
        }
        let counted = Arc::new(Counted { bytes: AtomicUsize::new(0), ending });
        connections.push(counted.clone());
        drop(connections);
        Arc::new(ConnectionShare { all: self.clone(), name: name.to_owned(), person: person.clone(), counted })
    }

    fn allowance(&self, has_rules: bool) -> Allowance {
        if has_rules { self.with_rules } else { self.without_rules }
    }

    /// What a person may have from now on: policies may change while they are here.
    fn judge(&self, person: &PersonShare, has_rules: bool) -> Allowance {
        let allowance = self.allowance(has_rules);
        person.promised.set_budget(allowance.bytes);
        allowance
    }

    /// Bytes that all hold together.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Ends the connection that holds the most, of the person who holds the most.
    fn make_room(&self) {
        let people = self.people();
        let left: usize = people.values().map(|person| person.bytes_staying()).sum();
        if left > self.promised.budget()
            && let Some(person) = people.values().max_by_key(|person| person.bytes_staying())
        {
            person.end_largest(Ended::GatewayFull { most: self.promised.budget() });
        }
    }

    fn people(&self) -> MutexGuard<'_, HashMap<String, Arc<PersonShare>>> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that have not been told to end.
fn staying(connections: &[Arc<Counted>]) -> impl Iterator<Item = &Arc<Counted>> {
    connections.iter().filter(|connection| !connection.ending.is_asked())
}

impl PersonShare {
    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Counted>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, of: Counter) -> &AtomicUsize {
        match of {
            Counter::Channels => &self.channels,
            Counter::Forwards => &self.forwards,
        }
    }

    /// Without those that are on their way out: each ends once, and its bytes with it.
    fn bytes_staying(&self) -> usize {
        staying(&self.connections()).map(|connection| connection.bytes.load(Ordering::Relaxed)).sum()
    }

    fn make_room(&self) {
        let most = self.promised.budget();
        if self.bytes_staying() > most {
            self.end_largest(Ended::PersonFull { most });
        }
    }

    fn end_largest(&self, why: Ended) {
        let connections = self.connections();
        let largest = staying(&connections).max_by_key(|connection| connection.bytes.load(Ordering::Relaxed));
        if let Some(connection) = largest {
            connection.ending.end(why);
        }
    }
}

impl ConnectionShare {
    /// A place for one more channel of the person's. `has_rules`: some policy lets them do something, as of now.
    pub(super) fn open_channel(self: &Arc<Self>, has_rules: bool) -> Result<ChannelPlace, TooManyOfAPerson> {
        self.open(has_rules, Counter::Channels)
    }

    /// The same for one more forward.
    pub(super) fn open_forward(self: &Arc<Self>, has_rules: bool) -> Result<ChannelPlace, TooManyOfAPerson> {
        self.open(has_rules, Counter::Forwards)
    }

    fn open(self: &Arc<Self>, has_rules: bool, of: Counter) -> Result<ChannelPlace, TooManyOfAPerson> {
        let allowance = self.all.judge(&self.person, has_rules);
        let most = match of {
            Counter::Channels => allowance.channels,
            Counter::Forwards => allowance.forwards,
        };
        let open = self.person.open(of);
        if open.fetch_add(1, Ordering::Relaxed) >= most {
            open.fetch_sub(1, Ordering::Relaxed);
            return Err(TooManyOfAPerson { most, of });
        }
        Ok(ChannelPlace { share: self.clone(), of })
    }

    fn hold(&self, bytes: usize) {
        let (all, person) = (&self.all, &self.person);
        self.counted.bytes.fetch_add(bytes, Ordering::Relaxed);
        if person.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > person.promised.budget() {
            person.make_room();
        }
        if all.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > all.promised.budget() {
            all.make_room();
        }
    }

    /// How wide a window may be beside what is promised already, without the one that it has.
    fn window(&self, most: u32, has: u32) -> u32 {
        let [person, all] = self.promised().map(|promised| promised.window_of_at_most(most, has));
        person.min(all)
    }

    /// What is promised of the person's budget, and of everybody's.
    fn promised(&self) -> [&Promised; 2] {
        [&self.person.promised, &self.all.promised]
    }

    fn release(&self, bytes: usize) {
        for held in [&self.counted.bytes, &self.person.bytes, &self.all.bytes] {
            held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for ConnectionShare {
    fn drop(&mut self) {
        let mut people = self.all.people();
        let mut connections = self.person.connections();
        connections.retain(|connection| !Arc::ptr_eq(connection, &self.counted));
        if connections.is_empty() {
            people.remove(&self.name);
        }
    }
}

impl ChannelPlace {
    /// Bytes of this channel, none so far.
    pub(super) fn held(&self) -> Held {
        Held { share: Some(self.share.clone()), bytes: 0, window: 0 }
    }
}

impl Drop for ChannelPlace {
    fn drop(&mut self) {
        self.share.person.open(self.of).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Held {
    /// So many bytes more are held.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        if let Some(share) = &self.share {
            share.hold(bytes);
        }
    }

    /// So many of them have been taken.
    pub(super) fn take(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        if let Some(share) = &self.share {
            share.release(bytes);
        }
    }

    /// What is held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the client may have on its way or here at once.
    pub(super) fn window(&self) -> u32 {
        self.window
    }

    /// How wide the window may be now, at most so wide.
    pub(super) fn window_of_at_most(&self, most: u32) -> u32 {
        self.share.as_ref().map_or(most, |share| share.window(most, self.window))
    }

    /// The window is so wide from now on.
    pub(super) fn set_window(&mut self, window: u32) {
        if let Some(share) = &self.share {
            for promised in share.promised() {
                promised.change(self.window, window);
            }
        }
        self.window = window;
    }

    /// Nothing is held any more, and nothing comes.
    pub(super) fn clear(&mut self) {
        self.take(self.bytes);
        self.set_window(0);
    }
}

/// Bytes that are nobody's share, for tests of what counts them.
impl Default for Held {
    fn default() -> Self {
        Self { share: None, bytes: 0, window: 0 }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(change: impl FnOnce(&mut Limits)) -> Arc<Shares> {
        let mut limits = Limits::default();
        change(&mut limits);
        Arc::new(Shares::new(&limits))
    }

    fn join(shares: &Arc<Shares>, name: &str) -> (Arc<ConnectionShare>, Arc<Ending>) {
        let ending = Arc::new(Ending::default());
        (shares.join(name, true, ending.clone()), ending)
    }

    fn hold(connection: &Arc<ConnectionShare>, bytes: usize) -> (ChannelPlace, Held) {
        let place = connection.open_channel(true).unwrap();
        let mut held = place.held();
        held.add(bytes);
        (place, held)
    }

    #[test]
    fn the_connection_of_a_person_that_holds_the_most_ends_and_once() {
        let shares = shares(|limits| limits.buffered_bytes_per_person = 100);
        let ((small, small_ends), (large, large_ends)) = (join(&shares, "ada"), join(&shares, "ada"));
        let (other, other_ends) = join(&shares, "bob");
        let _others = hold(&other, 90);
        let (_place, mut held) = hold(&large, 80);
        let _small = hold(&small, 20);
        assert!(!large_ends.is_asked(), "as much as may be");
        held.add(1);
        assert_eq!(large_ends.asked(), Some(Ended::PersonFull { most: 100 }));
        // what is on its way out counts no more
        let _more = hold(&small, 60);
        assert!(!small_ends.is_asked() && !other_ends.is_asked());
        let _too_much = hold(&small, 60);
        assert!(small_ends.is_asked() && !other_ends.is_asked());
    }

    #[test]
    fn where_all_hold_too_much_who_holds_the_most_makes_room() {
        let shares = shares(|limits| limits.buffered_bytes = 100);
        let ((ada, ada_ends), (bob, bob_ends)) = (join(&shares, "ada"), join(&shares, "bob"));
        let _adas = hold(&ada, 70);
        // it is not the one whose byte was one too many
        let _bobs = hold(&bob, 40);
        assert_eq!(ada_ends.asked(), Some(Ended::GatewayFull { most: 100 }));
        assert!(!bob_ends.is_asked());
    }

    #[test]
    fn windows_are_narrower_where_much_is_promised_and_wide_again_after() {
        const WIDE: u32 = 2 << 20;
        let shares = shares(|limits| limits.buffered_bytes_per_person = 16 << 20);
        let ((ada, _), (bob, _)) = (join(&shares, "ada"), join(&shares, "bob"));
        let place = ada.open_channel(true).unwrap();
        let mut windows = Vec::new();
        for _ in 0..40 {
            let mut held = place.held();
            held.set_window(held.window_of_at_most(WIDE));
            windows.push(held);
        }
        let wide = |window| windows.iter().filter(|held| held.window() == window).count();
        assert_eq!([WIDE, WIDE / 8, NARROWEST].map(wide), [5, 9, 26]);
        assert!(ada.person.promised.bytes() < 16 << 20);
        // what it has itself does not count, and others have their own
        assert_eq!(windows[0].window_of_at_most(WIDE), WIDE / 8);
        let bobs = bob.open_channel(true).unwrap();
        assert_eq!((bobs.held().window_of_at_most(WIDE), bobs.held().window_of_at_most(4096)), (WIDE, 4096));
        windows.truncate(3);
        assert_eq!(place.held().window_of_at_most(WIDE), WIDE);
        drop((windows, ada, bob, place, bobs));
        assert_eq!(shares.promised.bytes(), 0);
    }

    #[test]
    fn what_is_dropped_is_held_no_more() {
        let shares = shares(|_| ());
        let (ada, _) = join(&shares, "ada");
        let (place, mut held) = hold(&ada, 70);
        held.take(30);
        assert_eq!(shares.bytes(), 40);
        drop((place, held));
        assert_eq!((shares.bytes(), ada.person.channels.load(Ordering::Relaxed)), (0, 0));
        drop(ada);
        assert!(shares.people().is_empty());
    }

    #[test]
    fn a_person_has_so_many_connections_and_channels_and_others_have_theirs() {
        let shares = shares(|limits| {
            limits.connections_per_person = 2;
            limits.channels_per_person = 3;
            limits.connections_without_rules = 1;
        });
        let (first, second) = (join(&shares, "ada"), join(&shares, "ada"));
        let third = join(&shares, "ada");
        assert!(!first.1.is_asked() && !second.1.is_asked());
        assert_eq!(third.1.asked(), Some(Ended::TooManyConnections { most: 2, has_rules: true }));
        assert!(!join(&shares, "bob").1.is_asked());
        drop(second);
        assert!(!join(&shares, "ada").1.is_asked(), "places come back");
        let mut places: Vec<_> = (0..3).map(|_| first.0.open_channel(true).unwrap()).collect();
        assert_eq!(first.0.open_channel(true).unwrap_err(), TooManyOfAPerson { most: 3, of: Counter::Channels });
        places.pop();
        first.0.open_channel(true).unwrap();
        let nobody = |name: &str| {
            let ending = Arc::new(Ending::default());
            (shares.join(name, false, ending.clone()), ending)
        };
        let (_first, second) = (nobody("eve"), nobody("eve"));
        assert_eq!(second.1.asked(), Some(Ended::TooManyConnections { most: 1, has_rules: false }));
    }

    #[test]
    fn what_a_person_may_have_follows_the_policies_while_they_are_here() {
        let shares = shares(|limits| {
            limits.channels_per_person = 3;
            limits.channels_without_rules = 1;
        });
        let (ada, ends) = join(&shares, "ada");
        let place = ada.open_channel(true).unwrap();
        assert_eq!(ada.open_channel(false).unwrap_err(), TooManyOfAPerson { most: 1, of: Counter::Channels });
        let mut held = place.held();
        held.add(BYTES_WITHOUT_RULES + 1);
        assert!(matches!(ends.asked(), Some(Ended::PersonFull { most: BYTES_WITHOUT_RULES })), "{:?}", ends.asked());
        held.take(BYTES_WITHOUT_RULES + 1);
        assert_eq!(shares.allowance(true).bytes, {
            ada.open_channel(true).unwrap();
            ada.person.promised.budget()
        });
    }
}
