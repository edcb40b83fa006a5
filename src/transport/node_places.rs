//! Places among the channels that a node carries at once, shared fairly between people.
//!
//! ```text
//!   places of a node   ├── for anybody, up to their own most ──┼── the last quarter: for who has few ──┤
//!   all taken ─▶ a queue: of those who may have a place, whoever has the fewest there comes first
//! ```
//!
//! Whenever a place may have come free, whose turn it is is called, and nobody else.
//!
//! So one person can't hold a node, nor can a few: whoever comes finds a place, or waits for one behind nobody who has more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::error::TransportError;
use super::herald::{Herald, News};
use crate::model::NodeRef;
use crate::policy::Grant;

/// The part of a node's places that only people with few of them may have.
const LAST_PART: usize = 4;

/// How many are few.
const FEW: usize = 4;

/// How long a channel waits for its place. Its person is told that it does, and may give up earlier.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Nodes without channels are forgotten when there are so many.
const MANY_NODES: usize = 1024;

/// How many channels a node carries.
#[derive(Clone, Copy, Debug)]
struct Most {
    in_all: usize,
    of_a_person: usize,
}

/// The places of all nodes.
#[derive(Debug)]
pub(super) struct NodePlaces {
    most: Most,
    nodes: Mutex<HashMap<NodeRef, Arc<NodeShare>>>,
}

#[derive(Debug)]
struct NodeShare {
    most: Most,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<String, usize>,
    taken: usize,
    /// In the order of their coming.
    waiting: Vec<Waiting>,
    last: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    person: String,
    called: Arc<Notify>,
}

/// A place among the channels that one node carries at once; it is free again when the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct NodePermit {
    _held: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    node: Arc<NodeShare>,
    person: String,
}

/// One in the queue, until this is dropped.
struct Turn<'a> {
    node: &'a NodeShare,
    number: u64,
    called: Arc<Notify>,
}

impl NodePlaces {
    pub(super) fn new(in_all: usize, of_a_person: usize) -> Self {
        Self { most: Most { in_all, of_a_person }, nodes: Mutex::default() }
    }

    /// The grant's place; where there is none, its turn is waited for.
    pub(super) async fn take(&self, grant: &Grant, herald: &Herald) -> Result<NodePermit, TransportError> {
        let (node, person) = (self.node(grant.node()), grant.identity().person());
        let turn = node.queue(person);
        if let Some(place) = node.try_take(&turn, person) {
            return Ok(place);
        }
        let name = grant.node_name().to_string();
        let Most { in_all, of_a_person } = self.most;
        let full = if node.held_by(person) >= of_a_person {
            TransportError::NodeShareTaken { node: name, most: of_a_person }
        } else {
            TransportError::NodeFull { node: name, most: in_all }
        };
        herald.bring(News::Waits(format!("portcullis: {full}; waiting for a place")));
        let waited = async {
            loop {
                turn.called.notified().await;
                if let Some(place) = node.try_take(&turn, person) {
                    return place;
                }
            }
        };
        tokio::time::timeout(LONGEST_WAIT, waited).await.map_err(|_| full)
    }

    fn node(&self, node: &NodeRef) -> Arc<NodeShare> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.len() >= MANY_NODES {
            // a place, and whoever waits for one, holds the node's share as well
            nodes.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let new = || Arc::new(NodeShare { most: self.most, state: Mutex::default() });
        nodes.entry(node.clone()).or_insert_with(new).clone()
    }
}

impl NodeShare {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self, person: &str) -> Turn<'_> {
        let mut state = self.state();
        state.last += 1;
        let (number, called) = (state.last, Arc::<Notify>::default());
        state.waiting.push(Waiting { number, person: person.to_owned(), called: called.clone() });
        Turn { node: self, number, called }
    }

    fn held_by(&self, person: &str) -> usize {
        self.state().held_by(person)
    }

    /// A place, if it is that one's turn and there is one.
    fn try_take(self: &Arc<Self>, turn: &Turn<'_>, person: &str) -> Option<NodePermit> {
        let mut state = self.state();
        if state.next(self.most)?.number != turn.number {
            return None;
        }
        state.taken += 1;
        *state.held.entry(person.to_owned()).or_default() += 1;
        let place = Place { node: self.clone(), person: person.to_owned() };
        Some(NodePermit { _held: Arc::new(place) })
    }
}

impl State {
    /// Whose turn it is, if anybody's.
    fn next(&self, most: Most) -> Option<&Waiting> {
        let may = self.waiting.iter().filter(|waiting| self.may_take(&waiting.person, most));
        may.min_by_key(|waiting| (self.held_by(&waiting.person), waiting.number))
    }

    /// Something has changed. Who is called and gives up instead leaves the queue, which calls the next.
    fn call_next(&self, most: Most) {
        if let Some(next) = self.next(most) {
            next.called.notify_one();
        }
    }

    fn held_by(&self, person: &str) -> usize {
        self.held.get(person).copied().unwrap_or_default()
    }

    fn may_take(&self, person: &str, most: Most) -> bool {
        let (free, held) = (most.in_all.saturating_sub(self.taken), self.held_by(person));
        let last = most.in_all / LAST_PART;
        held < most.of_a_person && free > if held < FEW { 0 } else { last }
    }
}

/// Who has a place, or gives up, leaves the queue; it may be another's turn then.
impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.node.state();
        state.waiting.retain(|waiting| waiting.number != self.number);
        state.call_next(self.node.most);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.node.state();
        state.taken -= 1;
        if let Some(held) = state.held.get_mut(&self.person) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(&self.person);
            }
        }
        state.call_next(self.node.most);
    }
}

/// A place on a node that carries nothing else.
#[cfg(test)]
impl NodePermit {
    pub(super) async fn for_test(grant: &Grant) -> Self {
        NodePlaces::new(1, 1).take(grant, &Herald::default()).await.unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Wake};

    use futures_util::FutureExt as _;

    use super::*;
    use crate::policy::Action;

    fn grant(person: &str) -> Grant {
        Grant::for_test_of(person, "i-1", Action::Shell)
    }

    async fn take(places: &NodePlaces, person: &str, count: usize) -> Vec<NodePermit> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(places.take(&grant(person), &Herald::default()).await.unwrap());
        }
        taken
    }

    type Waits<'a> = Pin<Box<dyn Future<Output = Result<NodePermit, TransportError>> + 'a>>;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn take(&self) -> bool {
            self.0.swap(false, Ordering::Relaxed)
        }
    }

    fn is_free(places: &NodePlaces, person: &str) -> bool {
        places.take(&grant(person), &Herald::default()).now_or_never().is_some()
    }

    #[tokio::test]
    async fn one_person_s_channels_leave_room_for_others() {
        let places = NodePlaces::new(64, 48);
        let _adas = take(&places, "ada", 48).await;
        assert!(!is_free(&places, "ada"), "as many as one person may have");
        // the last quarter is for people who have few
        let _bobs = take(&places, "bob", 4).await;
        assert!(!is_free(&places, "bob"));
        for n in 0..3 {
            let person = format!("p{n}");
            std::mem::forget(take(&places, &person, 4).await);
        }
        assert!(!is_free(&places, "eve"), "all are taken");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_the_fewest_comes_first_and_is_told_that_it_waits() {
        let places = Arc::new(NodePlaces::new(4, 4));
        let mut adas = take(&places, "ada", 3).await;
        let bobs = take(&places, "bob", 1).await;
        let (herald, mut news) = Herald::new();
        let wait = |person: &'static str, herald: Herald| {
            let places = places.clone();
            tokio::spawn(async move { places.take(&grant(person), &herald).await })
        };
        // ada asks first, bob and then eve after her
        let ada = wait("ada", herald);
        let said = news.recv().await.unwrap();
        assert!(
            matches!(&said, News::Waits(text) if text.contains("4 channels") && text.contains("waiting")),
            "{said:?}"
        );
        let bob = wait("bob", Herald::default());
        tokio::task::yield_now().await;
        let eve = wait("eve", Herald::default());
        tokio::task::yield_now().await;
        adas.pop();
        let eve = eve.await.unwrap().unwrap();
        assert!(!ada.is_finished() && !bob.is_finished());
        adas.pop();
        // now ada has one as bob has, and asked before him
        let ada = ada.await.unwrap().unwrap();
        assert!(!bob.is_finished());
        drop((eve, bobs));
        bob.await.unwrap().unwrap();
        drop((ada, adas));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_comes_free_wakes_one_of_those_who_wait() {
        let places = NodePlaces::new(2, 2);
        let mut held = take(&places, "ada", 2).await;
        let [ada, bob, eve] = ["ada", "bob", "eve"].map(grant);
        let herald = Herald::default();
        let woken = [(); 3].map(|()| Arc::<Woken>::default());
        let mut waiting = [&ada, &bob, &eve].map(|grant| Some(Box::pin(places.take(grant, &herald)) as Waits<'_>));
        let poll = |one: &mut Option<Waits<'_>>, woken: &Arc<Woken>| {
            let waker = woken.clone().into();
            one.as_mut().unwrap().as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        };
        for (one, woken) in waiting.iter_mut().zip(&woken) {
            assert!(!poll(one, woken));
        }
        held.pop();
        assert_eq!(woken.each_ref().map(|woken| woken.take()), [false, true, false]);
        // who is called and goes leaves the place to the next
        waiting[1] = None;
        assert_eq!(woken.each_ref().map(|woken| woken.take()), [false, false, true]);
        // she has it, and lets it go
        assert!(!woken[0].take() && poll(&mut waiting[2], &woken[2]));
        assert!(woken[0].take());
    }

    #[tokio::test]
    async fn a_node_of_another_realm_has_places_of_its_own() {
        let places = NodePlaces::new(1, 1);
        let [dev, prod] = ["dev", "prod"].map(|realm| Grant::for_test_in(realm, "i-1", Action::Shell));
        let _held = places.take(&dev, &Herald::default()).await.unwrap();
        assert!(places.take(&prod, &Herald::default()).now_or_never().is_some());
        assert!(places.take(&dev, &Herald::default()).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_the_queue_and_waiting_has_an_end() {
        let places = NodePlaces::new(1, 1);
        let held = take(&places, "ada", 1).await;
        assert!(!is_free(&places, "bob"));
        let refused = places.take(&grant("eve"), &Herald::default()).await.unwrap_err().to_string();
        assert!(refused.contains("carries 1 channel"), "{refused}");
        drop(held);
        assert!(is_free(&places, "eve"));
    }
}
