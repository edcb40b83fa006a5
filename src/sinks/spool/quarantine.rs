//! Live records that a sink refuses for good.

use std::path::Path;

use super::disk::{create_dir, write_whole};
use super::record::Record;
use crate::error::SinkError;

/// Puts a record aside, with why. `place` says where in the live log it stood, so that the same is put aside once.
pub(crate) fn quarantine_record(dir: &Path, place: &str, record: &Record, why: &str) -> Result<(), SinkError> {
    create_dir(dir)?;
    let bytes = serde_json::to_vec(record).map_err(|_| SinkError::TooLong(0))?;
    write_whole(&dir.join(format!("live-{place}.reason")), format!("{why}\n").as_bytes())?;
    write_whole(&dir.join(format!("live-{place}.json")), &bytes)
}
