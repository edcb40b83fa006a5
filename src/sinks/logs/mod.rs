//! CloudWatch Logs: a stream per session, and one of anchors.

mod anchors;
mod batch;
mod put;

pub(crate) use anchors::fetch_anchors;
pub(crate) use batch::pieces;
pub(crate) use batch::{Event, split};
pub(crate) use put::Group;
