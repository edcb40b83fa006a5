//! IAM's calls about the SSH public keys of its users, as form-encoded calls with XML answers
//! (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListSSHPublicKeys.html>).

use http::StatusCode;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::sts::{Answer, Form};
use crate::emulator::http::caller::Caller;
use crate::emulator::http::reply::{ApiError, xml};
use crate::emulator::ssh_keys::{KeyRefusal, SshKey};
use crate::emulator::state::Shared;

/// What a form's `Version` is for IAM.
pub(crate) const VERSION: &str = "2010-05-08";

/// Answers a call whose signature was right.
pub(crate) fn call(shared: &Shared, caller: &Caller, form: &Form) -> Result<Answer, ApiError> {
    let action = ACTIONS.into_iter().find(|action| Some(*action) == form.get("Action"));
    let Some(action) = action else {
        let asked = form.get("Action").unwrap_or_default();
        return Err(ApiError::new("InvalidAction", format!("Could not find operation {asked} for version {VERSION}")));
    };
    let user = match form.get("UserName") {
        Some(name) => name,
        // who asks is meant, if it is a user
        None => caller.arn().split_once(":user/").and_then(|(_, path)| path.rsplit('/').next()).unwrap_or_default(),
    };
    let keys = &shared.ssh_keys;
    let arn = keys.arn(user).unwrap_or_else(|| format!("arn:aws:iam::{}:user/{user}", shared.account));
    caller.may_called(&format!("iam:{action}"), &arn, &format!("user {user}"))?;
    let id = form.get("SSHPublicKeyId").unwrap_or_default();
    let done = match action {
        "ListSSHPublicKeys" => return list(shared, user, form),
        "GetSSHPublicKey" if !matches!(form.get("Encoding"), Some("SSH" | "PEM")) => {
            return Err(ApiError::validation("Value at 'encoding' failed to satisfy constraint: SSH or PEM"));
        }
        "GetSSHPublicKey" if form.get("Encoding") == Some("PEM") => {
            let text = "This service gives keys in the encoding SSH alone.";
            return Err(ApiError::new("UnrecognizedPublicKeyEncoding", text));
        }
        "GetSSHPublicKey" => keys.get(user, id).map(|key| shown(user, &key)),
        "UploadSSHPublicKey" => {
            let body = form.get("SSHPublicKeyBody").unwrap_or_default();
            keys.upload(user, body, OffsetDateTime::now_utc()).map(|key| shown(user, &key))
        }
        "UpdateSSHPublicKey" => {
            let active = match form.get("Status") {
                Some("Active") => true,
                Some("Inactive") => false,
                _ => return Err(ApiError::validation("Value at 'status' failed to satisfy constraint")),
            };
            keys.set_active(user, id, active).map(|()| String::new())
        }
        _ => keys.delete(user, id).map(|()| String::new()),
    };
    done.map(|xml| answer(action, xml)).map_err(|why| refusal(why, user, id))
}

const ACTIONS: [&str; 5] =
    ["ListSSHPublicKeys", "GetSSHPublicKey", "UploadSSHPublicKey", "UpdateSSHPublicKey", "DeleteSSHPublicKey"];

/// Of its answers.
pub(crate) const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";

fn answer(action: &'static str, xml: String) -> Answer {
    Answer { namespace: NAMESPACE, action, xml, shown: Value::Null }
}

fn list(shared: &Shared, user: &str, form: &Form) -> Result<Answer, ApiError> {
    let all = shared.ssh_keys.list(user).map_err(|why| refusal(why, user, ""))?;
    let most = form.get("MaxItems").and_then(|text| text.parse().ok());
    let (keys, next) = super::request::page(all, form.get("Marker"), most, 100)?;
    let members: String = keys.iter().map(|key| format!("<member>{}</member>", metadata(user, key))).collect();
    let more = next.is_some();
    let marker = next.map(|next| format!("<Marker>{next}</Marker>")).unwrap_or_default();
    let text = format!("<IsTruncated>{more}</IsTruncated>{marker}<SSHPublicKeys>{members}</SSHPublicKeys>");
    Ok(answer("ListSSHPublicKeys", text))
}

fn shown(user: &str, key: &SshKey) -> String {
    let (metadata, body) = (metadata(user, key), xml(&key.body));
    format!("<SSHPublicKey>{metadata}<SSHPublicKeyBody>{body}</SSHPublicKeyBody></SSHPublicKey>")
}

fn metadata(user: &str, key: &SshKey) -> String {
    let status = if key.active { "Active" } else { "Inactive" };
    let uploaded = key.uploaded.replace_nanosecond(0).unwrap_or(key.uploaded).format(&Rfc3339).unwrap_or_default();
    format!(
        "<UserName>{}</UserName><SSHPublicKeyId>{}</SSHPublicKeyId><Status>{status}</Status><UploadDate>{uploaded}</UploadDate>",
        xml(user),
        xml(&key.id)
    )
}

fn refusal(why: KeyRefusal, user: &str, id: &str) -> ApiError {
    let (status, code, message) = match why {
        KeyRefusal::NoUser => {
            (StatusCode::NOT_FOUND, "NoSuchEntity", format!("The user with name {user} cannot be found."))
        }
        KeyRefusal::NoKey => {
            (StatusCode::NOT_FOUND, "NoSuchEntity", format!("The Public Key with id {id} cannot be found."))
        }
        KeyRefusal::Invalid => {
            (StatusCode::BAD_REQUEST, "InvalidPublicKey", "The public key is no RSA key of 2048 bits.".into())
        }
        KeyRefusal::Duplicate => {
            (StatusCode::BAD_REQUEST, "DuplicateSSHPublicKey", "The user has this public key already.".into())
        }
        KeyRefusal::TooMany => {
            (StatusCode::CONFLICT, "LimitExceeded", "Cannot exceed quota for SSHPublicKeysPerUser: 5".into())
        }
    };
    ApiError { status, code, message }
}
