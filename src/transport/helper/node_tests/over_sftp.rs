//! OpenSSH's own SFTP server beside the Python helper: through it, the same operations have the same answers, as far as the
//! protocol can tell them.

use std::path::Path;

use bytes::{BufMut as _, Bytes};
use tokio::runtime::Runtime;

use super::files::{Arg, Asks, everything, everything_of, names};
use super::node::Kind;
use crate::testing::SftpServer;
use crate::transport::file_service::errno::{
    EACCES, EBADF, EFAULT, EINVAL, EIO, ELOOP, ENAMETOOLONG, ENOENT, ENOSYS, ENOTDIR, EPERM,
};
use crate::transport::file_service::{Answer, Attributes, Code, FileError, FileService, Handle, OpenFlags, Operation};

/// A file service over a tree of its own.
struct OverSftp {
    runtime: Runtime,
    files: FileService,
    tree: String,
}

impl OverSftp {
    fn start(tree: &Path) -> Self {
        let runtime = Runtime::new().unwrap();
        let files = runtime.block_on(async { SftpServer::at(&home()).service() });
        Self { runtime, files, tree: tree.to_str().unwrap().to_owned() }
    }
}

/// Where the helper starts.
fn home() -> std::path::PathBuf {
    std::env::home_dir().unwrap()
}

impl Asks for OverSftp {
    fn ask(&mut self, operation: Code, arguments: &[Arg<'_>]) -> (u32, Vec<u8>) {
        let operation = Arguments { tree: &self.tree, arguments }.operation(operation);
        match self.runtime.block_on(self.files.call(operation.clone())) {
            Ok(answer) => (0, on_the_wire(answer)),
            Err(FileError::Node { errno, message }) => {
                assert!(!message.is_empty(), "{operation:?}");
                (u32::try_from(errno).unwrap(), message.into_bytes())
            }
            Err(gone) => panic!("{operation:?}: {gone}"),
        }
    }
}

struct Arguments<'a> {
    tree: &'a str,
    arguments: &'a [Arg<'a>],
}

impl Arguments<'_> {
    fn text(&self, at: usize) -> Vec<u8> {
        match self.arguments[at] {
            Arg::T(text) => text.to_vec(),
            Arg::P(name) => format!("{}/{name}", self.tree).into_bytes(),
            _ => panic!("{at} is no text"),
        }
    }

    fn number(&self, at: usize) -> u32 {
        let Arg::U(number) = self.arguments[at] else { panic!("{at} is no number") };
        number
    }

    fn long(&self, at: usize) -> u64 {
        let Arg::Q(number) = self.arguments[at] else { panic!("{at} is no long number") };
        number
    }

    fn data(&self, at: usize) -> &[u8] {
        let Arg::Raw(data) = self.arguments[at] else { panic!("{at} is no data") };
        data
    }

    fn handle(&self, at: usize) -> Handle {
        Handle(self.number(at))
    }

    fn attributes(&self) -> Attributes {
        let has = |bit| self.number(1) & bit != 0;
        Attributes {
            size: has(1).then(|| self.long(2)),
            owner: has(2).then(|| (self.number(3), self.number(4))),
            mode: has(4).then(|| self.number(5)),
            times: has(8).then(|| (self.long(6), self.long(7))),
        }
    }

    fn operation(&self, operation: Code) -> Operation {
        let path = || self.text(0);
        let handle = || self.handle(0);
        match operation {
            Code::Open => {
                let has = |bit| self.number(1) & bit != 0;
                let flags = OpenFlags {
                    read: has(1),
                    write: has(2),
                    append: has(4),
                    create: has(8),
                    truncate: has(16),
                    exclusive: has(32),
                };
                let mode = Some(self.number(2)).filter(|mode| *mode != u32::MAX);
                Operation::Open { path: path(), flags, mode }
            }
            Code::Read => Operation::Read { handle: handle(), offset: self.long(1), length: self.number(2) },
            Code::Write => {
                Operation::Write { handle: handle(), offset: self.long(1), bytes: Bytes::copy_from_slice(self.data(2)) }
            }
            Code::Close => Operation::Close { handle: handle() },
            Code::Stat => Operation::Stat { path: path() },
            Code::Lstat => Operation::Lstat { path: path() },
            Code::Fstat => Operation::Fstat { handle: handle() },
            Code::SetStat => Operation::SetStat { path: path(), attributes: self.attributes() },
            Code::LsetStat => Operation::LsetStat { path: path(), attributes: self.attributes() },
            Code::FsetStat => Operation::FsetStat { handle: handle(), attributes: self.attributes() },
            Code::OpenDir => Operation::OpenDir { path: path() },
            Code::ReadDir => Operation::ReadDir { handle: handle(), again: self.number(1) != 0 },
            Code::Remove => Operation::Remove { path: path() },
            Code::MakeDir => Operation::MakeDir { path: path(), mode: self.number(1) },
            Code::RemoveDir => Operation::RemoveDir { path: path() },
            Code::RealPath => Operation::RealPath { path: path() },
            Code::ExpandPath => Operation::ExpandPath { path: path() },
            Code::Rename => Operation::Rename { from: path(), to: self.text(1), replace: self.number(2) != 0 },
            Code::ReadLink => Operation::ReadLink { path: path() },
            Code::Symlink => Operation::Symlink { target: path(), path: self.text(1) },
            Code::Link => Operation::Link { from: path(), to: self.text(1) },
            Code::Fsync => Operation::Fsync { handle: handle() },
            Code::FileSystem => Operation::FileSystem { path: path() },
            Code::FileSystemOf => Operation::FileSystemOf { handle: handle() },
            Code::Copy => Operation::Copy {
                handle: handle(),
                offset: self.long(1),
                length: self.long(2),
                to: self.handle(3),
                to_offset: self.long(4),
            },
            Code::HomeDirectory => Operation::HomeDirectory { user: path() },
            Code::NamesOf => {
                let numbers = self.data(1).chunks(4).map(|four| u32::from_be_bytes(four.try_into().unwrap()));
                let mut users: Vec<u32> = numbers.collect();
                let groups = users.split_off(self.number(0) as usize);
                Operation::NamesOf { users, groups }
            }
            Code::MostOpen => Operation::MostOpen { wanted: self.number(0) },
        }
    }
}

/// An answer as a helper gives it.
fn on_the_wire(answer: Answer) -> Vec<u8> {
    let mut out = Vec::new();
    let text = |out: &mut Vec<u8>, text: &[u8]| {
        out.put_u32(u32::try_from(text.len()).unwrap());
        out.put_slice(text);
    };
    let put_attributes = |out: &mut Vec<u8>, of: Attributes| {
        let (owner, times) = (of.owner.unwrap(), of.times.unwrap());
        out.put_u64(of.size.unwrap());
        [owner.0, owner.1, of.mode.unwrap()].iter().for_each(|number| out.put_u32(*number));
        [times.0, times.1].iter().for_each(|time| out.put_u64(*time));
    };
    match answer {
        Answer::Done => {}
        Answer::Opened(opened) => {
            out.put_u32(opened.handle.0);
            text(&mut out, &opened.real_path);
        }
        Answer::Bytes(bytes) => out.put_slice(&bytes),
        Answer::Attributes(attributes) => put_attributes(&mut out, attributes),
        Answer::Entries(entries) => {
            out.put_u32(u32::try_from(entries.len()).unwrap());
            for entry in entries {
                text(&mut out, &entry.name);
                put_attributes(&mut out, entry.attributes);
                out.put_u32(entry.links);
                text(&mut out, entry.owner_names.0.as_bytes());
                text(&mut out, entry.owner_names.1.as_bytes());
            }
        }
        Answer::Path(path) => out = path,
        Answer::FileSystem(figures) => figures.fields.iter().for_each(|field| out.put_u64(*field)),
        Answer::Copied(count) => out.put_u64(count),
        Answer::Names(all) => all.iter().for_each(|name| text(&mut out, name)),
        Answer::MostOpen(count) => out.put_u32(count),
    }
    out
}

/// What is said of an error through SFTP: its kind, by which clients of the gateway are answered as well.
fn as_told(line: &str) -> String {
    let Some((step, errno, result)) = line
        .split_once(": ")
        .and_then(|(step, rest)| rest.split_once(' ').map(|(errno, result)| (step, errno, result)))
        .and_then(|(step, errno, result)| Some((step, errno.parse::<i32>().ok()?, result)))
    else {
        return line.to_owned();
    };
    let kind = match errno {
        0 => 0,
        ENOENT | ENOTDIR | EBADF | ELOOP => ENOENT,
        EPERM | EACCES | EFAULT => EACCES,
        ENAMETOOLONG | EINVAL => EINVAL,
        ENOSYS => ENOSYS,
        _ => EIO,
    };
    format!("{step}: {kind} {result}")
}

/// Both over one tree, so that paths are the same.
fn both() -> [Vec<String>; 2] {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    let clear = || {
        let _ = std::fs::remove_dir_all(&tree);
        std::fs::create_dir(&tree).unwrap();
    };
    clear();
    let by_helper = everything_of(Kind::Python, &tree, true);
    clear();
    let over_sftp = everything(&mut OverSftp::start(&tree), &tree, true);
    [by_helper, over_sftp].map(|lines| lines.iter().map(|line| as_told(line)).collect())
}

#[test]
fn files_are_served_as_by_the_helper() {
    let [by_helper, over_sftp] = both();
    assert_eq!(by_helper.len(), over_sftp.len());
    let short = |line: &String| line.chars().take(200).collect::<String>();
    let different: Vec<[String; 2]> = by_helper
        .iter()
        .zip(&over_sftp)
        .filter(|(by_helper, over_sftp)| by_helper != over_sftp)
        .map(|(by_helper, over_sftp)| [short(by_helper), short(over_sftp)])
        .collect();
    let steps: Vec<&str> = different.iter().map(|[line, _]| line.split([':', '|']).next().unwrap()).collect();
    // within one file OpenSSH's server copies nothing, so what is read there and its size are others
    assert_eq!(steps, ["copy", "copied", "copied"], "{different:?}");
    assert_eq!(different[0][1], format!("copy: {EIO} "));
}

#[test]
fn many_names_are_listed_over_sftp() {
    let tree = tempfile::tempdir().unwrap();
    for n in 0..250 {
        std::fs::write(tree.path().join(format!("{}{n}", ["", ".", "..", "*", "%s"][n % 5])), "x").unwrap();
    }
    let mut service = OverSftp::start(tree.path());
    let all = names(&mut service, "");
    assert_eq!(all.len(), 252);
    let first = all.iter().find(|entry| entry.starts_with(b"0|")).unwrap();
    assert_eq!(first[2..10], 1u64.to_be_bytes());
}
