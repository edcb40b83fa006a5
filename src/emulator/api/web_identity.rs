//! STS's `AssumeRoleWithWebIdentity`: nobody signs it; the token says who it is, and its provider is believed as far as the role's trust
//! policy says (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>).

use http::request::Parts;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::assume_role::{self, Assumed, Wish};
use super::sts::{Answer, Form};
use crate::emulator::http::caller::facts_of_request;
use crate::emulator::http::reply::{ApiError, xml};
use crate::emulator::iam::{Become, Facts};
use crate::emulator::id_tokens::Said;
use crate::emulator::state::Shared;

/// The action's name.
pub(crate) const NAME: &str = "AssumeRoleWithWebIdentity";

/// The request as the trail shows it: what the token says as if it had been asked for, and not the token.
pub(crate) fn request_parameters(form: &Form, said: Option<&Said>) -> Value {
    let mut shown = assume_role::request_parameters(form);
    let Some(Said { source_identity, tags, transitive, .. }) = said else { return shown };
    if let Some(source) = source_identity {
        shown["sourceIdentity"] = source.as_str().into();
    }
    if !tags.is_empty() {
        let tags = tags.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
        shown["principalTags"] = Value::Object(tags.collect::<Map<_, _>>());
    }
    if !transitive.is_empty() {
        shown["transitiveTagKeys"] = transitive.clone().into();
    }
    shown
}

/// What the token of a request says.
pub(crate) fn said(shared: &Shared, form: &Form) -> Result<Said, ApiError> {
    let token = form.get("WebIdentityToken").unwrap_or_default();
    if !(4..=20_000).contains(&token.chars().count()) {
        let text = "1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have \
                    length between 4 and 20000";
        return Err(ApiError::validation(text));
    }
    shared.providers.verify(token, OffsetDateTime::now_utc())
}

/// A session of the role, if whoever that is may begin one.
pub(crate) fn assume(shared: &Shared, parts: &Parts, form: &Form, said: &Said) -> Result<Answer, ApiError> {
    let wish = Wish::with_token(form, said)?;
    let refused = |action: &str| ApiError::new("AccessDenied", format!("Not authorized to perform {action}"));
    let role = shared.keys.role(wish.role()).ok_or_else(|| refused("sts:AssumeRoleWithWebIdentity"))?;
    let facts = facts_of_request(Facts::at(OffsetDateTime::now_utc()), &shared.region, parts);
    let asked = Become { external_id: None, ..wish.becoming(role) };
    asked.allowed_with_token(&said.who, facts).map_err(|not| refused(not.action))?;
    let Assumed { xml: given, mut shown } = assume_role::begin_for(shared, wish, role, None, Some(&said.who))?;
    let who = &said.who;
    let more = [
        ("SubjectFromWebIdentityToken", "subjectFromWebIdentityToken", &who.subject),
        ("Audience", "audience", &who.audience),
        ("Provider", "provider", &who.provider),
    ];
    let mut document = given;
    for (element, name, value) in more {
        document.push_str(&format!("<{element}>{}</{element}>", xml(value)));
        shown[name] = value.as_str().into();
    }
    Ok(Answer::new(NAME, document, shown))
}
