//! What AWS takes of an ID token when it is exchanged for a role, beside who it is for: the source identity and session tags, which no
//! parameter of `AssumeRoleWithWebIdentity` says
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_adding-assume-role-idp>).
//!
//! ```text
//!  "https://aws.amazon.com/source_identity": "ada"
//!  "https://aws.amazon.com/tags": { "principal_tags": { "team": ["blue"] }, "transitive_tag_keys": ["team"] }
//!  "https://aws.amazon.com/tags/principal_tags/team": "blue"          where a provider can't nest claims
//!  "https://aws.amazon.com/tags/transitive_tag_keys": ["team"]
//! ```
//!
//! It is read to tell people and evidence what AWS sees; AWS reads the token itself, and refuses what it does not take.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The source identity and the tags that a token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsClaims {
    /// Who, in every record of CloudTrail.
    pub source_identity: Option<String>,
    /// Tags by name, each once.
    pub tags: Vec<(String, String)>,
    /// The names of those that go along when a further role is assumed.
    transitive: Vec<String>,
}

const SOURCE_IDENTITY: &str = "https://aws.amazon.com/source_identity";
const TAGS: &str = "https://aws.amazon.com/tags";
const TAG: &str = "https://aws.amazon.com/tags/principal_tags/";
const TRANSITIVE: &str = "https://aws.amazon.com/tags/transitive_tag_keys";

/// The most tags, and the longest of their names and values (<https://docs.aws.amazon.com/STS/latest/APIReference/API_Tag.html>).
const MOST_TAGS: usize = 50;
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 256;

impl AwsClaims {
    /// Those of a token.
    pub(super) fn of(claims: &Map<String, Value>) -> Self {
        let nested = claims.get(TAGS).and_then(Value::as_object);
        let in_one =
            nested.and_then(|tags| tags.get("principal_tags")).and_then(Value::as_object).into_iter().flatten();
        let flat = claims.iter().filter_map(|(name, value)| Some((name.strip_prefix(TAG)?, value)));
        let mut tags = BTreeMap::new();
        for (key, value) in in_one.map(|(key, value)| (key.as_str(), value)).chain(flat) {
            if let Some(value) = one(value).filter(|value| is_plain(key, LONGEST_KEY) && is_plain(value, LONGEST_VALUE))
            {
                tags.insert(key.to_owned(), value.to_owned());
            }
        }
        let keys = [nested.and_then(|tags| tags.get("transitive_tag_keys")), claims.get(TRANSITIVE)];
        let keys = keys.into_iter().flatten().filter_map(Value::as_array).flatten().filter_map(Value::as_str);
        let transitive = keys.filter(|key| tags.contains_key(*key)).map(str::to_owned).collect();
        let source = claims.get(SOURCE_IDENTITY).and_then(Value::as_str).filter(|source| is_plain(source, LONGEST_KEY));
        Self {
            source_identity: source.map(str::to_owned),
            tags: tags.into_iter().take(MOST_TAGS).collect(),
            transitive,
        }
    }

    /// What of them is there still when another role is assumed from the one that the token was exchanged for.
    #[must_use]
    pub(super) fn that_go_along(mut self) -> Self {
        let transitive = std::mem::take(&mut self.transitive);
        self.tags.retain(|(key, _)| transitive.contains(key));
        Self { transitive, ..self }
    }

    /// Whether there is a tag of that name, which is the same in every case.
    pub(super) fn has_tag(&self, name: &str) -> bool {
        self.tags.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
    }
}

/// The one text that a tag has, by itself or in a list.
fn one(value: &Value) -> Option<&str> {
    match value {
        Value::Array(several) => match several.as_slice() {
            [Value::String(one)] => Some(one),
            _ => None,
        },
        value => value.as_str(),
    }
}

/// It is shown on terminals.
fn is_plain(text: &str, longest: usize) -> bool {
    text.chars().count() <= longest && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of(claims: Value) -> AwsClaims {
        AwsClaims::of(claims.as_object().unwrap())
    }

    #[test]
    fn both_ways_of_saying_tags_say_the_same_and_what_is_neither_says_nothing() {
        let nested = json!({
            SOURCE_IDENTITY: "ada",
            TAGS: { "principal_tags": { "team": ["blue"], "cost": "7" }, "transitive_tag_keys": ["team", "unknown"] },
        });
        let flat = json!({
            SOURCE_IDENTITY: "ada", "https://aws.amazon.com/tags/principal_tags/team": "blue",
            "https://aws.amazon.com/tags/principal_tags/cost": ["7"], TRANSITIVE: ["team", "unknown"],
        });
        let said = of(nested);
        assert_eq!(said, of(flat));
        assert_eq!(said.source_identity.as_deref(), Some("ada"));
        assert_eq!(said.tags, [("cost", "7"), ("team", "blue")].map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(said.has_tag("TEAM") && !said.has_tag("tea"));
        assert_eq!(said.that_go_along().tags, [("team".to_owned(), "blue".to_owned())]);
        for nothing in [
            json!({}),
            json!({ SOURCE_IDENTITY: ["ada"], TAGS: "team=blue" }),
            json!({ SOURCE_IDENTITY: "a\u{1b}[2J", TAGS: { "principal_tags": { "a": ["b", "c"], "d": 1, "e": "\n" } } }),
            json!({ "source_identity": "ada", "tags": { "principal_tags": { "team": ["blue"] } } }),
        ] {
            assert_eq!(of(nothing.clone()), AwsClaims::default(), "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_token_says_can_be_shown(keys in prop::collection::vec("\\PC{0,140}|[\\x00-\\x7f]{0,9}", 0..60), value in "\\PC{0,260}") {
            let tags: Map<String, Value> = keys.iter().map(|key| (key.clone(), json!([value]))).collect();
            let said = of(json!({ TAGS: { "principal_tags": tags, "transitive_tag_keys": keys }, SOURCE_IDENTITY: value }));
            prop_assert!(said.tags.len() <= MOST_TAGS);
            for (key, value) in &said.tags {
                prop_assert!(!key.contains(char::is_control) && !value.contains(char::is_control));
            }
            let all = said.clone().that_go_along();
            prop_assert_eq!(all.tags, said.tags);
        }
    }
}
