//! The adapter in front of OpenSSH's `sftp-server`, and of servers that are worse.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

use super::super::errno::{EEXIST, EINVAL, ENOENT, ENOSYS, ENOTDIR, EOPNOTSUPP, ESTALE};
use super::super::operation::{Answer, Attributes, FileError, Handle, LARGEST_READ, OpenFlags, Opened, Operation};
use super::super::service::FileService;
use super::super::sftp::packet::{Packet, Request, decode, next_frame};
use super::super::sftp::reply::{Limits, Name, Reply, Status};
use super::{Why, serve};
use crate::policy::{Action, Grant};
use crate::testing::{SftpServer, noise};

const READ: OpenFlags =
    OpenFlags { read: true, write: false, append: false, create: false, truncate: false, exclusive: false };
const MAKE: OpenFlags = OpenFlags { write: true, create: true, ..READ };

fn bytes_of(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

async fn open(files: &FileService, path: impl AsRef<Path>, flags: OpenFlags) -> Result<Opened, FileError> {
    let operation = Operation::Open { path: bytes_of(path.as_ref()), flags, mode: None };
    match files.call(operation).await? {
        Answer::Opened(opened) => Ok(opened),
        other => panic!("{other:?}"),
    }
}

async fn read(files: &FileService, handle: Handle, offset: u64, length: u32) -> Result<Bytes, FileError> {
    match files.call(Operation::Read { handle, offset, length }).await? {
        Answer::Bytes(bytes) => Ok(bytes),
        other => panic!("{other:?}"),
    }
}

fn errno(result: Result<impl std::fmt::Debug, FileError>) -> i32 {
    match result {
        Err(FileError::Node { errno, .. }) => errno,
        other => panic!("{other:?}"),
    }
}

fn real_home() -> (tempfile::TempDir, std::path::PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let real = home.path().canonicalize().unwrap();
    (home, real)
}

#[tokio::test]
async fn what_was_opened_is_told_by_its_real_path() {
    let (home, real) = real_home();
    fs::create_dir(real.join("d")).unwrap();
    fs::write(real.join("d/f"), "content").unwrap();
    symlink("d", real.join("dl")).unwrap();
    symlink("dl/f", real.join("fl")).unwrap();
    symlink("nothing", real.join("dangling")).unwrap();
    for server in [SftpServer::at(home.path()), SftpServer::without_extensions(home.path())] {
        let files = server.service();
        for path in ["fl", "dl/f", "./d/../dl/f"] {
            let opened = open(&files, path, READ).await.unwrap();
            assert_eq!(opened.real_path, bytes_of(&real.join("d/f")), "{path}");
            assert_eq!(read(&files, opened.handle, 0, 100).await.unwrap(), "content");
        }
        match files.call(Operation::OpenDir { path: b"dl".to_vec() }).await.unwrap() {
            Answer::Opened(opened) => assert_eq!(opened.real_path, bytes_of(&real.join("d"))),
            other => panic!("{other:?}"),
        }
        // open(2) would make what the link leads to, and does not with O_EXCL
        let exclusive = OpenFlags { exclusive: true, ..MAKE };
        assert_eq!(errno(open(&files, "dangling", exclusive).await), EEXIST);
        assert!(!real.join("nothing").exists());
        let made = open(&files, "dangling", MAKE).await.unwrap();
        assert_eq!(made.real_path, bytes_of(&real.join("nothing")));
        fs::remove_file(real.join("nothing")).unwrap();
        for path in ["d/f/", "d/f/.", "d/f/x", "absent", ""] {
            assert_eq!(errno(open(&files, path, READ).await), ENOENT, "{path}");
        }
        assert_eq!(errno(files.call(Operation::OpenDir { path: b"fl".to_vec() }).await), ENOTDIR);
        assert_eq!(errno(open(&files, "d\0f", READ).await), EINVAL);
        assert_eq!(errno(files.call(Operation::RealPath { path: b"absent/x".to_vec() }).await), ENOENT);
    }
}

#[tokio::test]
async fn a_named_pipe_stops_nobody() {
    let (home, real) = real_home();
    rustix::fs::mkfifoat(rustix::fs::CWD, real.join("pipe"), rustix::fs::Mode::RWXU).unwrap();
    fs::write(real.join("f"), "content").unwrap();
    let files = SftpServer::at(home.path()).service();
    for flags in [READ, MAKE] {
        assert_eq!(errno(open(&files, "pipe", flags).await), EOPNOTSUPP);
    }
    let opened = open(&files, "f", READ).await.unwrap();
    assert_eq!(read(&files, opened.handle, 0, 100).await.unwrap(), "content");
}

#[tokio::test]
async fn operations_are_carried_out_in_their_order() {
    let (home, real) = real_home();
    for server in [SftpServer::at(home.path()), SftpServer::without_extensions(home.path())] {
        let files = server.service();
        let both = OpenFlags { read: true, ..MAKE };
        let handle = open(&files, "f", both).await.unwrap().handle;
        let mut coming = Vec::new();
        for round in 0..100_u8 {
            let bytes = Bytes::from(vec![round; 50_000]);
            drop(files.issue(Operation::Write { handle, offset: 0, bytes }).await);
            coming.push(files.issue(Operation::Read { handle, offset: 0, length: 50_000 }).await);
            let size = Some(u64::from(round));
            let attributes = Attributes { size, ..Attributes::default() };
            drop(files.issue(Operation::FsetStat { handle, attributes }).await);
        }
        for (round, coming) in coming.into_iter().enumerate() {
            let Ok(Ok(Answer::Bytes(bytes))) = coming.await else { panic!("round {round}") };
            assert!(bytes.len() == 50_000 && bytes.iter().all(|byte| usize::from(*byte) == round), "{round}");
        }
        // an answer means that all before it has been done
        files.call(Operation::Fstat { handle }).await.unwrap();
        assert_eq!(real.join("f").metadata().unwrap().size(), 99);
    }
}

#[tokio::test]
async fn reads_and_writes_of_any_length_are_whole() {
    let (home, real) = real_home();
    let bytes = noise(1_500_001);
    fs::write(real.join("f"), &bytes).unwrap();
    for server in [SftpServer::at(home.path()), SftpServer::without_extensions(home.path())] {
        let files = server.service();
        let handle = open(&files, "f", READ).await.unwrap().handle;
        for (offset, length) in [(0, LARGEST_READ), (1, 1), (0, 0), (1_400_000, LARGEST_READ), (1_500_001, 10)] {
            let end = bytes.len().min(offset + length as usize);
            let got = read(&files, handle, offset as u64, length).await.unwrap();
            assert!(got == bytes[offset..end], "{length} at {offset}");
        }
        let handle = open(&files, "g", MAKE).await.unwrap().handle;
        for (at, piece) in bytes.chunks(256 * 1024).enumerate() {
            let (offset, bytes) = (at as u64 * 256 * 1024, Bytes::copy_from_slice(piece));
            assert_eq!(files.call(Operation::Write { handle, offset, bytes }).await, Ok(Answer::Done));
        }
        assert!(fs::read(real.join("g")).unwrap() == bytes);
        fs::remove_file(real.join("g")).unwrap();
        // no size, and told in pieces
        let handle = open(&files, "/proc/kallsyms", READ).await.unwrap().handle;
        let told = read(&files, handle, 0, 100_000).await.unwrap();
        assert!(told.len() == 100_000, "{}", told.len());
        for offset in [u64::MAX, 1 << 63] {
            assert_eq!(errno(read(&files, handle, offset, 10).await), EINVAL);
        }
    }
}

#[tokio::test]
async fn directories_are_listed_from_the_first_name_on_when_asked_again() {
    let (home, real) = real_home();
    for number in 0..250 {
        fs::write(real.join(format!("file-{number}")), "x").unwrap();
    }
    fs::set_permissions(real.join("file-7"), fs::Permissions::from_mode(0o604)).unwrap();
    let files = SftpServer::at(home.path()).service();
    let Ok(Answer::Opened(opened)) = files.call(Operation::OpenDir { path: b".".to_vec() }).await else { panic!() };
    let mut names = Vec::new();
    for again in [false, true, false, false, false, false] {
        match files.call(Operation::ReadDir { handle: opened.handle, again }).await {
            Ok(Answer::Entries(entries)) => {
                if again {
                    names.clear();
                }
                names.extend(entries);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(names.len(), 252);
    names.sort_by(|a, b| a.name.cmp(&b.name));
    names.dedup_by(|a, b| a.name == b.name);
    assert_eq!(names.len(), 252);
    let one = names.iter().find(|entry| entry.name == b"file-7").unwrap();
    let found = real.join("file-7").metadata().unwrap();
    assert_eq!((one.links, one.attributes.mode, one.attributes.size), (1, Some(0o100_604), Some(1)));
    assert_eq!(one.attributes.owner, Some((found.uid(), found.gid())));
    assert!(!one.owner_names.0.is_empty());
    assert_eq!(files.call(Operation::Close { handle: opened.handle }).await, Ok(Answer::Done));
    assert_eq!(errno(files.call(Operation::ReadDir { handle: opened.handle, again: false }).await), EINVAL);
}

#[tokio::test]
async fn what_the_server_does_not_offer_is_refused_and_nothing_is_done() {
    let (home, real) = real_home();
    fs::write(real.join("f"), "content").unwrap();
    symlink("f", real.join("l")).unwrap();
    let files = SftpServer::without_extensions(home.path()).service();
    let handle = open(&files, "f", READ).await.unwrap().handle;
    let to = open(&files, "g", MAKE).await.unwrap().handle;
    let attributes = Attributes { times: Some((1, 2)), ..Attributes::default() };
    let (f, h) = (b"f".to_vec(), b"h".to_vec());
    for operation in [
        Operation::Link { from: f.clone(), to: h.clone() },
        Operation::Fsync { handle },
        Operation::FileSystem { path: f.clone() },
        Operation::FileSystemOf { handle },
        Operation::LsetStat { path: b"l".to_vec(), attributes },
        Operation::ExpandPath { path: b"~root".to_vec() },
        Operation::HomeDirectory { user: b"root".to_vec() },
        Operation::NamesOf { users: vec![0], groups: Vec::new() },
        Operation::Copy { handle, offset: 0, length: 5, to, to_offset: 0 },
    ] {
        assert_eq!(errno(files.call(operation.clone()).await), ENOSYS, "{operation:?}");
    }
    assert!(!real.join("h").exists() && real.join("g").metadata().unwrap().len() == 0);
    // it can't replace, and says that something is there
    let rename = |from: &[u8], to: &[u8]| Operation::Rename { from: from.to_vec(), to: to.to_vec(), replace: true };
    assert_eq!(errno(files.call(rename(b"f", b"g")).await), EEXIST);
    assert_eq!(files.call(rename(b"g", b"h")).await, Ok(Answer::Done));
    assert_eq!(
        files.call(Operation::ExpandPath { path: b"~/f".to_vec() }).await,
        Ok(Answer::Path(bytes_of(&real.join("f"))))
    );
    assert_eq!(files.call(Operation::MostOpen { wanted: 4096 }).await, Ok(Answer::MostOpen(64)));
}

#[tokio::test]
async fn what_it_offers_is_used() {
    let (home, real) = real_home();
    fs::write(real.join("f"), "0123456789").unwrap();
    let files = SftpServer::at(home.path()).service();
    let handle = open(&files, "f", READ).await.unwrap().handle;
    let to = open(&files, "g", MAKE).await.unwrap().handle;
    for (offset, length, copied) in [(2, 5, 5), (8, 100, 2), (50, 5, 0)] {
        let operation = Operation::Copy { handle, offset, length, to, to_offset: offset };
        assert_eq!(files.call(operation).await, Ok(Answer::Copied(copied)));
    }
    assert_eq!(fs::read(real.join("g")).unwrap(), b"\0\x0023456\089");
    // of what has no size it can't be told how much it was
    let told = open(&files, "/proc/version", READ).await.unwrap().handle;
    assert_eq!(
        errno(files.call(Operation::Copy { handle: told, offset: 0, length: 5, to, to_offset: 0 }).await),
        ENOSYS
    );
    assert_eq!(files.call(Operation::Fsync { handle: to }).await, Ok(Answer::Done));
    let names = files.call(Operation::NamesOf { users: vec![0, 4_294_967_280], groups: vec![0] }).await;
    assert_eq!(names, Ok(Answer::Names(vec![b"root".to_vec(), Vec::new(), b"root".to_vec()])));
    let root = files.call(Operation::HomeDirectory { user: b"root".to_vec() }).await;
    assert_eq!(root, files.call(Operation::ExpandPath { path: b"~root".to_vec() }).await);
    for operation in [
        Operation::HomeDirectory { user: b"no-such-user".to_vec() },
        Operation::ExpandPath { path: b"~no-such-user/x".to_vec() },
    ] {
        assert_eq!(errno(files.call(operation).await), ENOENT);
    }
    let figures = rustix::fs::statvfs(&real).unwrap();
    for operation in [Operation::FileSystem { path: b".".to_vec() }, Operation::FileSystemOf { handle }] {
        let Ok(Answer::FileSystem(found)) = files.call(operation).await else { panic!() };
        assert_eq!(
            (found.fields[1], found.fields[2], found.fields[10]),
            (figures.f_frsize, figures.f_blocks, figures.f_namemax)
        );
    }
    for operation in [
        Operation::MakeDir { path: b"f".to_vec(), mode: 0o755 },
        Operation::Symlink { target: b"x".to_vec(), path: b"f".to_vec() },
        Operation::Link { from: b"g".to_vec(), to: b"f".to_vec() },
        Operation::Rename { from: b"g".to_vec(), to: b"f".to_vec(), replace: false },
    ] {
        assert_eq!(errno(files.call(operation.clone()).await), EEXIST, "{operation:?}");
    }
    let before_1970 = Attributes { times: Some((0, u64::MAX)), ..Attributes::default() };
    assert_eq!(errno(files.call(Operation::SetStat { path: b"f".to_vec(), attributes: before_1970 }).await), EINVAL);
}

#[tokio::test]
async fn a_server_that_ends_says_so_to_everybody_and_one_that_is_not_needed_ends() {
    let (home, real) = real_home();
    fs::write(real.join("f"), "content").unwrap();
    let server = SftpServer::at(home.path());
    let process = Pid::from_raw(server.process().cast_signed()).unwrap();
    let files = server.service();
    let handle = open(&files, "f", READ).await.unwrap().handle;
    kill_process(process, Signal::STOP).unwrap();
    let coming = files.issue(Operation::Fstat { handle }).await;
    kill_process(process, Signal::KILL).unwrap();
    let Ok(Err(FileError::NodeGone(why))) = coming.await else { panic!("it is gone") };
    assert!(why.contains("SFTP server has ended") || why.contains("pipe"), "{why}");
    assert!(matches!(files.call(Operation::Fstat { handle }).await, Err(FileError::NodeGone(_))));

    let (operations, calls) = mpsc::channel(16);
    let serving = tokio::spawn(serve(calls, SftpServer::at(home.path()), Why::default()));
    let files = FileService::under(Grant::for_test("web-1", Action::Files), operations);
    let opened = open(&files, "f", READ).await.unwrap();
    let last = files.issue(Operation::Read { handle: opened.handle, offset: 0, length: 10 }).await;
    drop(files);
    assert_eq!(last.await.unwrap(), Ok(Answer::Bytes("content".into())));
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), serving).await.unwrap().unwrap(), Ok(()));
}

/// What a server of the test's own says to each request; no reply is its end.
type Script = Box<dyn FnMut(&Request) -> Option<Reply> + Send>;

/// A service in front of a server of the test's own, and what it was asked.
fn scripted(version: Reply, mut script: Script) -> (FileService, Arc<Mutex<Vec<Request>>>) {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        let (mut received, mut out) = (BytesMut::new(), BytesMut::new());
        loop {
            while let Some(frame) = next_frame(&mut received).unwrap() {
                match decode(frame).unwrap() {
                    Packet::Init { .. } => version.put(0, &mut out),
                    Packet::Request { id, request } => {
                        let Some(reply) = script(&request) else { return };
                        reply.put(id, &mut out);
                        seen.lock().unwrap().push(request);
                    }
                }
            }
            if theirs.write_all(&out).await.is_err() || theirs.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return;
            }
            out.clear();
        }
    });
    (served(ours), asked)
}

fn served(stream: DuplexStream) -> FileService {
    let (operations, calls) = mpsc::channel(16);
    tokio::spawn(serve(calls, stream, Why::default()));
    FileService::under(Grant::for_test("web-1", Action::Files), operations)
}

fn file(owner: u32) -> Attributes {
    Attributes { size: Some(10), owner: Some((owner, 0)), mode: Some(0o100_644), times: Some((1, 1)) }
}

/// A node with one file, of this owner by its path; how it resolves paths is the test's.
fn honest(real: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Script {
    Box::new(move |request| {
        Some(match request {
            Request::RealPath { path } => Reply::path(real(path)),
            Request::Lstat { path } if path.ends_with(b"l") || path == b"/proc/self" => {
                Reply::Attributes(Attributes { mode: Some(0o120_777), ..file(7) })
            }
            Request::Stat { .. } | Request::Lstat { .. } | Request::Fstat { .. } => Reply::Attributes(file(7)),
            Request::Open { .. } | Request::OpenDir { .. } => Reply::Handle("h".into()),
            Request::Read { length, offset, .. } if *offset < 10 => {
                Reply::Data(vec![b'x'; (*length).min(3) as usize].into())
            }
            Request::Read { .. } => Reply::Status(Status::end_of_file()),
            Request::Limits => Reply::Limits(Limits { packet: 0, read: 4096, write: 5000, open: 9 }),
            _ => Reply::Status(Status::ok()),
        })
    })
}

fn linkless(path: &[u8]) -> Vec<u8> {
    if path == b"/proc/self" { b"/proc/7".to_vec() } else { path.to_vec() }
}

#[tokio::test]
async fn a_file_that_is_not_the_one_of_the_path_is_closed_and_refused() {
    for turn in ["owner", "kind", "link", "gone"] {
        let mut inner = honest(linkless);
        let mut opened = false;
        let script: Script = Box::new(move |request| {
            opened |= matches!(request, Request::Open { .. });
            match (turn, request) {
                ("owner", Request::Fstat { .. }) => Some(Reply::Attributes(file(0))),
                ("kind", Request::Fstat { .. }) => {
                    Some(Reply::Attributes(Attributes { mode: Some(0o100_600), ..file(7) }))
                }
                ("link", Request::RealPath { .. }) if opened => Some(Reply::path(b"/etc/shadow".to_vec())),
                ("gone", Request::Lstat { .. }) if opened => Some(Reply::Status(Status::no_such_file("gone"))),
                (_, request) => inner(request),
            }
        });
        let (files, asked) = scripted(Reply::version(), script);
        assert_eq!(errno(open(&files, "/f", READ).await), ESTALE, "{turn}");
        // an answer means that all before it has been asked
        drop(files.call(Operation::Stat { path: b"/f".to_vec() }).await);
        assert!(asked.lock().unwrap().contains(&Request::Close { handle: "h".into() }), "{turn}");
        assert_eq!(errno(read(&files, Handle(1), 0, 1).await), EINVAL, "{turn}");
    }
    let (files, _) = scripted(Reply::version(), honest(linkless));
    assert_eq!(open(&files, "/f", READ).await.unwrap().real_path, b"/f");
}

#[tokio::test]
async fn a_server_that_only_tidies_paths_up_is_not_believed() {
    // what it calls real is the path itself
    let (files, asked) = scripted(Reply::version_alone(), honest(<[u8]>::to_vec));
    for path in ["/l", "/l/f", "/d/l/f"] {
        let operation = Operation::RealPath { path: path.as_bytes().to_vec() };
        let links = |path: &str| path.ends_with('l') || path.contains("l/");
        assert!(links(path));
        if path.ends_with('l') || path.contains("/l/") {
            assert_eq!(errno(files.call(operation).await), ENOSYS, "{path}");
            assert_eq!(errno(open(&files, path, READ).await), ENOSYS, "{path}");
        }
    }
    assert!(!asked.lock().unwrap().iter().any(|request| matches!(request, Request::Open { .. })));
    let real = files.call(Operation::RealPath { path: b"/d/f".to_vec() }).await;
    assert_eq!(real, Ok(Answer::Path(b"/d/f".to_vec())));
    assert_eq!(open(&files, "/d/f", READ).await.unwrap().real_path, b"/d/f");
}

#[tokio::test]
async fn requests_are_as_long_as_the_server_takes_and_short_answers_are_asked_on() {
    let (files, asked) = scripted(Reply::version(), honest(linkless));
    let handle = open(&files, "/f", READ).await.unwrap().handle;
    // it states what it reads at once, so one that is short is the last
    assert_eq!(read(&files, handle, 0, 10_000).await.unwrap(), "xxx");
    let bytes = Bytes::from(vec![1; 12_000]);
    assert_eq!(files.call(Operation::Write { handle, offset: 5, bytes }).await, Ok(Answer::Done));
    assert_eq!(files.call(Operation::MostOpen { wanted: 4096 }).await, Ok(Answer::MostOpen(9)));
    let sent = std::mem::take(&mut *asked.lock().unwrap());
    let reads: Vec<_> = sent
        .iter()
        .filter_map(|it| if let Request::Read { offset, length, .. } = it { Some((*offset, *length)) } else { None })
        .collect();
    assert_eq!(reads, [(0, 4096), (4096, 4096), (8192, 1808)]);
    let writes: Vec<_> = sent
        .iter()
        .filter_map(|it| if let Request::Write { offset, data, .. } = it { Some((*offset, data.len())) } else { None })
        .collect();
    assert_eq!(writes, [(5, 5000), (5005, 5000), (10_005, 2000)]);

    let (files, _) = scripted(Reply::version_alone(), honest(linkless));
    let handle = open(&files, "/f", READ).await.unwrap().handle;
    assert_eq!(read(&files, handle, 0, 10_000).await.unwrap(), "x".repeat(12));
    assert_eq!(read(&files, handle, 0, 7).await.unwrap(), "x".repeat(7));
}

#[tokio::test]
async fn an_answer_that_was_not_asked_for_is_the_end() {
    let name = |name: &str| Name { name: name.into(), long_name: Vec::new(), attributes: Attributes::default() };
    for reply in [
        Reply::Handle("h".into()),
        Reply::Data("data".into()),
        Reply::Status(Status::ok()),
        Reply::Limits(Limits::default()),
        Reply::version(),
        Reply::Names(vec![name("/a")]),
    ] {
        let mut inner = honest(linkless);
        let said = reply.clone();
        let (files, _) = scripted(
            Reply::version(),
            Box::new(move |request| match request {
                Request::Stat { .. } => Some(said.clone()),
                request => inner(request),
            }),
        );
        let gone = files.call(Operation::Stat { path: b"/f".to_vec() }).await;
        assert!(
            matches!(&gone, Err(FileError::NodeGone(why)) if why.contains("SFTP server sent")),
            "{reply:?}: {gone:?}"
        );
        assert!(matches!(files.call(Operation::MostOpen { wanted: 1 }).await, Err(FileError::NodeGone(_))));
    }
    for names in [vec![], vec![name("relative")], vec![name("")], vec![name("/a"), name("/b")], vec![name("/\0")]] {
        let said = Reply::Names(names);
        let mut inner = honest(linkless);
        let (files, _) = scripted(
            Reply::version(),
            Box::new(move |request| match request {
                Request::RealPath { path } if path == b"/f" => Some(said.clone()),
                request => inner(request),
            }),
        );
        let gone = files.call(Operation::RealPath { path: b"/f".to_vec() }).await;
        assert!(matches!(gone, Err(FileError::NodeGone(_))), "{gone:?}");
    }
    let long = Reply::Data(vec![0; 11].into());
    let mut inner = honest(linkless);
    let (files, _) = scripted(
        Reply::version(),
        Box::new(move |request| if let Request::Read { .. } = request { Some(long.clone()) } else { inner(request) }),
    );
    let handle = open(&files, "/f", READ).await.unwrap().handle;
    assert!(matches!(read(&files, handle, 0, 10).await, Err(FileError::NodeGone(_))));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_server_says_what_it_said_instead() {
    for (said, words) in [
        (&b"Welcome to web-1!\n"[..], "not SFTP: \"Welcome to web-1!\"; does a login script"),
        (b"", "ended before it said anything"),
        (b"\0\0\0\x05\x02\0\0\0\x02", "speaks version 2"),
        (b"\0\0\0\0", "not SFTP"),
        (b"\0\0\0\x01\x02", "not SFTP"),
    ] {
        let (ours, mut theirs) = tokio::io::duplex(1000);
        let files = served(ours);
        theirs.write_all(said).await.unwrap();
        theirs.shutdown().await.unwrap();
        let Err(FileError::NodeGone(why)) = files.call(Operation::MostOpen { wanted: 1 }).await else { panic!() };
        assert!(why.contains(words), "{why}");
    }
    // silent from the beginning, and after its version
    for said in [&b""[..], b"\0\0\0\x05\x02\0\0\0\x03"] {
        let (ours, mut silent) = tokio::io::duplex(1000);
        silent.write_all(said).await.unwrap();
        let Err(FileError::NodeGone(why)) = served(ours).call(Operation::MostOpen { wanted: 1 }).await else {
            panic!()
        };
        assert!(why.contains("said nothing for 30 seconds"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_much_at_once_takes_no_more_than_there_is_room_for() {
    // a server that answers nothing once a file is open
    let silent = Arc::new(Mutex::new(false));
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024 * 1024);
    let files = served(ours);
    let asked = Arc::new(Mutex::new(0_u64));
    let (seen, quiet) = (Arc::clone(&asked), Arc::clone(&silent));
    tokio::spawn(async move {
        let (mut received, mut out, mut script) = (BytesMut::new(), BytesMut::new(), honest(linkless));
        loop {
            while let Some(frame) = next_frame(&mut received).unwrap() {
                match decode(frame).unwrap() {
                    Packet::Init { .. } => Reply::version_alone().put(0, &mut out),
                    Packet::Request { id, request } if !*quiet.lock().unwrap() => {
                        script(&request).unwrap().put(id, &mut out)
                    }
                    Packet::Request { .. } => *seen.lock().unwrap() += 1,
                }
            }
            theirs.write_all(&out).await.unwrap();
            out.clear();
            if theirs.read_buf(&mut received).await.unwrap() == 0 {
                return;
            }
        }
    });
    let handle = open(&files, "/f", READ).await.unwrap().handle;
    *silent.lock().unwrap() = true;
    let more = async {
        loop {
            drop(files.issue(Operation::Read { handle, offset: 0, length: LARGEST_READ }).await);
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(2), more).await.is_err());
    // 32 KiB each, of 8 MiB
    assert_eq!(*asked.lock().unwrap(), 256);
}

/// Calls that come as fast as they can leave nothing behind, and are all answered.
#[tokio::test]
async fn calls_without_a_pause_are_all_answered() {
    let (files, _) = scripted(Reply::version(), honest(linkless));
    let mut coming = std::collections::VecDeque::new();
    for round in 0..5000_u32 {
        let operation = match round % 2 {
            0 => Operation::MostOpen { wanted: 1 },
            _ => Operation::Stat { path: b"/f".to_vec() },
        };
        coming.push_back(files.issue(operation).await);
        if coming.len() > 300 {
            assert!(coming.pop_front().unwrap().await.unwrap().is_ok(), "{round}");
        }
    }
    for one in coming {
        assert!(one.await.unwrap().is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_a_server_sends_everybody_is_answered(
        said in proptest::collection::vec(any::<u8>(), 0..200),
        kinds in proptest::collection::vec((prop_oneof![101..=105_u8, Just(201)], 1..9_u32, proptest::collection::vec(any::<u8>(), 0..60)), 0..9),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(4096);
            let files = served(ours);
            let mut out = BytesMut::new();
            Reply::version().put(0, &mut out);
            for (kind, id, body) in &kinds {
                let packet = [&[*kind][..], &id.to_be_bytes(), body].concat();
                out.extend_from_slice(&u32::try_from(packet.len()).unwrap().to_be_bytes());
                out.extend_from_slice(&packet);
            }
            out.extend_from_slice(&said);
            let mut coming = Vec::new();
            for operation in [
                Operation::Open { path: b"/f".to_vec(), flags: READ, mode: None },
                Operation::Stat { path: b"/f".to_vec() },
                Operation::RealPath { path: b"/f".to_vec() },
                Operation::OpenDir { path: b"/".to_vec() },
            ] {
                coming.push(files.issue(operation).await);
            }
            theirs.write_all(&out).await.unwrap();
            theirs.shutdown().await.unwrap();
            for one in coming {
                let answered = tokio::time::timeout(Duration::from_secs(10), one).await;
                assert!(matches!(answered, Ok(Ok(_))), "{answered:?}");
            }
        });
    }
}

/// `cargo test --release over_sftp::tests::mebibytes -- --ignored --nocapture`
#[expect(clippy::print_stdout, reason = "a measurement is there to be read")]
#[ignore = "a measurement"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mebibytes_per_second() {
    const MIB: u64 = 1024 * 1024;
    let (home, _) = real_home();
    for (name, server) in
        [("with extensions", SftpServer::at(home.path())), ("without", SftpServer::without_extensions(home.path()))]
    {
        let files = server.service();
        let handle = open(&files, "big", OpenFlags { read: true, ..MAKE }).await.unwrap().handle;
        let bytes = Bytes::from(noise(256 * 1024));
        let began = std::time::Instant::now();
        let mut coming = Vec::new();
        for at in 0..256 {
            let operation = Operation::Write { handle, offset: at * 256 * 1024, bytes: bytes.clone() };
            coming.push(files.issue(operation).await);
        }
        for one in coming.drain(..) {
            assert_eq!(one.await.unwrap(), Ok(Answer::Done));
        }
        println!("{name}: 64 MiB up, {:.0} MiB/s", 64.0 / began.elapsed().as_secs_f64());
        let began = std::time::Instant::now();
        let mut waiting = std::collections::VecDeque::new();
        for at in 0..128 {
            waiting
                .push_back(files.issue(Operation::Read { handle, offset: at * MIB / 2, length: LARGEST_READ }).await);
            if waiting.len() > 8 {
                assert!(
                    matches!(waiting.pop_front().unwrap().await.unwrap(), Ok(Answer::Bytes(it)) if it.len() == LARGEST_READ as usize)
                );
            }
        }
        for one in waiting {
            assert!(one.await.unwrap().is_ok());
        }
        println!("{name}: 64 MiB down, {:.0} MiB/s", 64.0 / began.elapsed().as_secs_f64());
    }
}
