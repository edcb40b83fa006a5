//! The folders of an evidence directory, a day at a time.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use portcullis_folder::{File, Manifest};
use uuid::Uuid;

use super::sweep::{ASIDE, RetentionError};

/// The most bytes of a manifest.
const LONGEST: u64 = 4 << 20;

fn disk(path: &Path, error: &std::io::Error) -> RetentionError {
    RetentionError::Disk(format!("{} can't be read: {error}", path.display()))
}

/// The days that have folders, in order.
pub(super) fn days(sessions: &Path) -> Result<Vec<String>, RetentionError> {
    let is_day = |name: &str| name.len() == 10 && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    names(sessions, is_day)
}

/// What is on its way out.
pub(super) fn aside(sessions: &Path) -> Result<Vec<String>, RetentionError> {
    names(sessions, |name| name.starts_with(ASIDE))
}

/// The sessions of a day, in order. A link is none.
pub(super) fn of_day(sessions: &Path, day: &str) -> Result<Vec<(String, PathBuf)>, RetentionError> {
    let dir = sessions.join(day);
    let names = names(&dir, |name| Uuid::try_parse(name).is_ok())?;
    Ok(names.into_iter().map(|name| (format!("{day}/{name}"), dir.join(name))).collect())
}

fn names(dir: &Path, is_one: impl Fn(&str) -> bool) -> Result<Vec<String>, RetentionError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(disk(dir, &error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| disk(dir, &error))?;
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if let Some(name) = entry.file_name().to_str().filter(|name| is_dir && is_one(name)) {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A folder's manifest; none where it has none yet, or none that is of this folder.
pub(super) fn manifest(folder: &Path) -> Option<Manifest> {
    let file = std::fs::File::open(folder.join(File::Manifest.name())).ok()?;
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    let manifest: Manifest = serde_json::from_slice(&text).ok()?;
    let name = folder.file_name()?.to_str()?;
    (Uuid::try_parse(name).ok()? == manifest.session).then_some(manifest)
}
