//! A mode of the node: the type of a file and its permissions, as Linux has them (inode(7)).

pub(super) fn is_directory(mode: Option<u32>) -> bool {
    mode.is_some_and(|mode| mode & TYPE == DIRECTORY)
}

pub(super) fn is_regular(mode: Option<u32>) -> bool {
    mode.is_some_and(|mode| mode & TYPE == REGULAR)
}

pub(super) fn is_link(mode: Option<u32>) -> bool {
    mode.is_some_and(|mode| mode & TYPE == LINK)
}

/// `S_IFMT`.
const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
/// What `chmod` takes.
pub(super) const PERMISSIONS: u32 = 0o7777;
