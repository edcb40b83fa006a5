//! Everything that concerns one person.

use std::path::{Path, PathBuf};

use super::scan;
use super::sweep::RetentionError;

/// The folders of one person's sessions, the oldest first: by the person's name in their manifests. A session that is live, or waits to be
/// sealed, has no manifest, and is not among them. Mentions of somebody in others' sessions are the index's to find.
pub fn export_person(evidence: &Path, person: &str) -> Result<Vec<PathBuf>, RetentionError> {
    let sessions = evidence.join("sessions");
    let mut folders = Vec::new();
    for day in scan::days(&sessions)? {
        let of_day = scan::of_day(&sessions, &day)?.into_iter().map(|(_, path)| path);
        folders.extend(of_day.filter(|path| scan::manifest(path).is_some_and(|manifest| manifest.person == person)));
    }
    Ok(folders)
}
