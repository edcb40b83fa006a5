//! Reasons that people have given on a connection, so that nobody is asked twice for the same.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::BoxFuture;
use crate::identity::Identity;
use crate::model::{NodeRef, ReasonText};
use crate::policy::Denial;

/// Somebody who can be asked why while their session is being opened.
pub trait AsksWhy: fmt::Debug + Send + Sync {
    /// Asks for what a denial says is missing; `again` where an answer did not suit. None where there is no answer.
    fn ask<'a>(&'a self, denial: &'a Denial, again: bool) -> BoxFuture<'a, Option<Answered>>;
}

/// What somebody who was asked has said.
#[derive(Debug)]
pub struct Answered {
    /// Why.
    pub reason: ReasonText,
    /// Who they are by now: an answer takes a while.
    pub identity: Identity,
}

/// The reasons of one connection: for each node the last one by which something was allowed there, for as long as it counts.
#[derive(Debug)]
pub struct Reasons {
    age: Duration,
    given: Mutex<HashMap<NodeRef, (Instant, ReasonText)>>,
}

/// A connection has the node of its login, and no more than a few that its name came to be.
const MOST: usize = 16;

impl Reasons {
    /// None yet; each will count for so long.
    pub fn new(age: Duration) -> Self {
        Self { age, given: Mutex::default() }
    }

    /// The one that was given for a node.
    pub(super) fn of(&self, node: &NodeRef) -> Option<ReasonText> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.get(node).filter(|(since, _)| since.elapsed() < self.age).map(|(_, reason)| reason.clone())
    }

    /// Keeps one that has just been given.
    pub(super) fn remember(&self, node: &NodeRef, reason: &ReasonText) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.retain(|_, (since, _)| since.elapsed() < self.age);
        if given.len() < MOST {
            given.insert(node.clone(), (Instant::now(), reason.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reason_is_of_its_node_and_has_an_age() {
        let reasons = Reasons::new(Duration::from_secs(60));
        let (web, db) = (NodeRef::for_test("i-1"), NodeRef::for_test("i-2"));
        let ticket = ReasonText::new("INC-42").unwrap();
        assert_eq!(reasons.of(&web), None);
        reasons.remember(&web, &ticket);
        assert_eq!((reasons.of(&web), reasons.of(&db)), (Some(ticket.clone()), None));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(reasons.of(&web), Some(ticket.clone()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(reasons.of(&web), None);
        let none = Reasons::new(Duration::ZERO);
        none.remember(&web, &ticket);
        assert_eq!(none.of(&web), None, "that many minutes may be none");
    }

    #[test]
    fn there_are_only_so_many() {
        let reasons = Reasons::new(Duration::from_secs(60));
        let ticket = ReasonText::new("INC-42").unwrap();
        (0..100).for_each(|n| reasons.remember(&NodeRef::for_test(&format!("i-{n}")), &ticket));
        assert_eq!(reasons.given.lock().unwrap().len(), MOST);
    }
}
