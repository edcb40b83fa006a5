//! A file that is uploaded: what it was when it was opened, in parts.

use std::io::{ErrorKind, SeekFrom};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::error::Failure;

/// How much is read at once for a hash.
const BUFFER: usize = 256 << 10;

/// An open file.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    name: String,
    pub(crate) bytes: u64,
    /// In hex.
    pub(crate) sha256: String,
}

impl Source {
    /// Opens it and hashes all of it. No link is followed: the folder is the gateway's own, and has none.
    pub(crate) async fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let failed = |error| unreadable(&path.display(), &error);
        let metadata = tokio::fs::symlink_metadata(path).await.map_err(failed)?;
        if !metadata.is_file() {
            return Err(Failure::Poisoned(format!("{} is no file", path.display())));
        }
        let mut file = File::open(path).await.map_err(failed)?;
        let (mut context, mut buffer, mut bytes) = (Context::new(&SHA256), vec![0; BUFFER], 0_u64);
        loop {
            let read = file.read(&mut buffer).await.map_err(failed)?;
            let Some(some) = buffer.get(..read).filter(|some| !some.is_empty()) else { break };
            context.update(some);
            bytes += some.len() as u64;
        }
        Ok(Self { file, name, bytes, sha256: hex::encode(context.finish()) })
    }

    /// So many bytes from there on, and no fewer.
    pub(crate) async fn part(&mut self, from: u64, len: u64) -> Result<Vec<u8>, Failure> {
        let mut part = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let failed = |error| unreadable(&self.name, &error);
        self.file.seek(SeekFrom::Start(from)).await.map_err(failed)?;
        self.file.read_exact(&mut part).await.map_err(failed)?;
        Ok(part)
    }
}

/// What a file that can't be read is. One that is not there, or has become shorter, is gone for every other try too; anything else, such
/// as a process without a descriptor left or a disk with an error, says nothing of the file.
pub(super) fn unreadable(what: &dyn std::fmt::Display, error: &std::io::Error) -> Failure {
    let why = format!("{what} can't be read: {error}");
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::UnexpectedEof => Failure::Poisoned(why),
        _ => Failure::Sink(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_is_gone_is_past_another_try() {
        // EMFILE, EIO, ENOMEM
        for kept in [24, 5, 12] {
            let error = std::io::Error::from_raw_os_error(kept);
            assert!(matches!(unreadable(&"events.jsonl", &error), Failure::Sink(_)), "{error}");
        }
        let gone = std::io::Error::from_raw_os_error(2);
        assert!(matches!(unreadable(&"events.jsonl", &gone), Failure::Poisoned(_)));
    }

    #[tokio::test]
    async fn a_folder_is_no_file_and_what_has_become_shorter_is_not_what_it_was() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Source::open(dir.path()).await, Err(Failure::Poisoned(_))));
        let path = dir.path().join("events.jsonl");
        assert!(matches!(Source::open(&path).await, Err(Failure::Poisoned(_))));
        std::fs::write(&path, b"0123456789").unwrap();
        let mut source = Source::open(&path).await.unwrap();
        std::fs::write(&path, b"01").unwrap();
        assert!(matches!(source.part(0, 10).await, Err(Failure::Poisoned(_))));
    }
}
