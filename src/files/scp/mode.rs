//! Paths and modes of the node, as far as copying asks about them.

/// A path in a directory.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.is_empty() && path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend(name);
    path
}

pub(super) fn is_directory(mode: Option<u32>) -> bool {
    mode.is_some_and(|mode| mode & TYPE == DIRECTORY)
}

pub(super) fn is_regular(mode: Option<u32>) -> bool {
    mode.is_some_and(|mode| mode & TYPE == REGULAR)
}

pub(super) fn is_link(mode: Option<u32>) -> bool {
    mode.is_some_and(|mode| mode & TYPE == LINK)
}

// the file type in a mode: `S_IFMT` and three of its values, which Linux never changes (inode(7))
const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
pub(super) const PERMISSIONS: u32 = 0o7777;
