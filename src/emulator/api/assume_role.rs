//! STS's `AssumeRole`: what is asked is read and bounded, the trust policy is asked, and a session of the role begins
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>). With a token of a provider most of it is the same
//! (`web_identity`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::sts::Form;
use crate::emulator::http::caller::Caller;
use crate::emulator::http::keys::{Issued, KnownRole};
use crate::emulator::http::reply::{ApiError, xml};
use crate::emulator::iam::{Become, Federated, IdentityPolicy, Kind, Principal, RoleSession};
use crate::emulator::id_tokens::Said;
use crate::emulator::state::Shared;

/// What is asked.
pub(super) struct Wish {
    role: String,
    session: String,
    seconds: Option<i64>,
    external_id: Option<String>,
    source_identity: Option<String>,
    policy: Option<(String, IdentityPolicy)>,
    tags: BTreeMap<String, String>,
    transitive: Vec<String>,
}

/// What is answered: for the caller, and for the trail.
pub(super) struct Assumed {
    pub(super) xml: String,
    pub(super) shown: Value,
}

/// The request as the trail shows it.
pub(crate) fn request_parameters(form: &Form) -> Value {
    let mut shown = json!({});
    for (name, key) in [
        ("RoleArn", "roleArn"),
        ("RoleSessionName", "roleSessionName"),
        ("ExternalId", "externalId"),
        ("SourceIdentity", "sourceIdentity"),
        ("Policy", "policy"),
    ] {
        if let Some(value) = form.get(name) {
            shown[key] = value.into();
        }
    }
    if let Some(seconds) = form.get("DurationSeconds").and_then(|text| text.parse::<i64>().ok()) {
        shown["durationSeconds"] = seconds.into();
    }
    let tags: Vec<Value> = form.tags().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    if !tags.is_empty() {
        shown["tags"] = tags.into();
    }
    let transitive: Vec<&str> = form.list("TransitiveTagKeys").collect();
    if !transitive.is_empty() {
        shown["transitiveTagKeys"] = transitive.into();
    }
    shown
}

/// A session of the role, if the caller may begin one.
pub(super) fn assume(shared: &Shared, caller: &Caller, form: &Form) -> Result<Assumed, ApiError> {
    let wish = Wish::read(form)?;
    let refused = |action: &str| {
        let (arn, role) = (caller.arn(), &wish.role);
        let text = format!("User: {arn} is not authorized to perform: {action} on resource: {role}");
        ApiError::new("AccessDenied", text)
    };
    let role = shared.keys.role(&wish.role).ok_or_else(|| refused("sts:AssumeRole"))?;
    wish.becoming(role).allowed_for(caller.principal(), caller.facts()).map_err(|not| refused(not.action))?;
    begin_for(shared, wish, role, Some(caller.principal()), None)
}

/// The session, for a caller who is somebody already, or for one who has shown a token.
pub(super) fn begin_for(
    shared: &Shared,
    wish: Wish,
    role: &KnownRole,
    caller: Option<&Principal>,
    with_token: Option<&Federated>,
) -> Result<Assumed, ApiError> {
    let before = caller.and_then(|caller| Some((caller, caller.session()?)));
    let lifetime = lifetime(wish.seconds, role, before.is_some())?;
    let packed = wish.packed_percent();
    if packed > 100 {
        let text = format!("Packed size of session policy and session tags: {packed}% of what is allowed.");
        return Err(ApiError::new("PackedPolicyTooLargeException", text));
    }
    let now = OffsetDateTime::now_utc();
    let session = begin(wish, role, before, with_token, now)?;
    let (arn, id) = (session.arn.clone(), session.user_id.clone());
    let source = session.session().and_then(|session| session.source_identity.clone());
    // tests have short minutes
    let lifetime = lifetime * (shared.minute.as_secs_f64() / 60.0);
    let issued = shared.keys.issue(session, lifetime, now);
    Ok(answer(&issued, &arn, &id, source.as_deref(), packed))
}

/// The principal that the caller becomes.
fn begin(
    wish: Wish,
    role: &KnownRole,
    before: Option<(&Principal, &RoleSession)>,
    with_token: Option<&Federated>,
    now: OffsetDateTime,
) -> Result<Principal, ApiError> {
    // once set it stays, through every further role
    let set = before.and_then(|(_, session)| session.source_identity.clone());
    if let (Some(set), Some(asked)) = (&set, &wish.source_identity)
        && set != asked
    {
        return Err(ApiError::new("AccessDenied", "The source identity of a session can't be changed."));
    }
    let mut tags = role.tags.clone();
    let mut transitive: BTreeSet<String> = wish.transitive.iter().map(|key| key.to_lowercase()).collect();
    let come_along = |key: &String| before.is_some_and(|(_, session)| session.transitive.contains(&key.to_lowercase()));
    if wish.tags.keys().any(come_along) {
        let text = "One of the specified session tags can't be set because it conflicts with a transitive tag of the calling session.";
        return Err(ApiError::new("InvalidParameterValue", text));
    }
    replace(&mut tags, wish.tags);
    if let Some((caller, session)) = before {
        let inherited = caller.tags.iter().filter(|(key, _)| session.transitive.contains(&key.to_lowercase()));
        replace(&mut tags, inherited.map(|(key, value)| (key.clone(), value.clone())));
        transitive.extend(session.transitive.iter().cloned());
    }
    let name = role.arn.rsplit('/').next().unwrap_or_default();
    let account = role.arn.split(':').nth(4).unwrap_or_default();
    Ok(Principal {
        arn: format!("arn:aws:sts::{account}:assumed-role/{name}/{}", wish.session),
        user_id: format!("{}:{}", role.id, wish.session),
        policies: role.policies.clone(),
        tags,
        kind: Kind::Session(RoleSession {
            role_arn: role.arn.clone(),
            role_id: role.id.clone(),
            policy: wish.policy.map(|(_, policy)| policy),
            source_identity: set.or(wish.source_identity),
            transitive,
            issued: now,
            federated_by: with_token.map(|who| who.provider.clone()),
        }),
    })
}

/// Names of tags are the same in every case: the newer takes the place of the older.
fn replace(tags: &mut BTreeMap<String, String>, newer: impl IntoIterator<Item = (String, String)>) {
    for (key, value) in newer {
        tags.retain(|known, _| known.to_lowercase() != key.to_lowercase());
        tags.insert(key, value);
    }
}

fn lifetime(asked: Option<i64>, role: &KnownRole, chained: bool) -> Result<Duration, ApiError> {
    let seconds = asked.unwrap_or(3600);
    if chained && seconds > 3600 {
        return Err(ApiError::validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        ));
    }
    if seconds > role.longest.whole_seconds() {
        return Err(ApiError::validation(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    Ok(Duration::seconds(seconds))
}

fn answer(issued: &Issued, arn: &str, id: &str, source: Option<&str>, packed: usize) -> Assumed {
    let expires = issued.expires.replace_nanosecond(0).unwrap_or(issued.expires).format(&Rfc3339).unwrap_or_default();
    let shown_source = source.map(|text| format!("<SourceIdentity>{}</SourceIdentity>", xml(text)));
    let xml = format!(
        "<AssumedRoleUser><AssumedRoleId>{}</AssumedRoleId><Arn>{}</Arn></AssumedRoleUser>\
         <Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken>\
         <Expiration>{expires}</Expiration></Credentials>{}<PackedPolicySize>{packed}</PackedPolicySize>\
         <SessionTokenUtilization>{packed}</SessionTokenUtilization>",
        xml(id),
        xml(arn),
        issued.access_key_id,
        *issued.secret_access_key,
        *issued.session_token,
        shown_source.unwrap_or_default()
    );
    let mut shown = json!({
        "credentials": {
            "accessKeyId": issued.access_key_id,
            "sessionToken": crate::emulator::trail::HIDDEN,
            "expiration": expires,
        },
        "assumedRoleUser": { "assumedRoleId": id, "arn": arn },
        "packedPolicySize": packed,
    });
    if let Some(source) = source {
        shown["sourceIdentity"] = source.into();
    }
    Assumed { xml, shown }
}

impl Wish {
    /// With what it would be asked for in the form as well.
    fn read(form: &Form) -> Result<Self, ApiError> {
        let wish = Self::common(form)?;
        if let Some(id) = form.get("ExternalId") {
            named("externalId", id, "_=,.@+-:/", 2..=1224)?;
        }
        let transitive = form.list("TransitiveTagKeys").map(str::to_owned).collect();
        let (source, external_id) = (form.get("SourceIdentity"), form.get("ExternalId").map(str::to_owned));
        Self { external_id, ..wish }.saying(source, form.tags(), transitive)
    }

    /// With what a token says in the place of that.
    pub(super) fn with_token(form: &Form, said: &Said) -> Result<Self, ApiError> {
        let tags = said.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        // of tags that there are not, nobody says anything
        let there = |key: &&String| said.tags.iter().any(|(tag, _)| tag == *key);
        let transitive = said.transitive.iter().filter(there).cloned().collect();
        Self::common(form)?.saying(said.source_identity.as_deref(), tags, transitive)
    }

    pub(super) fn role(&self) -> &str {
        &self.role
    }

    /// The same as a question to the role's trust policy.
    pub(super) fn becoming<'a>(&'a self, role: &'a KnownRole) -> Become<'a> {
        Become {
            role_arn: &role.arn,
            role_tags: &role.tags,
            trust: &role.trust,
            session_name: &self.session,
            external_id: self.external_id.as_deref(),
            source_identity: self.source_identity.as_deref(),
            tags: &self.tags,
            transitive: &self.transitive,
        }
    }

    fn saying<'a>(
        self,
        source: Option<&str>,
        tags: impl Iterator<Item = (&'a str, &'a str)>,
        transitive: Vec<String>,
    ) -> Result<Self, ApiError> {
        if let Some(source) = source {
            named("sourceIdentity", source, "_=,.@+-", 2..=64)?;
        }
        let tags = bounded(tags)?;
        if let Some(unknown) = transitive.iter().find(|key| !tags.contains_key(*key)) {
            let text = format!("The transitive tag key {unknown} is none of the session's tags.");
            return Err(ApiError::new("InvalidParameterValue", text));
        }
        Ok(Self { source_identity: source.map(str::to_owned), tags, transitive, ..self })
    }

    fn common(form: &Form) -> Result<Self, ApiError> {
        let need = |name: &str| {
            let text = format!("Value at '{name}' failed to satisfy constraint: Member must not be null");
            form.get(name).ok_or_else(|| one_error(&text))
        };
        let role = need("RoleArn")?;
        length("roleArn", role, 20..=2048)?;
        let session = need("RoleSessionName")?;
        named("roleSessionName", session, "_=,.@+-", 2..=64)?;
        let seconds = match form.get("DurationSeconds") {
            None => None,
            Some(text) => {
                Some(text.parse::<i64>().ok().filter(|seconds| (900..=43_200).contains(seconds)).ok_or_else(|| {
                    ApiError::validation("The requested DurationSeconds must be between 900 and 43200.")
                })?)
            }
        };
        let policy = form.get("Policy").map(|text| {
            length("policy", text, 1..=2048)?;
            let policy = IdentityPolicy::parse(text);
            let malformed = |error| ApiError::new("MalformedPolicyDocument", format!("The session policy: {error}."));
            policy.map(|policy| (text.to_owned(), policy)).map_err(malformed)
        });
        Ok(Self {
            role: role.to_owned(),
            session: session.to_owned(),
            seconds,
            external_id: None,
            source_identity: None,
            policy: policy.transpose()?,
            tags: BTreeMap::new(),
            transitive: Vec::new(),
        })
    }

    /// How much of the room for session policy and tags they take. STS packs both in a form of its own that is not
    /// published: this is a measure of ours, whose whole is twice the longest policy.
    fn packed_percent(&self) -> usize {
        let policy = self.policy.as_ref().map_or(0, |(text, _)| text.len());
        let tags: usize = self.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        ((policy + tags) * 100).div_ceil(PACKED)
    }
}

fn bounded<'a>(all: impl Iterator<Item = (&'a str, &'a str)>) -> Result<BTreeMap<String, String>, ApiError> {
    let mut tags = BTreeMap::new();
    for (key, value) in all {
        for (member, text, lengths) in [("tags.key", key, 1..=128), ("tags.value", value, 0..=256)] {
            length(member, text, lengths)?;
            // \p{L} \p{Z} \p{N} and these
            let good = |c: char| {
                c.is_alphanumeric() || c == ' ' || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c)
            };
            if !text.chars().all(good) {
                return Err(pattern(member, "[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*"));
            }
        }
        if key.to_lowercase().starts_with("aws:") {
            return Err(ApiError::new("InvalidParameterValue", "Tag keys that begin with aws: are reserved."));
        }
        if tags.keys().any(|known: &String| known.to_lowercase() == key.to_lowercase()) {
            let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(ApiError::new("InvalidParameterValue", text));
        }
        tags.insert(key.to_owned(), value.to_owned());
    }
    if tags.len() > MOST_TAGS {
        return Err(one_error(
            "Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50",
        ));
    }
    Ok(tags)
}

fn named(member: &str, text: &str, marks: &str, lengths: std::ops::RangeInclusive<usize>) -> Result<(), ApiError> {
    length(member, text, lengths)?;
    match text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c)) {
        true => Ok(()),
        false => Err(pattern(member, &format!("[\\w{}]*", marks.trim_start_matches('_')))),
    }
}

fn length(member: &str, text: &str, lengths: std::ops::RangeInclusive<usize>) -> Result<(), ApiError> {
    let chars = text.chars().count();
    if lengths.contains(&chars) {
        return Ok(());
    }
    let (what, bound) = if chars < *lengths.start() { ("greater", lengths.start()) } else { ("less", lengths.end()) };
    Err(one_error(&format!(
        "Value at '{member}' failed to satisfy constraint: Member must have length {what} than or equal to {bound}"
    )))
}

fn pattern(member: &str, expression: &str) -> ApiError {
    one_error(&format!(
        "Value at '{member}' failed to satisfy constraint: Member must satisfy regular expression pattern: {expression}"
    ))
}

fn one_error(text: &str) -> ApiError {
    ApiError::validation(format!("1 validation error detected: {text}"))
}

const MOST_TAGS: usize = 50;
const PACKED: usize = 4096;
