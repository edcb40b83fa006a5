//! What an agent outside container mode calls besides its channels. None of it matters to sessions, but an agent that is
//! refused here goes to sleep.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::emulator::http::caller::Caller;
use crate::emulator::http::reply::ApiError;
use crate::emulator::nodes::Facts;
use crate::emulator::state::Shared;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Report {
    instance_id: String,
    agent_version: Option<String>,
    platform_type: Option<String>,
    platform_name: Option<String>,
    platform_version: Option<String>,
    computer_name: Option<String>,
    #[serde(rename = "IPAddress")]
    ip_address: Option<String>,
}

pub(super) fn report(shared: &Shared, caller: &Caller, request: Report) -> Result<Value, ApiError> {
    super::request::bounded("instanceId", &request.instance_id, 1, 128)?;
    caller.may_as_agent("ssm:UpdateInstanceInformation", &request.instance_id)?;
    let facts = Facts {
        agent_version: request.agent_version,
        platform_type: request.platform_type,
        platform_name: request.platform_name,
        platform_version: request.platform_version,
        computer_name: request.computer_name,
        ip_address: request.ip_address,
    };
    match shared.nodes.report(&request.instance_id, facts) {
        true => Ok(json!({})),
        false => Err(ApiError::new("ThrottlingException", "There are too many nodes.")),
    }
}

pub(super) fn associations(caller: &Caller, request: &Value) -> Result<Value, ApiError> {
    let node = request.get("InstanceId").and_then(Value::as_str).unwrap_or("*");
    caller.may_as_agent("ssm:ListInstanceAssociations", node)?;
    Ok(json!({ "Associations": [] }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Messages {
    destination: String,
    #[serde(default)]
    messages_request_id: String,
}

/// A long poll for Run Command messages, of which there are none.
pub(super) async fn messages(shared: &Shared, caller: &Caller, request: &Messages) -> Result<Value, ApiError> {
    caller.may_as_agent("ec2messages:GetMessages", &request.destination)?;
    tokio::select! {
        () = tokio::time::sleep(POLL) => {}
        () = shared.stop.cancelled() => {}
    }
    Ok(json!({
        "Destination": request.destination,
        "MessagesRequestId": request.messages_request_id,
        "Messages": [],
    }))
}

pub(super) fn accept(caller: &Caller, action: &str) -> Result<Value, ApiError> {
    caller.may_as_agent(action, "*")?;
    Ok(json!({}))
}

/// The agent gives up after 20 s.
const POLL: Duration = Duration::from_secs(15);
