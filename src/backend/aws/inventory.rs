//! Systems Manager's inventory: which nodes there are, what each is called, and whether its agent is connected.
//!
//! Whoever asks for a name that is no node's tag has all of it read, for the name that the computer gives itself. What was read
//! then answers everybody else for some seconds: names that nobody has cost one reading, however many there are.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ssm::types::{InstanceInformation, InstanceInformationStringFilter, PingStatus};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::clients::Clients;
use super::error::{Kind, clean, explain, kind};
use super::tags::TagReader;
use crate::backend::{BackendError, Node, NodeList};
use crate::model::{NodeFacts, NodeRef, NodeTags, RealmName};

/// Pages that are read of it; 50 nodes each.
const MAX_PAGES: usize = 100;

/// How long a reading of all of it answers for, a failed one as well.
const TTL: Duration = Duration::from_secs(5);

/// The last reading of all of it. Whoever comes while it is read waits for it.
#[derive(Debug, Default)]
pub(super) struct Inventory(Mutex<Option<Reading>>);

/// When it was read, and what came of it.
type Reading = (Instant, Result<Arc<NodeList>, BackendError>);

/// Why the inventory could not be read.
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) error: BackendError,
}

impl Inventory {
    /// All of it, as it was a few seconds ago at most.
    pub(super) async fn all(&self, clients: &Clients, tags: &TagReader) -> Result<Arc<NodeList>, BackendError> {
        let mut kept = self.0.lock().await;
        if let Some((_, listing)) = kept.as_ref().filter(|(since, _)| since.elapsed() < TTL) {
            return listing.clone();
        }
        let listing = read_all(clients, tags).await.map(Arc::new);
        *kept = Some((Instant::now(), listing.clone()));
        listing
    }

    /// The same, where nobody has to be asked or waited for.
    pub(super) fn recent(&self) -> Option<Arc<NodeList>> {
        let kept = self.0.try_lock().ok()?;
        kept.as_ref().filter(|(since, _)| since.elapsed() < TTL).and_then(|(_, listing)| listing.clone().ok())
    }
}

async fn read_all(clients: &Clients, tags: &TagReader) -> Result<NodeList, BackendError> {
    let (read, tags) = tokio::join!(read(clients, None, MAX_PAGES), tags.all(clients));
    let (found, is_whole) = read.map_err(|failure| failure.error)?;
    let of = |id: &str| match &tags {
        Ok(all) => Ok(all.get(id).cloned().unwrap_or_default()),
        Err(why) => Err(why.clone()),
    };
    let listed = |found: &InstanceInformation| node(&clients.realm, found, of(found.instance_id()?)).ok();
    Ok(NodeList { nodes: found.iter().filter_map(listed).collect(), is_whole })
}

/// Those that this filter lets through.
pub(super) async fn filtered(clients: &Clients, key: &str, value: &str) -> Result<Vec<InstanceInformation>, Failure> {
    read(clients, Some((key, value)), MAX_PAGES).await.map(|(found, _)| found)
}

/// Whether the service answers the gateway at all: by what every name of a node takes.
pub(super) async fn answers(clients: &Clients) -> Result<(), BackendError> {
    read(clients, Some(("PingStatus", "Online")), 1).await.map(drop).map_err(|failure| failure.error)
}

/// So many pages, and whether there are no more.
async fn read(
    clients: &Clients,
    filter: Option<(&str, &str)>,
    pages: usize,
) -> Result<(Vec<InstanceInformation>, bool), Failure> {
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
            return Ok((found, true));
        }
    }
    Ok((found, false))
}

/// A node as the inventory has it, with its tags.
pub(super) fn node(
    realm: &RealmName,
    found: &InstanceInformation,
    tags: Result<NodeTags, String>,
) -> Result<Node, BackendError> {
    let id = found
        .instance_id()
        .ok_or_else(|| BackendError::Unreachable("Systems Manager described a node without an id".to_owned()))?;
    let tagged = tags.as_ref().ok().and_then(|tags| tags.get("Name")).map(String::as_str);
    let called = [tagged, found.name()].into_iter().flatten().find(|name| !name.is_empty()).map(str::to_owned);
    let shown = [called.as_deref(), found.computer_name()].into_iter().flatten().find(|name| !name.is_empty());
    let shown = clean(shown.unwrap_or(id));
    let facts = NodeFacts {
        node: NodeRef::new(realm, id),
        called,
        platform: found.platform_type().map(|platform| platform.as_str().to_owned()),
        address: found.ip_address().and_then(|address| address.parse().ok()),
        tags,
    };
    Ok(Node {
        name: shown,
        facts: Arc::new(facts),
        computer_name: found.computer_name().map(str::to_owned),
        online: found.ping_status() == Some(&PingStatus::Online),
        last_ping: found.last_ping_date_time().map(aws_sdk_ssm::primitives::DateTime::secs),
    })
}
