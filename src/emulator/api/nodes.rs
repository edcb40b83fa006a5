//! DescribeInstanceInformation.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::request::{page, seconds};
use crate::emulator::http::caller::Caller;
use crate::emulator::http::reply::ApiError;
use crate::emulator::nodes::NodeRecord;
use crate::emulator::state::Shared;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Describe {
    #[serde(default)]
    filters: Option<Vec<Filter>>,
    #[serde(default)]
    instance_information_filter_list: Option<Vec<OldFilter>>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    key: String,
    values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldFilter {
    key: String,
    value_set: Vec<String>,
}

pub(super) fn describe(shared: &Shared, caller: &Caller, request: &Describe) -> Result<Value, ApiError> {
    caller.may("ssm:DescribeInstanceInformation", "*")?;
    let mut records = shared.nodes.records();
    // A node of which only the configuration speaks has never registered.
    records.retain(|record| record.last_ping.is_some());
    let new = request.filters.iter().flatten().map(|filter| (filter.key.as_str(), &filter.values));
    let old = request.instance_information_filter_list.iter().flatten();
    for (key, values) in new.chain(old.map(|filter| (filter.key.as_str(), &filter.value_set))) {
        apply(&mut records, key, values)?;
    }
    let (records, next) = page(records, request.next_token.as_deref(), request.max_results, 50)?;
    let list: Vec<Value> = records.iter().map(show).collect();
    let mut answer = json!({ "InstanceInformationList": list });
    if let Some(next) = next {
        answer["NextToken"] = next.into();
    }
    Ok(answer)
}

fn apply(records: &mut Vec<NodeRecord>, key: &str, values: &[String]) -> Result<(), ApiError> {
    if values.is_empty() || values.len() > 100 {
        return Err(ApiError::new("InvalidInstanceInformationFilterValue", "A filter takes 1 to 100 values."));
    }
    let any = |value: &str| values.iter().any(|wanted| wanted == value);
    match key {
        "InstanceIds" => records.retain(|record| any(&record.id)),
        "PingStatus" => records.retain(|record| any(ping_status(record))),
        "PlatformTypes" | "PlatformType" => {
            records.retain(|record| any(record.facts.platform_type.as_deref().unwrap_or("Linux")));
        }
        "AgentVersion" => records.retain(|record| record.facts.agent_version.as_deref().is_some_and(any)),
        "ResourceType" => records.retain(|record| any(resource_type(record))),
        "tag-key" => records.retain(|record| values.iter().any(|key| record.tags.contains_key(key))),
        _ => match key.strip_prefix("tag:") {
            Some(tag) => records.retain(|record| record.tags.get(tag).is_some_and(|value| any(value))),
            None => return Err(ApiError::new("InvalidFilterKey", "The specified key is not valid.")),
        },
    }
    Ok(())
}

fn show(record: &NodeRecord) -> Value {
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    put("InstanceId", record.id.as_str().into());
    put("PingStatus", ping_status(record).into());
    if let Some(last) = record.last_ping {
        put("LastPingDateTime", seconds(last));
    }
    put("IsLatestVersion", true.into());
    put("PlatformType", record.facts.platform_type.as_deref().unwrap_or("Linux").into());
    put("ResourceType", resource_type(record).into());
    for (name, value) in [
        ("AgentVersion", &record.facts.agent_version),
        ("PlatformName", &record.facts.platform_name),
        ("PlatformVersion", &record.facts.platform_version),
        ("ComputerName", &record.facts.computer_name),
        ("IPAddress", &record.facts.ip_address),
    ] {
        if let Some(value) = value {
            put(name, value.as_str().into());
        }
    }
    // As in the cloud, only what was registered by activation has a name of its own; EC2 instances have a tag.
    if record.id.starts_with("mi-") {
        put("RegistrationDate", seconds(record.registered));
        if let Some(name) = record.tags.get("Name") {
            put("Name", name.as_str().into());
        }
    }
    Value::Object(shown)
}

fn ping_status(record: &NodeRecord) -> &'static str {
    if record.connected { "Online" } else { "ConnectionLost" }
}

fn resource_type(record: &NodeRecord) -> &'static str {
    if record.id.starts_with("mi-") { "ManagedInstance" } else { "EC2Instance" }
}
