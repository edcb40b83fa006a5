//! A node as somebody asks for it, and the realms that it may be in.
//!
//! ```text
//!  web-1.prod   where a realm is called prod: web-1, there
//!  web-1.prod   where none is: the name web-1.prod, in whichever realm has it
//!  web-1        in whichever realm has it; where there is one realm, there
//! ```
//!
//! The configuration decides what the end of a name is, and not the text: a node that is called `web-1.prod` where a realm is called
//! `prod` is `web-1.prod.prod`, or whatever its id is.

use std::fmt;

use super::{NodeName, RealmName};

/// A name that stands for a node, with where to look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAsked {
    written: NodeName,
    name: NodeName,
    realms: Vec<RealmName>,
}

impl NodeAsked {
    /// What a name means where these are the realms.
    pub fn of(written: &NodeName, realms: &[RealmName]) -> Self {
        let named = written.as_str().rsplit_once('.').and_then(|(name, end)| {
            let realm = realms.iter().find(|realm| realm.as_str() == end)?;
            Some((NodeName::parse(name).ok()?, realm))
        });
        let (name, realms) = match named {
            Some((name, realm)) => (name, vec![realm.clone()]),
            None => (written.clone(), realms.to_vec()),
        };
        Self { written: written.clone(), name, realms }
    }

    /// As the person has written it: for them, and for evidence.
    pub fn written(&self) -> &NodeName {
        &self.written
    }

    /// The node's name, without its realm.
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// The realms that it may be in: the one that was written, or all.
    pub fn realms(&self) -> &[RealmName] {
        &self.realms
    }
}

impl fmt::Display for NodeAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

#[cfg(test)]
impl NodeAsked {
    /// A name where there is one realm.
    pub(crate) fn for_test(name: &str) -> Self {
        Self::of(&NodeName::for_test(name), &[RealmName::for_test()])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_of_a_name_is_a_realm_only_where_a_realm_is_called_so() {
        let both = ["dev", "prod"];
        let cases: [(&str, &[&str], &str, &[&str]); 17] = [
            ("web-1", &both, "web-1", &both),
            ("web-1", &["dev"], "web-1", &["dev"]),
            ("web-1.prod", &both, "web-1", &["prod"]),
            ("web-1.dev", &both, "web-1", &["dev"]),
            ("web-1.dev", &["dev"], "web-1", &["dev"]),
            ("web-1.prod", &["dev"], "web-1.prod", &["dev"]),
            ("web-1.example.com", &both, "web-1.example.com", &both),
            ("web-1.example.com.prod", &both, "web-1.example.com", &["prod"]),
            ("web-1.prod.dev", &both, "web-1.prod", &["dev"]),
            ("web-1.PROD", &both, "web-1.PROD", &both),
            ("web-1.prod.", &both, "web-1.prod.", &both),
            ("prod", &both, "prod", &both),
            (".prod", &both, ".prod", &both),
            ("i-0123456789abcdef0.prod", &both, "i-0123456789abcdef0", &["prod"]),
            ("ecs:a_b_0123-4.prod", &both, "ecs:a_b_0123-4", &["prod"]),
            ("tag:Role=db.prod", &both, "tag:Role=db", &["prod"]),
            ("tag:Role=.prod", &both, "tag:Role=.prod", &both),
        ];
        for (text, realms, name, within) in cases {
            let realms: Vec<RealmName> = realms.iter().map(|realm| RealmName::of_test(realm)).collect();
            let asked = NodeAsked::of(&NodeName::for_test(text), &realms);
            let found: Vec<&str> = asked.realms().iter().map(RealmName::as_str).collect();
            assert_eq!((asked.name().as_str(), &found[..]), (name, within), "{text} where there is {realms:?}");
            assert_eq!(asked.to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn whatever_the_name_it_is_itself_everywhere_or_its_beginning_in_one(text in "[a-c.:=_-]{0,8}(\\.(a|b-b|cc))?") {
            let realms = ["a", "b-b"].map(RealmName::of_test);
            if let Ok(written) = NodeName::parse(&text) {
                let asked = NodeAsked::of(&written, &realms);
                match asked.realms() {
                    [one] => prop_assert_eq!(format!("{}.{one}", asked.name()), text),
                    all => prop_assert!(all == realms && asked.name().as_str() == text),
                }
            }
        }
    }
}
