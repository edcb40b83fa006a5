//! What a person may call a node. The form says how it is found:
//!
//! ```text
//!  i-0123abcd…, mi-0123abcd…             an instance's id: that one
//!  ecs:<cluster>_<task>_<runtime>        an ECS task: that one
//!  tag:Key=Value                         the only node with that tag
//!  anything else                         a word: the only one with that Name tag, else with that computer name
//! ```
//!
//! Behind any of them there may be a `.` and a realm ([`super::NodeAsked`]); what that is is not known here, so an id with something
//! behind it is a word.
//!
//! A name is taken apart once, where it comes in (a login, a rule); whoever has a [`NodeName`] need not look again. Which
//! characters a login may have is stricter than this, and the login's own matter: a rule may name a node by a Name tag
//! with a space in it.

use std::fmt;

use super::{RealmName, plain_text_up_to};

/// A node's name of a known form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName {
    text: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Instance,
    Task,
    /// Where the key's `=` is in the text.
    Tag {
        equals: usize,
    },
    Word,
}

/// What a name is, by its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeForm<'a> {
    /// `i-…` or `mi-…`.
    Instance(&'a str),
    /// `ecs:…`.
    Task(&'a str),
    /// `tag:Key=Value`.
    Tag {
        /// The tag's key.
        key: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// A Name tag, or what the node's computer calls itself.
    Word(&'a str),
}

/// Why a text is no name of a node; each is a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeNameError {
    /// Nothing, too much, or what a terminal would obey.
    #[error("{0:?} is no name of a node: it is empty, too long or has control characters")]
    Characters(String),
    /// It begins as a task and goes on otherwise.
    #[error("{0:?} is no name of a node: a task is ecs:<cluster>_<task id>_<container runtime id>")]
    Task(String),
    /// It begins as a tag and goes on otherwise.
    #[error("{0:?} is no name of a node: a tag is tag:Key=Value")]
    Tag(String),
}

const TAG: &str = "tag:";
const TASK: &str = "ecs:";

impl NodeName {
    /// The longest name, in bytes: a tag's key and value (128 and 256 characters, as EC2 allows them) and what is around.
    pub const MAX_BYTES: usize = 512;

    /// Takes a name apart.
    pub fn parse(text: &str) -> Result<Self, NodeNameError> {
        // longer than any sentence needs to quote
        let shown = || plain_text_up_to(300, text);
        if text.is_empty() || text.len() > Self::MAX_BYTES || text.contains(char::is_control) {
            return Err(NodeNameError::Characters(shown()));
        }
        let kind = if is_instance(text) {
            Kind::Instance
        } else if let Some(task) = text.strip_prefix(TASK) {
            match task.rsplit_once('.') {
                None if is_task(task) => Kind::Task,
                Some((task, end)) if is_task(task) && RealmName::parse(end).is_ok() => Kind::Word,
                _ => return Err(NodeNameError::Task(shown())),
            }
        } else if let Some(tag) = text.strip_prefix(TAG) {
            match tag.split_once('=') {
                Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                    Kind::Tag { equals: TAG.len() + key.len() }
                }
                _ => return Err(NodeNameError::Tag(shown())),
            }
        } else {
            Kind::Word
        };
        Ok(Self { text: text.to_owned(), kind })
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it is.
    pub fn form(&self) -> NodeForm<'_> {
        match self.kind {
            Kind::Instance => NodeForm::Instance(&self.text),
            Kind::Task => NodeForm::Task(&self.text),
            Kind::Word => NodeForm::Word(&self.text),
            Kind::Tag { equals } => {
                let part = |range: std::ops::Range<usize>| self.text.get(range).unwrap_or_default();
                NodeForm::Tag { key: part(TAG.len()..equals), value: part(equals + 1..self.text.len()) }
            }
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
impl NodeName {
    /// A name that is one.
    pub(crate) fn for_test(text: &str) -> Self {
        Self::parse(text).unwrap()
    }
}

/// EC2's ids have 17 hexadecimal digits, and 8 before 2016; those of managed instances have 17.
fn is_instance(text: &str) -> bool {
    let digits = |rest: &str, lengths: &[usize]| {
        lengths.contains(&rest.len()) && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    text.strip_prefix("i-").is_some_and(|rest| digits(rest, &[8, 17]))
        || text.strip_prefix("mi-").is_some_and(|rest| digits(rest, &[17]))
}

/// Cluster, task and runtime; a cluster's name may have underscores of its own.
fn is_task(rest: &str) -> bool {
    rest.split('_').count() >= 3 && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_told_apart_by_their_form() {
        let is = |text: &str, form: NodeForm<'_>| assert_eq!(NodeName::parse(text).unwrap().form(), form, "{text}");
        for id in ["i-0123abcd", "i-0123456789abcdef0", "mi-0123456789abcdef0"] {
            is(id, NodeForm::Instance(id));
        }
        is("ecs:c_0123_0123-45", NodeForm::Task("ecs:c_0123_0123-45"));
        is("tag:env=a=b", NodeForm::Tag { key: "env", value: "a=b" });
        is("tag:tag:x==y", NodeForm::Tag { key: "tag:x", value: "=y" });
        for word in [
            "web-1",
            "i-0123abcd.prod",
            "ecs:c_0123_0123-45.prod",
            "i-robot",
            "i-0123abcg",
            "mi-0123abcd",
            "I-0123abcd",
            "web server",
        ] {
            is(word, NodeForm::Word(word));
        }
    }

    #[test]
    fn what_is_of_no_form_is_refused_in_a_sentence() {
        for wrong in [
            "",
            "ecs:one",
            "ecs:a_b_c.",
            "ecs:a_b_c.d_e",
            "ecs:a_b_c;d",
            "tag:",
            "tag:x",
            "tag:=x",
            "tag:x=",
            "a\nb",
            &"x".repeat(513),
        ] {
            let error = NodeName::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("is no name of a node: ") && !error.contains(char::is_control), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_tag_s_parts_are_its_text(key in "[a-z:=]{1,6}", value in "[a-z:=]{1,6}") {
            let text = format!("tag:{key}={value}");
            if let Ok(name) = NodeName::parse(&text) {
                let NodeForm::Tag { key, value } = name.form() else { panic!("{name:?}") };
                prop_assert_eq!(format!("tag:{key}={value}"), text);
            }
        }
    }
}
