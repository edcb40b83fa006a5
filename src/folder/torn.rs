//! Torn ends of files, and where they are kept: each piece in a line of its own, with the place that it was taken from, so that nothing
//! is lost and the file that it was taken from is whole lines again.

use std::collections::HashSet;
use std::fs::{File as DiskFile, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::hash::Hash;
use crate::lines::{Lines, State};
use crate::open;

/// A line of such a file.
#[derive(Debug, Serialize, Deserialize)]
struct Torn<'a> {
    file: &'a str,
    offset: u64,
    bytes: u64,
    base64: String,
}

/// So much is in one line.
const PIECE: u64 = 48 << 10;

/// More than a line with a piece in it takes.
pub(crate) const MAX_TORN_BYTES: usize = 128 << 10;

/// Whether this is such a line.
pub(crate) fn is_torn(line: &[u8]) -> bool {
    serde_json::from_slice::<Torn<'_>>(line).is_ok()
}

/// The lines of such a file that are whole, by hash, and where they end.
pub(crate) fn kept(file: &DiskFile) -> io::Result<(HashSet<Hash>, u64)> {
    let (mut there, mut end) = (HashSet::new(), 0);
    let mut lines = Lines::new(file, MAX_TORN_BYTES);
    while let Some(line) = lines.next()? {
        if line.state != State::Whole || !is_torn(line.bytes) {
            break;
        }
        there.insert(Hash::of(line.bytes));
        end += line.length;
    }
    Ok((there, end))
}

/// Why not all of it is kept.
pub(crate) enum CopyError {
    /// It can't be read.
    From(io::Error),
    /// It can't be written.
    Into(io::Error),
}

/// Keeps what stands in a file of this name from `offset` to `end`; what is kept already stands there once.
pub(crate) fn copy(
    name: &str,
    mut from: &DiskFile,
    mut offset: u64,
    end: u64,
    mut into: &DiskFile,
    there: &HashSet<Hash>,
) -> Result<(), CopyError> {
    from.seek(SeekFrom::Start(offset)).map_err(CopyError::From)?;
    while offset < end {
        let mut piece = Vec::new();
        from.take(PIECE.min(end - offset)).read_to_end(&mut piece).map_err(CopyError::From)?;
        if piece.is_empty() {
            break;
        }
        let bytes = piece.len() as u64;
        let torn = Torn { file: name, offset, bytes, base64: STANDARD.encode(&piece) };
        let mut line = serde_json::to_vec(&torn).map_err(|error| CopyError::From(error.into()))?;
        if !there.contains(&Hash::of(&line)) {
            line.push(b'\n');
            into.write_all(&line).map_err(CopyError::Into)?;
        }
        offset += bytes;
    }
    Ok(())
}

/// Moves the end of a log, which is no whole line, to a file beside it. It is on the disk there before it is cut off, so that this can
/// be killed as well, and done again.
///
/// `path` is the log's, which must not be written to meanwhile; `aside` is made where it is not there, for this user alone.
///
/// # Errors
/// It can't be read or written; then it stands where it stood.
pub fn set_aside(path: &Path, from: u64, aside: &Path) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let log = open::regular(path, OpenOptions::new().read(true).write(true))?;
    let end = log.metadata()?.len();
    let into = open::regular(aside, OpenOptions::new().read(true).append(true).create(true).mode(0o600))?;
    let (there, whole) = kept(&into)?;
    // its own torn end is a copy of what still stands where it was torn
    into.set_len(whole)?;
    copy(name, &log, from, end, &into, &there).map_err(|error| match error {
        CopyError::From(error) | CopyError::Into(error) => error,
    })?;
    into.sync_all()?;
    if let Some(parent) = aside.parent() {
        DiskFile::open(parent)?.sync_all()?;
    }
    log.set_len(from)?;
    log.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_moved_once_however_often_that_is_begun() {
        let dir = tempfile::tempdir().unwrap();
        let (log, aside) = (dir.path().join("events.jsonl"), dir.path().join("events.torn.jsonl"));
        let torn = "x".repeat(100_000);
        std::fs::write(&log, format!("one\n{torn}")).unwrap();
        set_aside(&log, 4, &aside).unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "one\n");
        let kept = std::fs::read(&aside).unwrap();
        let mut back = String::new();
        for line in kept.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let torn: Torn<'_> = serde_json::from_slice(line).unwrap();
            assert_eq!((torn.file, torn.offset), ("events.jsonl", 4 + back.len() as u64));
            back.push_str(std::str::from_utf8(&STANDARD.decode(torn.base64).unwrap()).unwrap());
        }
        assert_eq!(back, torn);
        // killed anywhere before the cut: done again, it stands there once
        for length in (0..kept.len()).step_by(997).chain([kept.len()]) {
            std::fs::write(&log, format!("one\n{torn}")).unwrap();
            std::fs::write(&aside, &kept[..length]).unwrap();
            set_aside(&log, 4, &aside).unwrap();
            assert_eq!(std::fs::read(&aside).unwrap(), kept, "{length}");
        }
        // and what follows stands behind it
        std::fs::write(&log, "two\nthr").unwrap();
        set_aside(&log, 4, &aside).unwrap();
        let more = std::fs::read(&aside).unwrap();
        assert!(more.starts_with(&kept) && more.len() > kept.len());
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "two\n");
    }
}
