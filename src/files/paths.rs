//! The paths of operations: which are judged, which file each of them means, and how it is resolved.

use super::ledger::{FileEvent, Outcome, action_of};
use crate::policy::FileAction;
use crate::transport::file_service::Operation;

/// The longest name that any file system has, and more: a node that lists longer ones is not believed.
const LONGEST_NAME: usize = 4096;

/// Whether a directory can have such an entry. The node is not trusted: a name that leads elsewhere would be followed.
pub(super) fn is_name(name: &[u8]) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && !name.iter().any(|byte| b"/\0".contains(byte))
}

/// Which file a path means to its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// What the path leads to, links followed to the end.
    Followed,
    /// The name itself, be it a link or nothing yet.
    Itself,
}

/// The paths of an operation that are to be judged.
pub(super) fn places(operation: &mut Operation) -> Vec<(&mut Vec<u8>, Place)> {
    match operation {
        Operation::Open { path, .. }
        | Operation::Stat { path }
        | Operation::SetStat { path, .. }
        | Operation::OpenDir { path }
        | Operation::FileSystem { path } => vec![(path, Place::Followed)],
        Operation::Lstat { path }
        | Operation::LsetStat { path, .. }
        | Operation::Remove { path }
        | Operation::MakeDir { path, .. }
        | Operation::RemoveDir { path }
        | Operation::ReadLink { path }
        | Operation::Symlink { path, .. } => vec![(path, Place::Itself)],
        Operation::Rename { from, to, .. } | Operation::Link { from, to } => {
            vec![(from, Place::Itself), (to, Place::Itself)]
        }
        // these resolve; there is nothing to resolve before
        Operation::RealPath { .. }
        | Operation::ExpandPath { .. }
        | Operation::HomeDirectory { .. }
        | Operation::NamesOf { .. } => Vec::new(),
        Operation::Read { .. }
        | Operation::Write { .. }
        | Operation::Close { .. }
        | Operation::Fstat { .. }
        | Operation::FsetStat { .. }
        | Operation::ReadDir { .. }
        | Operation::Fsync { .. }
        | Operation::Copy { .. }
        | Operation::FileSystemOf { .. }
        | Operation::MostOpen { .. } => Vec::new(),
    }
}

/// What is asked about each of the [`places`], all of which must be allowed. A rename or a link takes content from one
/// path to another, and a new size changes it: whoever may not upload or download there may not do it in that way either.
pub(super) fn asks(action: FileAction, operation: &Operation) -> Vec<Vec<FileAction>> {
    match operation {
        Operation::Rename { .. } => {
            vec![vec![action, FileAction::Remove, FileAction::Download], vec![action, FileAction::Upload]]
        }
        Operation::Link { .. } => vec![vec![action, FileAction::Download], vec![action, FileAction::Upload]],
        Operation::SetStat { attributes, .. } if attributes.size.is_some() => {
            vec![vec![action, FileAction::Upload]]
        }
        _ => vec![vec![action]],
    }
}

/// Whether it may leave the node other than it was. What is done to an open file follows from its open.
pub(super) fn changes(operation: &Operation) -> bool {
    match operation {
        Operation::Open { flags, .. } => flags.write || flags.create || flags.truncate,
        other => changes_names(action_of(other)),
    }
}

/// Whether something of this kind may leave the node other than it was.
pub(super) fn may_change(action: FileAction) -> bool {
    changes_names(action) || matches!(action, FileAction::Upload | FileAction::Sync)
}

/// Whether the event shall have the real path even where the rules don't need it.
pub(super) fn changes_names(action: FileAction) -> bool {
    matches!(
        action,
        FileAction::Change
            | FileAction::Remove
            | FileAction::MakeDirectory
            | FileAction::RemoveDirectory
            | FileAction::Rename
            | FileAction::Copy
            | FileAction::Link
            | FileAction::Symlink
    )
}

/// The directory to resolve and the name in it; no name where the path ends in a directory's own name for itself.
pub(super) fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    let trimmed = match path.iter().rposition(|&byte| byte != b'/') {
        Some(last) => &path[..=last],
        None => return (path, None),
    };
    let (directory, name) = match trimmed.iter().rposition(|&byte| byte == b'/') {
        Some(0) => (&b"/"[..], &trimmed[1..]),
        Some(slash) => (&trimmed[..slash], &trimmed[slash + 1..]),
        None => (&b"."[..], trimmed),
    };
    match name {
        b"." | b".." => (path, None),
        _ => (directory, Some(name)),
    }
}

/// The beginning of an event about an operation: what, and on which paths of the client's.
pub(super) fn event_of(operation: &Operation) -> FileEvent {
    let (path, second) = match operation {
        Operation::Open { path, .. }
        | Operation::Stat { path }
        | Operation::Lstat { path }
        | Operation::SetStat { path, .. }
        | Operation::LsetStat { path, .. }
        | Operation::OpenDir { path }
        | Operation::Remove { path }
        | Operation::MakeDir { path, .. }
        | Operation::RemoveDir { path }
        | Operation::RealPath { path }
        | Operation::ExpandPath { path }
        | Operation::ReadLink { path }
        | Operation::FileSystem { path } => (path.clone(), None),
        Operation::Rename { from, to, .. } | Operation::Link { from, to } => (from.clone(), Some(to.clone())),
        Operation::HomeDirectory { user } => ([b"~", &user[..]].concat(), None),
        Operation::Symlink { target, path } => (path.clone(), Some(target.clone())),
        Operation::Read { .. }
        | Operation::Write { .. }
        | Operation::Close { .. }
        | Operation::Fstat { .. }
        | Operation::FsetStat { .. }
        | Operation::ReadDir { .. }
        | Operation::Fsync { .. }
        | Operation::Copy { .. }
        | Operation::NamesOf { .. }
        | Operation::FileSystemOf { .. }
        | Operation::MostOpen { .. } => (Vec::new(), None),
    };
    FileEvent {
        action: action_of(operation),
        path,
        real_path: None,
        second,
        second_real: None,
        outcome: Outcome::Done,
        content: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart_from_the_directory_that_is_resolved() {
        let cases: [(&str, &str, Option<&str>); 9] = [
            ("file", ".", Some("file")),
            ("dir/file", "dir", Some("file")),
            ("/file", "/", Some("file")),
            ("//dir//file//", "//dir/", Some("file")),
            ("dir/", ".", Some("dir")),
            ("..", "..", None),
            ("dir/..", "dir/..", None),
            ("dir/./", "dir/./", None),
            ("/", "/", None),
        ];
        for (path, directory, name) in cases {
            let found = split(path.as_bytes());
            assert_eq!(found, (directory.as_bytes(), name.map(str::as_bytes)), "{path}");
        }
    }
}
