//! STS: `GetCallerIdentity` and `AssumeRole`, as form-encoded calls with XML answers.

use http::StatusCode;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::emulator::http::keys::Caller;
use crate::emulator::http::reply::{ApiError, Reply, xml, xml_reply};
use crate::emulator::http::sigv4::query_pairs;
use crate::emulator::state::Shared;

/// The form's names and values.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `a=b&c=d`; `+` stands for a space.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body).replace('+', " ");
        let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self(query_pairs(&text).into_iter().map(|(key, value)| (lossy(key), lossy(value))).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Answers a call whose signature was right.
pub(crate) fn call(shared: &Shared, caller: &Caller, form: &Form) -> Result<Reply, ApiError> {
    match form.get("Action") {
        Some("GetCallerIdentity") => Ok(identity(shared, caller)),
        Some("AssumeRole") => assume(shared, caller, form),
        Some(other) => {
            let text = format!("The embedded Session Manager has no action {other}.");
            Err(ApiError::new("InvalidAction", text))
        }
        None => Err(ApiError::new("MissingAction", "The form names no Action.")),
    }
}

fn identity(shared: &Shared, caller: &Caller) -> Reply {
    let result = format!(
        "<Arn>{}</Arn><UserId>{}</UserId><Account>{}</Account>",
        xml(caller.arn()),
        xml(&caller.user_id()),
        shared.account
    );
    wrap("GetCallerIdentity", &result)
}

fn assume(shared: &Shared, caller: &Caller, form: &Form) -> Result<Reply, ApiError> {
    let need = |name: &str| {
        let text = format!(
            "1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must not be null"
        );
        form.get(name).ok_or_else(|| ApiError::validation(text))
    };
    let (role, session) = (need("RoleArn")?, need("RoleSessionName")?);
    let plain = session.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b));
    if !plain || !(2..=64).contains(&session.len()) {
        return Err(ApiError::validation(
            "1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [\\w+=,.@-]*, with 2 to 64 characters",
        ));
    }
    let seconds = match form.get("DurationSeconds") {
        None => Some(3600),
        Some(text) => text.parse::<i64>().ok().filter(|seconds| (900..=43_200).contains(seconds)),
    };
    let seconds = seconds.ok_or_else(|| {
        ApiError::validation("The requested DurationSeconds must be between 900 and 43200, the role's maximum.")
    })?;
    let refused = || {
        let text = format!("User: {} is not authorized to perform: sts:AssumeRole on resource: {role}", caller.arn());
        ApiError::new("AccessDenied", text)
    };
    if !caller.may_assume(role) {
        return Err(refused());
    }
    let lifetime = Duration::seconds(seconds);
    let tag = run_as_tag(form);
    let issued = shared.keys.assume(role, session, tag, lifetime, OffsetDateTime::now_utc()).ok_or_else(refused)?;
    let expires = issued.expires.replace_nanosecond(0).unwrap_or(issued.expires).format(&Rfc3339).unwrap_or_default();
    let source = form.get("SourceIdentity").map(|text| format!("<SourceIdentity>{}</SourceIdentity>", xml(text)));
    let result = format!(
        "<AssumedRoleUser><AssumedRoleId>AROA{:0>16}:{}</AssumedRoleId><Arn>{}</Arn></AssumedRoleUser>\
         <Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken>\
         <Expiration>{expires}</Expiration></Credentials>{}<PackedPolicySize>0</PackedPolicySize>",
        "EMBEDDED",
        xml(session),
        xml(&issued.arn),
        issued.access_key_id,
        *issued.secret_access_key,
        *issued.session_token,
        source.unwrap_or_default()
    );
    Ok(wrap("AssumeRole", &result))
}

/// The session tag that names the OS user for Run-As.
fn run_as_tag(form: &Form) -> Option<String> {
    (1..=50).find_map(|n| {
        let key = form.get(&format!("Tags.member.{n}.Key"))?;
        (key == "SSMSessionRunAs").then(|| form.get(&format!("Tags.member.{n}.Value")).map(str::to_owned))?
    })
}

fn wrap(action: &str, result: &str) -> Reply {
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>{result}</{action}Result>\
         <ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></{action}Response>",
        Uuid::new_v4()
    );
    xml_reply(StatusCode::OK, body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms_are_decoded() {
        let form = Form::parse(b"Action=AssumeRole&RoleSessionName=a%40b+c&Tags.member.1.Key=x&Tags.member.2.Key=SSMSessionRunAs&Tags.member.2.Value=ann");
        assert_eq!(form.get("RoleSessionName"), Some("a@b c"));
        assert_eq!(run_as_tag(&form).as_deref(), Some("ann"));
    }

    proptest! {
        #[test]
        fn arbitrary_forms_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let form = Form::parse(&body);
            let _ = (form.get("Action"), run_as_tag(&form));
        }
    }
}
