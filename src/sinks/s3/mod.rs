//! Buckets: sealed folders and anchors as objects.

mod anchors;
mod folder;
mod keys;
mod source;
mod upload;

pub(crate) use anchors::{fetch_anchors, put_anchor};
pub(crate) use folder::{check_folder, deliver_folder};
pub(crate) use source::Source;
pub(crate) use upload::{Bucket, Object};
