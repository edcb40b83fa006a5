//! Systems Manager's JSON API: `POST /` with the call's name in `X-Amz-Target`.

mod agent;
pub(crate) mod assume_role;
mod calls;
mod documents;
mod node_tags;
mod nodes;
mod request;
pub(crate) mod resources;
mod sessions;
pub(crate) mod sts;
mod tagging;
pub(crate) mod user_keys;
pub(crate) mod web_identity;

pub(crate) use calls::{call, target};
