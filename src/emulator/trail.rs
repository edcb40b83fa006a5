//! The records that CloudTrail would keep of the calls about sessions: who, as whom, on which node, why, and what came of
//! it (<https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>). One
//! JSON object a line, in a file that whoever runs the service can read.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use http::header::USER_AGENT;
use http::request::Parts;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::http::caller::{Arrival, Caller};
use super::http::reply::{ApiError, EXPIRED_ID_TOKEN};
use super::iam::{Federated, Kind};

/// What stands in a record for what must not: CloudTrail's own words.
pub(crate) const HIDDEN: &str = "Value hidden due to security reasons.";

/// The file.
pub(crate) struct Trail {
    region: String,
    account: String,
    file: Mutex<TrailFile>,
}

struct TrailFile {
    path: PathBuf,
    file: File,
    length: u64,
}

/// A call that was answered.
pub(crate) struct Call<'a> {
    /// Who, as [`identity`] has it, or [`federated`].
    pub(crate) identity: Value,
    pub(crate) parts: &'a Parts,
    /// `ssm` or `sts`.
    pub(crate) service: &'a str,
    pub(crate) name: &'a str,
    pub(crate) parameters: Value,
    pub(crate) outcome: Result<Value, &'a ApiError>,
    /// As the caller got it, so that both can be found by it.
    pub(crate) request_id: &'a str,
}

impl Trail {
    /// Goes on in the file, or makes it.
    pub(crate) fn open(path: &Path, region: &str, account: &str) -> std::io::Result<Self> {
        let file = Mutex::new(TrailFile::open(path.to_owned())?);
        Ok(Self { region: region.to_owned(), account: account.to_owned(), file })
    }

    /// Whether there are records of that call: those that tell the story of a session.
    pub(crate) fn has(name: &str) -> bool {
        matches!(
            name,
            "AssumeRole" | "AssumeRoleWithWebIdentity" | "StartSession" | "ResumeSession" | "TerminateSession"
        )
    }

    /// Writes a record. The line is short and the disk this machine's: it is not worth a thread of its own.
    pub(crate) fn note(&self, call: &Call<'_>) {
        let mut line = self.record(call, OffsetDateTime::now_utc()).to_string();
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write(&line) {
            tracing::warn!(%error, path = %file.path.display(), "a record of the trail was lost");
        }
    }

    fn record(&self, call: &Call<'_>, now: OffsetDateTime) -> Value {
        let Call { identity, parts, service, name, parameters, outcome, request_id } = call;
        let agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let address = parts.extensions.get::<Arrival>().map(|arrival| arrival.address.to_string());
        let mut record = json!({
            "eventVersion": "1.11",
            "userIdentity": identity,
            "eventTime": second(now),
            "eventSource": format!("{service}.amazonaws.com"),
            "eventName": name,
            "awsRegion": self.region,
            "sourceIPAddress": address.unwrap_or_default(),
            "userAgent": agent,
            "requestParameters": parameters,
            "responseElements": Value::Null,
            "requestID": request_id,
            "eventID": Uuid::new_v4().to_string(),
            "readOnly": name.starts_with("AssumeRole"),
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": self.account,
            "eventCategory": "Management",
        });
        match outcome {
            Ok(answer) => record["responseElements"] = answer.clone(),
            Err(error) => {
                let code = match error.code {
                    "AccessDeniedException" => "AccessDenied",
                    EXPIRED_ID_TOKEN => "ExpiredTokenException",
                    other => other,
                };
                record["errorCode"] = code.into();
                record["errorMessage"] = error.message.as_str().into();
            }
        }
        record
    }
}

impl TrailFile {
    fn open(path: PathBuf) -> std::io::Result<Self> {
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let length = file.seek(SeekFrom::End(0))?;
        Ok(Self { path, file, length })
    }

    fn write(&mut self, line: &str) -> std::io::Result<()> {
        if self.length > LONGEST {
            let mut older = self.path.clone().into_os_string();
            older.push(".1");
            std::fs::rename(&self.path, older)?;
            *self = Self::open(self.path.clone())?;
        }
        self.file.write_all(line.as_bytes())?;
        self.length += line.len() as u64;
        Ok(())
    }
}

/// A request or an answer of the JSON API as records have it: names begin with a small letter, and a token is hidden.
pub(crate) fn shown(value: &Value) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    let fields = fields.iter().map(|(name, value)| {
        let mut letters = name.chars();
        let first = letters.next().map(|first| first.to_ascii_lowercase());
        let name: String = first.into_iter().chain(letters).collect();
        let value = if name == "tokenValue" { HIDDEN.into() } else { value.clone() };
        (name, value)
    });
    Value::Object(fields.collect::<Map<_, _>>())
}

/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>
pub(crate) fn identity(caller: &Caller) -> Value {
    let principal = caller.principal();
    let mut identity = json!({
        "type": "IAMUser",
        "principalId": principal.user_id,
        "arn": principal.arn,
        "accountId": principal.account(),
        "accessKeyId": caller.access_key_id(),
    });
    let Kind::Session(session) = &principal.kind else {
        identity["userName"] = principal.short_name().into();
        return identity;
    };
    identity["type"] = "AssumedRole".into();
    let mut context = json!({
        "sessionIssuer": {
            "type": "Role",
            "principalId": session.role_id,
            "arn": session.role_arn,
            "accountId": principal.account(),
            "userName": session.role_arn.rsplit('/').next().unwrap_or_default(),
        },
        "attributes": { "creationDate": second(session.issued), "mfaAuthenticated": "false" },
    });
    if let Some(source) = &session.source_identity {
        context["sourceIdentity"] = source.as_str().into();
    }
    if let Some(provider) = &session.federated_by {
        context["webIdFederationData"] = json!({ "federatedProvider": provider, "attributes": {} });
    }
    identity["sessionContext"] = context;
    identity
}

/// The same of whoever came with a token; of one that was not verified nothing is said.
pub(crate) fn federated(who: Option<&Federated>) -> Value {
    let mut identity = json!({ "type": "WebIdentityUser" });
    if let Some(Federated { provider, subject, audience, .. }) = who {
        identity["principalId"] = format!("{provider}:{audience}:{subject}").into();
        identity["userName"] = subject.as_str().into();
        identity["identityProvider"] = provider.as_str().into();
    }
    identity
}

fn second(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}

/// Then the file is set aside, and the one before it is gone: enough for weeks of trying out.
const LONGEST: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_set_aside_and_nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trail.jsonl");
        let mut file = TrailFile::open(path.clone()).unwrap();
        file.write("one\n").unwrap();
        file.length = LONGEST + 1;
        file.write("two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(std::fs::read_to_string(dir.path().join("trail.jsonl.1")).unwrap(), "one\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn names_are_as_records_have_them_and_tokens_are_hidden() {
        let answer = json!({ "SessionId": "s-1", "TokenValue": "secret", "StreamUrl": "wss://x" });
        assert_eq!(shown(&answer), json!({ "sessionId": "s-1", "tokenValue": HIDDEN, "streamUrl": "wss://x" }));
    }
}
