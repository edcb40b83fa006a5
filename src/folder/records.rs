//! The lines of `commands.jsonl` and `files.jsonl`. Fields may be added; those that are here keep their meaning.

use serde::{Deserialize, Serialize};

/// A command that was run, or asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandRecord {
    /// When it was learnt, RFC 3339 in UTC with milliseconds.
    pub time: String,
    /// Seconds since the session was opened: where in `terminal.cast` it is.
    pub at: f64,
    /// The command line, as it was sent or as the terminal showed it.
    pub command: String,
    /// The line's SHA-256 in hex, where the policy wants no more of it than that; `command` is empty then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_sha256: Option<String>,
    /// How it was learnt.
    pub how: How,
    /// How sure it is that just this was run: from 0 to 1.
    pub confidence: f64,
    /// The commands that a shell would find in the line, by their names; none where they are not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// `allowed`, `refused`; none where nobody was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// The policy that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What carries the session on elsewhere, where a command of the line does: `mosh`, `eternal-terminal`, `tmate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_out: Option<String>,
    /// Its exit status, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
}

/// How a command was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It was sent as one, by exec: nothing to recover.
    Exec,
    /// The shell's own marks (OSC 133) said where it begins and ends, with this session's nonce.
    Marks,
    /// Such marks, without the nonce: whoever has the shell can write them.
    UnprovedMarks,
    /// Read off the screen when Enter was answered.
    Screen,
}

/// One operation on a file, or what came of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// When, RFC 3339 in UTC with milliseconds.
    pub time: String,
    /// What: `Download`, `Upload`, `Remove`, `Rename` …, the names of policy's actions.
    pub action: String,
    /// As the client gave it.
    pub path: String,
    /// As it was opened, links resolved, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real_path: Option<String>,
    /// The second path of a rename or link, or the target of a symbolic one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_path: Option<String>,
    /// `to-node`, `from-node`; none of what moves no bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// How many bytes were transferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The SHA-256 of the whole file, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The SHA-256 of the part that was transferred, from `part_offset` on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256_of_part: Option<String>,
    /// Where that part begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_offset: Option<u64>,
    /// `done`, `unfinished`, `denied`, `failed`.
    pub outcome: String,
    /// The code of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The policy that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Why it was refused or failed, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
