//! StartSession, ResumeSession, TerminateSession, DescribeSessions, GetConnectionStatus.

use std::collections::BTreeMap;

use portcullis_protocol::MessageType;
use portcullis_protocol::control::InteractiveShell;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::request::{bounded, document_name, page, seconds};
use super::resources::{document_arn, node_arn, node_facts, session_arn, session_facts};
use crate::emulator::documents::built_in::PREFERENCES;
use crate::emulator::documents::parameters::validate;
use crate::emulator::end::End;
use crate::emulator::http::caller::Caller;
use crate::emulator::http::reply::ApiError;
use crate::emulator::relay::frame::from_service;
use crate::emulator::session::{NewSession, Record, Session};
use crate::emulator::state::Shared;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Start {
    target: String,
    document_name: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    parameters: Option<BTreeMap<String, Vec<String>>>,
}

pub(super) fn start(shared: &Shared, caller: &Caller, request: Start) -> Result<Value, ApiError> {
    bounded("target", &request.target, 1, 400)?;
    if let Some(reason) = &request.reason {
        bounded("reason", reason, 1, 256)?;
    }
    let name = request.document_name.as_deref().unwrap_or(PREFERENCES);
    document_name("documentName", name)?;
    let given = request.parameters.unwrap_or_default();
    for (key, value) in given.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value))) {
        bounded("parameters", key, 1, 255)?;
        bounded("parameters", value, 1, 65_535)?;
    }
    may_start(shared, caller, &request.target, request.document_name.as_deref())?;
    let not_connected = || ApiError::new("TargetNotConnected", format!("{} is not connected.", request.target));
    let control = shared.nodes.control(&request.target).ok_or_else(not_connected)?;
    let document = shared.documents.for_session(name)?;
    let values = validate(&document.parameters, &given).map_err(|error| ApiError::new("InvalidParameters", error))?;
    let limits = document.time_limits(&values);
    let new = NewSession {
        id: session_id(caller.principal().short_name()),
        target: request.target.clone(),
        document: name.to_owned(),
        owner: caller.arn().to_owned(),
        owner_id: caller.principal().user_id.clone(),
        reason: request.reason,
        idle: shared.minute * limits.idle,
        duration: limits.duration.map(|minutes| shared.minute * minutes),
        duration_minutes: limits.duration,
    };
    let session = shared.sessions.open(new).ok_or_else(|| ApiError::new("ThrottlingException", "Rate exceeded"))?;
    let task = InteractiveShell {
        document_name: name.to_owned(),
        document: document.content.clone(),
        session_id: session.id().to_owned(),
        parameters: json!(values),
        run_as_user: caller.run_as().unwrap_or_default().to_owned(),
        session_owner: caller.arn().to_owned(),
    };
    if !control.push_service(from_service(MessageType::InteractiveShell, task.encode())) {
        session.terminate("");
        return Err(not_connected());
    }
    tracing::debug!(session = session.id(), document = name, "a session starts");
    answer(shared, &session)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct One {
    session_id: String,
}

pub(super) fn resume(shared: &Shared, caller: &Caller, request: &One) -> Result<Value, ApiError> {
    may_use(shared, caller, "ssm:ResumeSession", &request.session_id)?;
    let session = find(shared, &request.session_id)?;
    answer(shared, &session)
}

pub(super) fn terminate(shared: &Shared, caller: &Caller, request: &One) -> Result<Value, ApiError> {
    may_use(shared, caller, "ssm:TerminateSession", &request.session_id)?;
    let session = find(shared, &request.session_id)?;
    shared.nodes.end_session(&session, "");
    Ok(json!({ "SessionId": session.id() }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Describe {
    state: String,
    #[serde(default)]
    filters: Option<Vec<Filter>>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Filter {
    key: String,
    value: String,
}

pub(super) fn describe(shared: &Shared, caller: &Caller, request: &Describe) -> Result<Value, ApiError> {
    caller.may("ssm:DescribeSessions", "*")?;
    let over = match request.state.as_str() {
        "Active" => false,
        "History" => true,
        _ => {
            return Err(ApiError::validation(
                "1 validation error detected: Value at 'state' failed to satisfy constraint: Member must satisfy enum value \
                 set: [Active, History]",
            ));
        }
    };
    let mut records = shared.sessions.records();
    records.retain(|record| record.status.is_over() == over);
    for filter in request.filters.iter().flatten() {
        let wanted = matcher(filter)?;
        records.retain(|record| wanted(record));
    }
    let (records, next) = page(records, request.next_token.as_deref(), request.max_results, 200)?;
    let sessions: Vec<Value> = records.iter().map(show).collect();
    let mut answer = json!({ "Sessions": sessions });
    if let Some(next) = next {
        answer["NextToken"] = next.into();
    }
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Target {
    target: String,
}

pub(super) fn connection_status(shared: &Shared, caller: &Caller, request: &Target) -> Result<Value, ApiError> {
    let facts = node_facts(shared, caller, &request.target);
    caller.may_knowing("ssm:GetConnectionStatus", &node_arn(shared, &request.target), &facts)?;
    let status = if shared.nodes.control(&request.target).is_some() { "connected" } else { "notconnected" };
    Ok(json!({ "Target": request.target, "Status": status }))
}

/// The three members that open a data channel. A session that has ended gives its id only, which clients take for
/// "timed out".
fn answer(shared: &Shared, session: &Session) -> Result<Value, ApiError> {
    let id = session.id();
    let Some(token) = session.issue_token(End::Client, shared.token_lifetime) else {
        return Ok(json!({ "SessionId": id }));
    };
    let url = format!("{}/v1/data-channel/{id}?role=publish_subscribe", shared.websocket_url);
    Ok(json!({ "SessionId": id, "TokenValue": token, "StreamUrl": url }))
}

fn find(shared: &Shared, id: &str) -> Result<std::sync::Arc<Session>, ApiError> {
    bounded("sessionId", id, 1, 96)?;
    shared
        .sessions
        .get(id)
        .ok_or_else(|| ApiError::new("DoesNotExistException", format!("Session {id} does not exist.")))
}

/// Whether the caller may start a session there, and under that document. Who names a document must be allowed it. Who
/// names none is under the account's preferences, and whether these must be allowed as well is what a policy says by
/// `ssm:SessionDocumentAccessCheck`: it is asked without that check first, and then with it
/// (<https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-sessiondocumentaccesscheck.html>). With a
/// document's name the key is not there at all: `Bool` fails then, and `BoolIfExists` holds.
fn may_start(shared: &Shared, caller: &Caller, target: &str, document: Option<&str>) -> Result<(), ApiError> {
    const START: &str = "ssm:StartSession";
    let node = node_arn(shared, target);
    let facts = node_facts(shared, caller, target);
    if document.is_none() {
        let unchecked = facts.clone().with("ssm:SessionDocumentAccessCheck", "false");
        if caller.may_knowing(START, &node, &unchecked).is_ok() {
            return Ok(());
        }
    }
    let checked = match document {
        None => facts.with("ssm:SessionDocumentAccessCheck", "true"),
        Some(_) => facts,
    };
    caller.may_knowing(START, &node, &checked)?;
    caller.may(START, &document_arn(shared, document.unwrap_or(PREFERENCES)))
}

fn may_use(shared: &Shared, caller: &Caller, action: &str, id: &str) -> Result<(), ApiError> {
    let session = shared.sessions.get(id);
    caller.may_knowing(action, &session_arn(shared, id), &session_facts(caller, session.as_deref()))
}

/// `<who>-<17 digits>`, where a role's session may be called by an address of mail; the agent uses it as a file name.
fn session_id(who: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-@".contains(c) { c } else { '-' };
    let who: String = who.chars().take(64).map(plain).collect();
    format!("{who}-0{}", &Uuid::new_v4().simple().to_string()[..16])
}

/// Whether a session is one that a filter asks for.
type Matcher = Box<dyn Fn(&Record) -> bool>;

fn matcher(filter: &Filter) -> Result<Matcher, ApiError> {
    bounded("filters", &filter.value, 1, 400)?;
    let value = filter.value.clone();
    let time = || {
        OffsetDateTime::parse(&filter.value, &Rfc3339).map_err(|_| {
            ApiError::new("InvalidFilterValue", "The filter value must be a time such as 2018-08-29T00:00:00Z.")
        })
    };
    Ok(match filter.key.as_str() {
        "Target" => Box::new(move |record| record.target == value),
        "Owner" => Box::new(move |record| record.owner == value),
        "Status" => Box::new(move |record| record.status.name() == value),
        "SessionId" => Box::new(move |record| record.id == value),
        "AccessType" => Box::new(move |_| value == "Standard"),
        "InvokedAfter" => {
            let time = time()?;
            Box::new(move |record| record.started > time)
        }
        "InvokedBefore" => {
            let time = time()?;
            Box::new(move |record| record.started < time)
        }
        _ => return Err(ApiError::new("InvalidFilterKey", "The specified key is not valid.")),
    })
}

fn show(record: &Record) -> Value {
    let mut shown = json!({
        "SessionId": record.id,
        "Target": record.target,
        "Status": record.status.name(),
        "StartDate": seconds(record.started),
        "DocumentName": record.document,
        "Owner": record.owner,
        "Details": record.details,
        "AccessType": "Standard",
        "OutputUrl": {},
    });
    if let Some(reason) = &record.reason {
        shown["Reason"] = reason.as_str().into();
    }
    if let Some(ended) = record.ended {
        shown["EndDate"] = seconds(ended);
    }
    if let Some(minutes) = record.duration_minutes {
        shown["MaxSessionDuration"] = minutes.to_string().into();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_are_file_names() {
        let id = session_id("ann@example.com/../é");
        assert!(id.starts_with("ann@example.com-..---0"), "{id}");
        assert!(id.len() <= 96 && !id.contains('/'));
        assert_ne!(session_id("a"), session_id("a"));
    }
}
