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
//! in either step: a name that could mean two nodes means none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_ssm::types::{InstanceInformation, InstanceInformationStringFilter, PingStatus};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::clients::Clients;
use super::error::{Kind, clean, explain, kind};
use crate::backend::{BackendError, Node};
use crate::model::{NodeForm, NodeId, NodeName};

/// How long an answer is good for.
const TTL: Duration = Duration::from_secs(30);
/// Answers kept.
const MAX_KEPT: usize = 4096;
/// Pages of the inventory that are read for a computer name; 50 nodes each.
const MAX_PAGES: usize = 100;
/// Matches named in an error.
const MAX_SHOWN: usize = 8;

/// How long a name is remembered that is no node's, or that of several: long enough for a client that tries again and
/// again, and short for whoever has just started the node.
const ABSENCE_TTL: Duration = Duration::from_secs(5);
/// Such names kept, and names that are being looked up.
const MAX_ABSENT: usize = 1024;

/// Recent answers: nodes that were there and online, and names that are nobody's.
#[derive(Debug, Default)]
pub(super) struct Targets {
    kept: Mutex<HashMap<NodeName, (Instant, Node)>>,
    absent: Mutex<HashMap<NodeName, (Instant, String)>>,
    /// Names that are being looked up. Who asks meanwhile shares the answer, whatever it is: a service that fails or is slow
    /// is not asked again by each of them in turn.
    asked: Mutex<HashMap<NodeName, Arc<Answer>>>,
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
            if let Err(BackendError::Target(why)) = &found {
                self.remember_absence(name, why);
            }
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
            found
        });
        found.await.clone()
    }

    fn remember_absence(&self, name: &NodeName, why: &str) {
        let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        if absent.len() >= MAX_ABSENT {
            absent.retain(|_, (since, _)| since.elapsed() < ABSENCE_TTL);
        }
        if absent.len() < MAX_ABSENT {
            absent.insert(name.clone(), (Instant::now(), why.to_owned()));
        }
    }

    /// What was found a moment ago.
    fn known(&self, name: &NodeName) -> Option<Result<Node, BackendError>> {
        if let Some(node) = self.recent(name) {
            return Some(Ok(node));
        }
        let absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, why) = absent.get(name).filter(|(since, _)| since.elapsed() < ABSENCE_TTL)?;
        Some(Err(BackendError::Target(why.clone())))
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
        let unknown = || nobody(clients, name.as_str());
        let node = match name.form() {
            NodeForm::Instance(id) => by_id(clients, id).await?,
            NodeForm::Task(id) => by_connection(clients, id).await?,
            NodeForm::Tag { key, value } => by_tag(clients, key, value).await?.ok_or_else(unknown)?,
            NodeForm::Word(word) => match by_tag(clients, "Name", word).await? {
                Some(node) => node,
                None => by_computer_name(clients, word).await?.ok_or_else(unknown)?,
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

    fn recent(&self, name: &NodeName) -> Option<Node> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(name).filter(|(since, _)| since.elapsed() < TTL).map(|(_, node)| node.clone())
    }

    /// A session could not be started there: what was known is wrong.
    pub(super) fn forget(&self, id: &NodeId) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, (_, node)| node.id != *id);
    }

    /// The sentence for a node that is not connected, with when it last was. The name is the person's, if it is known.
    pub(super) async fn describe_absence(&self, clients: &Clients, id: &NodeId) -> String {
        let name = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.values().find(|(_, node)| node.id == *id).map(|(_, node)| node.name.clone())
        };
        self.forget(id);
        let node = by_id(clients, &id.0).await.ok();
        let name = name.or_else(|| node.as_ref().map(|node| node.name.clone())).unwrap_or_else(|| id.0.clone());
        match node.and_then(|node| node.last_ping) {
            Some(last) => format!(
                "{name} is not connected to Systems Manager: last ping {}; see that its agent runs and reaches \
                 ssmmessages.{}.amazonaws.com",
                ago(last),
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

async fn by_id(clients: &Clients, id: &str) -> Result<Node, BackendError> {
    match inventory(clients, Some(("InstanceIds", id)), 1).await {
        Ok(found) => match found.iter().find(|node| node.instance_id() == Some(id)) {
            Some(information) => node(information),
            None => Err(nobody(clients, id)),
        },
        Err(Failure { kind: Kind::NoSuchThing, .. }) => Err(nobody(clients, id)),
        // A role may be allowed sessions but not the inventory; StartSession says what there is to say.
        Err(Failure { kind: Kind::Denied, .. }) => by_connection(clients, id).await,
        Err(failure) => Err(failure.error),
    }
}

/// Tasks are not in the inventory, only their connection is known.
async fn by_connection(clients: &Clients, id: &str) -> Result<Node, BackendError> {
    let online = match clients.ssm.get_connection_status().target(id).send().await {
        Ok(answer) => answer.status().is_some_and(|status| status.as_str().eq_ignore_ascii_case("connected")),
        Err(error) if kind(&error) == Kind::Denied => true,
        Err(error) => {
            return Err(explain(clients.call("GetConnectionStatus", id), &error));
        }
    };
    Ok(Node { id: NodeId(id.to_owned()), name: id.to_owned(), called: None, online, last_ping: None })
}

async fn by_tag(clients: &Clients, key: &str, value: &str) -> Result<Option<Node>, BackendError> {
    let filter = format!("tag:{key}");
    let found = inventory(clients, Some((&filter, value)), MAX_PAGES).await.map_err(|failure| failure.error)?;
    let mut found = only(&found, &format!("{filter}={value}"))?;
    if let Some(node) = &mut found
        && key == "Name"
    {
        node.name = value.to_owned();
        node.called = Some(value.to_owned());
    }
    Ok(found)
}

async fn by_computer_name(clients: &Clients, word: &str) -> Result<Option<Node>, BackendError> {
    let all = inventory(clients, None, MAX_PAGES).await.map_err(|failure| failure.error)?;
    let is = |name: &str| {
        let short = name.split('.').next().unwrap_or_default();
        name.eq_ignore_ascii_case(word) || short.eq_ignore_ascii_case(word)
    };
    let found: Vec<_> =
        all.into_iter().filter(|node| node.computer_name().is_some_and(is) || node.name().is_some_and(is)).collect();
    let mut found = only(&found, word)?;
    if let Some(node) = &mut found {
        node.name = word.to_owned();
    }
    Ok(found)
}

/// None, the only one, or an error that names those that match.
fn only(found: &[InstanceInformation], name: &str) -> Result<Option<Node>, BackendError> {
    match found {
        [] => Ok(None),
        [one] => node(one).map(Some),
        many => {
            let mut shown: Vec<_> = many.iter().filter_map(InstanceInformation::instance_id).take(MAX_SHOWN).collect();
            if many.len() > MAX_SHOWN {
                shown.push("…");
            }
            Err(BackendError::Target(format!(
                "{} matches {} nodes ({}): use the id of the one you mean",
                clean(name),
                many.len(),
                shown.join(", ")
            )))
        }
    }
}

/// Why the inventory could not be read.
struct Failure {
    kind: Kind,
    error: BackendError,
}

/// Whether the service answers the gateway at all: by what every name of a node takes.
pub(super) async fn answers(clients: &Clients) -> Result<(), BackendError> {
    inventory(clients, Some(("PingStatus", "Online")), 1).await.map(drop).map_err(|failure| failure.error)
}

async fn inventory(
    clients: &Clients,
    filter: Option<(&str, &str)>,
    pages: usize,
) -> Result<Vec<InstanceInformation>, Failure> {
    let mut call = clients.ssm.describe_instance_information().max_results(50);
    if let Some((key, value)) = filter {
        let filter =
            InstanceInformationStringFilter::builder().key(key).values(value).build().map_err(|_| Failure {
                kind: Kind::Other,
                error: BackendError::Target("a filter of the inventory could not be made".to_owned()),
            })?;
        call = call.filters(filter);
    }
    let (mut found, mut next) = (Vec::new(), None);
    for _ in 0..pages {
        let answer = call.clone().set_next_token(next).send().await.map_err(|error| {
            let on = filter.map_or("the inventory", |(_, value)| value);
            Failure { kind: kind(&error), error: explain(clients.call("DescribeInstanceInformation", on), &error) }
        })?;
        next = answer.next_token.filter(|token| !token.is_empty());
        found.extend(answer.instance_information_list.unwrap_or_default());
        if next.is_none() {
            return Ok(found);
        }
    }
    if filter.is_none() {
        // Half an inventory can't say that a name is unique.
        return Err(Failure {
            kind: Kind::Other,
            error: BackendError::Target(format!(
                "there are too many nodes in {} to look for a computer name: use the id or a tag",
                clients.region
            )),
        });
    }
    Ok(found)
}

fn node(information: &InstanceInformation) -> Result<Node, BackendError> {
    let id = information
        .instance_id()
        .ok_or_else(|| BackendError::Unreachable("Systems Manager described a node without an id".to_owned()))?;
    let called = [information.name(), information.computer_name()].into_iter().flatten().find(|name| !name.is_empty());
    Ok(Node {
        id: NodeId(id.to_owned()),
        name: clean(called.unwrap_or(id)),
        called: information.name().filter(|name| !name.is_empty()).map(str::to_owned),
        online: information.ping_status() == Some(&PingStatus::Online),
        last_ping: information.last_ping_date_time().map(aws_sdk_ssm::primitives::DateTime::secs),
    })
}

fn nobody(clients: &Clients, name: &str) -> BackendError {
    BackendError::Target(format!(
        "{} is no managed node in {}: see its name, its Name tag and that its agent has registered",
        clean(name),
        clients.region
    ))
}

/// `14 min ago`.
fn ago(epoch_seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = now.saturating_sub(u64::try_from(epoch_seconds).unwrap_or_default());
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_matches_two_means_none() {
        let information = |id: &str| InstanceInformation::builder().instance_id(id).build();
        assert_eq!(only(&[], "x").unwrap(), None);
        assert_eq!(only(&[information("i-1")], "x").unwrap().unwrap().id.0, "i-1");
        let text = only(&[information("i-1"), information("i-2")], "web").unwrap_err().to_string();
        assert!(text.contains("web matches 2 nodes (i-1, i-2)"), "{text}");
        let many: Vec<_> = (0..20).map(|n| information(&format!("i-{n}"))).collect();
        assert!(only(&many, "web").unwrap_err().to_string().contains("i-7, …)"));
    }

    #[test]
    fn a_last_ping_reads_as_people_say_it() {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        for (before, expected) in [(5, "5 s ago"), (845, "14 min ago"), (3 * 3600, "3 h ago"), (200_000, "2 days ago")]
        {
            assert_eq!(ago(now - before), expected);
        }
    }
}
