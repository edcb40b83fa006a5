//! STS: `GetCallerIdentity`, `AssumeRole` and `AssumeRoleWithWebIdentity`, as form-encoded calls with XML answers.

use serde_json::Value;

use super::assume_role;
use crate::emulator::http::caller::Caller;
use crate::emulator::http::reply::{ApiError, xml};
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

    /// `NAME.member.1`, `NAME.member.2`, …
    pub(crate) fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        (1..).map_while(move |n| self.get(&format!("{name}.member.{n}")))
    }

    /// `Tags.member.1.Key`, `Tags.member.1.Value`, …
    pub(crate) fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        (1..).map_while(|n| {
            let key = self.get(&format!("Tags.member.{n}.Key"))?;
            Some((key, self.get(&format!("Tags.member.{n}.Value")).unwrap_or_default()))
        })
    }
}

/// What a call is answered with.
pub(crate) struct Answer {
    pub(super) namespace: &'static str,
    pub(super) action: &'static str,
    pub(super) xml: String,
    /// The same for the trail, without secrets.
    pub(crate) shown: Value,
}

/// Answers a call whose signature was right.
pub(crate) fn call(shared: &Shared, caller: &Caller, form: &Form) -> Result<Answer, ApiError> {
    match form.get("Action") {
        Some("GetCallerIdentity") => Ok(Answer::new("GetCallerIdentity", identity(caller), Value::Null)),
        Some("AssumeRole") => {
            let assume_role::Assumed { xml, shown } = assume_role::assume(shared, caller, form)?;
            Ok(Answer::new("AssumeRole", xml, shown))
        }
        Some(other) => {
            let text = format!("The embedded Session Manager has no action {other}.");
            Err(ApiError::new("InvalidAction", text))
        }
        None => Err(ApiError::new("MissingAction", "The form names no Action.")),
    }
}

/// Of its answers.
pub(crate) const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

fn identity(caller: &Caller) -> String {
    let principal = caller.principal();
    format!(
        "<Arn>{}</Arn><UserId>{}</UserId><Account>{}</Account>",
        xml(&principal.arn),
        xml(&principal.user_id),
        xml(principal.account())
    )
}

impl Answer {
    /// One of STS's.
    pub(super) fn new(action: &'static str, xml: String, shown: Value) -> Self {
        Self { namespace: NAMESPACE, action, xml, shown }
    }

    pub(crate) fn document(&self, request_id: &str) -> String {
        let Self { namespace, action, xml, .. } = self;
        format!(
            "<{action}Response xmlns=\"{namespace}\"><{action}Result>{xml}</{action}Result>\
             <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms_are_decoded() {
        let form = Form::parse(b"Action=AssumeRole&RoleSessionName=a%40b+c&Tags.member.1.Key=x&Tags.member.2.Key=SSMSessionRunAs&Tags.member.2.Value=ann");
        assert_eq!(form.get("RoleSessionName"), Some("a@b c"));
        assert_eq!(form.tags().collect::<Vec<_>>(), [("x", ""), ("SSMSessionRunAs", "ann")]);
        assert_eq!(Form::parse(b"K.member.1=a&K.member.3=c").list("K").collect::<Vec<_>>(), ["a"]);
    }

    proptest! {
        #[test]
        fn arbitrary_forms_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let form = Form::parse(&body);
            let _ = (form.get("Action"), form.tags().count(), assume_role::request_parameters(&form));
        }
    }
}
