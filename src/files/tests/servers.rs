//! The real `sftp` and `scp` clients in front of the servers.
//!
//! ```text
//!   sftp, scp ──(-S bridge)──▶ bridge.py ──unix socket──▶ serve_sftp / serve_scp ──▶ local service ──▶ a temporary home
//! ```

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{UnixListener, UnixStream};

use crate::files::*;
use crate::policy::{Action, FileAction, Grant};
use crate::testing::{OperationLog, finish, local_service_under};
use crate::transport::file_service::{FileService, Operation};

/// What happened, as the servers recorded it.
#[derive(Debug, Default)]
pub(in crate::files) struct Events(Mutex<Vec<FileEvent>>);

impl FileEvents for Events {
    fn record(&self, event: FileEvent) -> BoxFuture<'_, Result<(), String>> {
        self.0.lock().unwrap().push(event);
        std::future::ready(Ok(())).boxed()
    }

    fn raise_alerts<'a>(&'a self, _: &'a Grant) -> BoxFuture<'a, Result<(), String>> {
        std::future::ready(Ok(())).boxed()
    }
}

impl Events {
    pub(in crate::files) fn take(&self) -> Vec<FileEvent> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// The event of a finished transfer of the file with this name.
    pub(in crate::files) fn transfer(&self, action: FileAction, name: &str) -> FileEvent {
        let events = self.0.lock().unwrap();
        let found = events.iter().find(|event| {
            event.action == action
                && event.content.is_some()
                && event.real_path.as_ref().unwrap().ends_with(name.as_bytes())
        });
        found.unwrap_or_else(|| panic!("no {action:?} of {name} in {events:#?}")).clone()
    }
}

/// A node with a home, a client with a directory, and the servers between them.
pub(in crate::files) struct FileServers {
    pub(in crate::files) home: TempDir,
    pub(in crate::files) local: TempDir,
    pub(in crate::files) events: Arc<Events>,
    pub(in crate::files) log: OperationLog,
    meeting: TempDir,
}

impl FileServers {
    pub(in crate::files) fn new() -> Self {
        Self::under(|_| Grant::for_test("web-1", Action::Files))
    }

    /// Under a grant that knows the node's home.
    pub(in crate::files) fn under(grant: impl FnOnce(&Path) -> Grant) -> Self {
        let home = tempfile::tempdir().unwrap();
        let grant = grant(&home.path().canonicalize().unwrap());
        let (files, log) = local_service_under(grant, home.path());
        Self::with_service(home, files, log)
    }

    /// In front of another service; `home` is where a test looks for what was done.
    pub(in crate::files) fn with_service(home: TempDir, files: FileService, log: OperationLog) -> Self {
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
    pub(in crate::files) async fn sftp(&self, commands: impl AsRef<[u8]>) -> Output {
        self.sftp_with(&[], commands).await
    }

    pub(in crate::files) async fn sftp_with(&self, options: &[&str], commands: impl AsRef<[u8]>) -> Output {
        let batch = self.meeting.path().join("batch");
        fs::write(&batch, commands.as_ref()).unwrap();
        let mut arguments: Vec<OsString> = options.iter().map(OsString::from).collect();
        arguments.extend(["-q".into(), "-b".into(), batch.into_os_string(), "demo".into()]);
        self.run("sftp", arguments).await
    }

    /// Runs `scp` in the local directory.
    pub(in crate::files) async fn scp(&self, arguments: &[&str]) -> Output {
        self.run("scp", arguments.iter().map(OsString::from).collect()).await
    }

    pub(in crate::files) async fn run(&self, program: &str, arguments: Vec<OsString>) -> Output {
        let mut client = tokio::process::Command::new(program);
        client.arg("-S").arg(self.bridge()).args(arguments).current_dir(self.local.path());
        client.env("BRIDGE_SOCKET", self.socket()).env("TZ", "UTC");
        client.stdin(Stdio::null()).kill_on_drop(true);
        finish(client).await
    }

    /// What stands in for `ssh`; it finds the servers by the socket in `BRIDGE_SOCKET`.
    pub(in crate::files) fn bridge(&self) -> PathBuf {
        self.meeting.path().join("bridge")
    }

    pub(in crate::files) fn socket(&self) -> PathBuf {
        self.meeting.path().join("socket")
    }

    /// A file on the node.
    pub(in crate::files) fn remote(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.home.path().join(name.as_ref())
    }

    /// A file on the client's machine.
    pub(in crate::files) fn here(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.local.path().join(name.as_ref())
    }

    /// The operations since the last time, by name, reads and writes left out.
    pub(in crate::files) fn reads_and_writes(&self) -> (usize, usize) {
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        let reads = log.iter().filter(|operation| matches!(operation, Operation::Read { .. })).count();
        let writes = log.iter().filter(|operation| matches!(operation, Operation::Write { .. })).count();
        (reads, writes)
    }
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
    try:
        while data:
            data = data[os.write(1, data):]
    except BrokenPipeError:
        # whoever asked has gone, and ssh would say nothing either
        os._exit(255)
"#;
