//! The log's file: appended to by one gateway at a time, a whole line per `write(2)`, never larger than its limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::event::{Event, EventCode};

/// An append-only log of events.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    limit: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    length: u64,
}

/// Why evidence could not be kept.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EvidenceError {
    /// The file can't be opened, or is not what it must be.
    #[error("the event log {path} can't be used: {why}")]
    Unusable {
        /// Which file.
        path: String,
        /// Why, in words.
        why: String,
    },
    /// The disk refused, or the limit is reached.
    #[error("evidence can't be written ({0}), so the session ends; tell whoever runs this gateway")]
    Write(String),
}

impl Journal {
    /// The log's name in its directory.
    pub const FILE: &'static str = "events.jsonl";

    /// How large the log may grow unless told otherwise.
    pub const DEFAULT_LIMIT: u64 = 4 << 30;

    /// Opens the log in a directory, or makes it. The file must belong to this user alone, be no link, and not be in use
    /// by another gateway.
    pub fn open(directory: &Path, limit: u64) -> Result<Self, EvidenceError> {
        let path = directory.join(Self::FILE);
        let inner = Inner::open(&path).map_err(|error| unusable(&path, &error))?;
        Ok(Self { path, limit, inner: Mutex::new(inner) })
    }

    /// Goes on in a new file if the one it writes was moved away. If none can be opened, the log goes on where it is:
    /// a moved file is better than none.
    pub fn reopen(&self) -> Result<(), EvidenceError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let reopened = inner.is_at(&self.path).and_then(|is_there| match is_there {
            true => Ok(None),
            false => Inner::open(&self.path).map(Some),
        });
        if let Some(new) = reopened.map_err(|error| unusable(&self.path, &error))? {
            *inner = new;
        }
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one event; when this returns, `write(2)` has.
    ///
    /// The last tenth of the room is kept for sessions: strangers who knock must not be able to stop them.
    pub fn record(&self, event: &Event) -> Result<(), EvidenceError> {
        let mut line = serde_json::to_vec(event).map_err(|error| EvidenceError::Write(error.to_string()))?;
        line.push(b'\n');
        let room = match event.code() {
            EventCode::LoginRefused | EventCode::ChannelRefused => self.limit / 10 * 9,
            _ => self.limit,
        };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.length + line.len() as u64 > room {
            // whoever rotates may have emptied the file under our hands
            inner.length = inner.file.metadata().map_or(inner.length, |is| is.len());
        }
        if inner.length + line.len() as u64 > room {
            return Err(EvidenceError::Write(format!("{} has reached its limit", self.path.display())));
        }
        if let Err(error) = inner.file.write_all(&line) {
            // half a line would spoil the next one
            let whole = inner.length;
            if inner.file.metadata().is_ok_and(|is| is.len() > whole) {
                let _ = inner.file.set_len(whole);
            }
            return Err(EvidenceError::Write(error.to_string()));
        }
        inner.length += line.len() as u64;
        Ok(())
    }

    /// Writes an event that nothing depends on: a failure is logged, and the refusal stands anyway.
    pub fn note(&self, event: &Event) {
        if let Err(error) = self.record(event) {
            tracing::error!(%error, event = ?event.code(), "evidence is missing an event");
        }
    }
}

impl Inner {
    fn open(path: &Path) -> io::Result<Self> {
        // rustix's flag and the standard library's are the same number in two types
        let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let file =
            OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(no_follow).open(path).map_err(
                |e| {
                    let link = path.symlink_metadata().is_ok_and(|is| is.is_symlink());
                    if link { io::Error::other("it is a symbolic link; remove it") } else { e }
                },
            )?;
        let is = file.metadata()?;
        if !is.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if is.uid() != rustix::process::geteuid().as_raw() || is.mode() & 0o077 != 0 {
            return Err(io::Error::other("it must belong to the gateway's user alone; chmod 600 it"));
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::other("another gateway is writing to it; give each its own directory"))?;
        Ok(Self { file, length: is.len() })
    }

    /// Whether the file at this path is the one that is open.
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let open = self.file.metadata()?;
        match path.symlink_metadata() {
            Ok(found) => Ok((found.dev(), found.ino()) == (open.dev(), open.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn unusable(path: &Path, error: &io::Error) -> EvidenceError {
    EvidenceError::Unusable { path: path.display().to_string(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use uuid::Uuid;

    use super::*;

    fn event(code: EventCode) -> Event {
        Event::new(code, Uuid::nil()).text("x", "y")
    }

    #[test]
    fn appends_whole_lines_to_a_private_file() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let journal = Journal::open(dir.path(), 1 << 20).unwrap();
            journal.record(&event(EventCode::SessionOpened)).unwrap();
        }
        let path = dir.path().join(Journal::FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn refuses_links_open_files_and_a_second_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(Journal::FILE);
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(Journal::open(dir.path(), 1 << 20).unwrap_err().to_string().contains("symbolic link"));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Journal::open(dir.path(), 1 << 20).unwrap_err().to_string().contains("chmod 600"));
        std::fs::remove_file(&path).unwrap();
        let first = Journal::open(dir.path(), 1 << 20).unwrap();
        assert!(Journal::open(dir.path(), 1 << 20).unwrap_err().to_string().contains("another gateway"));
        drop(first);
        Journal::open(dir.path(), 1 << 20).unwrap();
    }

    #[test]
    fn a_log_that_was_moved_away_goes_on_in_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join(Journal::FILE), dir.path().join("events.jsonl.1"));
        let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count();
        let journal = Journal::open(dir.path(), 1000).unwrap();
        while journal.record(&event(EventCode::SessionOpened)).is_ok() {}
        journal.reopen().unwrap();
        assert!(journal.record(&event(EventCode::SessionOpened)).is_err(), "nothing was moved, so nothing is new");
        let full = lines(&path);
        std::fs::rename(&path, &old).unwrap();
        // what stands there and can't be used is no reason to stop
        std::fs::create_dir(&path).unwrap();
        assert!(journal.reopen().is_err());
        std::fs::remove_dir(&path).unwrap();
        journal.reopen().unwrap();
        journal.record(&event(EventCode::SessionClosed)).unwrap();
        assert_eq!((lines(&old), lines(&path)), (full, 1));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // the new file is locked as the first was, and one that is emptied in place has room again
        assert!(Journal::open(dir.path(), 1000).is_err());
        while journal.record(&event(EventCode::SessionOpened)).is_ok() {}
        std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        journal.record(&event(EventCode::SessionOpened)).unwrap();
        assert_eq!(lines(&path), 1);
    }

    #[test]
    fn strangers_cannot_use_up_the_room_of_sessions() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), 10_000).unwrap();
        let mut refused = 0;
        while journal.record(&event(EventCode::LoginRefused)).is_ok() {
            refused += 1;
        }
        assert!(refused > 10);
        journal.record(&event(EventCode::SessionOpened)).unwrap();
        while journal.record(&event(EventCode::SessionOpened)).is_ok() {}
        assert!(journal.path().metadata().unwrap().len() <= 10_000);
    }

    #[test]
    fn a_full_disk_is_an_error_and_leaves_no_half_line() {
        // /dev/full is no regular file, so the journal is put together by hand
        let file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let journal =
            Journal { path: "/dev/full".into(), limit: 1 << 20, inner: Mutex::new(Inner { file, length: 0 }) };
        let error = journal.record(&event(EventCode::SessionOpened)).unwrap_err().to_string();
        assert!(error.contains("No space left"), "{error}");
        assert!(error.contains("the session ends"), "{error}");
    }
}
