//! The Resource Groups Tagging API: GetResources, for the nodes that are known
//! (<https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html>).

use serde::Deserialize;
use serde_json::{Value, json};

use super::request::page;
use super::resources::node_arn;
use crate::emulator::http::caller::Caller;
use crate::emulator::http::reply::ApiError;
use crate::emulator::state::Shared;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetResources {
    #[serde(default, rename = "ResourceARNList")]
    arns: Option<Vec<String>>,
    #[serde(default)]
    tag_filters: Option<Vec<TagFilter>>,
    #[serde(default)]
    resource_type_filters: Option<Vec<String>>,
    resources_per_page: Option<usize>,
    pagination_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagFilter {
    key: String,
    #[serde(default)]
    values: Vec<String>,
}

pub(super) fn resources(shared: &Shared, caller: &Caller, request: &GetResources) -> Result<Value, ApiError> {
    caller.may("tag:GetResources", "*")?;
    let arns = request.arns.as_deref().unwrap_or_default();
    let (filters, types) = (request.tag_filters.iter().flatten(), request.resource_type_filters.iter().flatten());
    let token = request.pagination_token.as_deref().filter(|token| !token.is_empty());
    let narrowed = filters.clone().next().is_some() || types.clone().next().is_some();
    let paged = request.resources_per_page.is_some() || token.is_some();
    if arns.len() > MOST || (!arns.is_empty() && (narrowed || paged)) {
        let text = "ResourceARNList has at most 100 names, and takes neither filters nor pages beside it.";
        return Err(ApiError::new("InvalidParameterException", text));
    }
    let mut found: Vec<_> = shared.nodes.tagged().into_iter().map(|(id, tags)| (node_arn(shared, &id), tags)).collect();
    found.retain(|(arn, tags)| {
        let of_type = |wanted: &String| {
            let (service, kind) = wanted.split_once(':').unwrap_or((wanted, ""));
            arn.contains(&format!(":{service}:")) && arn.contains(&format!(":{kind}"))
        };
        let has = |filter: &TagFilter| {
            tags.get(&filter.key).is_some_and(|value| filter.values.is_empty() || filter.values.contains(value))
        };
        (arns.is_empty() || arns.contains(arn))
            && (types.clone().next().is_none() || types.clone().any(of_type))
            && filters.clone().all(has)
    });
    let (found, next) = page(found, token, request.resources_per_page, MOST)?;
    let list = found.into_iter().map(|(arn, tags)| {
        let tags: Vec<Value> = tags.into_iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        json!({ "ResourceARN": arn, "Tags": tags })
    });
    let list: Vec<Value> = list.collect();
    Ok(json!({ "PaginationToken": next.unwrap_or_default(), "ResourceTagMappingList": list }))
}

const MOST: usize = 100;
