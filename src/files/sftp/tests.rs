//! The real `sftp` and `scp` in front of the server, and a client of our own for what they never do.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::serve_sftp;
use crate::files::tests::servers::{Events, FileServers};
use crate::files::{FileEvent, FileEvents, FileLedger, FilesError, Hashed, Outcome};
use crate::model::{ReasonText, RefusalCode};
use crate::policy::{Action, FileAction, Grant};
use crate::testing::{complaint, content, local_service, long_ago, noise};
use crate::transport::file_service::sftp::encode::encode;
use crate::transport::file_service::sftp::packet::{Packet, Request, next_frame};
use crate::transport::file_service::{
    Answer, Attributes, Call, FileError, FileService, Handle, OpenFlags, Opened, Operation,
};

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_up_and_down_unchanged_and_are_hashed() {
    let servers = FileServers::new();
    for (name, length) in [("empty", 0), ("one", 1), ("odd", 1_234_567), ("even", 4 << 20)] {
        let bytes = noise(length);
        fs::write(servers.here(name), &bytes).unwrap();
        content(&servers.sftp(format!("put {name} up-{name}\nget up-{name} back-{name}\n")).await);
        assert!(fs::read(servers.remote(format!("up-{name}"))).unwrap() == bytes, "{name} up");
        assert!(fs::read(servers.here(format!("back-{name}"))).unwrap() == bytes, "{name} down");
        for action in [FileAction::Upload, FileAction::Download] {
            let event = servers.events.transfer(action, &format!("up-{name}"));
            let moved = event.content.unwrap();
            assert_eq!((moved.bytes, moved.hashed), (length as u64, Hashed::Whole(sha256(&bytes))), "{action:?}");
            assert_eq!(event.outcome, Outcome::Done);
        }
        servers.events.take();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_requests_become_few_operations() {
    let servers = FileServers::new();
    let bytes = noise(8 << 20);
    fs::write(servers.here("big"), &bytes).unwrap();
    // 256 requests of 32 KiB each way
    content(&servers.sftp_with(&["-B", "32768", "-R", "64"], "put big\n").await);
    let (_, writes) = servers.reads_and_writes();
    content(&servers.sftp_with(&["-B", "32768", "-R", "64"], "get big back\n").await);
    let (reads, _) = servers.reads_and_writes();
    assert!(fs::read(servers.here("back")).unwrap() == bytes);
    assert!(writes < 200, "{writes} writes");
    assert!(reads < 70, "{reads} reads");
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_go_both_ways_with_modes_and_times() {
    let servers = FileServers::new();
    fs::create_dir_all(servers.here("tree/sub/empty")).unwrap();
    for (name, mode) in [("tree/a", 0o640), ("tree/sub/b", 0o755)] {
        fs::write(servers.here(name), name).unwrap();
        fs::set_permissions(servers.here(name), fs::Permissions::from_mode(mode)).unwrap();
        fs::File::options().write(true).open(servers.here(name)).unwrap().set_modified(long_ago()).unwrap();
    }
    content(&servers.sftp("put -R -p tree\nget -R -p tree back\n").await);
    for top in [servers.remote("tree"), servers.here("back")] {
        for (name, mode) in [("a", 0o640), ("sub/b", 0o755)] {
            let found = top.join(name).metadata().unwrap();
            assert_eq!(found.permissions().mode() & 0o7777, mode, "{name}");
            assert_eq!(found.modified().unwrap(), long_ago(), "{name}");
            assert_eq!(fs::read_to_string(top.join(name)).unwrap(), format!("tree/{name}"));
        }
        assert!(top.join("sub/empty").is_dir());
    }
    // scp speaks SFTP, too, unless told otherwise
    content(&servers.scp(&["-r", "-p", "tree", "demo:by-scp"]).await);
    content(&servers.scp(&["-r", "-p", "demo:by-scp", "back-by-scp"]).await);
    assert_eq!(fs::read_to_string(servers.here("back-by-scp/sub/b")).unwrap(), "tree/sub/b");
    assert_eq!(servers.here("back-by-scp/a").metadata().unwrap().modified().unwrap(), long_ago());
    content(&servers.scp(&["demo:~/tree/a", "home"]).await);
    assert_eq!(fs::read_to_string(servers.here("home")).unwrap(), "tree/a");
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_resume_where_they_stopped() {
    let servers = FileServers::new();
    let bytes = noise(3_000_000);
    fs::write(servers.here("file"), &bytes).unwrap();
    fs::write(servers.remote("file"), &bytes[..1_000_001]).unwrap();
    content(&servers.sftp("reput file\n").await);
    assert!(fs::read(servers.remote("file")).unwrap() == bytes);
    let event = servers.events.transfer(FileAction::Upload, "file");
    let part = Hashed::Part { offset: 1_000_001, sha256: sha256(&bytes[1_000_001..]) };
    assert_eq!(event.content.unwrap().hashed, part);

    fs::write(servers.here("file"), &bytes[..2_000_003]).unwrap();
    content(&servers.sftp("reget file\n").await);
    assert!(fs::read(servers.here("file")).unwrap() == bytes);
    let event = servers.events.transfer(FileAction::Download, "file");
    let part = Hashed::Part { offset: 2_000_003, sha256: sha256(&bytes[2_000_003..]) };
    assert_eq!(event.content.unwrap().hashed, part);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_bytes() {
    let servers = FileServers::new();
    let names: [&[u8]; 6] =
        [b"with space", b"it's \"quoted\"", b"new\nline", b"latin-\xe9\xff", b"$HOME;`id`*?[x]", "ünï-日本".as_bytes()];
    for name in names {
        let name = OsStr::from_bytes(name);
        fs::write(servers.here(name), name.as_bytes()).unwrap();
        let target = [b"demo:".to_vec(), b"up-".to_vec(), name.as_bytes().to_vec()].concat();
        let output = servers.run("scp", vec!["--".into(), Path::new(".").join(name).into(), os(&target)]).await;
        content(&output);
        let up = [b"up-", name.as_bytes()].concat();
        assert_eq!(fs::read(servers.remote(OsStr::from_bytes(&up))).unwrap(), name.as_bytes());
    }
    content(&servers.sftp("get -R . all\n").await);
    for name in names {
        let path = servers.here("all").join(OsStr::from_bytes(&[b"up-", name].concat()));
        assert_eq!(fs::read(path).unwrap(), name);
    }
}

fn os(bytes: &[u8]) -> std::ffi::OsString {
    OsStr::from_bytes(bytes).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_can_be_made_changed_listed_and_removed() {
    let servers = FileServers::new();
    fs::write(servers.remote("file"), "content").unwrap();
    fs::set_permissions(servers.remote("file"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::File::options().write(true).open(servers.remote("file")).unwrap().set_modified(long_ago()).unwrap();
    let said = content(
        &servers.sftp("mkdir dir\nrename file dir/moved\nln -s moved dir/link\nln dir/moved hard\nls -la dir\n").await,
    );
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("sftp>")).collect();
    assert!(lines.iter().any(|line| line.starts_with("drwx") && line.ends_with(" dir/.")), "{said}");
    assert!(
        // the client's own line, with the names that the server knows
        lines.iter().any(|line| line.starts_with("-rw-r-----    ? u") && line.ends_with(" 7 Sep  9  2001 dir/moved")),
        "{said}"
    );
    assert!(lines.iter().any(|line| line.starts_with("lrwxrwxrwx") && line.ends_with(" dir/link")), "{said}");
    assert_eq!(fs::read_link(servers.remote("dir/link")).unwrap(), Path::new("moved"));
    assert_eq!(servers.remote("hard").metadata().unwrap().nlink(), 2);

    content(&servers.sftp("chmod 600 hard\nrm dir/link\nrm dir/moved\nrmdir dir\n").await);
    assert_eq!(servers.remote("hard").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!servers.remote("dir").exists());
    let events = servers.events.take();
    let done: Vec<_> = events.iter().filter(|event| event.outcome == Outcome::Done).collect();
    let removed: Vec<_> = done.iter().filter(|event| event.action == FileAction::Remove).collect();
    let real = servers.home.path().canonicalize().unwrap().join("dir/link");
    assert_eq!(removed[0].real_path.as_deref(), Some(real.as_os_str().as_bytes()), "the link, not what it leads to");
    let renamed = done.iter().find(|event| event.action == FileAction::Rename).unwrap();
    assert!(renamed.second_real.as_ref().unwrap().ends_with(b"/dir/moved"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_big_directory_is_listed_whole() {
    let servers = FileServers::new();
    for number in 0..3000 {
        fs::write(servers.remote(format!("a-file-with-a-name-that-takes-some-room-{number:04}")), "").unwrap();
    }
    let said = content(&servers.sftp("ls -1\n").await);
    assert_eq!(said.lines().filter(|line| line.starts_with("a-file")).count(), 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_system_has_figures_and_writes_can_be_synced() {
    let servers = FileServers::new();
    let said = content(&servers.sftp("df\ndf -h .\npwd\n").await);
    assert!(said.contains("Avail") && said.contains('%'), "{said}");
    fs::write(servers.here("file"), "x").unwrap();
    content(&servers.sftp("put -f file\n").await);
    let events = servers.events.take();
    assert!(events.iter().any(|event| event.action == FileAction::Sync && event.outcome == Outcome::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_made_on_the_node_and_recorded_as_such() {
    let servers = FileServers::new();
    let bytes = noise(10_000_000);
    fs::write(servers.remote("from"), &bytes).unwrap();
    content(&servers.sftp("cp from to\n").await);
    assert!(fs::read(servers.remote("to")).unwrap() == bytes);
    let (reads, writes) = servers.reads_and_writes();
    assert_eq!((reads, writes), (0, 0), "nothing of it went over the lanes");
    for (action, name) in [(FileAction::Download, "/from"), (FileAction::Upload, "/to")] {
        let moved = servers.events.transfer(action, name).content.unwrap();
        assert_eq!((moved.bytes, moved.hashed), (10_000_000, Hashed::No), "{action:?}");
    }
    let events = servers.events.take();
    let copies: Vec<_> = events.iter().filter(|event| event.action == FileAction::Copy).collect();
    assert_eq!(copies.iter().map(|event| &event.outcome).collect::<Vec<_>>(), [&Outcome::Asked, &Outcome::Done]);
    assert!(copies[1].real_path.as_ref().unwrap().ends_with(b"/from"));
    assert!(copies[1].second_real.as_ref().unwrap().ends_with(b"/to"));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_named_as_usual() {
    let servers = FileServers::new();
    fs::create_dir(servers.remote("full")).unwrap();
    symlink("/dev/full", servers.remote("full/device")).unwrap();
    fs::write(servers.here("file"), noise(100_000)).unwrap();
    for (commands, words) in [
        ("get nothing\n", "not found"),
        ("put file no/where\n", "No such file or directory"),
        ("put file forbidden\n", "Permission denied"),
        ("rm nothing\n", "No such file or directory"),
        ("mkdir full\n", "Failure"),
        ("rmdir full\n", "Failure"),
        ("put file full/device\n", "Failure"),
        ("cd nowhere\n", "No such file or directory"),
        ("get full/.. x\n", "not a regular file"),
    ] {
        let said = complaint(&servers.sftp(commands).await);
        assert!(said.contains(words), "{commands}: {said}");
    }
    let failed = servers.events.take();
    let failed = failed.iter().find(|event| matches!(event.outcome, Outcome::Failed { errno: Some(13), .. }));
    assert_eq!(failed.unwrap().path.rsplit(|&b| b == b'/').next().unwrap(), b"forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_asked_about_the_path_that_is_meant() {
    let servers = FileServers::under(|home| Grant::for_files_but(FileAction::Upload, home.join("safe")));
    fs::create_dir(servers.remote("safe")).unwrap();
    fs::create_dir(servers.remote("open")).unwrap();
    symlink("../safe", servers.remote("open/door")).unwrap();
    fs::write(servers.remote("safe/precious"), "do not empty").unwrap();
    symlink("../safe/precious", servers.remote("open/alias")).unwrap();
    fs::write(servers.here("file"), "new").unwrap();
    for path in ["safe/precious", "safe/new", "open/../safe/new", "open/door/new", "open/alias", "open//door//new"] {
        let said = complaint(&servers.sftp(format!("put file {path}\n")).await);
        assert!(said.contains("Permission denied"), "{path}: {said}");
    }
    assert_eq!(fs::read_to_string(servers.remote("safe/precious")).unwrap(), "do not empty");
    assert!(!servers.remote("safe/new").exists());
    content(&servers.sftp("put file open/fine\nget safe/precious\n").await);
    // nor by the back door
    for commands in ["rename open/fine safe/x", "rename open/fine open/door/x", "ln open/fine safe/x"] {
        let said = complaint(&servers.sftp(commands).await);
        assert!(said.contains("Permission denied"), "{commands}: {said}");
    }
    assert_eq!(fs::read_dir(servers.remote("safe")).unwrap().count(), 1);
    let denied = servers.events.take();
    let denied = denied.iter().filter(|event| matches!(event.outcome, Outcome::Denied(_))).count();
    assert_eq!(denied, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_uploaded_in_a_session_than_the_policy_lets() {
    let policies = "@id(\"little\") @upload_limit(\"64KiB\") permit (principal, action, resource);";
    let servers = FileServers::under(|_| Grant::under(policies, "tester", "web-1", Action::Files));
    fs::write(servers.here("large"), vec![b'x'; 100 << 10]).unwrap();
    fs::write(servers.here("small"), vec![b'x'; 40 << 10]).unwrap();
    let refused = servers.sftp("put large\n").await;
    let said = complaint(&refused);
    assert!(said.contains("Permission denied"), "{said}");
    assert!(fs::metadata(servers.remote("large")).unwrap().len() <= 64 << 10);
    let denied: Vec<_> = servers.events.take();
    let denied: Vec<_> = denied.iter().filter(|event| matches!(event.outcome, Outcome::Denied(_))).collect();
    assert_eq!(denied.len(), 1, "once, and not for every write: {denied:#?}");
    let Outcome::Denied(denial) = &denied[0].outcome else { panic!("{denied:?}") };
    let why = "denied by policy \"little\": no more than 65536 bytes may be uploaded in a session; \
               open another one for the rest";
    assert_eq!((denial.code, denial.text.as_str()), (RefusalCode::UploadLimit, why));
    // another session has its own
    content(&servers.sftp("put small\n").await);
    let said = complaint(&servers.sftp("put small one\nput small two\n").await);
    assert!(said.contains("Permission denied") && servers.remote("one").exists(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_policy_lets_as_much_be_uploaded_as_it_says_itself() {
    let servers = FileServers::under(|home| {
        let policies = format!(
            "@id(\"all\") @upload_limit(\"100KiB\") permit (principal, action, resource);\n\
             @id(\"spool\") @upload_limit(\"48KiB\") permit (principal, action == Action::\"Upload\", resource)\n\
             when {{ context.path like {:?} }};",
            format!("{}/spool/*", home.display()),
        );
        Grant::under(&policies, "tester", "web-1", Action::Files)
    });
    fs::create_dir(servers.remote("spool")).unwrap();
    fs::write(servers.here("file"), vec![b'x'; 40 << 10]).unwrap();
    // what is uploaded elsewhere takes nothing of what the spool may have
    content(&servers.sftp("put file one\nput file spool/one\n").await);
    let why = |servers: &FileServers| {
        let denied = servers.events.take().into_iter().find_map(|event| match event.outcome {
            Outcome::Denied(denial) => Some(denial.text),
            _ => None,
        });
        denied.unwrap()
    };
    let said = complaint(&servers.sftp("put file spool/two\nput file spool/three\n").await);
    assert!(said.contains("Permission denied"), "{said}");
    assert!(why(&servers).starts_with("denied by policy \"spool\": no more than 49152 bytes"));
    // and what goes there is part of all
    let said = complaint(&servers.sftp("put file two\nput file spool/four\nput file three\n").await);
    assert!(said.contains("Permission denied"), "{said}");
    assert!(why(&servers).starts_with("denied by policy \"all\": no more than 102400 bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_for_which_a_reason_is_wanted_needs_one() {
    let policies = "@id(\"all\") permit (principal, action, resource) unless { action == Action::\"Remove\" };\n\
                    @id(\"tidy\") @reason(\"a ticket\") permit (principal, action == Action::\"Remove\", resource);";
    let grant = |_: &Path| Grant::under(policies, "tester", "web-1", Action::Files);
    let servers = FileServers::under(grant);
    fs::write(servers.remote("old"), "x").unwrap();
    let said = complaint(&servers.sftp("rm old\n").await);
    assert!(said.contains("Permission denied") && servers.remote("old").exists(), "{said}");
    let denied = servers.events.take();
    let denied = denied.iter().find_map(|event| match &event.outcome {
        Outcome::Denied(denial) => Some(denial.code),
        _ => None,
    });
    assert_eq!(denied, Some(RefusalCode::ReasonNeeded));
    let servers = FileServers::under(|home| grant(home).because(ReasonText::new("INC-1").unwrap()));
    fs::write(servers.remote("old"), "x").unwrap();
    content(&servers.sftp("rm old\n").await);
    assert!(!servers.remote("old").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_downloaded_may_not_be_moved_or_linked_out() {
    let servers = FileServers::under(|home| Grant::for_files_but(FileAction::Download, home.join("safe")));
    fs::create_dir(servers.remote("safe")).unwrap();
    fs::write(servers.remote("safe/secret"), "secret").unwrap();
    symlink("safe", servers.remote("door")).unwrap();
    for commands in ["get door/secret x", "rename safe/secret x", "ln door/secret x", "ln -s safe/secret y\nget y"] {
        let said = complaint(&servers.sftp(commands).await);
        assert!(said.contains("Permission denied"), "{commands}: {said}");
    }
    assert!(servers.remote("safe/secret").exists() && !servers.remote("x").exists() && !servers.here("y").exists());
}

/// A client that sends what it likes.
pub(super) struct Client {
    stream: DuplexStream,
    received: BytesMut,
    last: u32,
}

impl Client {
    pub(super) async fn new(files: FileService, events: &Arc<Events>) -> (Self, JoinHandle<Result<(), FilesError>>) {
        Self::recorded_by(files, Arc::clone(events) as _).await
    }

    async fn recorded_by(
        files: FileService,
        events: Arc<dyn FileEvents>,
    ) -> (Self, JoinHandle<Result<(), FilesError>>) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let ledger = FileLedger { events };
        let serving = tokio::spawn(serve_sftp(theirs, files, ledger));
        let mut client = Self { stream: ours, received: BytesMut::new(), last: 0 };
        client.stream.write_all(&encode(&Packet::Init { version: 3 })).await.unwrap();
        assert_eq!(client.frame().await[..5], [2, 0, 0, 0, 3]);
        (client, serving)
    }

    pub(super) async fn send(&mut self, request: Request) -> u32 {
        self.last += 1;
        self.stream.write_all(&encode(&Packet::Request { id: self.last, request })).await.unwrap();
        self.last
    }

    async fn frame(&mut self) -> Bytes {
        loop {
            if let Some(frame) = next_frame(&mut self.received).unwrap() {
                return frame;
            }
            assert!(self.stream.read_buf(&mut self.received).await.unwrap() > 0, "the server has gone");
        }
    }

    /// The next reply: its type, its id, the rest.
    pub(super) async fn reply(&mut self) -> (u8, u32, Bytes) {
        let frame = self.frame().await;
        (frame[0], u32::from_be_bytes(frame[1..5].try_into().unwrap()), frame.slice(5..))
    }

    pub(super) async fn call(&mut self, request: Request) -> (u8, Bytes) {
        let id = self.send(request).await;
        let (kind, answered, rest) = self.reply().await;
        assert_eq!(answered, id);
        (kind, rest)
    }

    pub(super) async fn open(&mut self, path: &str, flags: OpenFlags) -> Bytes {
        let request = Request::Open { path: path.into(), flags, attributes: Attributes::default() };
        let (kind, rest) = self.call(request).await;
        assert_eq!(kind, 102, "{rest:?}");
        rest.slice(4..)
    }
}

pub(super) fn status(rest: &Bytes) -> u32 {
    u32::from_be_bytes(rest[..4].try_into().unwrap())
}

pub(super) const WRITE: OpenFlags =
    OpenFlags { read: true, write: true, append: false, create: true, truncate: true, exclusive: false };

#[tokio::test]
async fn writes_in_any_order_and_with_holes_land_and_are_not_called_hashed() {
    let home = tempfile::tempdir().unwrap();
    let events = Arc::new(Events::default());
    let (files, _) = local_service(home.path());
    let (mut client, serving) = Client::new(files, &events).await;
    let handle = client.open("file", WRITE).await;
    let bytes = noise(300_000);
    for part in [2, 0, 5, 1, 9, 4] {
        let data = Bytes::copy_from_slice(&bytes[part * 30_000..][..30_000]);
        client.send(Request::Write { handle: handle.clone(), offset: part as u64 * 30_000, data }).await;
    }
    for _ in 0..6 {
        let (kind, _, rest) = client.reply().await;
        assert_eq!((kind, status(&rest)), (101, 0));
    }
    // what was written is what is read, through the same handle and at once
    let (kind, rest) = client.call(Request::Read { handle: handle.clone(), offset: 120_000, length: 60_000 }).await;
    assert_eq!(kind, 103);
    assert!(rest[4..] == bytes[120_000..180_000]);
    client.send(Request::Write { handle: handle.clone(), offset: 120_000, data: Bytes::from_static(b"new") }).await;
    client.send(Request::Read { handle: handle.clone(), offset: 120_000, length: 3 }).await;
    client.reply().await;
    assert_eq!(client.reply().await.2[4..], b"new"[..]);
    client.call(Request::Close { handle }).await;
    drop(client);
    serving.await.unwrap().unwrap();
    let found = fs::read(home.path().join("file")).unwrap();
    assert_eq!(found.len(), 300_000);
    assert!(found[90_000..120_000].iter().all(|&byte| byte == 0), "a hole reads as zeros");
    assert_eq!(events.transfer(FileAction::Upload, "file").content.unwrap().hashed, Hashed::No);
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_a_record_and_no_open_file() {
    let home = tempfile::tempdir().unwrap();
    let events = Arc::new(Events::default());
    let (files, log) = local_service(home.path());
    let (mut client, serving) = Client::new(files, &events).await;
    let handle = client.open("file", WRITE).await;
    client.call(Request::Write { handle, offset: 0, data: Bytes::from_static(b"half") }).await;
    drop(client);
    serving.await.unwrap().unwrap();
    let event = events.transfer(FileAction::Upload, "file");
    assert_eq!(event.outcome, Outcome::Unfinished);
    assert_eq!(event.content.unwrap().bytes, 4);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(log.lock().unwrap().iter().any(|operation| matches!(operation, Operation::Close { .. })));
}

#[tokio::test]
async fn a_session_that_is_cut_short_leaves_a_record() {
    let home = tempfile::tempdir().unwrap();
    let events = Arc::new(Events::default());
    let (files, _) = local_service(home.path());
    let (mut client, serving) = Client::new(files, &events).await;
    let handle = client.open("file", WRITE).await;
    client.call(Request::Write { handle, offset: 0, data: Bytes::from_static(b"half") }).await;
    serving.abort();
    serving.await.unwrap_err();
    let event = events.transfer(FileAction::Upload, "file");
    assert_eq!((event.outcome, event.content.unwrap().bytes), (Outcome::Unfinished, 4));
}

#[tokio::test]
async fn odd_requests_get_an_answer_and_broken_ones_end_the_session() {
    let home = tempfile::tempdir().unwrap();
    let events = Arc::new(Events::default());
    let (files, _) = local_service(home.path());
    let (mut client, serving) = Client::new(files, &events).await;
    let no_such = Bytes::from_static(b"\0\0\0\x63");
    // the numbers of OpenSSH's server
    for (request, code) in [
        (Request::Close { handle: no_such.clone() }, 2),
        (Request::Fsync { handle: no_such.clone() }, 2),
        (Request::Read { handle: Bytes::from_static(b"a handle of another length"), offset: 0, length: 1 }, 4),
        (Request::Write { handle: no_such.clone(), offset: 0, data: Bytes::new() }, 4),
        (Request::Fstat { handle: no_such.clone() }, 4),
        (Request::ReadDir { handle: no_such }, 4),
    ] {
        let (kind, rest) = client.call(request).await;
        assert_eq!((kind, status(&rest)), (101, code));
    }
    assert_eq!(status(&client.call(Request::Unknown).await.1), 8);
    let nul = Request::Remove { path: b"a\0b".to_vec() };
    assert_eq!(status(&client.call(nul).await.1), 5);
    let read_only = client.open("/dev/null", OpenFlags { read: true, ..OpenFlags::default() }).await;
    let write = Request::Write { handle: read_only, offset: 0, data: Bytes::from_static(b"x") };
    assert_eq!(status(&client.call(write).await.1), 2, "as the node says: EBADF");
    // a packet whose string is longer than itself, then a length that nothing can have
    client.stream.write_all(b"\0\0\0\x09\x11\0\0\0\x07\xff\xff\xff\xff").await.unwrap();
    let (kind, id, rest) = client.reply().await;
    assert_eq!((kind, id, status(&rest)), (101, 7, 5));
    client.stream.write_all(b"\xff\xff\xff\xff").await.unwrap();
    assert!(matches!(serving.await.unwrap(), Err(FilesError::Protocol { .. })));
}

#[tokio::test]
async fn too_many_open_files_are_refused_and_closed() {
    let (files, _seen) = endless(true);
    let (mut client, _serving) = Client::new(files, &Arc::default()).await;
    // OpenSSH's limits are four numbers, the last of them how many may be open
    let (kind, rest) = client.call(Request::Limits).await;
    assert_eq!((kind, &rest[24..]), (201, &4096_u64.to_be_bytes()[..]));
    let mut last = Bytes::new();
    for number in 0..4096 {
        last = client.open(&format!("file-{number}"), WRITE).await;
    }
    let open = || Request::Open { path: b"more".to_vec(), flags: WRITE, attributes: Attributes::default() };
    let (kind, rest) = client.call(open()).await;
    assert_eq!((kind, status(&rest)), (101, 4));
    client.call(Request::Close { handle: last }).await;
    assert_eq!(client.call(open()).await.0, 102);
}

#[tokio::test]
async fn directories_that_nobody_reads_are_listed_for_few_of_them() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("file"), "x").unwrap();
    let (files, log) = local_service(home.path());
    let (mut client, _serving) = Client::new(files, &Arc::default()).await;
    let mut handles = Vec::new();
    for _ in 0..100 {
        let (kind, rest) = client.call(Request::OpenDir { path: b".".to_vec() }).await;
        assert_eq!(kind, 102);
        handles.push(rest.slice(4..));
    }
    let listed = || log.lock().unwrap().iter().filter(|one| matches!(one, Operation::ReadDir { .. })).count();
    assert_eq!(listed(), 8);
    // each is read to its end all the same, and those that are half read don't count either
    for handle in &handles {
        assert_eq!(client.call(Request::ReadDir { handle: handle.clone() }).await.0, 104);
    }
    assert!(listed() <= 8 + 100 + 8, "{}", listed());
    for handle in handles {
        let (kind, rest) = client.call(Request::ReadDir { handle: handle.clone() }).await;
        assert_eq!((kind, status(&rest)), (101, 1));
        client.call(Request::Close { handle }).await;
    }
    // and whoever comes then finds the room again
    let before = listed();
    client.call(Request::OpenDir { path: b".".to_vec() }).await;
    client.call(Request::Stat { path: b".".to_vec() }).await;
    assert_eq!(listed(), before + 1);
}

#[tokio::test]
async fn a_file_copied_to_itself_by_another_name_has_an_end() {
    let home = tempfile::tempdir().unwrap();
    let bytes = noise(5_000_000);
    fs::write(home.path().join("file"), &bytes).unwrap();
    fs::hard_link(home.path().join("file"), home.path().join("twin")).unwrap();
    let (files, _log) = local_service(home.path());
    let (mut client, _serving) = Client::new(files, &Arc::default()).await;
    let from = client.open("file", OpenFlags { read: true, ..OpenFlags::default() }).await;
    let same = client.open("./file", OpenFlags { write: true, ..OpenFlags::default() }).await;
    let twin = client.open("twin", OpenFlags { write: true, ..OpenFlags::default() }).await;
    let copy = |to: &Bytes, length| {
        let (from, to) = (from.clone(), to.clone());
        Request::CopyData { from, offset: 0, length, to, to_offset: 5_000_000 }
    };
    let (kind, rest) = client.call(copy(&same, 0)).await;
    assert_eq!((kind, status(&rest)), (101, 4), "one name, written in two ways");
    let (kind, rest) = client.call(copy(&twin, 0)).await;
    assert_eq!((kind, status(&rest)), (101, 0));
    assert!(fs::read(home.path().join("file")).unwrap() == [&bytes[..], &bytes].concat());
    // nor does a length help that has no end
    assert_eq!(client.call(copy(&twin, u64::MAX)).await.0, 101);
    assert_eq!(fs::metadata(home.path().join("file")).unwrap().len(), 15_000_000);
}

/// A node whose one endless file is all zeros, and which says how many bytes it was asked to read and write. It stops
/// answering writes when told so.
fn endless(answer_writes: bool) -> (FileService, mpsc::UnboundedReceiver<usize>) {
    let (operations, mut calls) = mpsc::channel::<Call>(8);
    let (log, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some((operation, answer)) = calls.recv().await {
            let result = match operation {
                Operation::Open { .. } => Answer::Opened(Opened { handle: Handle(1), real_path: b"/endless".to_vec() }),
                Operation::Read { length, .. } => {
                    let _ = log.send(length as usize);
                    Answer::Bytes(Bytes::from(vec![0; length as usize]))
                }
                Operation::Write { bytes, .. } => {
                    let _ = log.send(bytes.len());
                    if !answer_writes {
                        kept.push(answer);
                        continue;
                    }
                    Answer::Done
                }
                Operation::Fstat { .. } => Answer::Attributes(Attributes::default()),
                Operation::MostOpen { wanted } => Answer::MostOpen(wanted),
                _ => Answer::Done,
            };
            let _ = answer.send(Ok(result));
        }
    });
    (FileService::for_test(operations), seen)
}

async fn settled(seen: &mut mpsc::UnboundedReceiver<usize>) -> usize {
    let mut total = 0;
    while let Ok(Some(bytes)) = tokio::time::timeout(Duration::from_millis(200), seen.recv()).await {
        total += bytes;
    }
    total
}

#[tokio::test]
async fn a_client_that_takes_no_answers_stops_the_reading() {
    let (files, mut seen) = endless(true);
    let (mut client, _serving) = Client::new(files, &Arc::default()).await;
    let handle = client.open("endless", OpenFlags { read: true, ..OpenFlags::default() }).await;
    let flood = async {
        for number in 0..1000_u64 {
            let (offset, length) = (number * 261_120, 261_120);
            client.send(Request::Read { handle: handle.clone(), offset, length }).await;
        }
    };
    let read = tokio::select! {
        () = flood => settled(&mut seen).await,
        read = settled(&mut seen) => read,
    };
    // 4 MiB of requests, 2 MiB ahead of them, what is being written
    assert!(read <= 8 << 20, "{read} bytes were read from the node");
    // and it all comes once it is wanted
    for _ in 0..1000 {
        let (kind, _, rest) = client.reply().await;
        assert_eq!((kind, rest.len()), (103, 261_124));
    }
}

#[tokio::test]
async fn a_node_that_writes_nothing_stops_the_client() {
    let (files, mut seen) = endless(false);
    let (mut client, _serving) = Client::new(files, &Arc::default()).await;
    let handle = client.open("endless", OpenFlags { write: true, ..OpenFlags::default() }).await;
    let data = Bytes::from(vec![7; 32 * 1024]);
    let mut sent = 0;
    let flood = async {
        for number in 0..10_000_u64 {
            client.send(Request::Write { handle: handle.clone(), offset: number << 15, data: data.clone() }).await;
            sent += data.len();
        }
    };
    let stopped = tokio::time::timeout(Duration::from_secs(1), flood).await;
    assert!(stopped.is_err(), "the client could send everything");
    assert!(sent <= 5 << 20, "{sent} bytes were taken from the client");
    assert!(settled(&mut seen).await <= sent);
}

#[tokio::test]
async fn z4_sftp_has_the_node_do_everything_and_reads_nothing_here() {
    let (operations, mut asked) = mpsc::channel::<Call>(1);
    let node = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some((operation, answer)) = asked.recv().await {
            seen.push(format!("{operation:?}"));
            let _ = answer.send(Err(FileError::Node { errno: 2, message: "No such file or directory".to_owned() }));
        }
        seen
    });
    let (mut client, serving) = Client::new(FileService::for_test(operations), &Arc::default()).await;
    let flags = OpenFlags { read: true, ..OpenFlags::default() };
    let here = std::env::current_exe().unwrap();
    for path in ["/etc/passwd", here.to_str().unwrap(), "/proc/self/environ"] {
        let request = Request::Open { path: path.into(), flags, attributes: Attributes::default() };
        let (kind, rest) = client.call(request).await;
        assert_eq!((kind, status(&rest)), (101, 2), "{path}");
        assert_eq!(client.call(Request::Stat { path: path.into() }).await.0, 101, "{path}");
    }
    drop(client);
    serving.await.unwrap().unwrap();
    let seen = node.await.unwrap();
    assert_eq!(seen.iter().filter(|operation| operation.starts_with("Open")).count(), 3, "{seen:?}");
}

/// Takes no event.
#[derive(Debug)]
struct Broken;

impl FileEvents for Broken {
    fn record(&self, _: FileEvent) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(Err("the disk is full".to_owned())))
    }

    fn raise_alerts<'a>(&'a self, _: &'a Grant) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let (files, mut seen) = endless(true);
    let (mut client, serving) = Client::recorded_by(files, Arc::new(Broken)).await;
    let flags = OpenFlags { read: true, ..OpenFlags::default() };
    let open = Request::Open { path: b"x".to_vec(), flags, attributes: Attributes::default() };
    let (kind, rest) = client.call(open).await;
    assert_eq!((kind, status(&rest)), (101, 4));
    assert!(matches!(serving.await.unwrap(), Err(FilesError::Evidence(_))));
    assert!(seen.recv().await.is_none());
}

#[tokio::test]
async fn what_a_client_asked_for_is_recorded_though_it_takes_no_answer() {
    let home = tempfile::tempdir().unwrap();
    let events = Arc::new(Events::default());
    fs::write(home.path().join("big"), noise(200_000)).unwrap();
    for number in 0..10 {
        fs::write(home.path().join(format!("file-{number}")), "x").unwrap();
    }
    let (files, log) = local_service(home.path());
    let (mut client, serving) = Client::new(files, &events).await;
    let big = client.open("big", OpenFlags { read: true, ..OpenFlags::default() }).await;
    let upload = client.open("upload", WRITE).await;
    // more than the stream to the client holds: all other answers wait behind it
    client.send(Request::Read { handle: big, offset: 0, length: 200_000 }).await;
    client.send(Request::Write { handle: upload.clone(), offset: 0, data: Bytes::from_static(b"written") }).await;
    client.send(Request::Close { handle: upload }).await;
    client.send(Request::Open { path: b"made".to_vec(), flags: WRITE, attributes: Attributes::default() }).await;
    for number in 0..10 {
        client.send(Request::Remove { path: format!("file-{number}").into() }).await;
    }
    let removals = || log.lock().unwrap().iter().filter(|one| matches!(one, Operation::Remove { .. })).count();
    while removals() < 10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(client);
    assert!(matches!(serving.await.unwrap(), Err(FilesError::Client(_))));
    let upload = events.transfer(FileAction::Upload, "upload");
    assert_eq!((upload.outcome, upload.content.unwrap().bytes), (Outcome::Done, 7));
    let download = events.transfer(FileAction::Download, "big");
    assert_eq!(download.outcome, Outcome::Unfinished);
    let events = events.take();
    let made = events.iter().filter(|event| event.path == b"made" && event.outcome == Outcome::Opened).count();
    let removed = events.iter().filter(|event| event.action == FileAction::Remove && event.outcome == Outcome::Done);
    assert_eq!((made, removed.count()), (2, 10));
}

#[tokio::test]
async fn what_was_asked_before_a_broken_request_is_recorded() {
    let events = Arc::new(Events::default());
    let (operations, mut calls) = mpsc::channel::<Call>(8);
    let (mut client, serving) = Client::new(FileService::for_test(operations), &events).await;
    client.send(Request::Lstat { path: b"x".to_vec() }).await;
    client.stream.write_all(b"\xff\xff\xff\xff").await.unwrap();
    let (_, answer) = calls.recv().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    answer.send(Ok(Answer::Attributes(Attributes::default()))).unwrap();
    assert!(matches!(serving.await.unwrap(), Err(FilesError::Protocol { .. })));
    assert_eq!(events.take()[0].outcome, Outcome::Done);
}

/// Everything that changes the node by a path, and what is recorded of it.
fn changes() -> Vec<(Request, FileAction)> {
    let (path, attributes) = (|| b"x".to_vec(), Attributes::default());
    let create = OpenFlags { read: true, create: true, ..OpenFlags::default() };
    vec![
        (Request::Open { path: path(), flags: WRITE, attributes }, FileAction::Upload),
        (Request::Open { path: path(), flags: create, attributes }, FileAction::Upload),
        (Request::Open { path: path(), flags: OpenFlags { read: false, ..create }, attributes }, FileAction::Upload),
        (Request::SetStat { path: path(), attributes }, FileAction::Change),
        (Request::LsetStat { path: path(), attributes }, FileAction::Change),
        (Request::Remove { path: path() }, FileAction::Remove),
        (Request::MakeDir { path: path(), attributes }, FileAction::MakeDirectory),
        (Request::RemoveDir { path: path() }, FileAction::RemoveDirectory),
        (Request::Rename { from: path(), to: path() }, FileAction::Rename),
        (Request::PosixRename { from: path(), to: path() }, FileAction::Rename),
        (Request::HardLink { from: path(), to: path() }, FileAction::Link),
        (Request::Symlink { target: path(), path: path() }, FileAction::Symlink),
    ]
}

#[tokio::test]
async fn a_change_is_recorded_before_the_node_is_asked_for_it() {
    for (request, action) in changes() {
        let events = Arc::new(Events::default());
        let (operations, mut calls) = mpsc::channel::<Call>(1);
        let (mut client, serving) = Client::new(FileService::for_test(operations), &events).await;
        client.send(request).await;
        let mut unanswered = Vec::new();
        loop {
            let call = calls.recv().await.unwrap();
            if !matches!(call.0, Operation::RealPath { .. }) {
                break;
            }
            unanswered.push(call);
        }
        // whatever happens to the session now
        serving.abort();
        serving.await.unwrap_err();
        let events = events.take();
        let seen: Vec<_> = events.iter().map(|event| (event.action, &event.path[..], &event.outcome)).collect();
        assert_eq!(seen, [(action, &b"x"[..], &Outcome::Asked)]);
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_recorded_is_not_made() {
    for (request, _) in changes() {
        let (operations, mut calls) = mpsc::channel::<Call>(4);
        let (mut client, serving) = Client::recorded_by(FileService::for_test(operations), Arc::new(Broken)).await;
        let (kind, rest) = client.call(request).await;
        assert_eq!((kind, status(&rest)), (101, 4));
        assert!(matches!(serving.await.unwrap(), Err(FilesError::Evidence(_))));
        while let Some((operation, _)) = calls.recv().await {
            assert!(matches!(operation, Operation::RealPath { .. }), "{operation:?}");
        }
    }
}

#[tokio::test]
async fn a_path_longer_than_any_is_refused_and_not_kept() {
    let events = Arc::new(Events::default());
    let (operations, mut calls) = mpsc::channel::<Call>(4);
    let (mut client, _serving) = Client::new(FileService::for_test(operations), &events).await;
    let (long, attributes) = (|| vec![b'x'; 4097], Attributes::default());
    for request in [
        Request::Open { path: long(), flags: WRITE, attributes },
        // not even with no flag at all is it unjudged
        Request::Open { path: long(), flags: OpenFlags::default(), attributes },
        Request::OpenDir { path: long() },
        Request::RealPath { path: long() },
        Request::ExpandPath { path: long() },
        Request::Rename { from: b"x".to_vec(), to: long() },
        Request::Symlink { target: long(), path: b"x".to_vec() },
        Request::Remove { path: vec![b'x'; 250_000] },
    ] {
        let (kind, rest) = client.call(request).await;
        assert_eq!((kind, status(&rest)), (101, 5), "as OpenSSH's server calls it");
        assert!(rest.windows(18).any(|words| words == b"File name too long"), "{rest:?}");
        let recorded = events.take();
        assert!(matches!(recorded[..], [FileEvent { outcome: Outcome::Failed { errno: Some(36), .. }, .. }]));
    }
    // the longest there is goes on to the node
    client.send(Request::Lstat { path: vec![b'x'; 4096] }).await;
    let unanswered = calls.recv().await.unwrap();
    assert!(matches!(unanswered.0, Operation::Lstat { .. }));
    // behind an answer that is long in coming, a refusal is recorded and its path forgotten
    client.send(Request::Remove { path: long() }).await;
    let recorded = loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if let Some(event) = events.take().pop() {
            break event;
        }
    };
    assert_eq!(recorded.action, FileAction::Remove);
}
