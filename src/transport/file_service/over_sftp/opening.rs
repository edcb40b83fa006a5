//! Opening, so that it is known what was opened; and real paths.
//!
//! ```text
//!   REALPATH path ┐                OPEN real ┐            FSTAT handle ┐
//!   STAT path     ┴─▶ no pipe? ─▶ LSTAT real ┴─▶ handle ─▶ LSTAT real   ┼─▶ the same, and over no link? ─▶ Opened
//!                                                         REALPATH real ┘
//! ```

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::RwLock;

use super::super::errno::{EMFILE, ENOSYS, ENOTDIR, EOPNOTSUPP, ESTALE};
use super::super::operation::{Answer, Attributes, FileError, Handle, OpenFlags, Opened};
use super::super::sftp::packet::Request;
use super::super::sftp::reply::{NO_SUCH_FILE, Reply};
use super::carry_out::Issuer;
use super::connection::{Asked, Connection, Expect};
use super::error::{Failure, check_path, exists, no_such_handle, node};

/// Something open on the node.
#[derive(Clone, Debug)]
pub(super) struct Open {
    /// The server's own name for it.
    pub(super) handle: Bytes,
    /// The path that was opened, links resolved.
    real_path: Vec<u8>,
    pub(super) is_directory: bool,
    /// Whether a read that comes short met the end of the file. Those of `/proc` have no size, and come in pieces.
    pub(super) is_sized: bool,
    /// What it was opened for.
    pub(super) flags: OpenFlags,
    /// Held by reads that may go on asking.
    pub(super) reading: Arc<RwLock<()>>,
}

impl Open {
    /// Waits for reads that may go on asking: what would change what they read comes after them.
    pub(super) async fn reads_done(&self) {
        drop(self.reading.write().await);
    }
}

impl Issuer {
    pub(super) async fn open(
        &mut self,
        path: Vec<u8>,
        flags: OpenFlags,
        mode: Option<u32>,
    ) -> Result<Answer, FileError> {
        check_path(&path)?;
        self.check_table()?;
        let found = self.look(&path).await?;
        if flags.create && flags.exclusive && found.itself.is_ok() {
            return Err(exists());
        }
        match found.followed {
            Ok(attributes) => may_be_opened(&attributes)?,
            Err(failure) if failure.is(NO_SUCH_FILE) && flags.create => {}
            Err(failure) => return Err(failure.into()),
        }
        let real = found.real?;
        if !self.offers.resolves && leads_over_link(&self.connection, false, &real).await? {
            return Err(not_resolved());
        }
        // only a directory may be called so
        let slash = if names_directory(&path) && !real.ends_with(b"/") { &b"/"[..] } else { b"" };
        let attributes = Attributes { mode: mode.map(|mode| mode & PERMISSIONS), ..Attributes::default() };
        let request = Request::Open { path: [&real, slash].concat(), flags, attributes };
        let opening = self.connection.ask(request, Expect::Handle).await?;
        let before = self.ask_lstat(&real).await?;
        let handle = match opening.reply().await {
            Ok(Reply::Handle(handle)) => handle,
            Ok(_) => return Err(no_such_handle()),
            Err(failure) => {
                let is_there = flags.exclusive && failure.is_unnamed() && before.reply().await.is_ok();
                return Err(if is_there { exists() } else { failure.into() });
            }
        };
        match self.compare(&handle, &real, before).await {
            Ok(attributes) => {
                let is_sized = is_of(&attributes, REGULAR) && attributes.size.is_some_and(|size| size > 0);
                Ok(self.keep(Open {
                    handle,
                    real_path: real,
                    is_directory: false,
                    is_sized,
                    flags,
                    reading: Arc::default(),
                }))
            }
            Err(error) => {
                // whatever it is, nobody gets it; what the server says of that changes nothing
                drop(self.connection.ask(Request::Close { handle }, Expect::Done).await);
                Err(error)
            }
        }
    }

    pub(super) async fn open_dir(&mut self, path: Vec<u8>) -> Result<Answer, FileError> {
        check_path(&path)?;
        self.check_table()?;
        let found = self.look(&path).await?;
        if !is_of(&found.followed?, DIRECTORY) {
            return Err(node(ENOTDIR, "Not a directory"));
        }
        let real = found.real?;
        let handle = self.open_real_dir(&real).await?;
        let flags = OpenFlags::default();
        let open =
            Open { handle, real_path: real, is_directory: true, is_sized: false, flags, reading: Arc::default() };
        Ok(self.keep(open))
    }

    /// Opens a directory again, so that its names are told from the first on.
    pub(super) async fn open_again(&mut self, handle: Handle) -> Result<Bytes, FileError> {
        let old = self.file(handle)?;
        let opened = self.open_real_dir(&old.real_path).await?;
        drop(self.connection.ask(Request::Close { handle: old.handle }, Expect::Done).await);
        if let Some(open) = self.open.get_mut(&handle.0) {
            open.handle = opened.clone();
        }
        Ok(opened)
    }

    /// There is no asking a handle of a directory what it is: the path is looked at once more when it is open.
    async fn open_real_dir(&self, real: &[u8]) -> Result<Bytes, FileError> {
        let opening = self.connection.ask(Request::OpenDir { path: real.to_vec() }, Expect::Handle).await?;
        let after = self.ask_lstat(real).await?;
        let moved = leads_over_link(&self.connection, self.offers.resolves, real).await;
        let Reply::Handle(handle) = opening.reply().await? else { return Err(no_such_handle()) };
        let is_directory = matches!(after.reply().await, Ok(Reply::Attributes(found)) if is_of(&found, DIRECTORY));
        if is_directory && matches!(moved, Ok(false)) {
            return Ok(handle);
        }
        drop(self.connection.ask(Request::Close { handle }, Expect::Done).await);
        Err(elsewhere())
    }

    /// What the handle is, if that is what the path leads to. What others write meanwhile may lie between two looks.
    async fn compare(&self, handle: &Bytes, real: &[u8], before: Asked) -> Result<Attributes, FileError> {
        let mut before = attributes(before).await;
        for _ in 0..LOOKS {
            let of_handle = self.connection.ask(Request::Fstat { handle: handle.clone() }, Expect::Attributes).await?;
            let after = self.ask_lstat(real).await?;
            if leads_over_link(&self.connection, self.offers.resolves, real).await? {
                break;
            }
            let (of_handle, after) = (attributes(of_handle).await, attributes(after).await);
            if let (Ok(before), Ok(of_handle), Ok(after)) = (&before, &of_handle, &after)
                && is_between(before, of_handle, after)
            {
                return Ok(*of_handle);
            }
            before = after;
        }
        Err(elsewhere())
    }

    async fn look(&self, path: &[u8]) -> Result<Found, Failure> {
        let real = self.connection.ask(Request::RealPath { path: path.to_vec() }, Expect::Path).await?;
        let followed = self.connection.ask(Request::Stat { path: path.to_vec() }, Expect::Attributes).await?;
        let itself = self.ask_lstat(path).await?;
        let real = real.reply().await.map(one_path);
        Ok(Found { real, followed: attributes(followed).await, itself: attributes(itself).await })
    }

    async fn ask_lstat(&self, path: &[u8]) -> Result<Asked, Failure> {
        self.connection.ask(Request::Lstat { path: path.to_vec() }, Expect::Attributes).await
    }

    fn check_table(&self) -> Result<(), FileError> {
        match self.open.len() < MOST_OPEN {
            true => Ok(()),
            false => Err(node(EMFILE, "Too many open files")),
        }
    }

    fn keep(&mut self, open: Open) -> Answer {
        // a number is not given again, so that one that was closed never means another file
        self.last = self.last.wrapping_add(1);
        let real_path = open.real_path.clone();
        self.open.insert(self.last, open);
        Answer::Opened(Opened { handle: Handle(self.last), real_path })
    }
}

/// What is at a path before it is opened.
struct Found {
    real: Result<Vec<u8>, Failure>,
    followed: Result<Attributes, Failure>,
    itself: Result<Attributes, Failure>,
}

async fn attributes(asked: Asked) -> Result<Attributes, Failure> {
    match asked.reply().await? {
        Reply::Attributes(attributes) => Ok(attributes),
        // the connection lets nothing else pass
        _ => Ok(Attributes::default()),
    }
}

/// The path of an answer that has one.
pub(super) fn one_path(reply: Reply) -> Vec<u8> {
    match reply {
        Reply::Names(mut names) => names.pop().map(|name| name.name).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Whether a real path leads over a link all the same: because somebody has put one there, or the server only tidies paths
/// up. One that resolves is asked once more; of any other each step is looked at, and all but the last must be there.
pub(super) async fn leads_over_link(connection: &Connection, resolves: bool, real: &[u8]) -> Result<bool, Failure> {
    if resolves {
        let again = connection.call(Request::RealPath { path: real.to_vec() }, Expect::Path).await?;
        return Ok(one_path(again) != real);
    }
    let names = real.split(|byte| *byte == b'/').skip(1);
    if real != b"/" && names.clone().any(|name| matches!(name, b"" | b"." | b"..")) {
        return Ok(true);
    }
    let ends = real.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let ends: Vec<usize> = ends.chain([real.len()]).collect();
    for some in ends.chunks(AT_ONCE) {
        let mut asked = Vec::new();
        for &end in some {
            let path = real[..end].to_vec();
            asked.push((end, connection.ask(Request::Lstat { path }, Expect::Attributes).await?));
        }
        for (end, asked) in asked {
            match attributes(asked).await {
                Ok(found) if is_link(&found) => return Ok(true),
                Ok(_) => {}
                Err(failure) if end == real.len() && failure.is(NO_SUCH_FILE) => {}
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(false)
}

/// What a server says that does not resolve links, where there is one.
pub(super) fn not_resolved() -> FileError {
    node(
        ENOSYS,
        "the node's SFTP server does not resolve links, and the path leads over one: give the path without links",
    )
}

fn elsewhere() -> FileError {
    node(ESTALE, "the path led somewhere else while it was opened: try again")
}

/// Opening a named pipe would wait for its other end, and everything behind it as well.
fn may_be_opened(found: &Attributes) -> Result<(), FileError> {
    match found.mode {
        Some(_) if is_of(found, PIPE) => {
            Err(node(EOPNOTSUPP, "a named pipe can't be opened through the node's SFTP server"))
        }
        Some(_) => Ok(()),
        None => Err(node(EOPNOTSUPP, "the node's SFTP server does not say what kind of file it is")),
    }
}

/// Whether a handle is the file of a path that was looked at before and after it: the same kind, permissions and owner, and a
/// size and a time that a file had which somebody wrote to meanwhile.
fn is_between(before: &Attributes, of_handle: &Attributes, after: &Attributes) -> bool {
    let all = [before, of_handle, after];
    let known = of_handle.mode.is_some() && of_handle.owner.is_some();
    let steady = all.iter().all(|one| one.mode == of_handle.mode && one.owner == of_handle.owner);
    let between = |of: fn(&Attributes) -> Option<u64>| match all.map(of) {
        [Some(before), Some(of_handle), Some(after)] => (before.min(after)..=before.max(after)).contains(&of_handle),
        _ => false,
    };
    known && steady && between(|it| it.size) && between(|it| it.times.map(|(_, modified)| modified))
}

pub(super) fn is_link(found: &Attributes) -> bool {
    is_of(found, LINK)
}

pub(super) fn is_of(found: &Attributes, kind: u32) -> bool {
    found.mode.is_some_and(|mode| mode & KIND == kind)
}

/// Whether a path can only mean a directory.
fn names_directory(path: &[u8]) -> bool {
    matches!(path.rsplit(|byte| *byte == b'/').next(), Some(b"" | b"." | b".."))
}

// the kinds of files (inode(7)), which the node's kernel has
const KIND: u32 = 0o170_000;
const PIPE: u32 = 0o010_000;
pub(super) const DIRECTORY: u32 = 0o040_000;
pub(super) const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const PERMISSIONS: u32 = 0o7777;
/// How often a file is looked at that somebody writes to.
const LOOKS: usize = 4;
/// Steps of a path that are looked at together: far fewer than there is room for.
const AT_ONCE: usize = 32;
/// More than any client may have open.
const MOST_OPEN: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_what_lies_between_two_looks_at_its_path() {
        let file = |mode, owner, size, modified| Attributes {
            size: Some(size),
            owner: Some((owner, 50)),
            mode: Some(mode),
            times: Some((1, modified)),
        };
        let (old, new) = (file(0o100_644, 1000, 10, 100), file(0o100_644, 1000, 30, 101));
        for of_handle in [old, new, file(0o100_644, 1000, 20, 100)] {
            assert!(is_between(&old, &of_handle, &new), "{of_handle:?}");
        }
        for other in [
            file(0o100_600, 1000, 20, 100),
            file(0o120_644, 1000, 20, 100),
            file(0o100_644, 0, 20, 100),
            Attributes { mode: None, ..old },
            Attributes { owner: None, ..old },
            Attributes { size: None, ..old },
            Attributes { times: None, ..old },
        ] {
            assert!(!is_between(&old, &other, &new), "{other:?}");
            assert!(!is_between(&other, &old, &old), "{other:?} before");
            assert!(!is_between(&old, &old, &other), "{other:?} after");
        }
        for other in [file(0o100_644, 1000, 31, 100), file(0o100_644, 1000, 20, 99), file(0o100_644, 1000, 9, 100)] {
            assert!(!is_between(&old, &other, &new), "{other:?}");
        }
    }

    #[test]
    fn paths_that_mean_directories() {
        for path in ["a/", "a/.", "..", ".", "/", "a/b/.."] {
            assert!(names_directory(path.as_bytes()), "{path}");
        }
        for path in ["a", "a/.b", "...", "/a/b"] {
            assert!(!names_directory(path.as_bytes()), "{path}");
        }
    }
}
