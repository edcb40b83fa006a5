//! Files that are whole or not there: written beside, given to the disk, renamed, and the folder given to the disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use crate::error::SinkError;

/// The most bytes of a small file of the spool.
const LONGEST_FILE: u64 = 1 << 20;

/// Where the spool is, and where the folders are that it points at.
#[derive(Clone, Debug)]
pub struct SpoolPlace {
    /// The spool's own folder; made where it isn't there.
    pub directory: PathBuf,
    /// The evidence directory, which has `sessions`.
    pub evidence: PathBuf,
}

/// The folders of the spool.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    root: PathBuf,
    evidence: PathBuf,
}

impl Spool {
    /// Makes what is not there.
    pub(crate) fn open(place: &SpoolPlace) -> Result<Self, SinkError> {
        let spool = Self { root: place.directory.clone(), evidence: place.evidence.clone() };
        for folder in ["live", "cursors", "pending", "receipts", "quarantine", "work"] {
            create_dir(&spool.root.join(folder))?;
        }
        // renderings of a run that was killed
        let _ = fs::remove_dir_all(spool.work()).and_then(|()| fs::create_dir(spool.work()));
        Ok(spool)
    }

    pub(crate) fn live(&self) -> PathBuf {
        self.root.join("live")
    }

    pub(crate) fn cursor(&self, sink: &str) -> PathBuf {
        self.root.join("cursors").join(format!("{sink}.json"))
    }

    pub(crate) fn pending(&self, sink: &str) -> PathBuf {
        self.root.join("pending").join(sink)
    }

    pub(crate) fn receipts(&self, sink: &str) -> PathBuf {
        self.root.join("receipts").join(sink)
    }

    pub(crate) fn quarantine(&self, sink: &str) -> PathBuf {
        self.root.join("quarantine").join(sink)
    }

    /// The sessions of which this sink did not take every event.
    pub(crate) fn incomplete(&self, sink: &str) -> PathBuf {
        self.root.join("incomplete").join(sink)
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// The folder that `2026-11-30/<session>` names; none where that is anything else, whoever wrote it.
    pub(crate) fn folder(&self, folder: &str) -> Option<PathBuf> {
        let (day, session) = folder.split_once('/')?;
        let is_day = day.len() == 10 && day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let session = uuid::Uuid::try_parse(session).ok()?;
        let sessions = self.evidence.join("sessions");
        is_day.then(|| sessions.join(day).join(session.hyphenated().to_string()))
    }
}

/// Makes a folder and those above it, for the gateway's user alone.
pub(crate) fn create_dir(path: &Path) -> Result<(), SinkError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(disk(path, "made"))
}

/// The same as an error of the spool.
pub(super) fn disk(path: &Path, done: &'static str) -> impl FnOnce(std::io::Error) -> SinkError + use<> {
    let path = path.to_owned();
    move |error| SinkError::Disk { path, done, error }
}

/// Writes a file that is whole or not there, also after a power cut.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), SinkError> {
    write_with(path, bytes, |_| Ok(()))
}

/// The same, and the file belongs to whom its folder belongs to.
pub(crate) fn write_whole_for_owner(path: &Path, bytes: &[u8]) -> Result<(), SinkError> {
    let owner = fs::metadata(path.parent().unwrap_or(Path::new("."))).map_err(disk(path, "written"))?;
    write_with(path, bytes, |file| match file.metadata()?.uid() == owner.uid() {
        true => Ok(()),
        false => fchown(file, Some(owner.uid()), Some(owner.gid())),
    })
}

fn write_with(path: &Path, bytes: &[u8], make: impl FnOnce(&File) -> std::io::Result<()>) -> Result<(), SinkError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_dir(folder)?;
    let beside = path.with_extension("new");
    let write = || {
        // made anew: one that is left may be another's, and a link would lead elsewhere
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        make(&file)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(disk(path, "written"))
}

/// All of a small file; none where it isn't there. One that is larger than any of ours is an error.
pub(super) fn read_small(path: &Path) -> Result<Option<Vec<u8>>, SinkError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(disk(path, "read")(error)),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(disk(path, "read"))?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(disk(path, "read")(std::io::Error::other("longer than 1 MiB")));
    }
    Ok(Some(bytes))
}

/// Removes a file; it is well if it was gone.
pub(super) fn remove(path: &Path) -> Result<(), SinkError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(disk(path, "removed")(error)),
        _ => Ok(()),
    }
}
