//! A rule: who, where, as whom, what. Lists of its own words, made from the configuration's text by whoever has it.

use std::collections::BTreeSet;

use super::action::{ActionKind, UnknownAction};
use crate::model::{NodeName, NodeNameError};

/// Something that people may do. All of it must match: two rules do not add up.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, for events and messages.
    pub name: String,
    /// Who.
    pub people: Listed<String>,
    /// Where: by the name that the person uses, or by id.
    pub nodes: Listed<NodeName>,
    /// Operating-system users that may be asked for by name.
    pub os_users: Listed<String>,
    /// What.
    pub actions: Listed<ActionKind>,
}

/// The values that a rule is about: those in a list, or any at all (`*` in it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    any: bool,
    values: BTreeSet<T>,
}

/// Why a rule's text is none; each is a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// In its nodes.
    #[error(transparent)]
    Node(#[from] NodeNameError),
    /// In its actions.
    #[error("{unknown}; {}", unknown.help())]
    Action {
        /// What stands there.
        #[from]
        unknown: UnknownAction,
    },
}

/// What stands for every value.
const ANY: &str = "*";

impl Rule {
    /// The list of people or of operating-system users that a text means.
    pub fn names(list: &[String]) -> Listed<String> {
        Listed {
            any: list.iter().any(|item| item == ANY),
            values: list.iter().filter(|item| *item != ANY).cloned().collect(),
        }
    }

    /// The list of nodes that a text means.
    pub fn nodes(list: &[String]) -> Result<Listed<NodeName>, RuleError> {
        Ok(Self::names(list).parsed(NodeName::parse)?)
    }

    /// The list of actions that a text means.
    pub fn actions(list: &[String]) -> Result<Listed<ActionKind>, RuleError> {
        Ok(Self::names(list).parsed(ActionKind::parse)?)
    }
}

impl Listed<String> {
    fn parsed<T: Ord, E>(self, parse: impl Fn(&str) -> Result<T, E>) -> Result<Listed<T>, E> {
        let values = self.values.iter().map(|item| parse(item)).collect::<Result<_, E>>()?;
        Ok(Listed { any: self.any, values })
    }
}

impl<T: Ord> Listed<T> {
    /// Whether it is about a value for which this holds.
    pub(super) fn has(&self, holds: impl Fn(&T) -> bool) -> bool {
        self.any || self.values.iter().any(holds)
    }

    /// Whether it is about every value.
    pub(super) fn is_any(&self) -> bool {
        self.any
    }

    /// The values it names.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }
}
