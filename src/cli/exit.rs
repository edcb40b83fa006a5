//! How the program ends: the exit codes, and the failure that carries one with a sentence.

use std::process::ExitCode;

/// The program's exit codes. They are part of its interface: scripts may rely on them, and `portcullis --help` lists
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It worked, or was ended by Ctrl-C or SIGTERM as asked.
    Done = 0,
    /// It did not work, for a reason without a code of its own.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration, or a file that it names, is wrong.
    Config = 3,
    /// An address can't be listened on: taken, or not this machine's.
    Listen = 4,
    /// A directory or file can't be made, locked or written.
    Directory = 5,
    /// Something that this machine must have is missing, such as /bin/sh.
    Missing = 6,
    /// Systems Manager refused, or can't be reached.
    Service = 7,
    /// A comparison found a difference.
    Differs = 8,
}

impl Exit {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Config,
        Self::Listen,
        Self::Directory,
        Self::Missing,
        Self::Service,
        Self::Differs,
    ];

    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What the number means, for `--help`, the man page and the README.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "it worked, or was ended by Ctrl-C or SIGTERM",
            Self::Failed => "it did not work",
            Self::Usage => "the command line is wrong",
            Self::Config => "the configuration, or a file that it names, is wrong",
            Self::Listen => "an address can't be listened on",
            Self::Directory => "a directory or file can't be made, locked or written",
            Self::Missing => "something that this machine must have is missing",
            Self::Service => "Systems Manager refused, or can't be reached",
            Self::Differs => "a comparison found a difference",
        }
    }

    /// The table of them, one line each.
    pub fn table() -> String {
        Self::ALL.iter().map(|exit| format!("  {}  {}\n", exit.code(), exit.meaning())).collect()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why the program ends without having done what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// How it ends.
    pub exit: Exit,
    /// What the person reads: sentences, the first of them the reason.
    pub text: String,
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_their_place_in_the_list_and_documented() {
        let readme = include_str!("../../README.md");
        for (index, exit) in Exit::ALL.iter().enumerate() {
            assert_eq!(usize::from(exit.code()), index);
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(readme.contains(&row), "README.md has no row `{row}`");
        }
    }
}
