//! A document's parameters: what a value must be like, and whether a caller's values are.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::placeholder::PLACEHOLDER;

/// What a document says of one parameter.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParameterSpec {
    pub(crate) default: Option<String>,
    pub(crate) description: String,
    allowed_values: Vec<String>,
    allowed_pattern: Option<Regex>,
    min_chars: Option<u64>,
    max_chars: Option<u64>,
}

impl ParameterSpec {
    pub(crate) fn parse(name: &str, value: &Value) -> Result<Self, String> {
        let object = value.as_object().ok_or_else(|| format!("The parameter {name} must be an object."))?;
        let mut spec = Self::default();
        let wrong = |field: &str, should: &str| format!("The field {field} of parameter {name} must be {should}.");
        for (field, value) in object {
            match field.as_str() {
                "type" => {}
                "default" => spec.default = Some(value.as_str().ok_or_else(|| wrong(field, "a string"))?.to_owned()),
                "description" | "displayType" => {
                    let text = value.as_str().ok_or_else(|| wrong(field, "a string"))?;
                    if field == "description" {
                        text.clone_into(&mut spec.description);
                    }
                }
                "allowedValues" => {
                    let all = value.as_array().ok_or_else(|| wrong(field, "a list of strings"))?;
                    let all: Option<Vec<String>> = all.iter().map(|v| v.as_str().map(str::to_owned)).collect();
                    spec.allowed_values = all.ok_or_else(|| wrong(field, "a list of strings"))?;
                }
                "allowedPattern" => {
                    let text = value.as_str().ok_or_else(|| wrong(field, "a string"))?;
                    // The whole value must match, whether or not the pattern says so.
                    let whole = format!(r"\A(?:{text})\z");
                    let built = RegexBuilder::new(&whole).size_limit(PATTERN_SIZE).build();
                    spec.allowed_pattern = Some(built.map_err(|_| wrong(field, "a regular expression"))?);
                }
                "minChars" => spec.min_chars = Some(count(value).ok_or_else(|| wrong(field, "a number"))?),
                "maxChars" => spec.max_chars = Some(count(value).ok_or_else(|| wrong(field, "a number"))?),
                other => return Err(format!("The parameter {name} has an unknown field {other:?}.")),
            }
        }
        if object.get("type").and_then(Value::as_str) != Some("String") {
            return Err(wrong("type", "String"));
        }
        if let Some(default) = &spec.default
            && !default.is_empty()
        {
            spec.check(name, default).map_err(|error| format!("The default is not allowed: {error}"))?;
        }
        Ok(spec)
    }

    /// Whether a value keeps to the rules. The message leaves the value out: it may be somebody's command.
    pub(crate) fn check(&self, name: &str, value: &str) -> Result<(), String> {
        let chars = value.chars().count() as u64;
        if self.min_chars.is_some_and(|least| chars < least) {
            return Err(format!("The value of parameter {name} is shorter than minChars."));
        }
        if self.max_chars.is_some_and(|most| most > 0 && chars > most) {
            return Err(format!("The value of parameter {name} is longer than maxChars."));
        }
        if !self.allowed_values.is_empty() && !self.allowed_values.iter().any(|allowed| allowed == value) {
            return Err(format!("The value of parameter {name} is not one of allowedValues."));
        }
        if self.allowed_pattern.as_ref().is_some_and(|pattern| !pattern.is_match(value)) {
            return Err(format!("The value of parameter {name} does not match allowedPattern."));
        }
        Ok(())
    }
}

/// The caller's values, checked: each as one string, because the agent inserts strings and not lists.
pub(crate) fn validate(
    specs: &[(String, ParameterSpec)],
    given: &BTreeMap<String, Vec<String>>,
) -> Result<BTreeMap<String, String>, String> {
    let unknown: Vec<&str> =
        given.keys().filter(|name| !specs.iter().any(|(known, _)| known == *name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(format!("The document has no parameter named {}.", unknown.join(", ")));
    }
    let mut values = BTreeMap::new();
    for (name, spec) in specs {
        match given.get(name).map(Vec::as_slice) {
            Some([value]) => {
                spec.check(name, value)?;
                values.insert(name.clone(), value.clone());
            }
            Some(_) => return Err(format!("The parameter {name} takes exactly one value.")),
            None if spec.default.is_some() => {}
            None => return Err(format!("The parameter {name} is required and has no default.")),
        }
    }
    Ok(values)
}

/// A text with its placeholders replaced, for the few inputs that the service itself needs.
pub(crate) fn resolve(text: &str, specs: &[(String, ParameterSpec)], values: &BTreeMap<String, String>) -> String {
    let replaced = PLACEHOLDER.replace_all(text, |found: &regex::Captures<'_>| {
        let name = found.get(1).map_or("", |name| name.as_str());
        let default = || specs.iter().find(|(known, _)| known == name).and_then(|(_, spec)| spec.default.clone());
        values.get(name).cloned().or_else(default).unwrap_or_default()
    });
    replaced.into_owned()
}

fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

const PATTERN_SIZE: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn one(spec: Value, value: &str) -> Result<BTreeMap<String, String>, String> {
        let specs = vec![("p".to_owned(), ParameterSpec::parse("p", &spec)?)];
        validate(&specs, &BTreeMap::from([("p".to_owned(), vec![value.to_owned()])]))
    }

    #[test]
    fn a_pattern_must_match_the_whole_value() {
        let port = json!({"type": "String", "allowedPattern": "[0-9]+"});
        assert_eq!(one(port.clone(), "22").unwrap()["p"], "22");
        for value in ["22x", "x22", "22\n", "", "２２"] {
            assert!(one(port.clone(), value).is_err(), "{value:?}");
        }
        // An alternative at the top level must not escape the anchors.
        assert!(one(json!({"type": "String", "allowedPattern": "a|b"}), "ax").is_err());
        assert!(one(json!({"type": "String", "allowedPattern": "^a$"}), "a\n").is_err());
    }

    #[test]
    fn lengths_count_characters_and_lists_are_exact() {
        let spec = json!({"type": "String", "minChars": 2, "maxChars": "3"});
        assert!(one(spec.clone(), "é").is_err() && one(spec.clone(), "éé").is_ok() && one(spec, "éééé").is_err());
        let spec = json!({"type": "String", "allowedValues": ["on", "off"]});
        assert!(one(spec.clone(), "on").is_ok() && one(spec, "On").is_err());
    }

    #[test]
    fn unknown_missing_and_repeated_are_refused_and_defaults_fill_in() {
        let spec = |value| vec![("p".to_owned(), ParameterSpec::parse("p", &value).unwrap())];
        let required = spec(json!({"type": "String"}));
        let optional = spec(json!({"type": "String", "default": "22"}));
        let none = BTreeMap::new();
        assert!(validate(&required, &none).unwrap_err().contains("required"));
        assert_eq!(validate(&optional, &none).unwrap(), BTreeMap::new());
        assert_eq!(resolve("x{{p}}{{ p }}", &optional, &BTreeMap::new()), "x2222");
        let twice = BTreeMap::from([("p".to_owned(), vec!["1".to_owned(), "2".to_owned()])]);
        assert!(validate(&optional, &twice).unwrap_err().contains("exactly one"));
        let other = BTreeMap::from([("q".to_owned(), vec!["1".to_owned()])]);
        assert!(validate(&optional, &other).unwrap_err().contains("q"));
    }

    #[test]
    fn broken_specs_are_refused() {
        for spec in [
            json!("x"),
            json!({}),
            json!({"type": "StringList"}),
            json!({"type": "String", "allowedPattern": "("}),
            json!({"type": "String", "allowedPattern": "(?=x)"}),
            json!({"type": "String", "default": 7}),
            json!({"type": "String", "default": "x", "allowedPattern": "y"}),
            json!({"type": "String", "sort": "x"}),
        ] {
            assert!(ParameterSpec::parse("p", &spec).is_err(), "{spec}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_patterns_and_values_never_panic(pattern in "\\PC{0,40}", value in "\\PC{0,40}") {
            let _ = one(json!({"type": "String", "allowedPattern": pattern}), &value);
            let _ = resolve(&value, &[], &BTreeMap::new());
        }
    }
}
