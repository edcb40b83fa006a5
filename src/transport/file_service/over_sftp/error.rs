//! What a status of the node's server is called among ours.

use super::super::errno::{EACCES, EEXIST, EINVAL, EIO, ENAMETOOLONG, ENOENT, ENOSYS};
use super::super::operation::FileError;
use super::super::sftp::reply::{BAD_MESSAGE, FAILURE, NO_SUCH_FILE, OP_UNSUPPORTED, PERMISSION_DENIED, Status};
use crate::model::plain_text_up_to;

/// Why a request was not answered with what it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server says so.
    Status(Status),
    /// There will be no answer.
    Gone(String),
}

impl Failure {
    /// Whether it is a failure that the protocol has no number for.
    pub(super) fn is_unnamed(&self) -> bool {
        matches!(self, Self::Status(Status { code: FAILURE, .. }))
    }

    pub(super) fn is(&self, wanted: u32) -> bool {
        matches!(self, Self::Status(Status { code, .. }) if *code == wanted)
    }
}

impl From<Failure> for FileError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Gone(why) => Self::NodeGone(why),
            Failure::Status(Status { code, message }) => {
                let (errno, words) = match code {
                    NO_SUCH_FILE => (ENOENT, "No such file or directory"),
                    PERMISSION_DENIED => (EACCES, "Permission denied"),
                    // its server calls a name that is too long so as well
                    BAD_MESSAGE => (EINVAL, "Invalid argument"),
                    OP_UNSUPPORTED => return unsupported(),
                    _ => (EIO, "Failure"),
                };
                let said = plain_text_up_to(200, &message);
                // for what has a name the words that everybody knows
                let message = if errno != EIO || said.is_empty() { words.to_owned() } else { said };
                Self::Node { errno, message }
            }
        }
    }
}

pub(super) fn node(errno: i32, message: &str) -> FileError {
    FileError::Node { errno, message: message.to_owned() }
}

pub(super) fn no_such_file() -> FileError {
    node(ENOENT, "No such file or directory")
}

pub(super) fn exists() -> FileError {
    node(EEXIST, "File exists")
}

/// What the node's server can't do.
pub(super) fn unsupported() -> FileError {
    node(ENOSYS, "Operation unsupported")
}

/// As the helpers on nodes say it.
pub(super) fn no_such_handle() -> FileError {
    node(EINVAL, "the file operation is malformed, or names a handle that is not open")
}

/// Whether a text can be a path on the node. OpenSSH's server ends at a NUL.
pub(super) fn check_path(path: &[u8]) -> Result<(), FileError> {
    match path {
        [] => Err(no_such_file()),
        path => check_text(path),
    }
}

/// The same of what may be empty.
pub(super) fn check_text(text: &[u8]) -> Result<(), FileError> {
    if text.len() > LONGEST_PATH {
        return Err(node(ENAMETOOLONG, "File name too long"));
    }
    match text.contains(&0) {
        true => Err(node(EINVAL, "a file name can't contain a NUL byte")),
        false => Ok(()),
    }
}

/// Linux's own limit, `PATH_MAX`.
pub(super) const LONGEST_PATH: usize = 4096;
