//! Legal holds: `holds.json` in the evidence directory.

use std::io::Read as _;
use std::path::Path;

use portcullis_folder::Manifest;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sweep::RetentionError;

/// The most bytes of the file.
const LONGEST: u64 = 4 << 20;

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holds {
    /// Each of them.
    pub holds: Vec<Hold>,
}

/// One.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// What must stay.
    pub on: HoldOn,
    /// Who said so.
    pub by: String,
    /// Why.
    pub why: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// While it lives nobody else changes holds, and no folder is deleted.
#[derive(Debug)]
pub struct HoldsLock {
    // the lock goes with the file
    _directory: std::fs::File,
}

/// What a hold is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldOn {
    /// One session.
    Session(Uuid),
    /// All of a person's.
    Person(String),
    /// All on a node, by its id.
    Node(String),
}

impl Holds {
    /// Waits for the lock on the holds of an evidence directory: whoever changes them takes it before they are read.
    ///
    /// # Errors
    ///
    /// A directory that is not there, or not to be opened.
    pub fn lock(evidence: &Path) -> Result<HoldsLock, RetentionError> {
        // the directory itself: a file for it would have an owner, and the first to come may be root
        let directory = std::fs::File::open(evidence).and_then(|directory| directory.lock().map(|()| directory));
        let wrong = |error| RetentionError::Holds(format!("{} can't be locked: {error}", evidence.display()));
        Ok(HoldsLock { _directory: directory.map_err(wrong)? })
    }

    /// Reads them; none where there is no file.
    ///
    /// # Errors
    ///
    /// A file that can't be read or understood: then nothing may be deleted.
    pub fn load(file: &Path) -> Result<Self, RetentionError> {
        let wrong = |why: String| RetentionError::Holds(format!("{}: {why}", file.display()));
        let open = match std::fs::File::open(file) {
            Ok(open) => open,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let mut text = Vec::new();
        open.take(LONGEST + 1).read_to_end(&mut text).map_err(|error| wrong(error.to_string()))?;
        if text.len() as u64 > LONGEST {
            return Err(wrong("longer than 4 MiB".to_owned()));
        }
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))
    }

    /// Keeps them: whole, or as they were. The file belongs to whom its directory belongs to, also where root makes it.
    ///
    /// # Errors
    ///
    /// The disk's; and that the file can't be given to the directory's owner, which is for root or that owner to do.
    pub fn store(&self, file: &Path) -> Result<(), RetentionError> {
        let wrong = |why: String| RetentionError::Holds(format!("{}: {why}", file.display()));
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| wrong(error.to_string()))?;
        text.push(b'\n');
        if text.len() as u64 > LONGEST {
            return Err(wrong("it would be longer than 4 MiB; release what is not needed any more".to_owned()));
        }
        crate::spool::write_whole_for_owner(file, &text).map_err(|error| wrong(error.to_string()))
    }

    /// The first that is on a session.
    pub fn on(&self, manifest: &Manifest) -> Option<&Hold> {
        self.holds.iter().find(|hold| match &hold.on {
            HoldOn::Session(session) => *session == manifest.session,
            HoldOn::Person(person) => *person == manifest.person,
            HoldOn::Node(node) => *node == manifest.node.id,
        })
    }
}
