//! Systems Manager's JSON API: `POST /` with the call's name in `X-Amz-Target`.

mod agent;
mod calls;
mod documents;
mod nodes;
mod request;
mod sessions;
pub(crate) mod sts;

pub(crate) use calls::{call, target};
