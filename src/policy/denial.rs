//! A refusal of policy's, for a person and for programs.

use crate::model::{NodeName, RefusalCode};

/// Why policy refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// For programs; it stays what it is.
    pub code: RefusalCode,
    /// Which rule refused, or `default`.
    pub policy: String,
    /// What the person reads.
    pub text: String,
}

/// The policy of what no rule allows.
pub(super) const DEFAULT: &str = "default";

impl Denial {
    /// No rule allows it; or one would, but for the operating-system user.
    pub(super) fn of_default(person: &str, action: &str, node: &NodeName, only_for_the_user: Option<&str>) -> Self {
        let (code, user) = match only_for_the_user {
            None => (RefusalCode::NoRule, String::new()),
            Some(user) => (RefusalCode::OsUserNotListed, format!(" as {user}")),
        };
        let text = format!("denied by policy \"{DEFAULT}\": no rule lets {person} do {action} on {node}{user}");
        Self { code, policy: DEFAULT.to_owned(), text }
    }
}
