//! IAM as the embedded service knows it: policies that are read strictly and really evaluated.
//!
//! ```text
//!   identity policies ──┐
//!   session policy ─────┼──▶ evaluate ──▶ allowed, or a Denial in AWS's words
//!   facts of a request ─┘        │ an explicit Deny anywhere ends it; then each kind of policy that there is must allow
//!                                │
//!   trust policy of a role ──▶ assume ──▶ a role session: its policies, tags and source identity
//! ```
//!
//! | file | what it is about |
//! | --- | --- |
//! | `document`, `error` | a policy document, read from JSON |
//! | `pattern` | a text with wildcards and `${variables}` |
//! | `operator`, `condition` | the condition operators, and a condition over the facts of a request |
//! | `facts` | what is known of a request: condition keys and their values |
//! | `principal`, `federated` | who calls, by keys or by a token, and whom a trust policy names |
//! | `evaluate` | may they |
//! | `assume` | may they become that role, with those tags and that source identity |
//! | `trial` | the same from outside, for property tests and fuzzing |
//!
//! Left out, because no document of ours or of Session Manager's samples has them: permission boundaries, policies of an
//! organisation, resource policies other than a role's trust policy, managed session policies.

mod assume;
mod condition;
mod document;
mod error;
mod evaluate;
mod facts;
mod federated;
mod json;
mod operator;
mod pattern;
mod principal;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "testing"))]
mod trial;

pub(crate) use assume::Become;
pub use document::{IdentityPolicy, TrustPolicy};
pub use error::PolicyError;
pub(crate) use evaluate::Question;
pub(crate) use facts::Facts;
pub(crate) use federated::Federated;
pub(crate) use principal::{Kind, Principal, RoleSession, unique_id};
#[cfg(any(test, feature = "testing"))]
pub use trial::Trial;
