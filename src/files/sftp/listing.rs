//! Directories as SFTP shows them: batches of names, each with a line as `ls -l` prints it.

use std::sync::Arc;

use time::OffsetDateTime;
use time::macros::format_description;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::files::access::{Answering, Refusal, answer};
use crate::files::paths::is_name;
use crate::files::read_ahead::FRESH;
use crate::transport::file_service::sftp::reply::Name;
use crate::transport::file_service::{Answer, Entry, FileService, Handle, Operation};

/// An open directory. While the client takes some of its names the next are asked for, and the first as soon as it is open,
/// as long as there is room for that: who opens many and reads none must not fill the gateway with names.
#[derive(Debug)]
pub(super) struct Directory {
    coming: Option<Coming>,
    /// As long as the client has been given nothing: when the first names were asked for, and after which change of its own.
    first: Option<(Instant, u64)>,
    ended: bool,
    room: Arc<Semaphore>,
}

/// Names on their way, which take a place among those that nobody has asked for yet.
#[derive(Debug)]
struct Coming {
    names: Answering,
    _ahead: Option<OwnedSemaphorePermit>,
}

/// Places for answers that come before the client asks for them, for all directories of a session.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MOST_AHEAD))
}

impl Directory {
    /// One whose first names are on their way before the client asks for them, where there is room.
    pub(super) async fn opened(files: &FileService, handle: Handle, changes: u64, room: Arc<Semaphore>) -> Self {
        let mut directory = Self { coming: None, first: None, ended: false, room };
        directory.ask_ahead(files, handle).await;
        directory.first = directory.coming.is_some().then(|| (Instant::now(), changes));
        directory
    }

    /// Sees to it that names are on their way, and none that are older than the client's question: where it has changed
    /// something since the directory was opened, or was long in asking, they are asked for again.
    pub(super) async fn prepare(&mut self, files: &FileService, handle: Handle, changes: u64) {
        if let Some((at, known)) = self.first.take()
            && (changes != known || at.elapsed() > FRESH)
        {
            let names = files.issue(Operation::ReadDir { handle, again: true }).await;
            self.coming = Some(Coming { names, _ahead: None });
        }
        self.ask(files, handle).await;
    }

    /// Asks for what the client waits for; the room of its request is enough for it.
    async fn ask(&mut self, files: &FileService, handle: Handle) {
        if self.coming.is_none() && !self.ended {
            let names = files.issue(Operation::ReadDir { handle, again: false }).await;
            self.coming = Some(Coming { names, _ahead: None });
        }
    }

    async fn ask_ahead(&mut self, files: &FileService, handle: Handle) {
        if let Ok(place) = Arc::clone(&self.room).try_acquire_owned() {
            let names = files.issue(Operation::ReadDir { handle, again: false }).await;
            self.coming = Some(Coming { names, _ahead: Some(place) });
        }
    }

    /// Some more names; none at the end.
    pub(super) async fn next(&mut self, files: &FileService, handle: Handle) -> Result<Vec<Name>, Refusal> {
        self.ask(files, handle).await;
        let Some(coming) = self.coming.take() else { return Ok(Vec::new()) };
        let Answer::Entries(entries) = answer(coming.names).await? else { return Err(Refusal::nonsense()) };
        if !entries.iter().all(|entry| is_name(&entry.name)) {
            return Err(Refusal::NodeGone("the node listed a name that can't be one".to_owned()));
        }
        match entries.is_empty() {
            true => self.ended = true,
            false => self.ask_ahead(files, handle).await,
        }
        // only now that the names are here: what was written meanwhile is not of the future, which is shown by its year
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let shown =
            |entry: Entry| Name { long_name: long_name(&entry, now), name: entry.name, attributes: entry.attributes };
        Ok(entries.into_iter().map(shown).collect())
    }
}

/// The line that OpenSSH's server sends, in UTC: `-rw-r--r--    1 ada      staff        1234 Nov 22 03:26 notes`.
pub(super) fn long_name(entry: &Entry, now: i64) -> Vec<u8> {
    let attributes = &entry.attributes;
    let (user, group) = attributes.owner.unwrap_or_default();
    let or_number = |name: &str, number: u32| match name.is_empty() || name.contains(char::is_control) {
        true => number.to_string(),
        false => name.to_owned(),
    };
    let line = format!(
        "{}  {:3} {:8} {:8} {:8} {} ",
        mode_text(attributes.mode.unwrap_or_default()),
        entry.links,
        or_number(&entry.owner_names.0, user),
        or_number(&entry.owner_names.1, group),
        attributes.size.unwrap_or_default(),
        time_text(attributes.times.map_or(0, |(_, modified)| modified.cast_signed()), now),
    );
    let mut line = line.into_bytes();
    line.extend(&entry.name);
    line
}

/// The ten characters of `ls -l`.
fn mode_text(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o100_000 => '-',
        0o060_000 => 'b',
        0o020_000 => 'c',
        0o010_000 => 'p',
        0o140_000 => 's',
        _ => '?',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
        });
    }
    text
}

/// With the time of day for the last half year, with the year for all else, as `ls` does.
fn time_text(seconds: i64, now: i64) -> String {
    let recent = seconds <= now && now.saturating_sub(seconds) < HALF_A_YEAR;
    let format = match recent {
        true => format_description!("[month repr:short] [day padding:space] [hour]:[minute]"),
        false => format_description!("[month repr:short] [day padding:space]  [year]"),
    };
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| "(far away)  ".to_owned())
}

/// Answers that nobody has asked for yet. A client that walks a tree reads one directory at a time.
const MOST_AHEAD: usize = 8;
const HALF_A_YEAR: i64 = 365 * 24 * 60 * 60 / 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::file_service::Attributes;

    #[test]
    fn a_line_looks_as_openssh_makes_it() {
        let attributes = Attributes {
            size: Some(1234),
            owner: Some((1000, 50)),
            mode: Some(0o100_644),
            times: Some((0, 1_763_781_960)),
        };
        let owner_names = ("ada".to_owned(), String::new());
        let entry = Entry { name: b"no\xfftes".to_vec(), attributes, links: 1, owner_names };
        let line = long_name(&entry, 1_763_781_999);
        assert_eq!(line, b"-rw-r--r--    1 ada      50           1234 Nov 22 03:26 no\xfftes");
        let line = long_name(&entry, 1_863_781_999);
        assert_eq!(line, b"-rw-r--r--    1 ada      50           1234 Nov 22  2025 no\xfftes");
    }

    #[test]
    fn modes_are_spelt_as_ls_spells_them() {
        let cases = [
            (0o040_755, "drwxr-xr-x"),
            (0o041_777, "drwxrwxrwt"),
            (0o120_777, "lrwxrwxrwx"),
            (0o104_755, "-rwsr-xr-x"),
            (0o102_644, "-rw-r-Sr--"),
            (0o010_600, "prw-------"),
            (0, "?---------"),
        ];
        for (mode, text) in cases {
            assert_eq!(mode_text(mode), text);
        }
    }
}
