//! A file that is uploaded: what it was when it was opened, in parts.

use std::io::SeekFrom;
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
        let poisoned = |error: std::io::Error| Failure::Poisoned(format!("{} can't be read: {error}", path.display()));
        let metadata = tokio::fs::symlink_metadata(path).await.map_err(poisoned)?;
        if !metadata.is_file() {
            return Err(Failure::Poisoned(format!("{} is no file", path.display())));
        }
        let mut file = File::open(path).await.map_err(poisoned)?;
        let (mut context, mut buffer, mut bytes) = (Context::new(&SHA256), vec![0; BUFFER], 0_u64);
        loop {
            let read = file.read(&mut buffer).await.map_err(poisoned)?;
            let Some(some) = buffer.get(..read).filter(|some| !some.is_empty()) else { break };
            context.update(some);
            bytes += some.len() as u64;
        }
        Ok(Self { file, name, bytes, sha256: hex::encode(context.finish()) })
    }

    /// So many bytes from there on, and no fewer.
    pub(crate) async fn part(&mut self, from: u64, len: u64) -> Result<Vec<u8>, Failure> {
        let mut part = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let name = &self.name;
        let poisoned = |error: std::io::Error| Failure::Poisoned(format!("{name} can't be read: {error}"));
        self.file.seek(SeekFrom::Start(from)).await.map_err(poisoned)?;
        self.file.read_exact(&mut part).await.map_err(poisoned)?;
        Ok(part)
    }
}
