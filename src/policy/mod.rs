//! May they, and on what terms. Deny is the default and the error path.

mod action;
mod decision;
mod rule;

pub use action::{Action, ActionKind, UnknownAction};
pub use decision::{Decision, Denial, Grant, NamedNodes, Policy, Request};
pub use rule::{Listed, Rule, RuleError};
