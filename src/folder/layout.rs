//! Which files a folder has, and where it is. No name in it comes from outside: a session's folder is named by its number.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use uuid::Uuid;

/// A file of a session's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum File {
    /// Of an encrypted folder: its key, wrapped, [`WrappedKey`](crate::WrappedKey).
    Key,
    /// Every event, in OCSF; the leaves of the checkpoints' tree.
    Events,
    /// What the terminal showed, asciicast v2.
    Terminal,
    /// Each command, [`CommandRecord`](crate::CommandRecord).
    Commands,
    /// Each file operation, [`FileRecord`](crate::FileRecord).
    Files,
    /// The beginning of what the client sent; only where policy says so.
    StdinHead,
    /// The beginning of standard output.
    StdoutHead,
    /// The beginning of standard error.
    StderrHead,
    /// Torn last lines that the next start found in the files above, and where they had stood.
    Torn,
    /// The session on one page, [`Manifest`](crate::Manifest).
    Manifest,
    /// Signed heads.
    Checkpoints,
}

impl File {
    /// All of them, in the order in which checkpoints name them; those that checkpoints cover come first.
    pub const ALL: [Self; 11] = [
        Self::Key,
        Self::Events,
        Self::Terminal,
        Self::Commands,
        Self::Files,
        Self::StdinHead,
        Self::StdoutHead,
        Self::StderrHead,
        Self::Torn,
        Self::Manifest,
        Self::Checkpoints,
    ];

    /// Its name in the folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key.json",
            Self::Events => "events.jsonl",
            Self::Terminal => "terminal.cast",
            Self::Commands => "commands.jsonl",
            Self::Files => "files.jsonl",
            Self::StdinHead => "stdin.head",
            Self::StdoutHead => "stdout.head",
            Self::StderrHead => "stderr.head",
            Self::Torn => "torn.jsonl",
            Self::Manifest => "manifest.json",
            Self::Checkpoints => "checkpoints",
        }
    }

    /// Whether it is made of lines: a checkpoint then covers whole ones only.
    pub fn has_lines(self) -> bool {
        matches!(self, Self::Events | Self::Terminal | Self::Commands | Self::Files | Self::Torn)
    }

    /// Whether its lines are encrypted in a folder that is: of these files each one is made of lines then.
    pub fn is_encrypted(self) -> bool {
        match self {
            Self::Events | Self::Terminal | Self::Commands | Self::Files => true,
            Self::StdinHead | Self::StdoutHead | Self::StderrHead => true,
            // bytes as they stood, encrypted already
            Self::Torn => false,
            Self::Key | Self::Manifest | Self::Checkpoints => false,
        }
    }

    /// The file of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.name() == name)
    }
}

/// The folder that has one folder for each day.
pub const SESSIONS: &str = "sessions";

/// The day that a session's folder stands under: `2026-11-30`, of when it was opened, in UTC.
pub fn day_of(opened: OffsetDateTime) -> String {
    let utc = opened.to_offset(time::UtcOffset::UTC);
    format!("{:04}-{:02}-{:02}", utc.year(), u8::from(utc.month()), utc.day())
}

/// Where the folder of a session is.
pub fn path_of(evidence: &Path, opened: OffsetDateTime, session: Uuid) -> PathBuf {
    evidence.join(SESSIONS).join(day_of(opened)).join(session.hyphenated().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_found_by_the_day_and_the_number_and_a_file_by_its_name() {
        let opened = time::macros::datetime!(2026-11-30 23:30 -01:00);
        let path = path_of(Path::new("/e"), opened, Uuid::nil());
        assert_eq!(path, Path::new("/e/sessions/2026-12-01/00000000-0000-0000-0000-000000000000"));
        for file in File::ALL {
            assert_eq!(File::of_name(file.name()), Some(file));
        }
        assert_eq!(File::of_name("../events.jsonl"), None);
    }
}
