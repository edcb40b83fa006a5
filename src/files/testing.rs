//! A node's file service on the local file system, and the real `sftp` and `scp` clients in front of the servers.
//!
//! ```text
//!   sftp, scp ──(-S bridge)──▶ bridge.py ──unix socket──▶ serve_sftp / serve_scp ──▶ local service ──▶ a temporary home
//! ```

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::*;
use crate::policy::{Action, FileAction, Grant};
use crate::transport::file_service::{
    Answer, Attributes, Call, Entry, FileError, FileService, FileSystem, Handle, Opened, Operation,
};

/// What happened, as the servers recorded it.
#[derive(Debug, Default)]
pub(super) struct Events(Mutex<Vec<FileEvent>>);

impl FileEvents for Events {
    fn record(&self, event: FileEvent) -> BoxFuture<'_, Result<(), String>> {
        self.0.lock().unwrap().push(event);
        std::future::ready(Ok(())).boxed()
    }
}

impl Events {
    pub(super) fn take(&self) -> Vec<FileEvent> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// The event of a finished transfer of the file with this name.
    pub(super) fn transfer(&self, action: FileAction, name: &str) -> FileEvent {
        let events = self.0.lock().unwrap();
        let found = events.iter().find(|event| {
            event.action == action
                && event.content.is_some()
                && event.real_path.as_ref().unwrap().ends_with(name.as_bytes())
        });
        found.unwrap_or_else(|| panic!("no {action:?} of {name} in {events:#?}")).clone()
    }
}

/// The operations that a local service has carried out.
pub(crate) type Log = Arc<Mutex<Vec<Operation>>>;

/// Carries out operations on this machine; relative paths start at `home`. Names that contain `forbidden` are refused.
pub(crate) fn local_service(home: &Path) -> (FileService, Log) {
    local_service_under(Grant::for_test("web-1", Action::Files), home)
}

/// The same under a grant of the test's own.
fn local_service_under(grant: Grant, home: &Path) -> (FileService, Log) {
    let (operations, mut calls) = mpsc::channel::<Call>(32);
    let log = Log::default();
    let mut local = Local { home: home.to_owned(), open: HashMap::new(), last: 0 };
    let seen = Arc::clone(&log);
    tokio::task::spawn_blocking(move || {
        while let Some((operation, answer)) = calls.blocking_recv() {
            // contents would only take memory
            seen.lock().unwrap().push(match &operation {
                Operation::Write { handle, offset, .. } => {
                    Operation::Write { handle: *handle, offset: *offset, bytes: Default::default() }
                }
                other => other.clone(),
            });
            let result = local.carry_out(operation).map_err(|error| {
                let errno = error.raw_os_error().unwrap_or(5);
                let message = io::Error::from_raw_os_error(errno).to_string();
                let message = message.split(" (os error").next().unwrap().to_owned();
                FileError::Node { errno, message }
            });
            let _ = answer.send(result);
        }
    });
    (FileService::under(grant, operations), log)
}

struct Local {
    home: PathBuf,
    open: HashMap<u32, Open>,
    last: u32,
}

enum Open {
    File(File, bool),
    Directory(PathBuf, Vec<Entry>),
}

impl Local {
    fn carry_out(&mut self, operation: Operation) -> io::Result<Answer> {
        match operation {
            Operation::Open { path, flags, mode } => {
                let mut how = OpenOptions::new();
                how.read(flags.read).write(flags.write).append(flags.append).mode(mode.unwrap_or(0o666));
                // the standard library takes care of combinations that open(2) allows
                let mut bits = 0o4000;
                for (set, bit) in [(flags.create, 0o100), (flags.exclusive, 0o200), (flags.truncate, 0o1000)] {
                    bits |= if set { bit } else { 0 };
                }
                let file = how.custom_flags(bits).open(self.path(&path)?)?;
                if file.metadata()?.is_dir() {
                    return Err(io::Error::from_raw_os_error(21));
                }
                self.opened(Open::File(file, flags.append))
            }
            Operation::OpenDir { path } => {
                let path = fs::canonicalize(self.path(&path)?)?;
                let mut entries = vec![entry(b".", &path)?, entry(b"..", &path.join(".."))?];
                for found in fs::read_dir(&path)? {
                    let found = found?;
                    entries.push(entry(found.file_name().as_bytes(), &found.path())?);
                }
                self.opened(Open::Directory(path, entries))
            }
            Operation::ReadDir { handle } => match self.open.get_mut(&handle.0) {
                Some(Open::Directory(_, entries)) => {
                    Ok(Answer::Entries(entries.drain(..entries.len().min(100)).collect()))
                }
                _ => Err(io::Error::from_raw_os_error(9)),
            },
            Operation::Read { handle, offset, length } => {
                let mut bytes = vec![0; length as usize];
                let mut file = self.file(handle)?;
                let mut got = 0;
                while got < bytes.len() {
                    match file.read_at(&mut bytes[got..], offset + got as u64) {
                        Ok(0) => break,
                        Ok(more) => got += more,
                        Err(error) if error.raw_os_error() == Some(29) => {
                            got += file.read(&mut bytes[got..])?;
                            break;
                        }
                        Err(error) => return Err(error),
                    }
                }
                bytes.truncate(got);
                Ok(Answer::Bytes(bytes.into()))
            }
            Operation::Write { handle, offset, bytes } => {
                let append = matches!(self.open.get(&handle.0), Some(Open::File(_, true)));
                let mut file = self.file(handle)?;
                if append {
                    file.seek(io::SeekFrom::End(0))?;
                    file.write_all(&bytes)?;
                } else {
                    file.write_all_at(&bytes, offset)?;
                }
                Ok(Answer::Done)
            }
            Operation::Close { handle } => {
                self.open.remove(&handle.0).map(|_| Answer::Done).ok_or(io::Error::from_raw_os_error(9))
            }
            Operation::Stat { path } => Ok(Answer::Attributes(attributes(&fs::metadata(self.path(&path)?)?))),
            Operation::Lstat { path } => Ok(Answer::Attributes(attributes(&fs::symlink_metadata(self.path(&path)?)?))),
            Operation::Fstat { handle } => match self.open.get(&handle.0) {
                Some(Open::File(file, _)) => Ok(Answer::Attributes(attributes(&file.metadata()?))),
                Some(Open::Directory(path, _)) => Ok(Answer::Attributes(attributes(&fs::metadata(path)?))),
                None => Err(io::Error::from_raw_os_error(9)),
            },
            Operation::SetStat { path, attributes } => change(&self.path(&path)?, &attributes, true),
            Operation::LsetStat { path, attributes } => change(&self.path(&path)?, &attributes, false),
            Operation::FsetStat { handle, attributes } => {
                let file = self.file(handle)?;
                if let Some(size) = attributes.size {
                    file.set_len(size)?;
                }
                let rest = Attributes { size: None, ..attributes };
                let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
                change(Path::new(&path), &rest, true)
            }
            Operation::Remove { path } => fs::remove_file(self.path(&path)?).map(|()| Answer::Done),
            Operation::MakeDir { path, mode } => {
                fs::DirBuilder::new().mode(mode).create(self.path(&path)?).map(|()| Answer::Done)
            }
            Operation::RemoveDir { path } => fs::remove_dir(self.path(&path)?).map(|()| Answer::Done),
            Operation::RealPath { path } => self.real_path(&path),
            Operation::ExpandPath { path } => match path.strip_prefix(b"~") {
                None => self.real_path(&path),
                Some(rest) if rest.is_empty() || rest[0] == b'/' => {
                    let mut expanded = self.home.as_os_str().as_bytes().to_vec();
                    expanded.extend(rest);
                    self.real_path(&expanded)
                }
                Some(_) => Err(io::Error::from_raw_os_error(2)),
            },
            Operation::Rename { from, to, replace } => {
                let to = self.path(&to)?;
                if !replace && to.symlink_metadata().is_ok() {
                    return Err(io::Error::from_raw_os_error(17));
                }
                fs::rename(self.path(&from)?, to).map(|()| Answer::Done)
            }
            Operation::ReadLink { path } => {
                Ok(Answer::Path(fs::read_link(self.path(&path)?)?.into_os_string().into_vec()))
            }
            Operation::Symlink { target, path } => {
                std::os::unix::fs::symlink(OsStr::from_bytes(&target), self.path(&path)?).map(|()| Answer::Done)
            }
            Operation::Link { from, to } => fs::hard_link(self.path(&from)?, self.path(&to)?).map(|()| Answer::Done),
            Operation::Fsync { handle } => self.file(handle)?.sync_all().map(|()| Answer::Done),
            Operation::FileSystem { path } => figures(rustix::fs::statvfs(&self.path(&path)?)?),
            Operation::FileSystemOf { handle } => figures(rustix::fs::fstatvfs(self.file(handle)?)?),
        }
    }

    fn path(&self, path: &[u8]) -> io::Result<PathBuf> {
        if path.is_empty() {
            return Err(io::Error::from_raw_os_error(2));
        }
        if path.windows(9).any(|part| part == b"forbidden") {
            return Err(io::Error::from_raw_os_error(13));
        }
        Ok(self.home.join(OsStr::from_bytes(path)))
    }

    fn real_path(&self, path: &[u8]) -> io::Result<Answer> {
        let path = self.path(path)?;
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(_) => {
                let name = path.file_name().ok_or(io::Error::from_raw_os_error(2))?;
                path.parent().ok_or(io::Error::from_raw_os_error(2))?.canonicalize()?.join(name)
            }
        };
        Ok(Answer::Path(real.into_os_string().into_vec()))
    }

    fn opened(&mut self, open: Open) -> io::Result<Answer> {
        let real_path = match &open {
            Open::File(file, _) => {
                fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file)))?.into_os_string()
            }
            Open::Directory(path, _) => path.clone().into_os_string(),
        };
        self.last += 1;
        self.open.insert(self.last, open);
        Ok(Answer::Opened(Opened { handle: Handle(self.last), real_path: real_path.into_vec() }))
    }

    fn file(&self, handle: Handle) -> io::Result<&File> {
        match self.open.get(&handle.0) {
            Some(Open::File(file, _)) => Ok(file),
            _ => Err(io::Error::from_raw_os_error(9)),
        }
    }
}

fn change(path: &Path, wanted: &Attributes, follow: bool) -> io::Result<Answer> {
    if let Some(size) = wanted.size {
        OpenOptions::new().write(true).open(path)?.set_len(size)?;
    }
    if let Some(mode) = wanted.mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    if let Some((accessed, modified)) = wanted.times {
        let spec = |seconds: u64| rustix::fs::Timespec { tv_sec: i64::try_from(seconds).unwrap(), tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: spec(accessed), last_modification: spec(modified) };
        let flags = if follow { rustix::fs::AtFlags::empty() } else { rustix::fs::AtFlags::SYMLINK_NOFOLLOW };
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags)?;
    }
    if let Some((user, group)) = wanted.owner {
        match follow {
            true => std::os::unix::fs::chown(path, Some(user), Some(group))?,
            false => std::os::unix::fs::lchown(path, Some(user), Some(group))?,
        }
    }
    Ok(Answer::Done)
}

fn entry(name: &[u8], path: &Path) -> io::Result<Entry> {
    let found = fs::symlink_metadata(path)?;
    Ok(Entry {
        name: name.to_vec(),
        attributes: attributes(&found),
        links: u32::try_from(found.nlink()).unwrap(),
        owner_names: ("ada".to_owned(), "staff".to_owned()),
    })
}

fn attributes(found: &Metadata) -> Attributes {
    let seconds = |seconds: i64| u64::try_from(seconds).unwrap_or_default();
    Attributes {
        size: Some(found.len()),
        owner: Some((found.uid(), found.gid())),
        mode: Some(found.mode()),
        times: Some((seconds(found.atime()), seconds(found.mtime()))),
    }
}

fn figures(found: rustix::fs::StatVfs) -> io::Result<Answer> {
    let fields = [
        found.f_bsize,
        found.f_frsize,
        found.f_blocks,
        found.f_bfree,
        found.f_bavail,
        found.f_files,
        found.f_ffree,
        found.f_favail,
        found.f_fsid,
        found.f_flag.bits(),
        found.f_namemax,
    ];
    Ok(Answer::FileSystem(FileSystem { fields }))
}

/// A node with a home, a client with a directory, and the servers between them.
pub(super) struct Bench {
    pub(super) home: TempDir,
    pub(super) local: TempDir,
    pub(super) events: Arc<Events>,
    pub(super) log: Log,
    meeting: TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::under(|_| Grant::for_test("web-1", Action::Files))
    }

    /// Under a grant that knows the node's home.
    pub(super) fn under(grant: impl FnOnce(&Path) -> Grant) -> Self {
        let home = tempfile::tempdir().unwrap();
        let grant = grant(&home.path().canonicalize().unwrap());
        let (files, log) = local_service_under(grant, home.path());
        Self::with_service(home, files, log)
    }

    /// In front of another service; `home` is where a test looks for what was done.
    pub(super) fn with_service(home: TempDir, files: FileService, log: Log) -> Self {
        let [local, meeting] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let events = Arc::new(Events::default());
        let ledger = FileLedger { events: Arc::clone(&events) as Arc<dyn FileEvents> };
        let bridge = meeting.path().join("bridge");
        fs::write(&bridge, BRIDGE).unwrap();
        fs::set_permissions(&bridge, fs::Permissions::from_mode(0o755)).unwrap();
        let listener = UnixListener::bind(meeting.path().join("socket")).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve_bridge(stream, files.clone(), ledger.clone()));
            }
        });
        Self { home, local, events, log, meeting }
    }

    /// Runs `sftp` with these commands, in the local directory.
    pub(super) async fn sftp(&self, commands: impl AsRef<[u8]>) -> Output {
        self.sftp_with(&[], commands).await
    }

    pub(super) async fn sftp_with(&self, options: &[&str], commands: impl AsRef<[u8]>) -> Output {
        let batch = self.meeting.path().join("batch");
        fs::write(&batch, commands.as_ref()).unwrap();
        let mut arguments: Vec<OsString> = options.iter().map(OsString::from).collect();
        arguments.extend(["-q".into(), "-b".into(), batch.into_os_string(), "demo".into()]);
        self.run("sftp", arguments).await
    }

    /// Runs `scp` in the local directory.
    pub(super) async fn scp(&self, arguments: &[&str]) -> Output {
        self.run("scp", arguments.iter().map(OsString::from).collect()).await
    }

    pub(super) async fn run(&self, program: &str, arguments: Vec<OsString>) -> Output {
        let child = tokio::process::Command::new(program)
            .arg("-S")
            .arg(self.meeting.path().join("bridge"))
            .args(arguments)
            .current_dir(self.local.path())
            .env("BRIDGE_SOCKET", self.meeting.path().join("socket"))
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        tokio::time::timeout(Duration::from_secs(60), child).await.expect("the client hangs").unwrap()
    }

    /// A file on the node.
    pub(super) fn remote(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.home.path().join(name.as_ref())
    }

    /// A file on the client's machine.
    pub(super) fn here(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.local.path().join(name.as_ref())
    }

    /// The operations since the last time, by name, reads and writes left out.
    pub(super) fn reads_and_writes(&self) -> (usize, usize) {
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        let reads = log.iter().filter(|operation| matches!(operation, Operation::Read { .. })).count();
        let writes = log.iter().filter(|operation| matches!(operation, Operation::Write { .. })).count();
        (reads, writes)
    }
}

/// Fails with what the client said, unless it was content.
#[track_caller]
pub(super) fn content(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{:?}: {}{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Fails if the client was content; gives what it said otherwise.
#[track_caller]
pub(super) fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{text}");
    text
}

/// Bytes that don't repeat early.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A time that is not now.
pub(super) fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

async fn serve_bridge(mut stream: UnixStream, files: FileService, ledger: FileLedger) {
    let length = stream.read_u32().await.unwrap();
    let mut command = vec![0; length as usize];
    stream.read_exact(&mut command).await.unwrap();
    let (ours, theirs) = tokio::io::duplex(256 * 1024);
    let serving = async move {
        match &command[..] {
            b"sftp" => serve_sftp(theirs, files, ledger).await.map_or_else(complain, |()| 0),
            _ => match parse_scp_command(&command) {
                Some(command) => serve_scp(theirs, command, files, ledger).await.unwrap_or_else(complain),
                None => 127,
            },
        }
    };
    let (code, ()) = tokio::join!(serving, carry(ours, &mut stream));
    let _ = stream.write_all(&[b'x', 0, 0, 0, u8::try_from(code).unwrap_or(255)]).await;
}

fn complain(error: FilesError) -> i32 {
    tracing::error!("{error}");
    255
}

/// Carries bytes between a server and the bridge until the server is done.
async fn carry(ours: DuplexStream, stream: &mut UnixStream) {
    let (mut from_server, mut to_server) = tokio::io::split(ours);
    let (mut from_bridge, mut to_bridge) = stream.split();
    let up = async {
        let _ = tokio::io::copy(&mut from_bridge, &mut to_server).await;
        let _ = to_server.shutdown().await;
        std::future::pending::<()>().await;
    };
    let down = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut bytes).await {
            let header = [b"d", &u32::try_from(length).unwrap().to_be_bytes()[..]].concat();
            if to_bridge.write_all(&header).await.is_err() || to_bridge.write_all(&bytes[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Stands in for `ssh`: passes the command on, then bytes both ways, then the exit code.
const BRIDGE: &str = r#"#!/usr/bin/env python3
import os, socket, struct, sys, threading
words = sys.argv[sys.argv.index("--") + 2:]
command = b" ".join(map(os.fsencode, words))
server = socket.socket(socket.AF_UNIX)
server.connect(os.environ["BRIDGE_SOCKET"])
server.sendall(struct.pack(">I", len(command)) + command)

def up():
    while True:
        data = os.read(0, 65536)
        if not data:
            break
        server.sendall(data)
    server.shutdown(socket.SHUT_WR)

threading.Thread(target=up, daemon=True).start()
answers = server.makefile("rb")
while True:
    header = answers.read(5)
    if len(header) < 5:
        os._exit(255)
    kind, length = struct.unpack(">cI", header)
    if kind == b"x":
        os._exit(length)
    data = answers.read(length)
    while data:
        data = data[os.write(1, data):]
"#;
