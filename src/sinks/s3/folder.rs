//! A sealed folder as objects, the manifest last: its presence says that all of it is there.

use std::path::Path;

use portcullis_folder::{File, Manifest};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::keys;
use super::source::{Source, unreadable};
use super::upload::{Bucket, Object};
use crate::error::Failure;
use crate::spool::ObjectEntry;

/// The most bytes of a manifest.
const LONGEST_MANIFEST: u64 = 4 << 20;

/// A folder's manifest, read and found to be of that folder.
#[derive(Debug)]
pub(crate) struct Manifested {
    pub(crate) manifest: Manifest,
    pub(crate) opened: OffsetDateTime,
}

/// Reads the manifest of a folder.
pub(crate) async fn check_folder(folder: &Path) -> Result<Manifested, Failure> {
    let poisoned = |why: String| Failure::Poisoned(format!("the folder {}: {why}", folder.display()));
    let path = folder.join(File::Manifest.name());
    let failed = |error| unreadable(&path.display(), &error);
    let metadata = tokio::fs::metadata(&path).await.map_err(failed)?;
    if metadata.len() > LONGEST_MANIFEST {
        return Err(poisoned(format!("its manifest has {} bytes", metadata.len())));
    }
    let bytes = tokio::fs::read(&path).await.map_err(failed)?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|error| poisoned(format!("its manifest is not to be read: {error}")))?;
    if folder.file_name().and_then(|name| name.to_str()) != Some(&manifest.session.hyphenated().to_string()) {
        return Err(poisoned(format!("its manifest is of the session {}", manifest.session)));
    }
    let opened = OffsetDateTime::parse(&manifest.opened, &Rfc3339);
    let opened = opened.map_err(|error| poisoned(format!("its manifest has no time: {error}")))?;
    Ok(Manifested { manifest, opened })
}

fn content_type(file: File) -> &'static str {
    match file {
        File::Manifest | File::Key => "application/json",
        File::Events | File::Commands | File::Files | File::Torn => "application/x-ndjson",
        File::Terminal => "application/x-asciicast",
        File::Checkpoints => "text/plain; charset=utf-8",
        File::StdinHead | File::StdoutHead | File::StderrHead => "application/octet-stream",
    }
}

/// Puts every file there that the folder has.
pub(crate) async fn deliver_folder(bucket: &Bucket, prefix: &str, folder: &Path) -> Result<Vec<ObjectEntry>, Failure> {
    let Manifested { manifest, opened } = check_folder(folder).await?;
    let node = &manifest.node;
    let base = keys::of_folder(prefix, opened, &node.realm, &node.id, manifest.session);
    let mut objects = Vec::new();
    let all = File::ALL.into_iter().filter(|file| *file != File::Manifest).chain([File::Manifest]);
    for file in all {
        let path = folder.join(file.name());
        let entry = manifest.files.iter().find(|entry| entry.name == file.name());
        let there = tokio::fs::try_exists(&path).await.unwrap_or(true);
        if !there && entry.is_none_or(|entry| entry.bytes == 0) {
            continue;
        }
        let mut source = Source::open(&path).await?;
        if let Some(entry) = entry.filter(|entry| entry.bytes != source.bytes || entry.sha256 != source.sha256) {
            return Err(Failure::Poisoned(format!(
                "{} is not what its manifest says: {} bytes with SHA-256 {}, where it says {} and {}",
                path.display(),
                source.bytes,
                source.sha256,
                entry.bytes,
                crate::names::one_line(&entry.sha256, 64)
            )));
        }
        let key = format!("{base}{}", file.name());
        let object = Object { key: &key, content_type: content_type(file) };
        objects.push(bucket.put_file(object, &mut source).await?);
    }
    Ok(objects)
}
