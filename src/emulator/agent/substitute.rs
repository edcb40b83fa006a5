//! Parameters into a session document: the agent does it, not the service.
//!
//! ```text
//!   "{{ name }}"            the whole string: the value as it is, of whatever JSON type, untouched
//!   "cd {{ name }}; ls"     in text: a string verbatim with $$ turned into $, anything else as JSON text
//!   "{{ other }}"           no such parameter: stays
//!   "{{ssm:/a/name}}"       looked up in Parameter Store, after all others: this agent has none, the session fails
//! ```
//!
//! Nothing is quoted for a shell, and a value is not searched for placeholders again.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

/// Why a document cannot be used. The agent only logs it: to the client the session never starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SubstituteError {
    /// A reference to Parameter Store.
    #[error("{0} refers to Parameter Store, which the embedded agent does not have; put the value itself in its place")]
    ParameterStore(String),
    /// A value is not as the document wants it.
    #[error("the value of parameter {name} does not match the allowed pattern {pattern}")]
    Pattern {
        /// The parameter.
        name: String,
        /// The document's pattern.
        pattern: String,
    },
    /// The document's own fault.
    #[error("the allowed pattern of parameter {name} is no regular expression: {why}")]
    BadPattern {
        /// The parameter.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The parameters of a session: those given, checked, and the defaults of those that were not.
#[derive(Debug, Default, Clone)]
pub(super) struct Parameters(Vec<(String, Value)>);

impl Parameters {
    /// `declared` is the document's `parameters`, `given` the session's.
    pub(super) fn new(declared: &Value, given: &Value) -> Result<Self, SubstituteError> {
        let empty = Map::new();
        let declared = declared.as_object().unwrap_or(&empty);
        let given = given.as_object().unwrap_or(&empty);
        let named =
            given.iter().filter(|(name, _)| valid_name(name)).map(|(name, value)| (name.clone(), value.clone()));
        let mut values: Vec<(String, Value)> = named.collect();
        for (name, parameter) in declared {
            if valid_name(name) && !values.iter().any(|(known, _)| known == name) {
                values.push((name.clone(), parameter.get("default").cloned().unwrap_or(Value::Null)));
            }
        }
        for (_, value) in &values {
            refuse_references(value)?;
        }
        for (name, parameter) in declared {
            let value = values.iter().find(|(known, _)| known == name).map_or(&Value::Null, |(_, value)| value);
            check_pattern(name, parameter, value)?;
        }
        Ok(Self(values))
    }

    /// The same object with its placeholders replaced.
    pub(super) fn apply(&self, object: &Value) -> Result<Value, SubstituteError> {
        let replaced = self.replace(object);
        refuse_references(&replaced)?;
        Ok(replaced)
    }

    fn replace(&self, object: &Value) -> Value {
        match object {
            Value::String(text) => self.replace_in_text(text),
            Value::Array(items) => items.iter().map(|item| self.replace(item)).collect(),
            Value::Object(members) => {
                members.iter().map(|(name, member)| (name.clone(), self.replace(member))).collect::<Map<_, _>>().into()
            }
            other => other.clone(),
        }
    }

    fn replace_in_text(&self, text: &str) -> Value {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, name, after)) = next_placeholder(rest, |name| self.get(name).is_some()) {
            let value = self.get(name).unwrap_or(&Value::Null);
            if before.is_empty() && after.is_empty() && rest.len() == text.len() {
                return value.clone();
            }
            out.push_str(before);
            out.push_str(&as_text(value).replace("$$", "$"));
            rest = after;
        }
        out.push_str(rest);
        Value::String(out)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// The first `{{ name }}` whose name is known: what is before it, the name, what is after it.
fn next_placeholder(text: &str, known: impl Fn(&str) -> bool) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(found) = text[from..].find("{{") {
        let open = from + found;
        let inner = text[open + 2..].trim_start_matches(SPACE);
        let name_length = inner.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(inner.len());
        let (name, tail) = inner.split_at(name_length);
        if let Some(after) = tail.trim_start_matches(SPACE).strip_prefix("}}")
            && known(name)
        {
            return Some((&text[..open], name, after));
        }
        // `{{{ name }}` holds a placeholder at its second brace
        from = open + 1;
    }
    None
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // as Go writes JSON, for HTML
        other => other.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"),
    }
}

fn valid_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn refuse_references(value: &Value) -> Result<(), SubstituteError> {
    match value {
        Value::String(text) => match REFERENCE.as_ref().and_then(|reference| reference.find(text)) {
            Some(reference) => Err(SubstituteError::ParameterStore(reference.as_str().to_owned())),
            None => Ok(()),
        },
        Value::Array(items) => items.iter().try_for_each(refuse_references),
        Value::Object(members) => members.values().try_for_each(refuse_references),
        _ => Ok(()),
    }
}

/// Patterns are searched for, not anchored: a document that wants the whole value says so with ^ and $.
fn check_pattern(name: &str, parameter: &Value, value: &Value) -> Result<(), SubstituteError> {
    let pattern = parameter.get("allowedPattern").and_then(Value::as_str).unwrap_or_default();
    if pattern.is_empty() {
        return Ok(());
    }
    let regex = Regex::new(pattern)
        .map_err(|error| SubstituteError::BadPattern { name: name.to_owned(), why: error.to_string() })?;
    let fits = match value {
        Value::String(text) => regex.is_match(text),
        Value::Array(items) => items.iter().all(|item| regex.is_match(&as_text(item))),
        Value::Object(_) => regex.is_match(&as_text(value)),
        _ => false,
    };
    if fits { Ok(()) } else { Err(SubstituteError::Pattern { name: name.to_owned(), pattern: pattern.to_owned() }) }
}

/// Spaces only inside the braces, and ASCII names: so the agent looks for them.
static REFERENCE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\{\{ *ssm:[/0-9A-Za-z_.:-]+ *\}\}").ok());

const SPACE: [char; 5] = ['\t', '\n', '\x0c', '\r', ' '];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn apply(given: Value, object: Value) -> Value {
        Parameters::new(&json!({}), &given).unwrap().apply(&object).unwrap()
    }

    #[test]
    fn as_the_agent_substitutes() {
        let given = json!({"c": "a $$ 'b' {{ d }}", "d": "D", "n": 22, "o": {"k": "<&>"}, "e": ""});
        let table = [
            ("{{ c }}", json!("a $$ 'b' {{ d }}")),
            ("{{c}}", json!("a $$ 'b' {{ d }}")),
            ("{{\t c \n}}", json!("a $$ 'b' {{ d }}")),
            (" {{ c }}", json!(" a $ 'b' {{ d }}")),
            ("$$ {{ c }} $$", json!("$$ a $ 'b' {{ d }} $$")),
            ("{{ n }}", json!(22)),
            ("port {{ n }}", json!("port 22")),
            ("x{{ o }}", json!("x{\"k\":\"\\u003c\\u0026\\u003e\"}")),
            ("{{ d }}{{ d }}", json!("DD")),
            ("{{{ d }}}", json!("{D}")),
            ("{{ d }", json!("{{ d }")),
            ("{{ }}", json!("{{ }}")),
            ("{{ unknown }} {{ d }}", json!("{{ unknown }} D")),
            ("{{ .Names }}", json!("{{ .Names }}")),
            ("{{ d }}{{ e }}", json!("D")),
            ("{{{{ d }}", json!("{{D")),
            ("no placeholder $$", json!("no placeholder $$")),
        ];
        for (text, replaced) in table {
            assert_eq!(apply(given.clone(), json!({ "p": [text] })), json!({ "p": [replaced] }), "{text:?}");
        }
    }

    #[test]
    fn defaults_and_names() {
        let declared = json!({"port": {"type": "String", "default": "22"}, "none": {"type": "String"}});
        let parameters = Parameters::new(&declared, &json!({"not a name": "x"})).unwrap();
        let object = json!(["{{ port }}", "{{ none }}", "a {{ none }}", "{{ not a name }}"]);
        assert_eq!(parameters.apply(&object).unwrap(), json!(["22", null, "a null", "{{ not a name }}"]));
    }

    #[test]
    fn references_to_parameter_store_fail_the_session() {
        let refused = SubstituteError::ParameterStore("{{ssm:/x}}".into());
        assert_eq!(Parameters::new(&json!({}), &json!({"c": "a {{{ssm:/x}}}"})).unwrap_err(), refused);
        let assembled = Parameters::new(&json!({}), &json!({"c": "ssm:"})).unwrap();
        assert_eq!(assembled.apply(&json!({"p": "{{{{ c }}/x}}"})).unwrap_err(), refused);
        for harmless in ["{{\tssm:/x}}", "{{SSM:/x}}", "{{ssm-secure:/x}}", "{''{ssm:/x}}", "{{ssm:}}"] {
            assert_eq!(apply(json!({ "c": harmless }), json!("{{ c }}")), json!(harmless));
        }
    }

    #[test]
    fn patterns() {
        let declared = |pattern: &str| json!({"c": {"type": "String", "allowedPattern": pattern}});
        let check = |pattern: &str, value: Value| Parameters::new(&declared(pattern), &json!({ "c": value }));
        assert!(check("b", json!("abc")).is_ok());
        assert!(check("^b", json!("abc")).is_err());
        assert!(check("^[a-z]+$", json!(["abc", "d"])).is_ok());
        assert!(check("^[a-z]+$", json!(["abc", "D"])).is_err());
        assert!(check(".*", json!(7)).is_err());
        assert!(matches!(check("(", json!("a")), Err(SubstituteError::BadPattern { .. })));
        // no value and no default: the agent refuses nothing but what is there
        assert!(Parameters::new(&declared("x"), &json!({})).is_err());
    }

    proptest! {
        #[test]
        fn a_whole_placeholder_carries_any_string(text: String) {
            prop_assume!(refuse_references(&json!(text)).is_ok());
            prop_assert_eq!(apply(json!({ "c": text.clone() }), json!("{{ c }}")), json!(text));
        }

        #[test]
        fn in_text_only_double_dollars_change(text: String) {
            let text = text.replace(['{', '}'], "");
            prop_assert_eq!(apply(json!({ "c": text.clone() }), json!("<{{ c }}>")), json!(format!("<{}>", text.replace("$$", "$"))));
        }
    }
}
