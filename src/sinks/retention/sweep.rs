//! Deletes folders after their time.

use std::collections::BTreeMap;
use std::path::Path;

use portcullis_folder::Manifest;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::holds::Holds;
use super::scan;

/// How the name of a folder begins that is on its way out: `.deleted-2026-11-30-<session>`.
pub(super) const ASIDE: &str = ".deleted-";

/// For how long folders stay on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Days from a session's end, or from when the last of the sinks that are required has acknowledged its folder where that was
    /// later. Without it: for ever.
    pub days: Option<u32>,
    /// Other numbers of days for realms, by their names.
    pub realms: BTreeMap<String, u32>,
}

impl Policy {
    fn days_of(&self, realm: &str) -> Option<u32> {
        self.realms.get(realm).copied().or(self.days)
    }
}

/// A folder that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// `2026-11-30/<session>`.
    pub folder: String,
    /// The session.
    pub session: uuid::Uuid,
    /// Who.
    pub person: String,
    /// Where.
    pub node: String,
    /// The realm.
    pub realm: String,
    /// When the last sink acknowledged it.
    pub delivered: OffsetDateTime,
}

/// Why nothing, or nothing more, was deleted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetentionError {
    /// The disk.
    #[error("retention: {0}")]
    Disk(String),
    /// The holds can't be read: what must stay is not known.
    #[error("nothing is deleted, since the legal holds can't be read: {0}")]
    Holds(String),
    /// The event that says so could not be written.
    #[error("nothing more is deleted, since the event that says so can't be written: {0}")]
    NotTold(String),
}

/// What a sweep asks, and what it says.
pub trait Sweeping {
    /// When the last required sink acknowledged a folder, as [`Sinks::delivered`](crate::Sinks::delivered); none where one has not.
    /// Where no sink is required it says 1970, and a folder's time is counted from its end.
    fn delivered(&mut self, folder: &str) -> Option<OffsetDateTime>;

    /// Writes `session.deleted` into the journal. Only once it has returned does the folder go: a crash between the two leaves a folder
    /// that is deleted by the next sweep, and told again.
    ///
    /// # Errors
    ///
    /// Why it could not be written: then the folder stays.
    fn tell(&mut self, deleted: &Deleted) -> Result<(), String>;

    /// A folder is gone: what is kept of it elsewhere may go. The same may be told again after a crash.
    fn gone(&mut self, session: uuid::Uuid, folder: &str);
}

/// Deletes the folders whose time is over: those that every required sink has acknowledged for as long as the policy says, and that
/// no hold is on. Holds are read again for each folder, and nobody changes them between that and its going.
///
/// A folder without a manifest is live, or waits to be sealed: it stays. So does one that has a mark in `open/`: a sink may not have been
/// told of it. At most `most` go at once.
///
/// # Errors
///
/// Why no more was deleted. What had gone by then was told to [`Sweeping::gone`], folder by folder.
pub fn sweep(
    evidence: &Path,
    policy: &Policy,
    holds: &Path,
    now: OffsetDateTime,
    most: usize,
    with: &mut impl Sweeping,
) -> Result<Vec<Deleted>, RetentionError> {
    let sessions = evidence.join("sessions");
    clear(&sessions, with)?;
    Holds::load(holds)?;
    let mut gone = Vec::new();
    for day in scan::days(&sessions)? {
        for (name, path) in scan::of_day(&sessions, &day)? {
            if gone.len() >= most {
                return Ok(gone);
            }
            let Some((deleted, manifest)) = due(&name, &path, policy, now, with) else { continue };
            let _lock = Holds::lock(evidence)?;
            if Holds::load(holds)?.on(&manifest).is_some() {
                continue;
            }
            with.tell(&deleted).map_err(RetentionError::NotTold)?;
            remove(&sessions, &deleted, &path, with)?;
            gone.push(deleted);
        }
        // a day whose sessions are all gone; it fails where there are some, as it should
        let _ = std::fs::remove_dir(sessions.join(&day));
    }
    Ok(gone)
}

fn due(
    name: &str,
    path: &Path,
    policy: &Policy,
    now: OffsetDateTime,
    with: &mut impl Sweeping,
) -> Option<(Deleted, Manifest)> {
    if is_marked(path, name) {
        return None;
    }
    let manifest = scan::manifest(path)?;
    let days = policy.days_of(&manifest.node.realm)?;
    let delivered = with.delivered(name)?;
    let ended = manifest.closed.as_ref().unwrap_or(&manifest.opened);
    let ended = OffsetDateTime::parse(ended, &time::format_description::well_known::Rfc3339).ok()?;
    // a clock that was wrong in the past must not make it shorter
    let since = delivered.max(ended);
    let over = now - since > Duration::days(i64::from(days));
    over.then(|| {
        let deleted = Deleted {
            folder: name.to_owned(),
            session: manifest.session,
            person: manifest.person.clone(),
            node: manifest.node.id.clone(),
            realm: manifest.node.realm.clone(),
            delivered,
        };
        (deleted, manifest)
    })
}

/// Whether `open/` has a mark of it: it is not sealed, or not handed to all of the sinks.
fn is_marked(path: &Path, name: &str) -> bool {
    let evidence = path.ancestors().nth(3).unwrap_or(path);
    evidence.join("open").join(name.replace('/', "_")).try_exists().unwrap_or(true)
}

/// First aside, so that a folder is whole or gone for whoever looks, then away.
fn remove(sessions: &Path, deleted: &Deleted, path: &Path, with: &mut impl Sweeping) -> Result<(), RetentionError> {
    let disk = |error: std::io::Error| RetentionError::Disk(format!("{} can't be deleted: {error}", path.display()));
    let aside = sessions.join(format!("{ASIDE}{}", deleted.folder.replace('/', "-")));
    let _ = std::fs::remove_dir_all(&aside);
    std::fs::rename(path, &aside).map_err(disk)?;
    with.gone(deleted.session, &deleted.folder);
    std::fs::remove_dir_all(&aside).map_err(disk)
}

/// Removes what a sweep had put aside and did not remove: it was told in the journal, and its time was over.
fn clear(sessions: &Path, with: &mut impl Sweeping) -> Result<(), RetentionError> {
    for name in scan::aside(sessions)? {
        let path = sessions.join(&name);
        let day_and_session = name.strip_prefix(ASIDE).and_then(|name| Some((name.get(..10)?, name.get(11..)?)));
        if let Some((day, session)) = day_and_session
            && let Ok(number) = uuid::Uuid::try_parse(session)
        {
            with.gone(number, &format!("{day}/{session}"));
        }
        if let Err(error) = std::fs::remove_dir_all(&path) {
            tracing::warn!(%error, path = %path.display(), "what is left of a deleted folder can't be removed");
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
