//! The nodes: what is configured of them, what their agents say, and their control channels.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use super::config::NodeConfig;
use super::relay::frame::channel_closed;
use super::relay::mailbox::{Cut, Mailbox};
use super::session::Session;
use super::tokens::Tokens;

/// All nodes, by id.
pub(crate) struct Nodes {
    all: Mutex<BTreeMap<String, Node>>,
}

struct Node {
    tags: BTreeMap<String, String>,
    facts: Facts,
    registered: OffsetDateTime,
    last_ping: Option<OffsetDateTime>,
    tokens: Tokens,
    control: Option<Arc<Mailbox>>,
}

/// What an agent reports of its node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) agent_version: Option<String>,
    pub(crate) platform_type: Option<String>,
    pub(crate) platform_name: Option<String>,
    pub(crate) platform_version: Option<String>,
    pub(crate) computer_name: Option<String>,
    pub(crate) ip_address: Option<String>,
}

/// A node as `DescribeInstanceInformation` has it.
#[derive(Clone, Debug)]
pub(crate) struct NodeRecord {
    pub(crate) id: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) facts: Facts,
    pub(crate) registered: OffsetDateTime,
    pub(crate) last_ping: Option<OffsetDateTime>,
    pub(crate) connected: bool,
}

impl Nodes {
    pub(crate) fn new(configured: &[NodeConfig]) -> Self {
        let now = OffsetDateTime::now_utc();
        let all = configured.iter().map(|node| (node.id.clone(), Node::new(node.tags.clone(), now))).collect();
        Self { all: Mutex::new(all) }
    }

    /// An agent reported. False if there are too many nodes for one more.
    pub(crate) fn report(&self, id: &str, facts: Facts) -> bool {
        let mut all = self.lock();
        let now = OffsetDateTime::now_utc();
        if !all.contains_key(id) && all.len() >= MOST_NODES {
            return false;
        }
        let node = all.entry(id.to_owned()).or_insert_with(|| Node::new(BTreeMap::new(), now));
        node.last_ping = Some(now);
        node.facts.merge(facts);
        true
    }

    /// A token for the node's control channel; `None` if there are too many nodes.
    pub(crate) fn issue_token(&self, id: &str, lifetime: Duration) -> Option<String> {
        self.report(id, Facts::default()).then(|| self.lock().get_mut(id).map(|node| node.tokens.issue(lifetime)))?
    }

    pub(crate) fn admits(&self, id: &str, token: &str) -> bool {
        self.lock().get(id).is_some_and(|node| node.tokens.check(token))
    }

    /// A control channel is open; it takes the place of an earlier one.
    pub(crate) fn attach(&self, id: &str, mailbox: Arc<Mailbox>) {
        if let Some(node) = self.lock().get_mut(id)
            && let Some(old) = node.control.replace(mailbox)
        {
            old.cut(Cut::Abort);
        }
    }

    /// That control channel is gone.
    pub(crate) fn detach(&self, id: &str, mailbox: &Arc<Mailbox>) {
        if let Some(node) = self.lock().get_mut(id) {
            node.last_ping = Some(OffsetDateTime::now_utc());
            node.control.take_if(|present| Arc::ptr_eq(present, mailbox));
        }
    }

    /// The queue towards the node's agent, if it is connected.
    pub(crate) fn control(&self, id: &str) -> Option<Arc<Mailbox>> {
        self.lock().get(id).and_then(|node| node.control.clone())
    }

    /// Ends a session from the service's side. The agent is told once it is so: what it then reports of its killed command
    /// is no failure any more. False if the session had ended.
    pub(crate) fn end_session(&self, session: &Session, output: &str) -> bool {
        let ended = session.terminate(output);
        if ended {
            self.tell_closed(session.target(), session.id(), output);
        }
        ended
    }

    /// Tells the agent that a session is over.
    pub(crate) fn tell_closed(&self, node: &str, session: &str, output: &str) {
        if let Some(mailbox) = self.control(node) {
            mailbox.push_service(channel_closed(session, node, output));
        }
    }

    /// A node's tags; none of one that nobody knows.
    pub(crate) fn tags(&self, id: &str) -> BTreeMap<String, String> {
        self.lock().get(id).map(|node| node.tags.clone()).unwrap_or_default()
    }

    /// Changes a node's tags, unless that fails; none of one that nobody knows.
    pub(crate) fn change_tags<E>(
        &self,
        id: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        let mut all = self.lock();
        let node = all.get_mut(id)?;
        let mut tags = node.tags.clone();
        let changed = change(&mut tags);
        if changed.is_ok() {
            node.tags = tags;
        }
        Some(changed)
    }

    /// The nodes that have tags, whether or not they ever registered.
    pub(crate) fn tagged(&self) -> Vec<(String, BTreeMap<String, String>)> {
        let all = self.lock();
        all.iter().filter(|(_, node)| !node.tags.is_empty()).map(|(id, node)| (id.clone(), node.tags.clone())).collect()
    }

    pub(crate) fn records(&self) -> Vec<NodeRecord> {
        let now = OffsetDateTime::now_utc();
        let all = self.lock();
        all.iter()
            .map(|(id, node)| NodeRecord {
                id: id.clone(),
                tags: node.tags.clone(),
                facts: node.facts.clone(),
                registered: node.registered,
                last_ping: if node.control.is_some() { Some(now) } else { node.last_ping },
                connected: node.control.is_some(),
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    fn new(tags: BTreeMap<String, String>, now: OffsetDateTime) -> Self {
        Self {
            tags,
            facts: Facts::default(),
            registered: now,
            last_ping: None,
            tokens: Tokens::default(),
            control: None,
        }
    }
}

impl Facts {
    fn merge(&mut self, newer: Self) {
        let Self { agent_version, platform_type, platform_name, platform_version, computer_name, ip_address } = newer;
        for (slot, value) in [
            (&mut self.agent_version, agent_version),
            (&mut self.platform_type, platform_type),
            (&mut self.platform_name, platform_name),
            (&mut self.platform_version, platform_version),
            (&mut self.computer_name, computer_name),
            (&mut self.ip_address, ip_address),
        ] {
            if value.is_some() {
                *slot = value;
            }
        }
    }
}

const MOST_NODES: usize = 10_000;
