//! May they, and on what terms.
//!
//! ```text
//!  rules ─▶ Policy ◀── Request: who, where, as whom, what, why
//!             │
//!             ├──▶ Deny(Denial)     a code, the policy that refused, a sentence
//!             └──▶ Allow(Grant)     consumed by what it opens, and asked about whatever is done in it
//! ```

mod action;
mod decision;
mod denial;
mod grant;
mod rule;

pub use action::{Action, ActionKind, FileAction};
pub use decision::{Decision, NamedNodes, Policy, Request};
pub use denial::Denial;
#[cfg(feature = "testing")]
pub use grant::Terms;
pub use grant::{Grant, Scope};
pub use rule::{Rule, RuleError};
