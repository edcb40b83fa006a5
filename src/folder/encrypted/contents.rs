//! A folder's files as plain ones: the one way in for whoever reads what they say.

use std::fs::File as DiskFile;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use uuid::Uuid;
use zeroize::{Zeroize as _, Zeroizing};

use super::data_key::{DataKey, NotOpened};
use super::keyring::{Keyring, KeyringError};
use super::line::MAX_LOCKED_BYTES;
use super::wrapped::{MAX_KEY_BYTES, WrappedKey, WrappedKeyError};
use crate::layout::File;
use crate::manifest::Manifest;
use crate::verify::{Directory, Files};

/// A folder whose contents can be read. Nothing is verified by this but that lines of an encrypted one are as they were written.
#[derive(Debug)]
pub struct Contents {
    directory: Directory,
    key: Option<Arc<DataKey>>,
}

/// Why the contents of a folder can't be read; each is a sentence.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// The folder, or its key file, can't be read.
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
    /// Its `key.json` is none.
    #[error("key.json can't be used: {0}")]
    Key(#[from] WrappedKeyError),
    /// Its key is not to be had.
    #[error("its contents are encrypted, and the key is not to be had: {0}")]
    Keyring(#[from] KeyringError),
}

/// A file's plain bytes. Of an encrypted file that is being written the last line comes once all of it is there: at the end of the file
/// reading again goes on where it was.
#[derive(Debug)]
pub struct Plain(Kind);

#[derive(Debug)]
enum Kind {
    Plain(DiskFile),
    Locked(Box<Locked>),
}

/// An encrypted one.
#[derive(Debug)]
struct Locked {
    from: DiskFile,
    file: File,
    key: Arc<DataKey>,
    /// What was read and is not opened yet.
    waiting: Vec<u8>,
    /// How many bytes of that have no newline in them.
    looked_at: usize,
    /// Lines that were opened.
    lines: u64,
    /// What is opened and not given out yet: from `given` on.
    plain: Zeroizing<Vec<u8>>,
    given: usize,
}

/// What is read at once.
const BUFFER: usize = 64 << 10;

impl Contents {
    /// The contents of a folder on the disk. A folder that has no `key.json` is a plain one, and nobody is asked for a key.
    ///
    /// # Errors
    /// Why they can't be read.
    pub fn open(path: &Path, keyring: &dyn Keyring) -> Result<Self, ContentsError> {
        let directory = Directory::open(path)?;
        let name = path.components().next_back().and_then(|name| name.as_os_str().to_str());
        let session = name.and_then(|name| Uuid::parse_str(name).ok());
        let key = match wrapped_key(&directory)? {
            None => None,
            Some(bytes) => Some(Arc::new(keyring.unwrap(&WrappedKey::parse(&bytes, session)?)?)),
        };
        Ok(Self { directory, key })
    }

    /// The same of an encrypted one whose key is there already.
    ///
    /// # Errors
    /// The folder can't be opened.
    pub fn by(path: &Path, key: Arc<DataKey>) -> Result<Self, ContentsError> {
        Ok(Self { directory: Directory::open(path)?, key: Some(key) })
    }

    /// Whether it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.key.is_some()
    }

    /// A file of it, to be read as a plain one.
    ///
    /// # Errors
    /// It is not there ([`io::ErrorKind::NotFound`]), no regular file, or can't be opened. What is wrong with a line is told when it is read.
    pub fn file(&self, file: File) -> io::Result<Plain> {
        let from = self.directory.file(file.name(), OFlags::RDONLY)?;
        Ok(Plain(match &self.key {
            Some(key) if file.is_encrypted() => Kind::Locked(Box::new(Locked {
                from,
                file,
                key: key.clone(),
                waiting: Vec::new(),
                looked_at: 0,
                lines: 0,
                plain: Zeroizing::default(),
                given: 0,
            })),
            _ => Kind::Plain(from),
        }))
    }

    /// Puts what a manifest hides where it belongs.
    ///
    /// # Errors
    /// It is not what the session's key has encrypted.
    pub fn reveal(&self, manifest: &mut Manifest) -> Result<(), NotOpened> {
        match &self.key {
            Some(key) => manifest.reveal(key),
            None => Ok(()),
        }
    }
}

/// The bytes of a folder's `key.json`; none of a plain folder.
pub(crate) fn wrapped_key(files: &impl Files) -> io::Result<Option<Vec<u8>>> {
    let read = match files.open(File::Key.name()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let mut bytes = Vec::new();
    read.take(MAX_KEY_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_KEY_BYTES {
        return Err(io::Error::other("key.json is longer than a wrapped key can be"));
    }
    Ok(Some(bytes))
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Plain(file) => file.read(buffer),
            Kind::Locked(locked) => locked.read(buffer),
        }
    }
}

impl Locked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let ready = self.plain.get(self.given..).unwrap_or_default();
            if !ready.is_empty() {
                let length = ready.len().min(buffer.len());
                for (to, from) in buffer.iter_mut().zip(ready) {
                    *to = *from;
                }
                self.given += length;
                return Ok(length);
            }
            if !self.next_line()? {
                return Ok(0);
            }
        }
    }

    /// Opens the next line; whether there was one.
    fn next_line(&mut self) -> io::Result<bool> {
        let end = loop {
            let rest = self.waiting.get(self.looked_at..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', rest) {
                break self.looked_at + at;
            }
            self.looked_at = self.waiting.len();
            if self.looked_at > MAX_LOCKED_BYTES {
                return Err(self.not_opened("is longer than a line can be"));
            }
            let mut more = [0; BUFFER];
            let length = match self.from.read(&mut more) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length?,
            };
            if length == 0 {
                return Ok(false);
            }
            self.waiting.extend_from_slice(more.get(..length).unwrap_or_default());
        };
        let line = self.waiting.get(..end).unwrap_or_default();
        let Ok(plain) = self.key.open(self.file, self.lines + 1, line) else {
            return Err(self.not_opened("is not as it was written: the session's key does not open it"));
        };
        self.plain.zeroize();
        (self.plain, self.given) = (plain, 0);
        self.lines += 1;
        self.waiting.drain(..=end);
        self.looked_at = 0;
        Ok(true)
    }

    fn not_opened(&self, why: &str) -> io::Error {
        io::Error::other(format!("line {} of {} {why}; portcullis verify says more", self.lines + 1, self.file.name()))
    }
}

#[cfg(test)]
#[path = "contents_tests.rs"]
mod tests;
