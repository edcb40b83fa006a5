//! The documents by name, with their versions: what may be created, changed and deleted.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::built_in::{AWS_DOCUMENTS, DEFAULT_PREFERENCES, PREFERENCES};
use super::schema::SessionDocument;
use crate::emulator::http::reply::ApiError;
use crate::emulator::http::sigv4::hex;

/// All documents, by name.
pub(crate) struct DocumentStore {
    refuse_separate_output_stream: bool,
    documents: RwLock<BTreeMap<String, Document>>,
}

/// One document with its versions.
pub(crate) struct Document {
    pub(crate) owned_by_aws: bool,
    /// Never empty; version n is at n − 1.
    versions: Vec<Version>,
    pub(crate) default_version: usize,
}

/// One version of a document.
#[derive(Clone)]
pub(crate) struct Version {
    pub(crate) number: usize,
    pub(crate) text: Arc<str>,
    pub(crate) parsed: Arc<SessionDocument>,
    pub(crate) created: OffsetDateTime,
    pub(crate) hash: String,
}

/// A version as callers see it.
#[derive(Clone)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) latest: usize,
    pub(crate) default_version: usize,
    pub(crate) owned_by_aws: bool,
}

impl DocumentStore {
    /// AWS's documents and the preferences.
    pub(crate) fn new(preferences: Option<&str>, refuse_separate: bool, now: OffsetDateTime) -> Result<Self, String> {
        let mut documents = BTreeMap::new();
        for (name, text) in AWS_DOCUMENTS {
            let parsed = SessionDocument::parse(text, false).map_err(|error| format!("{name}: {error}"))?;
            documents.insert(name.to_owned(), Document::new(true, text, parsed, now));
        }
        let text = preferences.unwrap_or(DEFAULT_PREFERENCES);
        let parsed = SessionDocument::parse(text, refuse_separate)?;
        documents.insert(PREFERENCES.to_owned(), Document::new(false, text, parsed, now));
        Ok(Self { refuse_separate_output_stream: refuse_separate, documents: RwLock::new(documents) })
    }

    /// A version of a document: a number, `$LATEST`, or `$DEFAULT` where none is asked for.
    pub(crate) fn get(&self, name: &str, version: Option<&str>) -> Result<Described, ApiError> {
        let documents = self.documents.read().unwrap_or_else(PoisonError::into_inner);
        let document = documents.get(name).ok_or_else(|| unknown(name))?;
        let number = document.number(version)?;
        document.describe(name, number)
    }

    /// What a session runs: the document's default version. AWS's own documents carry no preferences, and it is assumed that
    /// the account's apply then; a document of one's own replaces them altogether.
    pub(crate) fn for_session(&self, name: &str) -> Result<Arc<SessionDocument>, ApiError> {
        let found = self.get(name, None)?;
        if !found.owned_by_aws || found.version.parsed.inputs().is_some() {
            return Ok(found.version.parsed);
        }
        match self.get(PREFERENCES, None) {
            Ok(preferences) => {
                let inputs = preferences.version.parsed.inputs().cloned().unwrap_or_default();
                Ok(Arc::new(found.version.parsed.with_inputs(inputs)))
            }
            Err(_) => Ok(found.version.parsed),
        }
    }

    pub(crate) fn create(&self, name: &str, text: &str, now: OffsetDateTime) -> Result<Described, ApiError> {
        let parsed = self.parse(text)?;
        let mut documents = self.documents.write().unwrap_or_else(PoisonError::into_inner);
        if documents.contains_key(name) {
            return Err(ApiError::new(
                "DocumentAlreadyExists",
                format!("Document with same name {name} already exists"),
            ));
        }
        if documents.len() >= MAX_DOCUMENTS {
            return Err(ApiError::new("DocumentLimitExceeded", "You can have at most 500 Systems Manager documents."));
        }
        let document = Document::new(false, text, parsed, now);
        let described = document.describe(name, 1);
        documents.insert(name.to_owned(), document);
        described
    }

    /// Adds a version. Only the newest may be the base of it.
    pub(crate) fn update(
        &self,
        name: &str,
        base: Option<&str>,
        text: &str,
        now: OffsetDateTime,
    ) -> Result<Described, ApiError> {
        let parsed = self.parse(text)?;
        let mut documents = self.documents.write().unwrap_or_else(PoisonError::into_inner);
        let document = documents.get_mut(name).ok_or_else(|| unknown(name))?;
        document.must_be_ours(name)?;
        if document.number(base)? != document.versions.len() {
            let text = "Only the latest version of a document can be updated; give DocumentVersion $LATEST.";
            return Err(ApiError::new("InvalidDocumentVersion", text));
        }
        let hash = hash(text);
        if document.versions.last().is_some_and(|newest| newest.hash == hash) {
            let text =
                "The content of the document is the same as its latest version. Change the content and try again.";
            return Err(ApiError::new("DuplicateDocumentContent", text));
        }
        if document.versions.len() >= MAX_VERSIONS {
            let text = "The document has too many versions; delete it and create it anew.";
            return Err(ApiError::new("DocumentVersionLimitExceeded", text));
        }
        let number = document.versions.len() + 1;
        document.versions.push(Version { number, text: text.into(), parsed: Arc::new(parsed), created: now, hash });
        // Session Manager takes the preferences as they were last saved; other documents wait for a new default.
        if name == PREFERENCES {
            document.default_version = number;
        }
        document.describe(name, number)
    }

    pub(crate) fn set_default(&self, name: &str, version: &str) -> Result<usize, ApiError> {
        let mut documents = self.documents.write().unwrap_or_else(PoisonError::into_inner);
        let document = documents.get_mut(name).ok_or_else(|| unknown(name))?;
        document.must_be_ours(name)?;
        document.default_version = document.number(Some(version))?;
        Ok(document.default_version)
    }

    pub(crate) fn delete(&self, name: &str) -> Result<(), ApiError> {
        let mut documents = self.documents.write().unwrap_or_else(PoisonError::into_inner);
        documents.get(name).ok_or_else(|| unknown(name))?.must_be_ours(name)?;
        documents.remove(name);
        Ok(())
    }

    fn parse(&self, text: &str) -> Result<SessionDocument, ApiError> {
        if text.len() > MAX_CONTENT {
            return Err(ApiError::new("MaxDocumentSizeExceeded", "The size limit of a document is 64 KB."));
        }
        SessionDocument::parse(text, self.refuse_separate_output_stream)
            .map_err(|error| ApiError::new("InvalidDocumentContent", error))
    }
}

impl Document {
    fn new(owned_by_aws: bool, text: &str, parsed: SessionDocument, now: OffsetDateTime) -> Self {
        let version =
            Version { number: 1, text: text.into(), parsed: Arc::new(parsed), created: now, hash: hash(text) };
        Self { owned_by_aws, versions: vec![version], default_version: 1 }
    }

    fn number(&self, version: Option<&str>) -> Result<usize, ApiError> {
        let number = match version {
            None | Some("$DEFAULT" | "") => Some(self.default_version),
            Some("$LATEST") => Some(self.versions.len()),
            Some(number) => number.parse().ok().filter(|number| (1..=self.versions.len()).contains(number)),
        };
        number.ok_or_else(|| {
            ApiError::new("InvalidDocumentVersion", "The document version is not valid or does not exist.")
        })
    }

    fn describe(&self, name: &str, number: usize) -> Result<Described, ApiError> {
        let version = self.versions.get(number.wrapping_sub(1)).cloned().ok_or_else(|| unknown(name))?;
        Ok(Described {
            name: name.to_owned(),
            version,
            latest: self.versions.len(),
            default_version: self.default_version,
            owned_by_aws: self.owned_by_aws,
        })
    }

    fn must_be_ours(&self, name: &str) -> Result<(), ApiError> {
        match self.owned_by_aws {
            false => Ok(()),
            true => {
                Err(ApiError::new("InvalidDocumentOperation", format!("{name} belongs to AWS and cannot be changed.")))
            }
        }
    }
}

fn unknown(name: &str) -> ApiError {
    ApiError::new("InvalidDocument", format!("Document with name {name} does not exist."))
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

const MAX_DOCUMENTS: usize = 500;
const MAX_VERSIONS: usize = 100;
const MAX_CONTENT: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> DocumentStore {
        DocumentStore::new(None, false, OffsetDateTime::UNIX_EPOCH).unwrap()
    }

    fn text(port: u16) -> String {
        format!(r#"{{"schemaVersion":"1.0","sessionType":"Port","properties":{{"portNumber":"{port}"}}}}"#)
    }

    #[test]
    fn the_built_in_documents_pass_their_own_checks() {
        let store = store();
        for (name, _) in AWS_DOCUMENTS {
            assert!(store.get(name, None).unwrap().owned_by_aws);
            assert_eq!(store.delete(name).unwrap_err().code, "InvalidDocumentOperation");
        }
        let remote = store.get("AWS-StartPortForwardingSessionToRemoteHost", None).unwrap().version.parsed;
        let host = &remote.parameters.iter().find(|(name, _)| name == "host").unwrap().1;
        for good in ["db.internal", "10.0.0.1", "fe80::1"] {
            assert!(host.check("host", good).is_ok(), "{good}");
        }
        for bad in ["x`id`", "a;b", "$(id)", "ab", "a\"bc", "a#bc"] {
            assert!(host.check("host", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_follow_the_rules() {
        let (store, now) = (store(), OffsetDateTime::UNIX_EPOCH);
        store.create("Mine", &text(1), now).unwrap();
        assert_eq!(store.create("Mine", &text(2), now).err().unwrap().code, "DocumentAlreadyExists");
        assert_eq!(store.update("Mine", None, &text(1), now).err().unwrap().code, "DuplicateDocumentContent");
        assert_eq!(store.update("Mine", Some("$LATEST"), &text(2), now).unwrap().version.number, 2);
        assert_eq!(store.update("Mine", None, &text(3), now).err().unwrap().code, "InvalidDocumentVersion");
        assert_eq!(store.get("Mine", None).unwrap().version.number, 1);
        assert_eq!(store.get("Mine", Some("$LATEST")).unwrap().version.number, 2);
        assert_eq!(store.set_default("Mine", "2").unwrap(), 2);
        assert_eq!(&*store.get("Mine", None).unwrap().version.text, text(2));
        assert!(store.get("Mine", Some("3")).is_err() && store.get("Mine", Some("0")).is_err());
        store.delete("Mine").unwrap();
        assert_eq!(store.get("Mine", None).err().unwrap().code, "InvalidDocument");
        assert_eq!(store.create("Bad", "{}", now).err().unwrap().code, "InvalidDocumentContent");
    }

    #[test]
    fn preferences_apply_to_aws_documents_and_at_once() {
        let (store, now) = (store(), OffsetDateTime::UNIX_EPOCH);
        let changed = DEFAULT_PREFERENCES.replace("\"20\"", "\"3\"");
        store.update(PREFERENCES, Some("$LATEST"), &changed, now).unwrap();
        store.create("Mine", &text(1), now).unwrap();
        let idle = |name: &str| store.for_session(name).unwrap().time_limits(&BTreeMap::new()).idle;
        assert_eq!((idle(PREFERENCES), idle("AWS-StartSSHSession"), idle("Mine")), (3, 3, 20));
        store.delete(PREFERENCES).unwrap();
        assert_eq!(idle("AWS-StartSSHSession"), 20);
    }
}
