//! Session documents: read, created, brought up to date.

use aws_sdk_ssm::types::{DocumentFormat, DocumentType};

use super::clients::Clients;
use super::error::{Kind, explain, kind};
use crate::backend::BackendError;

/// The document's content as JSON text; `None` where there is none of that name.
pub(super) async fn get(clients: &Clients, name: &str) -> Result<Option<String>, BackendError> {
    match clients.ssm.get_document().name(name).document_format(DocumentFormat::Json).send().await {
        Ok(answer) => Ok(answer.content),
        Err(error) if kind(&error) == Kind::NoSuchDocument => Ok(None),
        Err(error) => Err(explain(clients.call("GetDocument", name), &error)),
    }
}

/// Creates the document, or makes this content its default version.
pub(super) async fn put(clients: &Clients, name: &str, content: &str) -> Result<(), BackendError> {
    let created = clients
        .ssm
        .create_document()
        .name(name)
        .content(content)
        .document_type(DocumentType::Session)
        .document_format(DocumentFormat::Json)
        .send()
        .await;
    match created {
        Ok(_) => return Ok(()),
        Err(error) if kind(&error) == Kind::DocumentExists => {}
        Err(error) => return Err(explain(clients.call("CreateDocument", name), &error)),
    }
    let updated = clients
        .ssm
        .update_document()
        .name(name)
        .content(content)
        .document_version("$LATEST")
        .document_format(DocumentFormat::Json)
        .send()
        .await;
    let version = match updated {
        Ok(answer) => answer.document_description.and_then(|description| description.document_version),
        // The latest version is this one; it may not be the default yet.
        Err(error) if kind(&error) == Kind::SameContent => None,
        Err(error) => return Err(explain(clients.call("UpdateDocument", name), &error)),
    };
    let version = match version {
        Some(version) => version,
        None => latest(clients, name).await?,
    };
    // Sessions use the default version, and an update leaves that where it was.
    match clients.ssm.update_document_default_version().name(name).document_version(version).send().await {
        Ok(_) => Ok(()),
        Err(error) => Err(explain(clients.call("UpdateDocumentDefaultVersion", name), &error)),
    }
}

async fn latest(clients: &Clients, name: &str) -> Result<String, BackendError> {
    match clients.ssm.get_document().name(name).document_version("$LATEST").send().await {
        Ok(answer) => answer.document_version.ok_or_else(|| {
            BackendError::Document(format!("Systems Manager did not say which version of {name} is the latest"))
        }),
        Err(error) => Err(explain(clients.call("GetDocument", name), &error)),
    }
}
