//! What a node's file service is asked, and how it answers.

use bytes::Bytes;

/// A file or directory open on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(pub u32);

/// How to open a file (the flags of SFTP version 3, section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Every write goes to the end.
    pub append: bool,
    /// Make it where it does not exist.
    pub create: bool,
    /// Empty it first.
    pub truncate: bool,
    /// Fail where it exists.
    pub exclusive: bool,
}

/// What a file is like; absent fields are unknown, or in a change left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bytes.
    pub size: Option<u64>,
    /// Owner and group.
    pub owner: Option<(u32, u32)>,
    /// Type and permission bits, `st_mode`.
    pub mode: Option<u32>,
    /// Access and modification time, whole seconds since the epoch; one before that is negative, in two's complement.
    pub times: Option<(u64, u64)>,
}

/// One name in a directory, `.` and `..` included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name's bytes, as the node has them.
    pub name: Vec<u8>,
    /// As `lstat` sees it.
    pub attributes: Attributes,
    /// The number of hard links, for `ls -l`.
    pub links: u32,
    /// The owner's and the group's name, where the node knows them.
    pub owner_names: (String, String),
}

/// A file system's figures, as `statvfs(3)` gives them, in the order of `statvfs@openssh.com`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSystem {
    /// f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, f_favail, f_fsid, f_flag, f_namemax.
    pub fields: [u64; 11],
}

/// Why a file operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The node's kernel refused it.
    #[error("{message}")]
    Node {
        /// The Linux `errno`.
        errno: i32,
        /// Its text.
        message: String,
    },
    /// The way to the node is gone.
    #[error("the connection to the node's file service was lost: {0}")]
    NodeGone(String),
}

/// The answer to opening a file: the handle and the path that was really opened (`/proc/self/fd/N` after the open).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// For later operations.
    pub handle: Handle,
    /// What the kernel opened, links resolved.
    pub real_path: Vec<u8>,
}

/// The largest `length` of an [`Operation::Read`].
pub const LARGEST_READ: u32 = 512 * 1024;
/// The largest number of bytes in an [`Operation::Write`].
pub const LARGEST_WRITE: usize = 256 * 1024;
/// The longest answer to an [`Operation::ReadDir`]: a node's helper lists some 32 KiB at a time, or a hundred names.
pub const LONGEST_LISTING: usize = 96 * 1024;

/// One operation on the node's files. A relative path starts at the user's home directory; an empty one does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the operation's arguments, named as in sftp(1)")]
pub enum Operation {
    /// `open(2)`, mode 0666 where none is given, and without waiting (`O_NONBLOCK`): a named pipe must not stop the
    /// operations behind it. Answer: [`Answer::Opened`].
    Open {
        path: Vec<u8>,
        flags: OpenFlags,
        mode: Option<u32>,
    },
    /// Fewer bytes than asked for mean the end of the file: the node reads again until it has them all or has read none.
    /// Of no bytes only the offset is looked at. Answer: [`Answer::Bytes`].
    Read {
        handle: Handle,
        offset: u64,
        length: u32,
    },
    /// All or an error; what an interrupted write left is written again. No bytes are written as well, to see whether they
    /// could be.
    Write {
        handle: Handle,
        offset: u64,
        bytes: Bytes,
    },
    Close {
        handle: Handle,
    },
    /// Answer: [`Answer::Attributes`], as for the next two.
    Stat {
        path: Vec<u8>,
    },
    Lstat {
        path: Vec<u8>,
    },
    Fstat {
        handle: Handle,
    },
    /// Changes what is there, in the order size, mode, times, owner; goes on after an error and answers the last one.
    SetStat {
        path: Vec<u8>,
        attributes: Attributes,
    },
    /// The same on the link itself. There is no size of a link to change: then nothing is done (`EINVAL`).
    LsetStat {
        path: Vec<u8>,
        attributes: Attributes,
    },
    FsetStat {
        handle: Handle,
        attributes: Attributes,
    },
    /// Answer: [`Answer::Opened`].
    OpenDir {
        path: Vec<u8>,
    },
    /// Names on from where the last answer ended; `again`, from the first. Answer: [`Answer::Entries`].
    ReadDir {
        handle: Handle,
        again: bool,
    },
    Remove {
        path: Vec<u8>,
    },
    MakeDir {
        path: Vec<u8>,
        mode: u32,
    },
    RemoveDir {
        path: Vec<u8>,
    },
    /// The absolute path with all links resolved. The last component need not exist unless a slash follows it; the others
    /// must.
    /// Answer: [`Answer::Path`], as for the next one.
    RealPath {
        path: Vec<u8>,
    },
    /// `~` and `~user` at the start become home directories (an unknown user is `ENOENT`), then as [`Operation::RealPath`].
    ExpandPath {
        path: Vec<u8>,
    },
    /// `rename(2)`; unless `replace`, `EEXIST` where `to` is there (for what is no regular file: where it leads to something).
    Rename {
        from: Vec<u8>,
        to: Vec<u8>,
        replace: bool,
    },
    /// Answer: [`Answer::Path`].
    ReadLink {
        path: Vec<u8>,
    },
    /// Makes `path`, which points to `target`.
    Symlink {
        target: Vec<u8>,
        path: Vec<u8>,
    },
    /// Makes `to`, a second name of `from`; a link is not followed.
    Link {
        from: Vec<u8>,
        to: Vec<u8>,
    },
    Fsync {
        handle: Handle,
    },
    /// Answer: [`Answer::FileSystem`], as for the next one.
    FileSystem {
        path: Vec<u8>,
    },
    FileSystemOf {
        handle: Handle,
    },
    /// Copies from one open file to another; less than `length` only at the end of the file. Answer: [`Answer::Copied`].
    Copy {
        handle: Handle,
        offset: u64,
        length: u64,
        to: Handle,
        to_offset: u64,
    },
    /// The home of the user that the service runs as, if there is a user of this name: that is how OpenSSH's server answers.
    /// Answer: [`Answer::Path`].
    HomeDirectory {
        user: Vec<u8>,
    },
    /// The names of users and groups; an empty one where there is none. Answer: [`Answer::Names`].
    NamesOf {
        users: Vec<u32>,
        groups: Vec<u32>,
    },
    /// How many files can be open at once, of so many. Answer: [`Answer::MostOpen`].
    MostOpen {
        wanted: u32,
    },
}

/// The answer to an [`Operation`] that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is named for what it answers")]
pub enum Answer {
    Done,
    Opened(Opened),
    Bytes(Bytes),
    Attributes(Attributes),
    /// Some names of a directory; none means that all have been given.
    Entries(Vec<Entry>),
    Path(Vec<u8>),
    FileSystem(FileSystem),
    /// How many bytes.
    Copied(u64),
    /// As many as were asked for, users first.
    Names(Vec<Vec<u8>>),
    MostOpen(u32),
}
