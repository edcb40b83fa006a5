//! What happens to files, in a session of files.

use super::fields::Fields;
use crate::model::RefusalCode;

/// The paths of a file operation, which are the node's bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paths<'a> {
    /// As the client gave it.
    pub path: &'a [u8],
    /// Links resolved, where that is known.
    pub real_path: Option<&'a [u8]>,
    /// The second path of a rename or link, as the client gave it; the target of a symbolic link.
    pub second_path: Option<&'a [u8]>,
    /// The second path, links resolved, where that is known.
    pub second_real_path: Option<&'a [u8]>,
}

/// `file.asked`
#[derive(Clone, Copy, Debug)]
pub struct FileAsked<'a> {
    /// What.
    pub action: &'a str,
    /// To which file.
    pub paths: Paths<'a>,
}

/// `file.opened`
#[derive(Clone, Copy, Debug)]
pub struct FileOpened<'a> {
    /// For what.
    pub action: &'a str,
    /// Which file.
    pub paths: Paths<'a>,
}

/// `file.closed`
#[derive(Clone, Copy, Debug)]
pub struct FileClosed<'a> {
    /// What was done.
    pub action: &'a str,
    /// Which file.
    pub paths: Paths<'a>,
    /// What came of it.
    pub outcome: FileOutcome<'a>,
    /// How many bytes were transferred.
    pub bytes: u64,
    /// Their digest.
    pub digest: FileDigest,
}

/// `file.operation`
#[derive(Clone, Copy, Debug)]
pub struct FileOperation<'a> {
    /// What.
    pub action: &'static str,
    /// To which file.
    pub paths: Paths<'a>,
    /// What came of it.
    pub outcome: FileOutcome<'a>,
}

/// `file.summed`
#[derive(Clone, Debug)]
pub struct FilesSummed {
    /// How many of what.
    pub sums: Vec<FileSum>,
}

/// Operations that came out alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSum {
    /// What.
    pub action: &'static str,
    /// What came of them.
    pub outcome: &'static str,
    /// Why policy refused, for programs.
    pub code: Option<RefusalCode>,
    /// Linux's number for why the node refused.
    pub errno: Option<i32>,
    /// How many.
    pub count: u64,
}

/// What came of a file operation.
#[derive(Clone, Copy, Debug)]
pub enum FileOutcome<'a> {
    /// It was done.
    Done,
    /// The session ended before it was.
    Unfinished,
    /// Policy refused.
    Denied {
        /// Why, for programs.
        code: RefusalCode,
        /// Which rule.
        policy: &'a str,
        /// The sentence.
        why: &'a str,
    },
    /// The node refused, or was lost.
    Failed {
        /// Linux's number for it, where the node gave one.
        errno: Option<i32>,
        /// In words.
        why: &'a str,
    },
}

/// A file's digest, and of what it is one.
#[derive(Clone, Copy, Debug)]
pub enum FileDigest {
    /// Of the whole file.
    Whole([u8; 32]),
    /// Of the bytes from `offset` on, as many as were transferred.
    Part {
        /// Where the part starts.
        offset: u64,
        /// Its digest.
        sha256: [u8; 32],
    },
    /// None: the bytes did not go over in one run from start to end.
    None,
}

impl Paths<'_> {
    pub(super) fn write(&self, to: &mut Fields) {
        to.path("path", Some(self.path));
        to.path("real_path", self.real_path);
        to.path("second_path", self.second_path);
        to.path("second_real_path", self.second_real_path);
    }
}

impl FileAsked<'_> {
    pub(super) fn write(&self, to: &mut Fields) {
        to.text("action", self.action);
        self.paths.write(to);
        to.text("outcome", "asked");
    }
}

impl FileOpened<'_> {
    pub(super) fn write(&self, to: &mut Fields) {
        to.text("action", self.action);
        self.paths.write(to);
        to.text("outcome", "opened");
    }
}

impl FileClosed<'_> {
    pub(super) fn write(&self, to: &mut Fields) {
        to.text("action", self.action);
        self.paths.write(to);
        self.outcome.write(to);
        to.value("bytes", self.bytes);
        match &self.digest {
            FileDigest::Whole(sha256) => to.digest("sha256", sha256),
            FileDigest::Part { offset, sha256 } => {
                to.digest("sha256_of_part", sha256);
                to.value("part_offset", *offset);
            }
            FileDigest::None => to.value("sha256", serde_json::Value::Null),
        }
    }
}

impl FileOperation<'_> {
    pub(super) fn write(&self, to: &mut Fields) {
        to.text("action", self.action);
        self.paths.write(to);
        self.outcome.write(to);
    }
}

impl FilesSummed {
    pub(super) fn write(&self, to: &mut Fields) {
        let sum = |sum: &FileSum| {
            let mut fields = Fields::new();
            fields.text("action", sum.action);
            fields.text("outcome", sum.outcome);
            fields.maybe("code", sum.code.map(RefusalCode::name));
            if let Some(errno) = sum.errno {
                fields.value("errno", errno);
            }
            fields.value("count", sum.count);
            fields
        };
        to.list("operations", self.sums.iter().map(sum));
    }
}

impl FileOutcome<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unfinished => "unfinished",
            Self::Denied { .. } => "denied",
            Self::Failed { .. } => "failed",
        }
    }

    pub(super) fn write(&self, to: &mut Fields) {
        to.text("outcome", self.name());
        match self {
            Self::Done | Self::Unfinished => {}
            Self::Denied { code, policy, why } => {
                to.text("code", code.name());
                to.text("policy", policy);
                to.text("why", why);
            }
            Self::Failed { errno, why } => {
                to.text("why", why);
                if let Some(errno) = errno {
                    to.value("errno", *errno);
                }
            }
        }
    }
}
