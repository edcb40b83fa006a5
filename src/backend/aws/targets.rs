//! Which node a name stands for.
//!
//! ```text
//!   i-0123…, mi-0123…, ecs:<cluster>_<task>_<runtime>     that one
//!   tag:Key=Value                                         the only one with that tag
//!   anything else                                         the only one whose Name tag it is,
//!                                                         else the only one whose computer name it is
//! ```
//!
//! Tags come first because IAM guards them; a computer name is what the node says of itself. Two that match are an error
//! in either step: a name that could mean two nodes means none. What was found answers for half a minute, what was not for
//! some seconds; the [`inventory`] answers for all names while it is that young.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::clients::Clients;
use super::error::{Kind, clean, explain, kind};
use super::inventory::{self, Failure, Inventory};
use super::tags::TagReader;
use crate::backend::{BackendError, Node, NodeList};
use crate::model::{NodeFacts, NodeForm, NodeId, NodeName, NodeRef, ago};

/// How long an answer is good for.
const TTL: Duration = Duration::from_secs(30);
/// Answers kept.
const MAX_KEPT: usize = 4096;

/// How long a name is remembered that is no node's, or that of several: long enough for a client that tries again and
/// again, and short for whoever has just started the node.
const ABSENCE_TTL: Duration = Duration::from_secs(5);
/// Such names kept, and names that are being looked up.
const MAX_ABSENT: usize = 1024;

/// Recent answers: nodes that were there and online, and names that are nobody's.
#[derive(Debug, Default)]
pub(super) struct Targets {
    kept: Mutex<HashMap<NodeName, (Instant, Node)>>,
    absent: Mutex<HashMap<NodeName, (Instant, BackendError)>>,
    /// Names that are being looked up. Who asks meanwhile shares the answer, whatever it is: a service that fails or is slow
    /// is not asked again by each of them in turn.
    asked: Mutex<HashMap<NodeName, Arc<Answer>>>,
    inventory: Inventory,
    tags: TagReader,
}

/// What one look-up finds, for all who wait for it.
type Answer = OnceCell<Result<Node, BackendError>>;

impl Targets {
    pub(super) async fn resolve(&self, clients: &Clients, name: &NodeName) -> Result<Node, BackendError> {
        if let Some(known) = self.known(name) {
            return known;
        }
        let answer = self.asked(name);
        // if who asks goes away, the next of those who wait asks
        let found = answer.get_or_init(async || {
            let found = self.ask(clients, name).await;
            if let Err(error @ (BackendError::Target(_) | BackendError::Several { .. })) = &found {
                self.remember_absence(name, error);
            }
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
            found
        });
        found.await.clone()
    }

    fn remember_absence(&self, name: &NodeName, why: &BackendError) {
        let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        if absent.len() >= MAX_ABSENT {
            absent.retain(|_, (since, _)| since.elapsed() < ABSENCE_TTL);
        }
        if absent.len() < MAX_ABSENT {
            absent.insert(name.clone(), (Instant::now(), why.clone()));
        }
    }

    /// What was found a moment ago.
    fn known(&self, name: &NodeName) -> Option<Result<Node, BackendError>> {
        if let Some(node) = self.recent(name) {
            return Some(Ok(node));
        }
        let absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, why) = absent.get(name).filter(|(since, _)| since.elapsed() < ABSENCE_TTL)?;
        Some(Err(why.clone()))
    }

    fn asked(&self, name: &NodeName) -> Arc<Answer> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= MAX_ABSENT {
            // those whose askers have all gone away
            asked.retain(|_, answer| Arc::strong_count(answer) > 1);
        }
        asked.entry(name.clone()).or_default().clone()
    }

    async fn ask(&self, clients: &Clients, name: &NodeName) -> Result<Node, BackendError> {
        let node = match name.form() {
            NodeForm::Instance(id) => self.by_id(clients, id).await?,
            NodeForm::Task(id) => self.by_connection(clients, id).await?,
            NodeForm::Tag { .. } | NodeForm::Word(_) => match self.by_name(clients, name).await? {
                Some(node) => node,
                None => return Err(nobody(clients, name.as_str())),
            },
        };
        if node.online {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= MAX_KEPT {
                kept.clear();
            }
            kept.insert(name.clone(), (Instant::now(), node.clone()));
        }
        Ok(node)
    }

    async fn by_id(&self, clients: &Clients, id: &str) -> Result<Node, BackendError> {
        let (found, tags) = tokio::join!(inventory::filtered(clients, "InstanceIds", id), self.tags.of(clients, id));
        match found {
            Ok(found) => match found.iter().find(|node| node.instance_id() == Some(id)) {
                Some(information) => inventory::node(&clients.realm, information, tags),
                None => Err(nobody(clients, id)),
            },
            Err(Failure { kind: Kind::NoSuchThing, .. }) => Err(nobody(clients, id)),
            // A role may be allowed sessions but not the inventory; StartSession says what there is to say.
            Err(Failure { kind: Kind::Denied, .. }) => self.by_connection(clients, id).await,
            Err(failure) => Err(failure.error),
        }
    }

    /// Tasks are not in the inventory, only their connection is known, and their tags.
    async fn by_connection(&self, clients: &Clients, id: &str) -> Result<Node, BackendError> {
        let asked = clients.ssm.get_connection_status().target(id).send();
        let (connection, tags) = tokio::join!(asked, self.tags.of(clients, id));
        let online = match connection {
            Ok(answer) => answer.status().is_some_and(|status| status.as_str().eq_ignore_ascii_case("connected")),
            Err(error) if kind(&error) == Kind::Denied => true,
            Err(error) => {
                return Err(explain(clients.call("GetConnectionStatus", id), &error));
            }
        };
        let called = tags.as_ref().ok().and_then(|tags| tags.get("Name")).cloned();
        let facts = NodeFacts { called, tags, ..NodeFacts::bare(NodeRef::new(&clients.realm, id)) };
        let name = clean(facts.name());
        Ok(Node { facts: Arc::new(facts), name, computer_name: None, online, last_ping: None })
    }

    /// By a tag, and a word also by what a node calls itself.
    async fn by_name(&self, clients: &Clients, name: &NodeName) -> Result<Option<Node>, BackendError> {
        if let Some(list) = self.inventory.recent()
            && let Some(found) = among(&list, name)
        {
            return found;
        }
        if let Some((key, value)) = wanted_tag(name) {
            let found = inventory::filtered(clients, &format!("tag:{key}"), value).await.map_err(|f| f.error)?;
            let ids: Vec<&str> = found.iter().filter_map(|node| node.instance_id()).collect();
            if !ids.is_empty() {
                let tags = self.tags.of_each(clients, &ids).await;
                let tags = |id: &str| tags.as_ref().map(|all| all.get(id).cloned().unwrap_or_default());
                let nodes = found.iter().filter_map(|found| {
                    let tags = tags(found.instance_id()?).map_err(Clone::clone);
                    inventory::node(&clients.realm, found, tags).ok().map(|node| by_tag(node, key, value))
                });
                return only(nodes.collect(), name);
            }
        }
        let NodeForm::Word(word) = name.form() else { return Ok(None) };
        let list = self.inventory.all(clients, &self.tags).await?;
        if !list.is_whole {
            // Half an inventory can't say that a name is unique.
            return Err(BackendError::Target(format!(
                "there are too many nodes in {} to look for a computer name: use the id or a tag",
                clients.region
            )));
        }
        only(list.nodes.iter().filter(|node| answers_to(node, word)).cloned().collect(), name)
    }

    /// All of the inventory.
    pub(super) async fn all(&self, clients: &Clients) -> Result<Arc<NodeList>, BackendError> {
        self.inventory.all(clients, &self.tags).await
    }

    fn recent(&self, name: &NodeName) -> Option<Node> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // tags that could not be read are asked for again soon
        let ttl = |node: &Node| if node.facts.tags.is_ok() { TTL } else { ABSENCE_TTL };
        kept.get(name).filter(|(since, node)| since.elapsed() < ttl(node)).map(|(_, node)| node.clone())
    }

    /// A session could not be started there: what was known is wrong.
    pub(super) fn forget(&self, id: &NodeId) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, (_, node)| node.node_ref().id != *id);
    }

    /// The sentence for a node that is not connected, with when it last was. The name is the person's, if it is known.
    pub(super) async fn describe_absence(&self, clients: &Clients, id: &NodeId) -> String {
        let name = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.values().find(|(_, node)| node.node_ref().id == *id).map(|(_, node)| node.name.clone())
        };
        self.forget(id);
        let node = self.by_id(clients, &id.0).await.ok();
        let name = name.or_else(|| node.as_ref().map(|node| node.name.clone())).unwrap_or_else(|| id.0.clone());
        match node.and_then(|node| node.last_ping).and_then(ago) {
            Some(last) => format!(
                "{name} is not connected to Systems Manager: last ping {last}; see that its agent runs and reaches \
                 ssmmessages.{}.amazonaws.com",
                clients.region
            ),
            None => format!(
                "{name} is not connected to Systems Manager in {}: see that the agent runs there with a role that may \
                 use Session Manager",
                clients.region
            ),
        }
    }
}

/// None, the only one, or an error that has those that match.
fn only(found: Vec<Node>, name: &NodeName) -> Result<Option<Node>, BackendError> {
    match <[Node; 1]>::try_from(found) {
        Ok([one]) => Ok(Some(one)),
        Err(none) if none.is_empty() => Ok(None),
        Err(nodes) => Err(BackendError::Several { name: name.clone(), nodes }),
    }
}

/// Whether a node says that it is called so, or was registered so; with or without the domain, in whatever case.
fn answers_to(node: &Node, word: &str) -> bool {
    let names = [node.computer_name.as_deref(), node.facts.called.as_deref()];
    names.into_iter().flatten().any(|name| {
        let short = name.split('.').next().unwrap_or_default();
        name.eq_ignore_ascii_case(word) || short.eq_ignore_ascii_case(word)
    })
}

/// The node with this tag, if that is asked for.
fn wanted_tag(name: &NodeName) -> Option<(&str, &str)> {
    match name.form() {
        NodeForm::Tag { key, value } => Some((key, value)),
        NodeForm::Word(word) => Some(("Name", word)),
        NodeForm::Instance(_) | NodeForm::Task(_) => None,
    }
}

/// A node that the inventory has by a tag, as policies see it. Where its tags do not have that one, one of the two answers is
/// older than the other, and neither is believed.
fn by_tag(mut node: Node, key: &str, value: &str) -> Node {
    let facts = Arc::make_mut(&mut node.facts);
    if facts.tags.as_ref().is_ok_and(|tags| tags.get(key).is_none_or(|tag| tag != value)) {
        facts.tags = Err("two answers of AWS about them differ: try again in a minute".to_owned());
    }
    if key == "Name" {
        facts.called = Some(value.to_owned());
        node.name = value.to_owned();
    }
    node
}

/// What a whole and recent list of nodes says of a name; nothing where it can't say.
fn among(list: &NodeList, name: &NodeName) -> Option<Result<Option<Node>, BackendError>> {
    if !list.is_whole || list.nodes.iter().any(|node| node.facts.tags.is_err()) {
        return None;
    }
    let matching = |is: &dyn Fn(&Node) -> bool| list.nodes.iter().filter(|node| is(node)).cloned().collect::<Vec<_>>();
    let (key, value) = wanted_tag(name)?;
    let tagged =
        matching(&|node| node.facts.tags.as_ref().is_ok_and(|tags| tags.get(key).is_some_and(|tag| tag == value)));
    Some(match (tagged.is_empty(), name.form()) {
        (true, NodeForm::Word(word)) => only(matching(&|node| answers_to(node, word)), name),
        _ => only(tagged, name),
    })
}

fn nobody(clients: &Clients, name: &str) -> BackendError {
    BackendError::Target(format!(
        "{} is no managed node in {}: see its name, its Name tag and that its agent has registered",
        clean(name),
        clients.region
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, name: &str) -> Node {
        let facts = NodeFacts::named(id, name).tagged("Name", name).into();
        Node { facts, name: name.to_owned(), computer_name: None, online: true, last_ping: None }
    }

    #[test]
    fn a_name_that_matches_two_means_none() {
        let name = NodeName::for_test("web");
        assert_eq!(only(Vec::new(), &name), Ok(None));
        assert_eq!(only(vec![node("i-1", "web")], &name).unwrap().unwrap().node_ref().id.0, "i-1");
        let found = vec![node("i-1", "web"), node("i-2", "web")];
        let several = only(found.clone(), &name).unwrap_err();
        assert_eq!(several.to_string(), "2 nodes are called web: use the id of the one that you mean");
        assert_eq!(several, BackendError::Several { name, nodes: found });
    }

    #[test]
    fn a_list_says_what_the_inventory_would_if_it_is_whole_and_knows_all_tags() {
        let mut list = NodeList { nodes: vec![node("i-1", "web"), node("i-2", "db")], is_whole: true };
        list.nodes[1].computer_name = Some("Web.corp.example".to_owned());
        let id = |list: &NodeList, name: &str| match among(list, &NodeName::for_test(name)) {
            Some(found) => found
                .map(|node| node.map_or_else(String::new, |node| node.node_ref().id.0.clone()))
                .unwrap_or("two".into()),
            None => "can't say".to_owned(),
        };
        for (name, expected) in [("web", "i-1"), ("db", "i-2"), ("WEB", "two"), ("tag:Name=web", "i-1"), ("x", "")] {
            assert_eq!(id(&list, name), expected, "{name}");
        }
        assert_eq!(id(&list, "i-0123456789abcdef0"), "can't say");
        Arc::make_mut(&mut list.nodes[1].facts).tags = Err("no".to_owned());
        assert_eq!(id(&list, "web"), "can't say");
        let half = NodeList { nodes: vec![node("i-1", "web")], is_whole: false };
        assert_eq!(id(&half, "web"), "can't say");
    }

    #[test]
    fn tags_that_contradict_the_inventory_are_not_believed() {
        let node = by_tag(node("i-1", "old"), "Name", "web");
        assert!(node.facts.tags.is_err());
        assert_eq!((node.facts.name(), node.name.as_str()), ("web", "web"));
    }
}
