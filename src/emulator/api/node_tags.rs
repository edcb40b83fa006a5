//! Tags of what was registered by activation: AddTagsToResource, RemoveTagsFromResource, ListTagsForResource. Those of
//! instances are EC2's, and stay what the service was started with.

use serde::Deserialize;
use serde_json::{Value, json};

use super::request::bounded;
use super::resources::{node_arn, node_facts};
use crate::emulator::http::caller::Caller;
use crate::emulator::http::reply::ApiError;
use crate::emulator::state::Shared;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Resource {
    resource_type: String,
    resource_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Add {
    #[serde(flatten)]
    resource: Resource,
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Remove {
    #[serde(flatten)]
    resource: Resource,
    tag_keys: Vec<String>,
}

pub(super) fn add(shared: &Shared, caller: &Caller, request: Add) -> Result<Value, ApiError> {
    request.resource.may(shared, caller, "ssm:AddTagsToResource")?;
    for Tag { key, value } in &request.tags {
        bounded("tags.member.key", key, 1, 128)?;
        bounded("tags.member.value", value, 0, 256)?;
    }
    let changed = shared.nodes.change_tags(&request.resource.resource_id, |tags| {
        tags.extend(request.tags.into_iter().map(|tag| (tag.key, tag.value)));
        if tags.len() > MOST {
            return Err(ApiError::new("TooManyTagsError", "A resource has 50 tags at most."));
        }
        Ok(())
    });
    changed.unwrap_or_else(|| Err(unknown())).map(|()| json!({}))
}

pub(super) fn remove(shared: &Shared, caller: &Caller, request: &Remove) -> Result<Value, ApiError> {
    request.resource.may(shared, caller, "ssm:RemoveTagsFromResource")?;
    let changed = shared.nodes.change_tags(&request.resource.resource_id, |tags| {
        tags.retain(|key, _| !request.tag_keys.contains(key));
        Ok(())
    });
    changed.unwrap_or_else(|| Err(unknown())).map(|()| json!({}))
}

pub(super) fn list(shared: &Shared, caller: &Caller, resource: &Resource) -> Result<Value, ApiError> {
    resource.may(shared, caller, "ssm:ListTagsForResource")?;
    let tags = shared.nodes.tags(&resource.resource_id);
    let tags: Vec<Value> = tags.into_iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    Ok(json!({ "TagList": tags }))
}

impl Resource {
    fn may(&self, shared: &Shared, caller: &Caller, action: &str) -> Result<(), ApiError> {
        if self.resource_type != "ManagedInstance" || !self.resource_id.starts_with("mi-") {
            let text = "Only what was registered by activation has tags here: ManagedInstance, mi-…";
            return Err(ApiError::new("InvalidResourceType", text));
        }
        let id = &self.resource_id;
        caller.may_knowing(action, &node_arn(shared, id), &node_facts(shared, caller, id))
    }
}

fn unknown() -> ApiError {
    ApiError::new(
        "InvalidResourceId",
        "The resource ID is not valid. Verify that you entered the correct ID and try again.",
    )
}

const MOST: usize = 50;
