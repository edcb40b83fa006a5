//! The index, made of the folders: all of it, or what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use portcullis_folder::Manifest;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::database::{Statement, Value};
use super::error::IndexError;
use super::index::{Index, Lines};
use super::lines;
use super::reading::{self, Part};

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Folders that were looked at.
    pub seen: u64,
    /// Of these, those that were read into the index.
    pub indexed: u64,
    /// Sessions whose folder is gone, and which were taken out.
    pub removed: u64,
    /// Folders without a manifest: live, or of a gateway that was killed and seals them when it starts again.
    pub unsealed: u64,
}

/// What is told on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It goes on.
    Progress(Progress),
    /// Something can't be read; where and why, in a sentence.
    Unreadable(String),
}

/// The name of the folder that has the days.
const SESSIONS: &str = "sessions";

impl Index {
    /// Reads every folder under an evidence directory into the index, and takes out the sessions of those gateways whose folders are
    /// gone. What can't be read is told, and left out.
    ///
    /// # Errors
    /// The evidence directory can't be read, or the index can't be written.
    pub async fn rebuild(&self, evidence: &Path, tell: &mut (dyn FnMut(Told) + Send)) -> Result<Progress, IndexError> {
        Scan { index: self, evidence, all: true, gateways: BTreeSet::new(), progress: Progress::default() }
            .run(tell)
            .await
    }

    /// The same of what is missing: folders that the index has not, or has as live although they are sealed; and this gateway's sessions
    /// whose folders are gone.
    ///
    /// # Errors
    /// As [`Index::rebuild`].
    pub async fn catch_up(
        &self,
        evidence: &Path,
        gateway: &str,
        tell: &mut (dyn FnMut(Told) + Send),
    ) -> Result<Progress, IndexError> {
        let gateways = [gateway.to_owned()].into();
        Scan { index: self, evidence, all: false, gateways, progress: Progress::default() }.run(tell).await
    }

    /// Reads one folder into the index, in place of what was there of it. False where it has no manifest yet.
    pub(crate) async fn put_folder(
        &self,
        folder: &Path,
        tell: &mut (dyn FnMut(Told) + Send),
    ) -> Result<Option<Manifest>, IndexError> {
        let path = folder.to_owned();
        let read = blocking(move || reading::manifest(&path).map(|manifest| (manifest, reading::head(&path)))).await?;
        let (Some(manifest), head) = read? else { return Ok(None) };
        // live until all of it is there: what breaks off is taken up by the next who catches up
        let n = self.put_session(&manifest, true, None, true).await?;
        self.database.write(lines::remove(n)).await?;
        let (parts, mut coming) = mpsc::channel::<Part>(2);
        let reader = {
            let (path, manifest) = (folder.to_owned(), manifest.clone());
            tokio::task::spawn_blocking(move || {
                let mut unreadable = Vec::new();
                let complete = reading::records(
                    &path,
                    &manifest,
                    |part| parts.blocking_send(part).is_ok(),
                    |why| unreadable.push(why),
                );
                (complete, unreadable)
            })
        };
        while let Some(part) = coming.recv().await {
            self.put_part(n, part).await?;
        }
        let (complete, unreadable) =
            reader.await.map_err(|_| IndexError::Database("the reading of a folder broke off".to_owned()))?;
        for why in unreadable {
            tell(Told::Unreadable(why));
        }
        self.put_session(&manifest, false, head.as_deref(), complete).await?;
        Ok(Some(manifest))
    }

    async fn put_part(&self, n: i64, part: Part) -> Result<(), IndexError> {
        let mut all = Lines::default();
        match &part {
            Part::Commands(records) => {
                all.commands =
                    records.iter().filter_map(|(line, record)| Some((lines::key(n, *line)?, record))).collect();
            }
            Part::Files(records) => {
                let keyed = records.iter().filter_map(|(line, at, record)| Some((lines::key(n, *line)?, *at, record)));
                all.files = keyed.collect();
            }
            Part::Texts(chunks) => {
                all.texts = chunks.iter().filter_map(|(line, chunk)| Some((lines::key(n, *line)?, chunk))).collect();
            }
        }
        self.add(&all).await
    }
}

struct Scan<'a> {
    index: &'a Index,
    evidence: &'a Path,
    all: bool,
    /// Whose sessions are taken out where their folders are gone.
    gateways: BTreeSet<String>,
    progress: Progress,
}

/// What the index has of a session.
struct Known {
    gateway: String,
    live: bool,
}

impl Scan<'_> {
    async fn run(mut self, tell: &mut (dyn FnMut(Told) + Send)) -> Result<Progress, IndexError> {
        let root = self.evidence.join(SESSIONS);
        let days = names(root.clone(), |name| is_day(name).then(|| name.to_owned())).await?;
        let mut gone: BTreeMap<Uuid, String> = BTreeMap::new();
        for day in &days {
            let folder = root.join(day);
            let sessions: BTreeSet<Uuid> = match names(folder.clone(), |name| Uuid::parse_str(name).ok()).await {
                Ok(sessions) => sessions,
                Err(error) => {
                    tell(Told::Unreadable(error.to_string()));
                    continue;
                }
            };
            let mut known = self.known(day).await?;
            for session in sessions {
                let before = known.remove(&session);
                self.folder(&folder.join(session.hyphenated().to_string()), before, tell).await?;
            }
            gone.extend(known.into_iter().map(|(id, known)| (id, known.gateway)));
        }
        for day in self.days_known().await?.difference(&days) {
            let known = self.known(day).await?;
            gone.extend(known.into_iter().map(|(id, known)| (id, known.gateway)));
        }
        // of another gateway's sessions the folders are elsewhere
        for (id, _) in gone.iter().filter(|(_, gateway)| self.gateways.contains(*gateway)) {
            self.index.remove(*id).await?;
            self.progress.removed += 1;
        }
        tell(Told::Progress(self.progress));
        Ok(self.progress)
    }

    async fn folder(
        &mut self,
        folder: &Path,
        before: Option<Known>,
        tell: &mut (dyn FnMut(Told) + Send),
    ) -> Result<(), IndexError> {
        self.progress.seen += 1;
        if !self.all && before.is_some_and(|known| !known.live) {
            return Ok(());
        }
        match self.index.put_folder(folder, tell).await {
            Ok(Some(manifest)) => {
                self.progress.indexed += 1;
                if self.all {
                    self.gateways.insert(manifest.gateway);
                }
            }
            Ok(None) => self.progress.unsealed += 1,
            Err(error @ IndexError::Folder { .. }) => tell(Told::Unreadable(error.to_string())),
            Err(error) => return Err(error),
        }
        if self.progress.seen.is_multiple_of(100) {
            tell(Told::Progress(self.progress));
        }
        Ok(())
    }

    async fn known(&self, day: &str) -> Result<BTreeMap<Uuid, Known>, IndexError> {
        let sql = "SELECT id, gateway, live FROM sessions WHERE day = ?1";
        let rows = self.index.database.rows(Statement::new(sql, vec![Value::text(day)])).await?;
        let known = rows.iter().filter_map(|row| {
            let id = Uuid::parse_str(&row.text(0)).ok()?;
            Some((id, Known { gateway: row.text(1), live: row.integer(2) != 0 }))
        });
        Ok(known.collect())
    }

    async fn days_known(&self) -> Result<BTreeSet<String>, IndexError> {
        let rows = self.index.database.rows(Statement::new("SELECT DISTINCT day FROM sessions", Vec::new())).await?;
        Ok(rows.iter().map(|row| row.text(0)).collect())
    }
}

/// The names in a folder that mean something.
async fn names<T: Ord + Send + 'static>(
    folder: PathBuf,
    of: impl Fn(&str) -> Option<T> + Send + 'static,
) -> Result<BTreeSet<T>, IndexError> {
    let place = folder.display().to_string();
    let read = blocking(move || {
        let entries = fs::read_dir(folder)?;
        entries.map(|entry| Ok(entry?.file_name().to_str().and_then(&of))).collect::<std::io::Result<Vec<_>>>()
    });
    match read.await? {
        Ok(names) => Ok(names.into_iter().flatten().collect()),
        Err(error) => Err(IndexError::Folder { place, why: error.to_string() }),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, IndexError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| IndexError::Database("the reading of a folder broke off".to_owned()))
}

/// `2026-11-30`.
fn is_day(name: &str) -> bool {
    let place =
        |(place, byte): (usize, u8)| if place == 4 || place == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    name.len() == 10 && name.bytes().enumerate().all(place)
}
