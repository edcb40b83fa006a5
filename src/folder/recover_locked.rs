//! The same of a folder that is encrypted: what stands of it is what its key opens, line by line, and what it says is as it should be.

use std::sync::Arc;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::{End, Folder, RecoverError, io_error, stands};
use crate::encrypted::{DataKey, Keyring, MAX_LOCKED_BYTES, WrappedKey, wrapped_key};
use crate::folder_seal::FolderSeal;
use crate::layout::File;
use crate::lines::{Line, Lines, State};
use crate::verify::{Heads, Parsed, parse_event};

/// The key of an encrypted folder.
#[derive(Clone, Debug)]
pub struct FolderKey {
    /// The key.
    pub key: Arc<DataKey>,
    /// As it stands in `key.json`.
    pub wrapped: WrappedKey,
}

impl Folder {
    /// The key of an encrypted folder, whose `key.json` must be as it was signed; none of a plain one.
    pub(super) fn key(&self, heads: &Heads, keyring: &dyn Keyring) -> Result<Option<FolderKey>, RecoverError> {
        if self.signed(File::Key, heads)?.is_none() {
            return Ok(None);
        }
        let failed = |error| io_error(File::Key.name(), error);
        let Some(bytes) = wrapped_key(&self.directory).map_err(failed)? else { return Ok(None) };
        let wrapped = WrappedKey::parse(&bytes, Some(self.session))
            .map_err(|error| RecoverError::Locked(format!("key.json can't be used: {error}")))?;
        let key = keyring.unwrap(&wrapped).map_err(|error| {
            RecoverError::Locked(format!("its contents are encrypted, and the key is not to be had: {error}"))
        })?;
        Ok(Some(FolderKey { key: Arc::new(key), wrapped }))
    }

    /// Up to where a file is whole lines, each of them in its place and as it should be.
    pub(super) fn end_of_locked_lines(
        &self,
        file: File,
        heads: &Heads,
        openings: &[String],
        key: &DataKey,
    ) -> Result<Option<End>, RecoverError> {
        let failed = |error| io_error(file.name(), error);
        let Some((_, signed)) = self.signed(file, heads)? else {
            return Ok(None);
        };
        let Some(open) = self.open(file, OFlags::RDONLY)? else {
            return Ok(None);
        };
        let length = open.metadata().map_err(failed)?.len();
        let mut lines = Lines::new(open, MAX_LOCKED_BYTES);
        let (mut at, mut last) = (0, None);
        while let Some(line) = lines.next().map_err(failed)? {
            let end = at + line.length;
            // what was signed is as it was: of that only the last event is looked into
            if end == signed && file == File::Events {
                last = key
                    .open(file, line.number, line.bytes)
                    .ok()
                    .and_then(|plain| parse_event(plain.strip_suffix(b"\n").unwrap_or(&plain), openings, None).ok());
            } else if end > signed
                && (line.state != State::Whole || !self.locked_stands(file, &line, at, &mut last, openings, key))
            {
                break;
            }
            at = end;
        }
        Ok(Some(End { file, at, length, time: last.map_or(i64::MIN, |event| event.time) }))
    }

    /// Whether a line that nobody signed is what such a file has there.
    fn locked_stands(
        &self,
        file: File,
        line: &Line<'_>,
        at: u64,
        last: &mut Option<Parsed>,
        openings: &[String],
        key: &DataKey,
    ) -> bool {
        let Ok(plain) = key.open(file, line.number, line.bytes) else {
            return false;
        };
        if !file.has_lines() {
            return true;
        }
        // most say one line, and one of a terminal a few
        let Some(text) = plain.strip_suffix(b"\n") else {
            return false;
        };
        let mut says = text.split(|byte| *byte == b'\n').enumerate();
        says.all(|(nth, bytes)| {
            let said = Line { bytes, ..*line };
            let at = if nth == 0 { at } else { at.max(1) };
            stands(file, &said, at, last, openings, self.session)
        })
    }

    pub(super) fn replay_locked(&self, file: File, seal: &mut FolderSeal, key: &DataKey) -> Result<(), RecoverError> {
        let failed = |error| io_error(file.name(), error);
        let Some(open) = self.open(file, OFlags::RDONLY)? else {
            return Ok(());
        };
        let mut lines = Lines::new(open, MAX_LOCKED_BYTES);
        let mut on_disk = Vec::new();
        while let Some(line) = lines.next().map_err(failed)? {
            on_disk.clear();
            on_disk.extend_from_slice(line.bytes);
            on_disk.push(b'\n');
            let plain = match file {
                // only what an event says is asked for again
                File::Events => key.open(file, line.number, line.bytes).unwrap_or_default(),
                _ => Zeroizing::default(),
            };
            seal.wrote_encrypted(file, &plain, &on_disk);
        }
        Ok(())
    }
}
