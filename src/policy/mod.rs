//! May they, and on what terms.
//!
//! ```text
//!  *.cedar ─▶ compile ─▶ Policy ◀── Request: who, where, as whom, what, why, from where, when
//!   texts      │           │
//!              ▼           ├──▶ Deny(Denial)     a code, the policies that refused, a sentence
//!         PolicyProblem    └──▶ Allow(Grant)     consumed by what it opens, and asked about whatever is done in it
//! ```
//!
//! [`Policies`] has the one that is in force; what goes on is judged by it, whichever it was that allowed it.
//!
//! The words that policies are written in are `config/portcullis.cedarschema`. Nobody else names Cedar.

mod action;
mod advice;
mod asking;
mod by_now;
mod candidates;
mod command_line;
mod compile;
mod decision;
mod denial;
mod explain;
mod facts;
mod format;
mod grant;
mod judged_line;
mod lint;
mod obligations;
mod policies;
mod policy_text;
mod reach;
mod refusal;
mod scope;
mod standing;
mod usable;

pub use action::{Action, FileAction};
pub use advice::Named;
pub use asking::SupposedProof;
pub use command_line::way_out;
pub use compile::PolicyProblem;
pub use decision::{Decision, Policy, Request};
pub use denial::{Denial, PolicyVersion};
pub use explain::{Differences, Explanation, Scenario};
pub use format::formatted;
pub use grant::{Grant, Scope};
pub use judged_line::{JudgedCommand, JudgedLine};
pub use obligations::Terms;
pub use policies::Policies;
pub use policy_text::PolicyText;
pub use standing::Standing;
