//! May they, and on what terms. Deny is the default and the error path.

mod decision;

pub use decision::{Action, Decision, Denial, Grant, Policy, Request};
