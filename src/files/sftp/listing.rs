//! Directories as SFTP shows them: batches of names, each with a line as `ls -l` prints it.

use std::collections::VecDeque;

use time::OffsetDateTime;
use time::macros::format_description;
use tokio::time::Instant;

use super::reply::Name;
use crate::files::access::{Answering, Refusal, answer};
use crate::files::paths::LONGEST_NAME;
use crate::files::read_ahead::FRESH;
use crate::transport::file_service::{Answer, Entry, FileService, Handle, Operation};

/// An open directory: what has come of it and is not yet handed on. The next batch is asked for while the client still
/// takes the last one.
#[derive(Debug, Default)]
pub(super) struct Directory {
    names: VecDeque<Entry>,
    coming: Option<Answering>,
    /// As long as the client has been given nothing: when the first names were asked for, and after which change of its own.
    first: Option<(Instant, u64)>,
    ended: bool,
}

impl Directory {
    /// One whose first names are on their way before the client asks for them.
    pub(super) async fn opened(files: &FileService, handle: Handle, changes: u64) -> Self {
        let coming = Some(files.issue(Operation::ReadDir { handle, again: false }).await);
        Self { coming, first: Some((Instant::now(), changes)), ..Self::default() }
    }

    /// Sees to it that names are on their way, and none that are older than the client's question: where it has changed
    /// something since the directory was opened, or was long in asking, they are asked for again.
    pub(super) async fn prepare(&mut self, files: &FileService, handle: Handle, changes: u64) {
        if let Some((at, known)) = self.first.take()
            && (changes != known || at.elapsed() > FRESH)
        {
            self.coming = Some(files.issue(Operation::ReadDir { handle, again: true }).await);
        }
        if self.names.is_empty() {
            self.ask(files, handle).await;
        }
    }

    async fn ask(&mut self, files: &FileService, handle: Handle) {
        if self.coming.is_none() && !self.ended {
            self.coming = Some(files.issue(Operation::ReadDir { handle, again: false }).await);
        }
    }

    /// Some more names; none at the end.
    pub(super) async fn next(&mut self, files: &FileService, handle: Handle, now: i64) -> Result<Vec<Name>, Refusal> {
        while self.names.is_empty() && !self.ended {
            self.ask(files, handle).await;
            let Some(coming) = self.coming.take() else { break };
            match answer(coming).await? {
                Answer::Entries(entries) if entries.is_empty() => self.ended = true,
                Answer::Entries(entries) => {
                    // the node is not trusted: a name that leads elsewhere would be followed by clients
                    if entries.iter().any(|entry| {
                        !(1..=LONGEST_NAME).contains(&entry.name.len()) || entry.name.iter().any(|b| b"/\0".contains(b))
                    }) {
                        return Err(Refusal::NodeGone("the node listed a name that can't be one".to_owned()));
                    }
                    self.names.extend(entries);
                    self.ask(files, handle).await;
                }
                _ => return Err(Refusal::nonsense()),
            }
        }
        let mut size = 0;
        let mut batch = Vec::new();
        while size < BATCH
            && let Some(entry) = self.names.pop_front()
        {
            let name = Name { long_name: long_name(&entry, now), name: entry.name, attributes: entry.attributes };
            size += name.name.len() + name.long_name.len() + 64;
            batch.push(name);
        }
        Ok(batch)
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

/// Bytes of names in one reply, well below what a packet may hold.
const BATCH: usize = 96 * 1024;
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
