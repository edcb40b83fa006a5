//! Who may say by certificates who somebody is, and what they may say.
//!
//! ```text
//!  certificate ──its authority's key──▶ an authority of the configuration ──principals──▶ a person, groups
//!                                     └▶ a line with cert-authority ───────principals──▶ that line's person
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::certificate::{Certificate, FORCE_COMMAND, SOURCE_ADDRESS};
use super::key_options::KeyOptions;
use super::login::is_person;
use super::revocations::Revocations;

/// An authority of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    /// What policies and evidence call it.
    pub name: String,
    /// What a principal stands for, where it is not the name of a person.
    pub principals: BTreeMap<String, Principal>,
    /// Whether a principal may be a person whom the configuration does not list.
    pub unlisted_people: bool,
    /// Whom a certificate without principals stands for; without this it proves nothing.
    pub without_principals: Option<String>,
    /// The critical options that a certificate must have.
    pub requires: Vec<&'static str>,
    /// The longest time for which a certificate may be made.
    pub longest: Option<Duration>,
    /// Whether what a certificate has opened may go on when its time is over.
    pub outlived: bool,
    /// What of its certificates is revoked.
    pub revoked: Revocations,
}

/// What a principal stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// A person.
    pub person: Option<String>,
    /// Groups, besides those that the person is in anyway.
    pub groups: Vec<String>,
}

/// Whose certificates a key may sign.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    /// Those of everybody, as the authority's terms say.
    Authority(Arc<Authority>),
    /// Those of the people in whose keys it stands with `cert-authority`.
    Lines(Vec<AuthorityLine>),
}

/// A line with `cert-authority`.
#[derive(Clone, Debug)]
pub(super) struct AuthorityLine {
    pub(super) person: String,
    pub(super) options: Arc<KeyOptions>,
}

/// A person that a certificate stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meant {
    pub(super) person: String,
    /// By which principal; none where it has none.
    pub(super) principal: Option<String>,
    /// Groups that it puts them in.
    pub(super) groups: BTreeSet<String>,
    /// Of a line: what that says besides.
    pub(super) line: Option<Arc<KeyOptions>>,
}

impl Trust {
    /// Everybody for whom the certificate's principals stand.
    pub(super) fn meant(&self, certificate: &Certificate, is_listed: impl Fn(&str) -> bool) -> Vec<Meant> {
        match self {
            Self::Authority(authority) => authority.meant(&certificate.principals, is_listed),
            Self::Lines(lines) => lines.iter().filter_map(|line| line.meant(&certificate.principals)).collect(),
        }
    }

    pub(super) fn authority(&self) -> Option<&Arc<Authority>> {
        match self {
            Self::Authority(authority) => Some(authority),
            Self::Lines(_) => None,
        }
    }
}

impl AuthorityLine {
    fn meant(&self, principals: &[String]) -> Option<Meant> {
        let wanted = self.options.authority.as_ref()?;
        let named = |principal: &&String| match wanted.is_empty() {
            true => **principal == self.person,
            false => wanted.contains(principal),
        };
        let principal = principals.iter().find(named)?.clone();
        let (person, line) = (self.person.clone(), Some(self.options.clone()));
        Some(Meant { person, principal: Some(principal), groups: BTreeSet::new(), line })
    }
}

impl Authority {
    fn meant(&self, principals: &[String], is_listed: impl Fn(&str) -> bool) -> Vec<Meant> {
        let of = |person: &str, principal: Option<&String>| Meant {
            person: person.to_owned(),
            principal: principal.cloned(),
            groups: BTreeSet::new(),
            line: None,
        };
        if principals.is_empty() {
            return self.without_principals.iter().map(|person| of(person, None)).collect();
        }
        let mut people: Vec<Meant> = Vec::new();
        let mut groups = BTreeSet::new();
        for principal in principals {
            let person = match self.principals.get(principal) {
                Some(meaning) => {
                    groups.extend(meaning.groups.iter().cloned());
                    meaning.person.as_deref()
                }
                None => {
                    Some(principal.as_str()).filter(|name| is_listed(name) || (self.unlisted_people && is_person(name)))
                }
            };
            if let Some(person) = person.filter(|person| !people.iter().any(|meant| meant.person == *person)) {
                people.push(of(person, Some(principal)));
            }
        }
        for meant in &mut people {
            meant.groups.clone_from(&groups);
        }
        people
    }

    /// The first of the critical options that it asks for and the certificate does not have.
    pub(super) fn misses(&self, certificate: &Certificate) -> Option<&'static str> {
        let critical = &certificate.critical;
        let has = |option: &str| match option {
            FORCE_COMMAND => critical.command.is_some(),
            SOURCE_ADDRESS => critical.sources.is_some(),
            _ => critical.verify_required,
        };
        self.requires.iter().copied().find(|option| !has(option))
    }
}
