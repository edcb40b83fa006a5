//! What runs now: who, where, since when; and the way to end it.
//!
//! ```text
//!  admitted ──enter──▶ ┌ id → about, kill ┐ ──▶ running, subscribe
//!      ▲               └──────────────────┘
//!      └── killed ◀── kill, kill_all               a registration that is dropped leaves
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use uuid::Uuid;

use crate::model::{NodeName, NodeRef};
use crate::policy::Standing;

/// The sessions that run.
#[derive(Clone, Debug)]
pub struct Registry {
    state: Arc<watch::Sender<State>>,
}

/// One session that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its number in the log.
    pub id: Uuid,
    /// The SSH connection that it belongs to.
    pub connection: Uuid,
    /// The client's address.
    pub source: SocketAddr,
    /// Who.
    pub person: String,
    /// Where, as the person wrote it.
    pub node_name: NodeName,
    /// Which node that is.
    pub node: NodeRef,
    /// As whom; none means the agent's own user.
    pub os_user: Option<String>,
    /// What.
    pub action: &'static str,
    /// Since when.
    pub since: SystemTime,
}

/// Tells when something begins or ends.
#[derive(Debug)]
pub struct Changes(watch::Receiver<State>);

/// A session's place among those that run; dropping it takes it out.
#[derive(Debug)]
pub struct Registration {
    registry: Registry,
    id: Uuid,
    standing: watch::Receiver<Standing>,
    kill: watch::Receiver<Option<String>>,
}

#[derive(Debug, Default)]
struct State {
    sessions: BTreeMap<Uuid, Entry>,
    /// Nothing may run any more; why.
    closed: Option<String>,
}

#[derive(Debug)]
struct Entry {
    about: Running,
    standing: watch::Sender<Standing>,
    kill: watch::Sender<Option<String>>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { state: Arc::new(watch::Sender::default()) }
    }
}

impl Registry {
    /// What runs, the oldest first.
    pub fn running(&self) -> Vec<Running> {
        self.state.borrow().running()
    }

    /// To see what runs as it changes.
    pub fn subscribe(&self) -> Changes {
        Changes(self.state.subscribe())
    }

    /// Ends a session; the reason is a sentence for the person. False if there is none of this number, or it was ended
    /// before.
    pub fn kill(&self, id: Uuid, reason: &str) -> bool {
        self.state.borrow().sessions.get(&id).is_some_and(|entry| entry.end(reason))
    }

    /// Ends the sessions of a connection; the reason is a sentence for the person.
    pub fn kill_those_of(&self, connection: Uuid, reason: &str) {
        for entry in self.state.borrow().sessions.values().filter(|entry| entry.about.connection == connection) {
            entry.end(reason);
        }
    }

    /// Ends every session, and those that come yet.
    pub fn kill_all(&self, reason: &str) {
        self.state.send_modify(|state| {
            state.closed = Some(reason.to_owned());
            for entry in state.sessions.values() {
                entry.end(reason);
            }
        });
    }

    /// Asks about these sessions: those about which there is a sentence to say end, and the others go on as what is said of them now. How
    /// many end.
    pub(super) fn ask_about(
        &self,
        these: impl Fn(&Standing) -> bool,
        judge: impl Fn(Uuid, &Standing) -> Result<Standing, String>,
    ) -> usize {
        let standings: Vec<(Uuid, Standing)> = {
            let state = self.state.borrow();
            let standings = state.sessions.iter().map(|(id, entry)| (*id, entry.standing.borrow().clone()));
            standings.filter(|(_, standing)| these(standing)).collect()
        };
        // nobody waits to begin or to end a session while all of them are thought about
        let ended = standings.iter().filter(|(id, standing)| match judge(*id, standing) {
            Ok(now) => {
                self.goes_on(*id, now);
                false
            }
            Err(why) => self.kill(*id, &why),
        });
        ended.count()
    }

    fn goes_on(&self, id: Uuid, standing: Standing) {
        if let Some(entry) = self.state.borrow().sessions.get(&id) {
            entry.standing.send_if_modified(|known| {
                let changed = *known != standing;
                *known = standing;
                changed
            });
        }
    }

    /// A session begins, by this grant's leave.
    pub(super) fn enter(&self, about: Running, standing: Standing) -> Registration {
        let (id, (kill, killed), (standing, stands)) = (about.id, watch::channel(None), watch::channel(standing));
        self.state.send_modify(|state| {
            let entry = Entry { about, standing, kill };
            if let Some(reason) = &state.closed {
                entry.end(reason);
            }
            state.sessions.insert(id, entry);
        });
        Registration { registry: self.clone(), id, standing: stands, kill: killed }
    }
}

impl State {
    fn running(&self) -> Vec<Running> {
        let mut running: Vec<Running> = self.sessions.values().map(|entry| entry.about.clone()).collect();
        running.sort_by_key(|session| session.since);
        running
    }
}

impl Entry {
    /// The first reason counts.
    fn end(&self, reason: &str) -> bool {
        self.kill.send_if_modified(|kill| {
            let first = kill.is_none();
            kill.get_or_insert_with(|| reason.to_owned());
            first
        })
    }
}

impl Changes {
    /// What runs now, the oldest first.
    pub fn running(&mut self) -> Vec<Running> {
        self.0.borrow_and_update().running()
    }

    /// Waits until something has begun or ended since the last look.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // without a registry nothing changes
            std::future::pending::<()>().await;
        }
    }
}

impl Registration {
    /// What the session goes on by, as it is known now, and when that is another.
    pub(super) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Waits until somebody ends the session: why.
    pub(super) async fn killed(&self) -> String {
        let mut kill = self.kill.clone();
        let killed = kill.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match killed {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.state.send_modify(|state| drop(state.sessions.remove(&self.id)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::{Action, Grant};

    fn about(seconds: u64) -> Running {
        Running {
            id: Uuid::new_v4(),
            connection: Uuid::nil(),
            source: "192.0.2.1:5".parse().unwrap(),
            person: "ada".to_owned(),
            node_name: NodeName::parse("web-1").unwrap(),
            node: NodeRef::for_test("i-0123456789abcdef0"),
            os_user: None,
            action: "Shell",
            since: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        }
    }

    fn standing() -> Standing {
        Grant::for_test("web-1", Action::Shell).standing()
    }

    #[tokio::test]
    async fn it_knows_what_runs_and_says_when_that_changes() {
        let registry = Registry::default();
        let mut changes = registry.subscribe();
        assert_eq!(changes.running(), []);
        let (late, early) = (about(2), about(1));
        let first = registry.enter(late.clone(), standing());
        let second = registry.enter(early.clone(), standing());
        changes.changed().await;
        assert_eq!(changes.running(), [early.clone(), late]);
        drop(first);
        changes.changed().await;
        assert_eq!((changes.running(), registry.running()), (vec![early.clone()], vec![early]));
        drop(second);
        assert_eq!(registry.running(), []);
    }

    #[tokio::test]
    async fn a_kill_reaches_its_session_and_no_other_and_the_first_reason_counts() {
        let registry = Registry::default();
        let (one, other) = (registry.enter(about(1), standing()), registry.enter(about(2), standing()));
        assert!(registry.kill(one.id, "first"));
        assert!(!registry.kill(one.id, "second") && !registry.kill(Uuid::new_v4(), "nobody"));
        assert_eq!(one.killed().await, "first");
        assert_eq!(one.killed().await, "first", "whoever asks later learns it, too");
        let still = tokio::time::timeout(Duration::from_millis(20), other.killed()).await;
        assert!(still.is_err(), "the other one goes on");
        registry.kill_all("all");
        assert_eq!(other.killed().await, "all");
        assert_eq!(registry.enter(about(3), standing()).killed().await, "all", "nothing begins any more");
    }
}
