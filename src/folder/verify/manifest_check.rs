//! `manifest.json` against the last head: both were signed, and say the same of the files.

use std::io::Read;

use super::checkpoints::Heads;
use super::fault::{Code, Fault, Faults, shown};
use super::locked::Locks;
use super::report::FoundLater;
use crate::layout::File;
use crate::manifest::{FileEntry, Manifest};

/// Reads a manifest and compares it. Its bytes are the ones that were signed: what is odd now was signed so.
pub(crate) fn check(read: impl Read, heads: &Heads, locks: Option<&Locks>, faults: &mut Faults) -> Option<Manifest> {
    let mut add = |code, what: String| faults.add(Fault::new(code, what).file(File::Manifest.name()));
    let mut bytes = Vec::new();
    if let Err(error) = read.take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes) {
        add(Code::Unreadable, error.to_string());
        return None;
    }
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        add(Code::Malformed, "it is longer than a manifest can be".to_owned());
        return None;
    }
    let manifest: Manifest = match serde_json::from_slice(&bytes) {
        Ok(manifest) => manifest,
        Err(error) => {
            add(Code::Malformed, format!("it is no manifest: {error}"));
            return None;
        }
    };
    if heads.session.is_some_and(|session| session != manifest.session) {
        add(Code::Spliced, format!("it is of another session, {}", manifest.session));
    }
    if !heads.signers.iter().any(|(key, _)| key.name() == manifest.gateway) {
        add(Code::Spliced, format!("it is of another gateway, {}", shown(&manifest.gateway)));
    }
    let signed = heads.last.as_ref().map(|(_, last)| last.files.as_slice()).unwrap_or_default();
    let signed = signed.iter().filter(|head| head.file != File::Manifest);
    for head in signed.clone() {
        let listed: Vec<&FileEntry> = manifest.files.iter().filter(|entry| entry.name == head.file.name()).collect();
        let same = |entry: &&FileEntry| entry.bytes == head.bytes && entry.sha256 == head.hash.hex();
        match listed.as_slice() {
            [one] if same(one) => {}
            [] => add(Code::Contradiction, format!("it doesn't list {}, which the last head has", head.file.name())),
            _ => add(Code::Contradiction, format!("it lists another {} than the last head has", head.file.name())),
        }
    }
    for entry in &manifest.files {
        if !signed.clone().any(|head| head.file.name() == entry.name) {
            add(Code::Contradiction, format!("it lists {}, which the last head doesn't have", shown(&entry.name)));
        }
    }
    let wrapped = locks.and_then(Locks::wrapped);
    if manifest.encryption.as_deref() != wrapped && (locks.is_none() || wrapped.is_some()) {
        add(Code::Contradiction, "it names another key than key.json".to_owned());
    }
    if let Some(key) = locks.and_then(Locks::key)
        && manifest.clone().reveal(key).is_err()
    {
        add(Code::Contradiction, "the session's key does not open what is private in it".to_owned());
    }
    let checkpoints = manifest.ended.as_ref().and_then(|ended| ended.checkpoints);
    if checkpoints.is_some_and(|count| count + 1 != heads.count) {
        let what =
            "the number of heads that its gateway had signed before it was killed is not that of those before the last";
        add(Code::Contradiction, what.to_owned());
    }
    Some(manifest)
}

/// What nobody had signed before the last head of a session whose gateway was killed.
pub(crate) fn found_later(manifest: &Manifest, heads: &Heads) -> Vec<FoundLater> {
    let killed = manifest.ended.as_ref().is_some_and(|ended| ended.checkpoints.is_some());
    let Some((_, last)) = heads.last.as_ref().filter(|_| killed) else {
        return Vec::new();
    };
    let before = |file| heads.before_last.iter().find(|head| head.file == file).map_or(0, |head| head.bytes);
    let later = last.files.iter().filter(|head| head.file != File::Manifest && head.bytes > before(head.file));
    later
        .map(|head| FoundLater { file: head.file.name().to_owned(), from: before(head.file), to: head.bytes })
        .collect()
}

/// A manifest is a page; the texts in it are cut.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 4 << 20;
