//! Sessions of which a sink did not take every event: it gets no receipt for them. An empty file each, so that a restart between the
//! event and the end of its session knows it too; it goes with the session's folder.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::disk::{disk, remove, write_whole};
use crate::error::SinkError;

fn path(dir: &Path, session: Uuid) -> PathBuf {
    dir.join(session.hyphenated().to_string())
}

/// Notes one.
pub(crate) fn note_incomplete(dir: &Path, session: Uuid) -> Result<(), SinkError> {
    if is_incomplete(dir, session)? { Ok(()) } else { write_whole(&path(dir, session), b"") }
}

/// Whether it is one.
pub(crate) fn is_incomplete(dir: &Path, session: Uuid) -> Result<bool, SinkError> {
    let path = path(dir, session);
    path.try_exists().map_err(disk(&path, "read"))
}

/// Forgets it, with its folder.
pub(crate) fn forget_incomplete(dir: &Path, session: Uuid) -> Result<(), SinkError> {
    remove(&path(dir, session))
}
