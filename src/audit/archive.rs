//! The folders, their index, and the keys that they are verified with.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_folder::{Contents, Keyring, Manifest, SESSIONS, VerifyingKey};
use portcullis_index::{Index, IndexError, Location, Session, read_manifest};
use uuid::Uuid;

use super::error::{Kind, Trouble};
use super::leave::Subject;
use super::shown::shown;

/// An evidence directory, and what it takes to find and verify what is in it.
#[derive(Clone)]
pub struct Archive {
    /// The directory.
    pub evidence: PathBuf,
    /// Where its index is.
    pub location: Location,
    /// The file of public keys.
    pub keys: Option<PathBuf>,
    /// A gateway that runs keeps its index, and whoever looks need not.
    pub is_kept: bool,
    /// What opens encrypted folders. It may have to ask somebody, and keeps its caller waiting meanwhile.
    pub keyring: Arc<dyn Keyring>,
}

/// A session that was named.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its number.
    pub id: Uuid,
    /// Its folder.
    pub folder: PathBuf,
    /// What the index has of it, where it has it.
    pub session: Option<Session>,
}

/// How many sessions of one beginning are looked for.
const MANY: usize = 3;

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("evidence", &self.evidence).field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Archive {
    /// The index, opened.
    ///
    /// # Errors
    /// It is out of reach, damaged, or of a later version.
    pub async fn index(&self) -> Result<Index, Trouble> {
        if !self.evidence.is_dir() && matches!(self.location, Location::File(_)) {
            let text = format!("{} is no directory of evidence", self.evidence.display());
            return Err(Trouble::new(Kind::Directory, text));
        }
        Ok(Index::open(&self.location).await?)
    }

    /// The keys that evidence is verified with, or why there are none.
    ///
    /// # Errors
    /// A sentence.
    pub fn keys(&self) -> Result<Vec<VerifyingKey>, String> {
        let none = "nobody said what it was signed with: --keys FILE, or --config FILE, names the public keys";
        let path = self.keys.as_ref().ok_or(none)?;
        VerifyingKey::load_all(path).map_err(|error| error.to_string())
    }

    /// The session whose id begins so: of the index, or where that has it not, or is out of reach, of the folders.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub async fn session(&self, prefix: &str) -> Result<Named, Trouble> {
        let indexed = match Index::open(&self.location).await {
            Ok(index) => index.session(prefix).await,
            Err(error) => Err(error),
        };
        match indexed {
            Ok(session) => {
                let folder = self.evidence.join(SESSIONS).join(&session.day).join(session.id.hyphenated().to_string());
                Ok(Named { id: session.id, folder, session: Some(session) })
            }
            Err(error @ (IndexError::Ambiguous { .. } | IndexError::NoId(_))) => Err(error.into()),
            Err(error) => {
                let (evidence, beginning) = (self.evidence.clone(), prefix.to_owned());
                match &super::apart(move || folders(&evidence, &beginning)).await?[..] {
                    [(id, folder)] => Ok(Named { id: *id, folder: folder.clone(), session: None }),
                    [] => Err(error.into()),
                    [(first, _), (second, _), ..] => Err(Trouble::from(IndexError::Ambiguous {
                        prefix: shown(prefix),
                        count: 2,
                        first: first.to_string(),
                        second: second.to_string(),
                    })),
                }
            }
        }
    }
}

impl Named {
    /// Whose it is, and where: what its folder says, and where that says nothing yet the index.
    ///
    /// # Errors
    /// Neither does.
    pub fn subject(&self) -> Result<Subject, Trouble> {
        if let Some(manifest) = read_manifest(&self.folder)? {
            return Ok(Subject::from(&manifest));
        }
        self.session.as_ref().map(Subject::from).ok_or_else(|| {
            let text = format!(
                "{} has no manifest yet: its session is live, or its gateway was killed and seals it when it starts again",
                self.folder.display()
            );
            Trouble::new(Kind::Failed, text)
        })
    }
}

/// What a session's folder says: of an encrypted one, for whom its key is opened. Waits for whoever does that.
pub(super) fn contents(named: &Named, keyring: &dyn Keyring) -> Result<Contents, Trouble> {
    Contents::open(&named.folder, keyring)
        .map_err(|error| Trouble::new(Kind::Failed, shown(&format!("session {} can't be read: {error}", named.id))))
}

/// Its manifest, where it has one yet; what is private in it only with its contents.
pub(super) fn manifest(named: &Named, contents: Option<&Contents>) -> Result<Option<Manifest>, Trouble> {
    let mut manifest = read_manifest(&named.folder)?;
    if let (Some(manifest), Some(contents)) = (&mut manifest, contents) {
        let opened = contents.reveal(manifest);
        opened.map_err(|error| Trouble::new(Kind::Failed, format!("manifest.json: {error}")))?;
    }
    Ok(manifest)
}

fn folders(evidence: &Path, prefix: &str) -> Vec<(Uuid, PathBuf)> {
    let prefix = prefix.trim().to_ascii_lowercase();
    let within = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let sessions = within(evidence.join(SESSIONS)).flat_map(within);
    let meant = sessions.filter_map(|folder| {
        let name = folder.file_name()?.to_str()?.to_owned();
        let id = Uuid::parse_str(&name).ok().filter(|_| name.starts_with(&prefix))?;
        Some((id, folder))
    });
    meant.take(MANY).collect()
}
