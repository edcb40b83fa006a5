//! GetDocument, CreateDocument, UpdateDocument, UpdateDocumentDefaultVersion, DescribeDocument, DeleteDocument.

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::request::{document_name, seconds};
use super::resources::document_arn;
use crate::emulator::documents::Described;
use crate::emulator::http::caller::Caller;
use crate::emulator::http::reply::ApiError;
use crate::emulator::state::Shared;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Named {
    name: String,
    document_version: Option<String>,
    document_format: Option<String>,
}

pub(super) fn get(shared: &Shared, caller: &Caller, request: &Named) -> Result<Value, ApiError> {
    let name = short(&request.name);
    may(shared, caller, "ssm:GetDocument", name)?;
    json_only(request.document_format.as_deref())?;
    let found = shared.documents.get(name, request.document_version.as_deref())?;
    Ok(json!({
        "Name": found.name,
        "CreatedDate": seconds(found.version.created),
        "DocumentVersion": found.version.number.to_string(),
        "Status": "Active",
        "Content": &*found.version.text,
        "DocumentType": "Session",
        "DocumentFormat": "JSON",
    }))
}

pub(super) fn describe(shared: &Shared, caller: &Caller, request: &Named) -> Result<Value, ApiError> {
    let name = short(&request.name);
    may(shared, caller, "ssm:DescribeDocument", name)?;
    let found = shared.documents.get(name, request.document_version.as_deref())?;
    Ok(json!({ "Document": show(shared, &found) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Create {
    name: String,
    content: String,
    document_type: Option<String>,
    document_format: Option<String>,
}

pub(super) fn create(shared: &Shared, caller: &Caller, request: &Create) -> Result<Value, ApiError> {
    may(shared, caller, "ssm:CreateDocument", &request.name)?;
    json_only(request.document_format.as_deref())?;
    let reserved = ["aws", "amazon", "amzn"];
    if reserved.iter().any(|prefix| request.name.to_ascii_lowercase().starts_with(prefix)) {
        return Err(ApiError::validation("Document names that begin with aws, amazon or amzn are reserved."));
    }
    if request.document_type.as_deref() != Some("Session") {
        return Err(ApiError::validation("The embedded Session Manager holds documents of DocumentType Session only."));
    }
    let made = shared.documents.create(&request.name, &request.content, OffsetDateTime::now_utc())?;
    Ok(json!({ "DocumentDescription": show(shared, &made) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Update {
    name: String,
    content: String,
    document_version: Option<String>,
    document_format: Option<String>,
}

pub(super) fn update(shared: &Shared, caller: &Caller, request: &Update) -> Result<Value, ApiError> {
    may(shared, caller, "ssm:UpdateDocument", &request.name)?;
    json_only(request.document_format.as_deref())?;
    let base = request.document_version.as_deref();
    let made = shared.documents.update(&request.name, base, &request.content, OffsetDateTime::now_utc())?;
    Ok(json!({ "DocumentDescription": show(shared, &made) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetDefault {
    name: String,
    document_version: String,
}

pub(super) fn set_default(shared: &Shared, caller: &Caller, request: &SetDefault) -> Result<Value, ApiError> {
    may(shared, caller, "ssm:UpdateDocumentDefaultVersion", &request.name)?;
    let number = shared.documents.set_default(&request.name, &request.document_version)?;
    Ok(json!({ "Description": { "Name": request.name, "DefaultVersion": number.to_string() } }))
}

pub(super) fn delete(shared: &Shared, caller: &Caller, request: &Named) -> Result<Value, ApiError> {
    may(shared, caller, "ssm:DeleteDocument", &request.name)?;
    shared.documents.delete(&request.name)?;
    Ok(json!({}))
}

fn may(shared: &Shared, caller: &Caller, action: &str, name: &str) -> Result<(), ApiError> {
    document_name("name", name)?;
    caller.may(action, &document_arn(shared, name))
}

/// AWS takes a document's ARN wherever it reads one.
fn short(name: &str) -> &str {
    match name.strip_prefix("arn:aws:ssm:") {
        Some(rest) => rest.split_once(":document/").map_or(name, |(_, name)| name),
        None => name,
    }
}

fn json_only(format: Option<&str>) -> Result<(), ApiError> {
    match format {
        None | Some("JSON") => Ok(()),
        Some(_) => {
            Err(ApiError::validation("The embedded Session Manager holds documents of DocumentFormat JSON only."))
        }
    }
}

fn show(shared: &Shared, found: &Described) -> Value {
    let parsed = &found.version.parsed;
    let parameters: Vec<Value> = parsed
        .parameters
        .iter()
        .map(|(name, spec)| {
            let mut shown = json!({ "Name": name, "Type": "String", "Description": spec.description });
            if let Some(default) = &spec.default {
                shown["DefaultValue"] = default.as_str().into();
            }
            shown
        })
        .collect();
    json!({
        "Name": found.name,
        "Owner": if found.owned_by_aws { "Amazon" } else { shared.account.as_str() },
        "Hash": found.version.hash,
        "HashType": "Sha256",
        "CreatedDate": seconds(found.version.created),
        "Status": "Active",
        "DocumentVersion": found.version.number.to_string(),
        "Description": parsed.content.get("description").and_then(Value::as_str).unwrap_or_default(),
        "Parameters": parameters,
        "PlatformTypes": ["Windows", "Linux", "MacOS"],
        "DocumentType": "Session",
        "SchemaVersion": "1.0",
        "LatestVersion": found.latest.to_string(),
        "DefaultVersion": found.default_version.to_string(),
        "DocumentFormat": "JSON",
        "Tags": [],
    })
}
