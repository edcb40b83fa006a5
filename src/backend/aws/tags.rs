//! The tags of nodes, by the Resource Groups Tagging API: the one call that answers for instances, for what was registered by
//! activation and for ECS tasks alike. Systems Manager's inventory filters by tags and does not say them; its
//! `ListTagsForResource` knows no instances, and EC2's `DescribeTags` nothing else.
//!
//! What can't be read is not known, which is another thing than none: see [`crate::model::NodeFacts::tags`].

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_resourcegroupstagging::types::ResourceTagMapping;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use super::clients::Clients;
use super::error::{CallContext, Service, explain};
use super::node_arn::node_arn;
use crate::backend::BackendError;
use crate::model::NodeTags;

/// How long somebody who logs in waits for them.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long those of all nodes may take.
const PATIENCE_WITH_ALL: Duration = Duration::from_secs(60);
/// How long it is remembered that they can't be read: who logs in next does not wait for that as well.
const FAILURE_TTL: Duration = Duration::from_secs(5);
/// Resources that a request may name, and that a page may have.
const PAGE: usize = 100;
/// Pages that are read of all there are.
const MAX_PAGES: usize = 100;
/// The kinds of resources whose tags are a node's.
const KINDS: [&str; 2] = ["ec2:instance", "ssm:managed-instance"];

/// Reads tags.
#[derive(Debug, Default)]
pub(super) struct TagReader {
    account: OnceCell<Account>,
    failed: Mutex<Option<(Instant, BackendError)>>,
}

/// What the resources' names are made of, besides their ids.
#[derive(Clone, Debug)]
struct Account {
    partition: String,
    number: String,
}

impl TagReader {
    /// The tags of one node.
    pub(super) async fn of(&self, clients: &Clients, id: &str) -> Result<NodeTags, String> {
        // what has no tags is not in the answer, or there without any
        self.of_each(clients, &[id]).await.map(|mut found| found.remove(id).unwrap_or_default())
    }

    /// The tags of so many nodes as one question may be about; who has none may be missing.
    pub(super) async fn of_each(&self, clients: &Clients, ids: &[&str]) -> Result<HashMap<String, NodeTags>, String> {
        if let Some((_, error)) = self.failed().as_ref().filter(|(since, _)| since.elapsed() < FAILURE_TTL) {
            return Err(error.to_string());
        }
        let asking = async {
            let account = self.account.get_or_try_init(|| who_we_are(clients)).await?;
            let names: HashMap<String, &str> =
                ids.iter().take(PAGE).map(|id| (account.arn(&clients.region, id), *id)).collect();
            let asked = clients.tagging.get_resources().set_resource_arn_list(Some(names.keys().cloned().collect()));
            let answer = asked.send().await.map_err(|error| explain(context(clients), &error))?;
            let of = |found: ResourceTagMapping| {
                let id = names.get(found.resource_arn()?)?;
                Some(((*id).to_owned(), tags(found)))
            };
            Ok(answer.resource_tag_mapping_list.unwrap_or_default().into_iter().filter_map(of).collect())
        };
        in_time(PATIENCE, asking).await.map_err(|error| {
            let text = error.to_string();
            *self.failed() = Some((Instant::now(), error));
            text
        })
    }

    /// The tags of all nodes that have some, by their ids. ECS tasks are none of these.
    pub(super) async fn all(&self, clients: &Clients) -> Result<HashMap<String, NodeTags>, String> {
        let asking = async {
            let mut call = clients.tagging.get_resources().resources_per_page(i32::try_from(PAGE).unwrap_or(i32::MAX));
            for kind in KINDS {
                call = call.resource_type_filters(kind);
            }
            let (mut found, mut next) = (HashMap::new(), None);
            for _ in 0..MAX_PAGES {
                let answer = call.clone().set_pagination_token(next).send().await;
                let answer = answer.map_err(|error| explain(context(clients), &error))?;
                for mapping in answer.resource_tag_mapping_list.unwrap_or_default() {
                    let id = mapping.resource_arn().and_then(|arn| arn.rsplit('/').next()).map(str::to_owned);
                    found.extend(id.map(|id| (id, tags(mapping))));
                }
                next = answer.pagination_token.filter(|token| !token.is_empty());
                if next.is_none() {
                    return Ok(found);
                }
            }
            // half of them would be taken for none of the others
            Err(BackendError::Unreachable("there are too many tagged instances to read the tags of all".to_owned()))
        };
        in_time(PATIENCE_WITH_ALL, asking).await.map_err(|error| error.to_string())
    }

    fn failed(&self) -> MutexGuard<'_, Option<(Instant, BackendError)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether tags can be read at all: by the least that can be asked for.
pub(super) async fn answer(clients: &Clients) -> Result<(), BackendError> {
    let asked = clients.tagging.get_resources().resources_per_page(1).resource_type_filters(KINDS[0]).send();
    in_time(PATIENCE, async { asked.await.map(drop).map_err(|error| explain(context(clients), &error)) }).await
}

async fn in_time<T>(
    patience: Duration,
    asking: impl Future<Output = Result<T, BackendError>>,
) -> Result<T, BackendError> {
    timeout(patience, asking).await.unwrap_or_else(|_| {
        let why = format!("the Resource Groups Tagging API has not answered in {} s", patience.as_secs());
        Err(BackendError::Unreachable(why))
    })
}

impl Account {
    /// The name that the tagging API knows a node by.
    fn arn(&self, region: &str, id: &str) -> String {
        node_arn(&self.partition, &self.number, region, id)
    }

    /// From the name of whoever calls: `arn:aws:iam::123456789012:…`.
    fn of_caller(arn: &str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let (_, partition, _, _, number) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        parts.next().map(|_| Self { partition: partition.to_owned(), number: number.to_owned() })
    }
}

/// The account that the gateway's own credentials are of; nobody has to be allowed to ask.
async fn who_we_are(clients: &Clients) -> Result<Account, BackendError> {
    let context = CallContext { service: Service::Sts, ..clients.call("GetCallerIdentity", "the gateway") };
    let answer = clients.sts.get_caller_identity().send().await.map_err(|error| explain(context, &error))?;
    let account = answer.arn().and_then(Account::of_caller);
    account.ok_or_else(|| BackendError::Unreachable("STS does not say whose the gateway's credentials are".to_owned()))
}

fn context(clients: &Clients) -> CallContext<'_> {
    CallContext { service: Service::Tagging, ..clients.call("GetResources", "the tags of nodes") }
}

fn tags(mapping: ResourceTagMapping) -> NodeTags {
    mapping.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_node_has_the_name_that_iam_knows_it_by() {
        let account = Account::of_caller("arn:aws-cn:sts::123456789012:assumed-role/gateway/i-1").unwrap();
        let arn = |id: &str| account.arn("cn-north-1", id);
        assert_eq!(arn("i-0123456789abcdef0"), "arn:aws-cn:ec2:cn-north-1:123456789012:instance/i-0123456789abcdef0");
        assert_eq!(
            arn("mi-0123456789abcdef0"),
            "arn:aws-cn:ssm:cn-north-1:123456789012:managed-instance/mi-0123456789abcdef0"
        );
        assert_eq!(arn("ecs:a_b_0123_0123-4"), "arn:aws-cn:ecs:cn-north-1:123456789012:task/a_b/0123");
        for odd in ["", "arn:aws", "arn:aws:iam::123456789012"] {
            assert!(Account::of_caller(odd).is_none(), "{odd}");
        }
    }
}
