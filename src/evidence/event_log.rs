//! The log's file: appended to by one gateway at a time, a whole line per `write(2)`, never larger than its limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Access, FlockOperation, OFlags, access, flock};

use super::event::{Event, EventCode};

/// An append-only log of events.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    limit: u64,
    file: Mutex<File>,
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

impl EventLog {
    /// The log's name in its directory.
    pub const FILE: &'static str = "events.jsonl";

    /// Opens the log in a directory, or makes it. The file must belong to this user alone, be no link, and not be in use
    /// by another gateway; and nobody else may put another in its place.
    pub fn open(directory: &Path, limit: u64) -> Result<Self, EvidenceError> {
        let path = directory.join(Self::FILE);
        let file = is_private(directory).and_then(|()| open(&path)).map_err(|error| unusable(&path, &error))?;
        Ok(Self { path, limit, file: Mutex::new(file) })
    }

    /// What [`EventLog::open`] would refuse, but for a log that is in use: for a look beside a gateway that runs. Makes
    /// nothing.
    pub fn check(directory: &Path) -> Result<(), EvidenceError> {
        let path = directory.join(Self::FILE);
        match private(&path, OpenOptions::new().append(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| unusable(&path, &error.into()))
            }
            opened => opened.map(drop).map_err(|error| unusable(&path, &error)),
        }
    }

    /// Goes on in a new file if the one it writes was moved away. If none can be opened, the log goes on where it is
    /// and the caller tries again: a moved file is better than none.
    pub fn reopen(&self) -> Result<(), EvidenceError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let reopened = is_at(&file, &self.path).and_then(|is_there| match is_there {
            true => Ok(None),
            false => open(&self.path).map(Some),
        });
        if let Some(new) = reopened.map_err(|error| unusable(&self.path, &error))? {
            *file = new;
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
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // looked at each time: whoever rotates may have emptied or deleted the file under our hands
        let metadata = file.metadata().map_err(|error| EvidenceError::Write(error.to_string()))?;
        if metadata.nlink() == 0 {
            let path = self.path.display();
            return Err(EvidenceError::Write(format!("{path} was deleted; SIGHUP lets the gateway make a new one")));
        }
        if metadata.len() + line.len() as u64 > room {
            return Err(EvidenceError::Write(format!("{} has reached its limit", self.path.display())));
        }
        if let Err(error) = file.write_all(&line) {
            // half a line would spoil the next one
            if file.metadata().is_ok_and(|now| now.len() > metadata.len()) {
                let _ = file.set_len(metadata.len());
            }
            return Err(EvidenceError::Write(error.to_string()));
        }
        Ok(())
    }

    /// Writes an event that nothing depends on: a failure is logged, and the refusal stands anyway.
    pub fn note(&self, event: &Event) {
        if let Err(error) = self.record(event) {
            tracing::error!(%error, event = ?event.code(), "evidence is missing an event");
        }
    }

    /// For tests: what is no regular file can't be opened as a log.
    #[cfg(test)]
    pub(super) fn of_device(path: &str) -> Self {
        let file = OpenOptions::new().append(true).open(path).unwrap();
        Self { path: path.into(), limit: 1 << 20, file: Mutex::new(file) }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = private(path, OpenOptions::new().append(true).create(true).mode(0o600))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::other("another gateway is writing to it; give each its own directory"))?;
    Ok(file)
}

/// Opens a file that must be this user's alone, and no link.
fn private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // a FIFO would keep the gateway waiting for a reader; to a file it makes no difference
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    // rustix's flags and the standard library's are the same number in two types
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = options.custom_flags(flags).open(path).map_err(|error| match path.symlink_metadata() {
        Ok(found) if found.is_symlink() => io::Error::other("it is a symbolic link; remove it"),
        Ok(found) if !found.is_file() => io::Error::other(NOT_REGULAR),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other(NOT_REGULAR));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other("it must belong to the gateway's user alone; chmod 600 it"));
    }
    Ok(file)
}

/// Whether nobody but this user, or root, can rename or remove what is in a directory.
fn is_private(directory: &Path) -> io::Result<()> {
    let found = directory.metadata()?;
    if ![0, rustix::process::geteuid().as_raw()].contains(&found.uid()) || found.mode() & 0o022 != 0 {
        let why = "its directory must be writable by the gateway's user alone; chown and chmod 700 the directory";
        return Err(io::Error::other(why));
    }
    Ok(())
}

/// Whether the file at this path is the one that is open.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match path.symlink_metadata() {
        Ok(found) => Ok((found.dev(), found.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn unusable(path: &Path, error: &io::Error) -> EvidenceError {
    let why = match (error.kind(), path.parent()) {
        // the file itself would be made
        (io::ErrorKind::NotFound, Some(directory)) => {
            let directory = directory.display();
            format!("its directory is not there; make it with: install -d -m 0700 -o portcullis {directory}")
        }
        _ => error.to_string(),
    };
    EvidenceError::Unusable { path: path.display().to_string(), why }
}

const NOT_REGULAR: &str = "it is not a regular file";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rustix::fs::Mode;
    use uuid::Uuid;

    use super::*;

    fn event(code: EventCode) -> Event {
        Event::new(code, Uuid::nil()).text("x", "y")
    }

    #[test]
    fn appends_whole_lines_to_a_private_file() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let journal = EventLog::open(dir.path(), 1 << 20).unwrap();
            journal.record(&event(EventCode::SessionOpened)).unwrap();
        }
        let path = dir.path().join(EventLog::FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_check_refuses_what_open_would_and_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(EventLog::FILE);
        EventLog::check(dir.path()).unwrap();
        assert!(!path.exists());
        let journal = EventLog::open(dir.path(), 1 << 20).unwrap();
        EventLog::check(dir.path()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(EventLog::check(dir.path()).unwrap_err().to_string().contains("chmod 600"));
        drop(journal);
        let missing = dir.path().join("none");
        for refused in [EventLog::check(&missing), EventLog::open(&missing, 1 << 20).map(drop)] {
            assert!(refused.unwrap_err().to_string().contains("install -d -m 0700"));
        }
    }

    #[test]
    fn refuses_links_open_files_and_a_second_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(EventLog::FILE);
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(EventLog::open(dir.path(), 1 << 20).unwrap_err().to_string().contains("symbolic link"));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(EventLog::open(dir.path(), 1 << 20).unwrap_err().to_string().contains("chmod 600"));
        std::fs::remove_file(&path).unwrap();
        let first = EventLog::open(dir.path(), 1 << 20).unwrap();
        assert!(EventLog::open(dir.path(), 1 << 20).unwrap_err().to_string().contains("another gateway"));
        drop(first);
        EventLog::open(dir.path(), 1 << 20).unwrap();
    }

    #[test]
    fn refuses_a_directory_in_which_others_can_put_another_log() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, fine) in [(0o777, false), (0o1777, false), (0o770, false), (0o755, true), (0o700, true)] {
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let opened = EventLog::open(dir.path(), 1 << 20);
            assert_eq!(opened.is_ok(), fine, "{mode:o}");
            assert!(opened.is_ok() || opened.unwrap_err().to_string().contains("chmod 700"), "{mode:o}");
        }
    }

    #[test]
    fn a_log_that_was_moved_away_goes_on_in_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join(EventLog::FILE), dir.path().join("events.jsonl.1"));
        let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count();
        let journal = EventLog::open(dir.path(), 1000).unwrap();
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
        assert!(EventLog::open(dir.path(), 1000).is_err());
        while journal.record(&event(EventCode::SessionOpened)).is_ok() {}
        std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        journal.record(&event(EventCode::SessionOpened)).unwrap();
        assert_eq!(lines(&path), 1);
    }

    #[test]
    fn a_log_without_a_name_takes_no_event_until_there_is_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let journal = EventLog::open(dir.path(), 1 << 20).unwrap();
        journal.record(&event(EventCode::SessionOpened)).unwrap();
        std::fs::remove_file(journal.path()).unwrap();
        let error = journal.record(&event(EventCode::SessionOpened)).unwrap_err().to_string();
        assert!(error.contains("SIGHUP"), "{error}");
        journal.reopen().unwrap();
        journal.record(&event(EventCode::SessionOpened)).unwrap();
        assert_eq!(std::fs::read_to_string(journal.path()).unwrap().lines().count(), 1);
    }

    #[test]
    fn a_fifo_in_its_place_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(EventLog::FILE);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let (says, said) = std::sync::mpsc::channel();
        std::thread::spawn(move || says.send(EventLog::open(dir.path(), 1 << 20).unwrap_err().to_string()));
        let error = said.recv_timeout(std::time::Duration::from_secs(20)).expect("it doesn't wait for a reader");
        assert!(error.contains("not a regular file"), "{error}");
    }

    /// The disk's end is a limit on the size of files, which holds for a process: this test starts itself again.
    #[test]
    fn half_a_line_is_cut_off_even_after_the_file_was_emptied_in_place() {
        const PLACE: &str = "PORTCULLIS_TEST_JOURNAL";
        let Some(place) = std::env::var_os(PLACE) else {
            let dir = tempfile::tempdir().unwrap();
            let name = "evidence::event_log::tests::half_a_line_is_cut_off_even_after_the_file_was_emptied_in_place";
            let mut limited = std::process::Command::new("sh");
            limited.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact \"$1\""]);
            limited.arg(std::env::current_exe().unwrap()).arg(name).env(PLACE, dir.path());
            let ran = limited.output().unwrap();
            let said = String::from_utf8_lossy(&ran.stdout);
            assert!(ran.status.success() && said.contains("1 passed"), "{said}");
            return;
        };
        let journal = EventLog::open(Path::new(&place), 1 << 20).unwrap();
        for _ in 0..2 {
            let mut lines = 0;
            while journal.record(&event(EventCode::SessionOpened)).is_ok() {
                lines += 1;
            }
            let text = std::fs::read_to_string(journal.path()).unwrap();
            assert!(lines > 10 && text.lines().count() == lines && text.ends_with('\n'), "{text}");
            File::options().write(true).open(journal.path()).unwrap().set_len(0).unwrap();
        }
    }

    #[test]
    fn strangers_cannot_use_up_the_room_of_sessions() {
        let dir = tempfile::tempdir().unwrap();
        let journal = EventLog::open(dir.path(), 10_000).unwrap();
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
        let journal = EventLog::of_device("/dev/full");
        let error = journal.record(&event(EventCode::SessionOpened)).unwrap_err().to_string();
        assert!(error.contains("No space left"), "{error}");
        assert!(error.contains("the session ends"), "{error}");
    }
}
