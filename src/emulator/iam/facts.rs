//! What is known of a request: the condition keys that it has, and their values.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Condition keys with their values. Names of keys are compared without regard to case, tags' names in them included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts(BTreeMap<String, Vec<String>>);

impl Facts {
    /// What every request has, whoever makes it.
    pub(crate) fn at(now: OffsetDateTime) -> Self {
        Self::default()
            .with("aws:CurrentTime", now.format(&Rfc3339).unwrap_or_default())
            .with("aws:EpochTime", now.unix_timestamp().to_string())
            .with("aws:PrincipalIsAWSService", "false")
    }

    /// The same with one more; what stood there is replaced.
    pub(crate) fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.insert(key.to_ascii_lowercase(), vec![value.into()]);
        self
    }

    /// The same with one that has several values. None at all is as good as no such key.
    pub(crate) fn with_all(mut self, key: &str, values: impl IntoIterator<Item = String>) -> Self {
        let values: Vec<String> = values.into_iter().collect();
        if !values.is_empty() {
            self.0.insert(key.to_ascii_lowercase(), values);
        }
        self
    }

    /// The same with a key for each tag, such as `ssm:resourceTag/env`.
    pub(crate) fn with_tags<'a>(self, prefix: &str, tags: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        tags.into_iter().fold(self, |facts, (name, value)| facts.with(&format!("{prefix}/{name}"), value.as_str()))
    }

    /// The values of a key; none where the request has no such key.
    pub(super) fn get(&self, key: &str) -> &[String] {
        self.0.get(&key.to_ascii_lowercase()).map(Vec::as_slice).unwrap_or_default()
    }

    /// The value of a key that has exactly one: a variable can't stand for several.
    pub(super) fn single(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            [one] => Some(one),
            _ => None,
        }
    }
}
