//! A policy document, read from JSON: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>.
//! What the grammar does not know is refused rather than skipped: a condition that was misspelt would be one that holds.

use super::condition::Condition;
use super::error::PolicyError;
use super::json::Json;
use super::operator::Operator;
use super::pattern::{Allows, Pattern};
use super::principal::Named;

/// What a user, a role or a session may do: it names resources and no principal.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityPolicy(pub(super) Vec<Statement>);

/// Who may become a role: it names principals and no resource.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustPolicy(pub(super) Vec<Statement>);

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statement {
    pub(super) effect: Effect,
    pub(super) actions: Listed<Pattern>,
    /// None in a trust policy, whose resource is its role.
    pub(super) resources: Option<Listed<Pattern>>,
    /// None in a policy of an identity, whose principal is who has it.
    pub(super) principals: Option<Listed<Named>>,
    pub(super) conditions: Vec<Condition>,
}

/// What a statement that applies says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// `Action` or `NotAction`, and the like.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Listed<T> {
    Only(Vec<T>),
    AllBut(Vec<T>),
}

/// Which of the two forms a document has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Identity,
    Trust,
}

impl IdentityPolicy {
    /// Reads a policy of a user, a role or a session.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        statements(text, Form::Identity).map(Self)
    }
}

impl TrustPolicy {
    /// Reads a role's trust policy.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        statements(text, Form::Trust).map(Self)
    }
}

impl<T> Listed<T> {
    /// Whether the list is about something for which this holds.
    pub(super) fn covers(&self, holds: impl Fn(&T) -> bool) -> bool {
        match self {
            Self::Only(list) => list.iter().any(holds),
            Self::AllBut(list) => !list.iter().any(holds),
        }
    }
}

fn statements(text: &str, form: Form) -> Result<Vec<Statement>, PolicyError> {
    if text.chars().count() > LONGEST {
        return Err(PolicyError::TooLong { most: LONGEST });
    }
    let json =
        serde_json::from_str(text).map_err(|error| PolicyError::Json { line: error.line(), column: error.column() })?;
    let place = "the policy";
    let Json::Object(fields) = json else { return Err(PolicyError::value(place, "it is no object")) };
    let (mut variables, mut found) = (false, None);
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("Version", Json::Text(version)) if version == "2012-10-17" => variables = true,
            ("Version", Json::Text(version)) if version == "2008-10-17" => {}
            ("Version", _) => return Err(PolicyError::value(place, "its Version is 2012-10-17, or 2008-10-17")),
            ("Id", Json::Text(_)) => {}
            ("Statement", Json::List(list)) => found = Some(list),
            ("Statement", one @ Json::Object(_)) => found = Some(vec![one]),
            ("Statement", Json::Text(_)) => {
                return Err(PolicyError::value(place, "its Statement is an object or a list of them"));
            }
            _ => return Err(PolicyError::Unexpected { place: place.to_owned(), what: name }),
        }
    }
    let found = found.ok_or(PolicyError::Missing { place: place.to_owned(), what: "Statement" })?;
    let numbered = (1..).zip(found);
    numbered.map(|(number, value)| statement(value, &format!("statement {number}"), form, variables)).collect()
}

fn statement(json: Json, place: &str, form: Form, variables: bool) -> Result<Statement, PolicyError> {
    let Json::Object(fields) = json else { return Err(PolicyError::value(place, "it is no object")) };
    let (mut effect, mut actions, mut resources, mut principals) = (None, None, None, None);
    let mut conditions = Vec::new();
    let action = Allows { wildcards: true, variables: false };
    let resource = Allows { wildcards: true, variables };
    let twice = |name: &str| PolicyError::Unexpected { place: place.to_owned(), what: format!("{name} as well") };
    for (name, value) in fields {
        let at = format!("{place}, {name}");
        let not = name.starts_with("Not");
        match name.as_str() {
            "Sid" => drop(text(value, &at)?),
            "Effect" => {
                effect = Some(match text(value, &at)?.as_str() {
                    "Allow" => Effect::Allow,
                    "Deny" => Effect::Deny,
                    _ => return Err(PolicyError::value(&at, "it is Allow or Deny")),
                });
            }
            "Action" | "NotAction" => {
                let list = patterns(value, action, &at, check_action)?;
                if actions.replace(listed(not, list)).is_some() {
                    return Err(twice(&name));
                }
            }
            "Resource" | "NotResource" if form == Form::Identity => {
                let list = patterns(value, resource, &at, check_resource)?;
                if resources.replace(listed(not, list)).is_some() {
                    return Err(twice(&name));
                }
            }
            "Principal" | "NotPrincipal" if form == Form::Trust => {
                if principals.replace(listed(not, named(value, &at)?)).is_some() {
                    return Err(twice(&name));
                }
            }
            "Condition" => conditions = self::conditions(value, &at, variables)?,
            _ => return Err(PolicyError::Unexpected { place: place.to_owned(), what: name }),
        }
    }
    let missing = |what| PolicyError::Missing { place: place.to_owned(), what };
    match form {
        Form::Identity if resources.is_none() => return Err(missing("Resource")),
        Form::Trust if principals.is_none() => return Err(missing("Principal")),
        _ => {}
    }
    Ok(Statement {
        effect: effect.ok_or_else(|| missing("Effect"))?,
        actions: actions.ok_or_else(|| missing("Action"))?,
        resources,
        principals,
        conditions,
    })
}

fn conditions(json: Json, place: &str, variables: bool) -> Result<Vec<Condition>, PolicyError> {
    let Json::Object(operators) = json else { return Err(PolicyError::value(place, "it is no object")) };
    let mut conditions = Vec::new();
    for (name, keys) in operators {
        let operator = Operator::parse(&name, place)?;
        let at = format!("{place}, {name}");
        let Json::Object(keys) = keys else { return Err(PolicyError::value(&at, "it is no object")) };
        for (key, value) in keys {
            let at = format!("{at}, {key}");
            if !key.contains(':') {
                return Err(PolicyError::value(&at, "a condition key has a prefix, such as aws:"));
            }
            let values = texts(value, &at)?;
            let values = values.iter().map(|value| operator.comparison.value(value, variables, &at));
            conditions.push(Condition { operator, key, values: values.collect::<Result<_, _>>()? });
        }
    }
    Ok(conditions)
}

fn named(json: Json, place: &str) -> Result<Vec<Named>, PolicyError> {
    let kinds = match json {
        Json::Text(text) if text == "*" => return Ok(vec![Named::Anybody]),
        Json::Object(kinds) => kinds,
        _ => return Err(PolicyError::value(place, "it is \"*\" or an object")),
    };
    let mut all = Vec::new();
    for (kind, value) in kinds {
        let at = format!("{place}, {kind}");
        for text in texts(value, &at)? {
            all.push(Named::parse(&kind, &text, &at)?);
        }
    }
    if all.is_empty() {
        return Err(PolicyError::value(place, "it names nobody"));
    }
    Ok(all)
}

fn listed<T>(not: bool, list: Vec<T>) -> Listed<T> {
    if not { Listed::AllBut(list) } else { Listed::Only(list) }
}

type Check = fn(&str) -> Result<(), &'static str>;

fn patterns(json: Json, allows: Allows, place: &str, check: Check) -> Result<Vec<Pattern>, PolicyError> {
    let texts = texts(json, place)?;
    texts
        .iter()
        .map(|text| {
            check(text).map_err(|what| PolicyError::value(place, format!("{text:?} {what}")))?;
            Pattern::parse(text, allows, place)
        })
        .collect()
}

fn check_action(text: &str) -> Result<(), &'static str> {
    match text == "*" || text.split_once(':').is_some_and(|(service, name)| !service.is_empty() && !name.is_empty()) {
        true => Ok(()),
        false => Err("is no action: a service and a name, such as ssm:StartSession, or *"),
    }
}

fn check_resource(text: &str) -> Result<(), &'static str> {
    match text == "*" || text.starts_with("arn:") {
        true => Ok(()),
        false => Err("is no ARN and no *"),
    }
}

fn text(json: Json, place: &str) -> Result<String, PolicyError> {
    match json {
        Json::Text(text) => Ok(text),
        _ => Err(PolicyError::value(place, "it is no text")),
    }
}

/// One text, or a list of at least one.
fn texts(json: Json, place: &str) -> Result<Vec<String>, PolicyError> {
    let list = match json {
        Json::List(list) => list,
        one => vec![one],
    };
    if list.is_empty() {
        return Err(PolicyError::value(place, "the list is empty"));
    }
    list.into_iter().map(|item| text(item, place)).collect()
}

/// A role may have 10,240 characters of policies in it; nothing here is longer.
const LONGEST: usize = 10_240;
