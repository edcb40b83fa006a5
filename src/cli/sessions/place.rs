//! Where the evidence and its index are, and which session is meant.

use std::fs;
use std::path::PathBuf;

use portcullis_folder::{Contents, Keyring, Manifest, SESSIONS, VerifyingKey, public_path};
use portcullis_index::{Index, IndexError, Location, Session, read_manifest};
use uuid::Uuid;

use super::args::PlaceArgs;
use super::shown::shown;
use crate::app::{self, EvidenceKeyring};
use crate::cli::exit::{Exit, Failure};
use crate::cli::failure::config_failure;
use crate::config::{Overrides, Trust};

/// An evidence directory, and what it takes to find and verify what is in it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) evidence: PathBuf,
    pub(super) location: Location,
    keys: Option<PathBuf>,
    keyring: EvidenceKeyring,
}

/// A session that was named.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) id: Uuid,
    pub(super) folder: PathBuf,
    /// What the index has of it, where it has it.
    pub(super) session: Option<Session>,
}

/// How many sessions of one beginning are looked for.
const MANY: usize = 3;

impl Place {
    /// That of the command line, or of the configuration.
    pub(super) fn of(args: &PlaceArgs) -> Result<Self, Failure> {
        let (evidence, url, keys, keyring) = match &args.evidence {
            Some(directory) => (directory.clone(), None, None, EvidenceKeyring::default()),
            None => {
                let loaded = app::read(&args.config, Trust::Anybodys, &Overrides::default()).map_err(|error| {
                    config_failure(
                        &args.config,
                        &error,
                        ", so it is not known where the evidence is; --evidence DIR says it",
                    )
                })?;
                let config = loaded.config;
                let keys = public_path(&config.evidence.key_path());
                let keyring = EvidenceKeyring::of(&config.evidence);
                (config.evidence.directory, config.index.url, Some(keys), keyring)
            }
        };
        let url = args.index.as_deref().or(url.as_deref());
        let location = Location::of(url, &evidence);
        Ok(Self { evidence, location, keys: args.keys.clone().or(keys), keyring })
    }

    /// The index, opened.
    pub(super) async fn index(&self) -> Result<Index, Failure> {
        if !self.evidence.is_dir() && matches!(self.location, Location::File(_)) {
            let text = format!("{} is no directory of evidence", self.evidence.display());
            return Err(Failure::new(Exit::Directory, text));
        }
        Index::open(&self.location).await.map_err(index_failure)
    }

    /// What a session's folder says: of an encrypted one, for whom AWS KMS opens its key.
    pub(super) fn contents(&self, named: &Named) -> Result<Contents, Failure> {
        Contents::open(&named.folder, &self.keyring)
            .map_err(|error| Failure::new(Exit::Failed, shown(&format!("session {} can't be read: {error}", named.id))))
    }

    /// Its manifest, where it has one yet; what is private in it only with its contents.
    pub(super) fn manifest(&self, named: &Named, contents: Option<&Contents>) -> Result<Option<Manifest>, Failure> {
        let mut manifest = read_manifest(&named.folder).map_err(index_failure)?;
        if let (Some(manifest), Some(contents)) = (&mut manifest, contents) {
            let opened = contents.reveal(manifest);
            opened.map_err(|error| Failure::new(Exit::Failed, format!("manifest.json: {error}")))?;
        }
        Ok(manifest)
    }

    /// What opens encrypted folders.
    pub(super) fn keyring(&self) -> &dyn Keyring {
        &self.keyring
    }

    /// The keys that evidence is verified with, or why there are none.
    pub(super) fn keys(&self) -> Result<Vec<VerifyingKey>, String> {
        let none = "nobody said what it was signed with: --keys FILE, or --config FILE, names the public keys";
        let path = self.keys.as_ref().ok_or(none)?;
        VerifyingKey::load_all(path).map_err(|error| error.to_string())
    }

    /// The session whose id begins so: of the index, or where that has it not, or is out of reach, of the folders.
    pub(super) async fn session(&self, prefix: &str) -> Result<Named, Failure> {
        let indexed = match Index::open(&self.location).await {
            Ok(index) => index.session(prefix).await,
            Err(error) => Err(error),
        };
        match indexed {
            Ok(session) => {
                let folder = self.evidence.join(SESSIONS).join(&session.day).join(session.id.hyphenated().to_string());
                Ok(Named { id: session.id, folder, session: Some(session) })
            }
            Err(error @ (IndexError::Ambiguous { .. } | IndexError::NoId(_))) => Err(index_failure(error)),
            Err(error) => match &self.folders(prefix)[..] {
                [(id, folder)] => Ok(Named { id: *id, folder: folder.clone(), session: None }),
                [] => Err(index_failure(error)),
                [(first, _), (second, _), ..] => Err(index_failure(IndexError::Ambiguous {
                    prefix: shown(prefix),
                    count: 2,
                    first: first.to_string(),
                    second: second.to_string(),
                })),
            },
        }
    }

    fn folders(&self, prefix: &str) -> Vec<(Uuid, PathBuf)> {
        let prefix = prefix.trim().to_ascii_lowercase();
        let within = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let sessions = within(self.evidence.join(SESSIONS)).flat_map(within);
        let meant = sessions.filter_map(|folder| {
            let name = folder.file_name()?.to_str()?.to_owned();
            let id = Uuid::parse_str(&name).ok().filter(|_| name.starts_with(&prefix))?;
            Some((id, folder))
        });
        meant.take(MANY).collect()
    }
}

/// Why the index did not answer.
pub(super) fn index_failure(error: IndexError) -> Failure {
    let exit = match error {
        IndexError::TooShort { .. } | IndexError::TooMuch { .. } | IndexError::NoId(_) => Exit::Usage,
        IndexError::Unreachable { .. }
        | IndexError::Damaged { .. }
        | IndexError::Newer { .. }
        | IndexError::Folder { .. } => Exit::Directory,
        _ => Exit::Failed,
    };
    Failure::new(exit, shown(&error.to_string()))
}
