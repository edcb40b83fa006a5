//! The ladder: which sessions carry a channel, best first, and what is known of each node.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Rung;
use crate::model::{NodeRef, RealmName};

/// What is known of the nodes. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    fixed: Option<Rung>,
    /// The same by realm, which counts before that.
    by_realm: Arc<BTreeMap<RealmName, Rung>>,
    /// The last rung is there: the gateway has something to log in with.
    has_sshd: bool,
    /// What worked, and when that was found out.
    seen: Arc<Mutex<HashMap<NodeRef, (Rung, Instant)>>>,
    /// Where a relay was not to be had, and since when that is known.
    without_relay: Arc<Mutex<HashMap<NodeRef, Instant>>>,
}

impl Ladder {
    /// Nothing known yet; `fixed` allows one rung only.
    pub(super) fn new(fixed: Option<Rung>) -> Self {
        Self { fixed, by_realm: Arc::default(), has_sshd: false, seen: Arc::default(), without_relay: Arc::default() }
    }

    /// With one rung only in some realms, and with nodes' own sshds or without.
    pub(super) fn with(self, by_realm: BTreeMap<RealmName, Rung>, has_sshd: bool) -> Self {
        Self { by_realm: Arc::new(by_realm), has_sshd, ..self }
    }

    fn fixed(&self, node: &NodeRef) -> Option<Rung> {
        self.by_realm.get(&node.realm).copied().or(self.fixed)
    }

    /// Where to start with a node. A lower rung is believed in for a while only: a node that was just busy, or whose agent
    /// has been brought up to date, gets its lanes back.
    pub(super) fn rung(&self, node: &NodeRef, now: Instant) -> Rung {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(node).copied();
        let fresh = seen.filter(|(_, at)| now.saturating_duration_since(*at) < BELIEVED);
        self.fixed(node).or(fresh.map(|(rung, _)| rung)).unwrap_or(Rung::TwoLanes)
    }

    /// The rung to try after one that did not answer.
    pub(super) fn below(&self, node: &NodeRef, failed: Rung) -> Option<Rung> {
        match (self.fixed(node), failed) {
            (None, Rung::TwoLanes) => Some(Rung::OneLane),
            _ => None,
        }
    }

    /// Whether a node's own sshd may be tried where no lane will do.
    pub(super) fn may_try_sshd(&self, node: &NodeRef) -> bool {
        self.has_sshd && self.fixed(node).is_none()
    }

    /// A rung worked on a node.
    pub(super) fn stands(&self, node: &NodeRef, rung: Rung, now: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get(node) {
            // its time runs from when it was found out, not from its last use
            Some((known, at)) if *known == rung && now.saturating_duration_since(*at) < BELIEVED => {}
            _ => drop(seen.insert(node.clone(), (rung, now))),
        }
    }

    /// A node's helper has no relay.
    pub(super) fn lacks_relay(&self, node: &NodeRef, now: Instant) {
        self.without_relay.lock().unwrap_or_else(PoisonError::into_inner).insert(node.clone(), now);
    }

    /// Whether that is known, and was found out lately: python3 may be installed any day.
    pub(super) fn may_have_relay(&self, node: &NodeRef, now: Instant) -> bool {
        let known = self.without_relay.lock().unwrap_or_else(PoisonError::into_inner).get(node).copied();
        known.is_none_or(|at| now.saturating_duration_since(at) >= BELIEVED)
    }
}

/// Longer than is bad for a node that was just busy, since finding out again may take a channel twenty seconds.
const BELIEVED: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_worked_is_where_the_next_channel_starts() {
        let ladder = Ladder::new(None);
        let node = NodeRef::for_test("i-0123");
        let now = Instant::now();
        assert_eq!(ladder.rung(&node, now), Rung::TwoLanes);
        assert_eq!(ladder.below(&node, Rung::TwoLanes), Some(Rung::OneLane));
        ladder.stands(&node, Rung::OneLane, now);
        ladder.stands(&node, Rung::OneLane, now + BELIEVED / 2);
        assert_eq!(ladder.rung(&node, now + BELIEVED / 2), Rung::OneLane);
        assert_eq!(ladder.rung(&node, now + BELIEVED), Rung::TwoLanes);
        assert_eq!(ladder.below(&node, Rung::OneLane), None);
        assert_eq!(Ladder::new(Some(Rung::TwoLanes)).below(&node, Rung::TwoLanes), None);
    }

    #[test]
    fn a_node_without_a_relay_is_not_asked_again_for_a_while() {
        let (ladder, node, now) = (Ladder::new(None), NodeRef::for_test("i-0123"), Instant::now());
        assert!(ladder.may_have_relay(&node, now));
        ladder.lacks_relay(&node, now);
        assert!(!ladder.may_have_relay(&node, now + BELIEVED / 2) && ladder.may_have_relay(&node, now + BELIEVED));
        assert!(ladder.may_have_relay(&NodeRef::for_test("i-4567"), now));
    }

    #[test]
    fn a_realm_may_have_one_rung_alone_and_the_last_is_there_where_it_can_be_logged_in() {
        let now = Instant::now();
        let [dev, prod] = ["dev", "prod"].map(|realm| NodeRef::new(&RealmName::of_test(realm), "i-0123"));
        let ladder = Ladder::new(None).with([(prod.realm.clone(), Rung::Sshd)].into(), true);
        assert_eq!((ladder.rung(&prod, now), ladder.rung(&dev, now)), (Rung::Sshd, Rung::TwoLanes));
        assert!(ladder.may_try_sshd(&dev) && !ladder.may_try_sshd(&prod));
        assert!(!Ladder::new(None).may_try_sshd(&dev));
        ladder.stands(&dev, Rung::Sshd, now);
        assert_eq!(ladder.rung(&dev, now), Rung::Sshd);
    }

    #[test]
    fn what_worked_in_one_realm_says_nothing_of_another() {
        let (ladder, now) = (Ladder::new(None), Instant::now());
        let [dev, prod] = ["dev", "prod"].map(|realm| NodeRef::new(&crate::model::RealmName::of_test(realm), "i-0123"));
        ladder.stands(&prod, Rung::OneLane, now);
        assert_eq!((ladder.rung(&prod, now), ladder.rung(&dev, now)), (Rung::OneLane, Rung::TwoLanes));
    }
}
