//! Which call of the API goes where.

use serde_json::Value;

use super::request::parse;
use super::{agent, documents, node_tags, nodes, sessions, tagging};
use crate::emulator::http::caller::Caller;
use crate::emulator::http::reply::ApiError;
use crate::emulator::state::Shared;

/// Which service signs for a target, and the call's name.
pub(crate) fn target(header: &str) -> Option<(&'static str, &str)> {
    let (service, call) = header.split_once('.')?;
    match service {
        "AmazonSSM" => Some(("ssm", call)),
        "ResourceGroupsTaggingAPI_20170126" => Some(("tagging", call)),
        "EC2WindowsMessageDeliveryService" => Some(("ec2messages", call)),
        _ => None,
    }
}

/// Answers a call whose signature was right.
pub(crate) async fn call(shared: &Shared, caller: &Caller, name: &str, body: &[u8]) -> Result<Value, ApiError> {
    match name {
        "StartSession" => sessions::start(shared, caller, parse(body)?),
        "ResumeSession" => sessions::resume(shared, caller, &parse(body)?),
        "TerminateSession" => sessions::terminate(shared, caller, &parse(body)?),
        "DescribeSessions" => sessions::describe(shared, caller, &parse(body)?),
        "GetConnectionStatus" => sessions::connection_status(shared, caller, &parse(body)?),
        "DescribeInstanceInformation" => nodes::describe(shared, caller, &parse(body)?),
        "AddTagsToResource" => node_tags::add(shared, caller, parse(body)?),
        "RemoveTagsFromResource" => node_tags::remove(shared, caller, &parse(body)?),
        "ListTagsForResource" => node_tags::list(shared, caller, &parse(body)?),
        "GetResources" => tagging::resources(shared, caller, &parse(body)?),
        "GetDocument" => documents::get(shared, caller, &parse(body)?),
        "CreateDocument" => documents::create(shared, caller, &parse(body)?),
        "UpdateDocument" => documents::update(shared, caller, &parse(body)?),
        "UpdateDocumentDefaultVersion" => documents::set_default(shared, caller, &parse(body)?),
        "DescribeDocument" => documents::describe(shared, caller, &parse(body)?),
        "DeleteDocument" => documents::delete(shared, caller, &parse(body)?),
        "UpdateInstanceInformation" => agent::report(shared, caller, parse(body)?),
        "ListInstanceAssociations" => agent::associations(caller, &parse(body)?),
        "ListAssociations" | "DescribeAssociation" => agent::associations(caller, &Value::Null),
        "GetMessages" => agent::messages(shared, caller, &parse(body)?).await,
        "PutInventory" | "PutComplianceItems" => agent::accept(caller, &format!("ssm:{name}")),
        "AcknowledgeMessage" | "SendReply" => agent::accept(caller, &format!("ec2messages:{name}")),
        other => Err(ApiError::new(
            "UnknownOperationException",
            format!("The embedded Session Manager has no operation {other}."),
        )),
    }
}
