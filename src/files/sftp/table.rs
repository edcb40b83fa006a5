//! What a client has open, by the numbers it knows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::listing::Directory;
use crate::files::open_file::OpenFile;
use crate::files::read_ahead::ReadAhead;

/// Something the client has open, under the number it knows it by.
#[derive(Debug)]
pub(super) struct OpenEntry {
    pub(super) file: OpenFile,
    pub(super) ahead: tokio::sync::Mutex<ReadAhead>,
    /// Where it is a directory.
    pub(super) directory: Option<tokio::sync::Mutex<Directory>>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    open: Mutex<Numbered>,
}

#[derive(Debug, Default)]
struct Numbered {
    last: u32,
    entries: HashMap<u32, Arc<OpenEntry>>,
}

impl Table {
    /// Gives a new entry its number; `None` if too many are open.
    pub(super) fn insert(&self, entry: &Arc<OpenEntry>) -> Option<u32> {
        let mut open = self.lock();
        if open.entries.len() >= MOST_HANDLES as usize {
            return None;
        }
        open.last = open.last.wrapping_add(1);
        let number = open.last;
        open.entries.insert(number, Arc::clone(entry));
        Some(number)
    }

    pub(super) fn entry(&self, handle: &Bytes) -> Option<Arc<OpenEntry>> {
        let number = u32::from_be_bytes(handle[..].try_into().ok()?);
        self.lock().entries.get(&number).cloned()
    }

    pub(super) fn file(&self, handle: &Bytes) -> Option<Arc<OpenEntry>> {
        self.entry(handle).filter(|entry| entry.directory.is_none())
    }

    pub(super) fn remove(&self, handle: &Bytes) {
        if let Ok(number) = handle[..].try_into() {
            self.lock().entries.remove(&u32::from_be_bytes(number));
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<OpenEntry>> {
        self.lock().entries.values().cloned().collect()
    }

    pub(super) fn take_all(&self) -> Vec<Arc<OpenEntry>> {
        self.lock().entries.drain().map(|(_, entry)| entry).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Numbered> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many files a client may have open where its node can, which it learns by `limits@openssh.com`. Each is a descriptor on
/// the node, for the `sh` helper a process, and here its paths and what is counted of it: a few kilobytes, and what is read
/// ahead has one room for all of them.
pub(super) const MOST_HANDLES: u32 = 4096;
