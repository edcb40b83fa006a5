//! The real `scp -O` in front of the server, and records that no client sends.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::{parse_scp_command, serve_scp};
use crate::files::tests::servers::{Events, FileServers};
use crate::files::{FileLedger, Hashed, Outcome};
use crate::policy::{Action, FileAction, Grant};
use crate::testing::{complaint, content, local_service, long_ago, noise};
use crate::transport::file_service::{Answer, Attributes, Call, FileError, FileService, Handle, Opened, Operation};

#[tokio::test(flavor = "multi_thread")]
async fn files_go_up_and_down_unchanged_and_are_hashed() {
    let servers = FileServers::new();
    for (name, length) in [("empty", 0), ("one", 1), ("odd", 1_234_567), ("even", 4 << 20)] {
        let bytes = noise(length);
        fs::write(servers.here(name), &bytes).unwrap();
        content(&servers.scp(&["-O", name, &format!("demo:up-{name}")]).await);
        content(&servers.scp(&["-O", &format!("demo:up-{name}"), &format!("back-{name}")]).await);
        assert!(fs::read(servers.remote(format!("up-{name}"))).unwrap() == bytes, "{name} up");
        assert!(fs::read(servers.here(format!("back-{name}"))).unwrap() == bytes, "{name} down");
        for action in [FileAction::Upload, FileAction::Download] {
            let event = servers.events.transfer(action, &format!("up-{name}"));
            let hash = Hashed::Whole(Sha256::digest(&bytes).into());
            assert_eq!((event.outcome, event.content.unwrap().hashed), (Outcome::Done, hash), "{action:?}");
        }
        servers.events.take();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_file_takes_the_place_of_a_longer_one() {
    let servers = FileServers::new();
    fs::write(servers.remote("file"), "a longer text").unwrap();
    fs::write(servers.here("file"), "short").unwrap();
    content(&servers.scp(&["-O", "file", "demo:"]).await);
    assert_eq!(fs::read_to_string(servers.remote("file")).unwrap(), "short");
    // what has no size can't be cut, and needn't be
    content(&servers.scp(&["-O", "file", "demo:/dev/null"]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_go_both_ways_with_modes_and_times() {
    let servers = FileServers::new();
    fs::create_dir_all(servers.here("tree/sub/empty")).unwrap();
    for (name, mode) in [("tree/a", 0o440), ("tree/sub/b", 0o755)] {
        fs::write(servers.here(name), name).unwrap();
        fs::set_permissions(servers.here(name), fs::Permissions::from_mode(mode)).unwrap();
        fs::File::open(servers.here(name)).unwrap().set_modified(long_ago()).unwrap();
    }
    fs::set_permissions(servers.here("tree/sub"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::File::open(servers.here("tree/sub")).unwrap().set_modified(long_ago()).unwrap();
    content(&servers.scp(&["-O", "-r", "-p", "tree", "demo:new"]).await);
    content(&servers.scp(&["-O", "-r", "-p", "tree", "demo:new"]).await);
    content(&servers.scp(&["-O", "-r", "-p", "demo:new", "back"]).await);
    for top in [servers.remote("new"), servers.remote("new/tree"), servers.here("back"), servers.here("back/tree")] {
        for (name, mode) in [("a", 0o440), ("sub/b", 0o755), ("sub", 0o750)] {
            let found = top.join(name).metadata().unwrap();
            assert_eq!(found.permissions().mode() & 0o7777, mode, "{name} in {top:?}");
            assert_eq!(found.modified().unwrap(), long_ago(), "{name} in {top:?}");
        }
        assert_eq!(fs::read_to_string(top.join("sub/b")).unwrap(), "tree/sub/b");
        assert!(top.join("sub/empty").is_dir());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_preserving_a_mode_is_kept_but_not_lent() {
    let servers = FileServers::new();
    fs::write(servers.here("file"), "x").unwrap();
    fs::set_permissions(servers.here("file"), fs::Permissions::from_mode(0o444)).unwrap();
    content(&servers.scp(&["-O", "file", "demo:"]).await);
    assert_eq!(servers.remote("file").metadata().unwrap().permissions().mode() & 0o7777, 0o444);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_bytes_and_quoting_is_the_users() {
    let servers = FileServers::new();
    let names: [&[u8]; 4] = [b"with space", b"it's \"quoted\"", b"latin-\xe9\xff", b"star*?[x]"];
    for name in names {
        let name = std::ffi::OsStr::from_bytes(name);
        fs::write(servers.remote(name), name.as_bytes()).unwrap();
        let mut quoted = b"demo:".to_vec();
        for &byte in name.as_bytes() {
            if !byte.is_ascii_alphanumeric() && byte < 0x80 {
                quoted.push(b'\\');
            }
            quoted.push(byte);
        }
        let source = std::ffi::OsStr::from_bytes(&quoted).to_owned();
        content(&servers.run("scp", vec!["-O".into(), "-T".into(), source, ".".into()]).await);
        assert_eq!(fs::read(servers.here(name)).unwrap(), name.as_bytes());
    }
    // a whole directory, and back
    content(
        &servers.run("scp", vec!["-O".into(), "-r".into(), servers.local.path().into(), "demo:again".into()]).await,
    );
    content(&servers.scp(&["-O", "-r", "demo:again", "all"]).await);
    for name in names {
        let name = std::ffi::OsStr::from_bytes(name);
        assert_eq!(fs::read(servers.remote("again").join(name)).unwrap(), name.as_bytes());
        assert_eq!(fs::read(servers.here("all").join(name)).unwrap(), name.as_bytes());
    }
    // OpenSSH's own way with a line break: the name is written in another form
    fs::write(servers.remote("again/new\nline"), "x").unwrap();
    content(&servers.scp(&["-O", "-r", "-T", "demo:again", "lines"]).await);
    assert_eq!(fs::read_to_string(servers.here("lines/new\\^Jline")).unwrap(), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_are_expanded_as_a_shell_would() {
    let servers = FileServers::new();
    for name in ["a.txt", "b.txt", "c.log", ".hidden.txt"] {
        fs::write(servers.remote(name), name).unwrap();
    }
    fs::create_dir(servers.remote("sub")).unwrap();
    fs::write(servers.remote("sub/d.txt"), "d").unwrap();
    content(&servers.scp(&["-O", "demo:*.txt", "."]).await);
    content(&servers.scp(&["-O", "demo:~/s*/[a-d].txt", "."]).await);
    let mut found: Vec<_> =
        fs::read_dir(servers.local.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    found.sort();
    assert_eq!(found, ["a.txt", "b.txt", "d.txt"]);
    let said = complaint(&servers.scp(&["-O", "demo:*.none", "."]).await);
    assert!(said.contains("*.none: No such file or directory"), "{said}");
    for name in ["c.log", "e.txt"] {
        fs::write(servers.remote(format!("sub/{name}")), name).unwrap();
    }
    content(&servers.scp(&["-O", "demo:{c.log,sub/{d,e}.txt}", "demo:sub/[[:alpha:]].log", "."]).await);
    assert!(servers.here("c.log").exists() && servers.here("e.txt").exists());
    // what is there comes, and what is not is said
    let said = complaint(&servers.scp(&["-O", "demo:{c.log,none}", "."]).await);
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_said_and_the_rest_goes_on() {
    let servers = FileServers::new();
    for name in ["a", "forbidden", "z"] {
        fs::write(servers.here(name), name).unwrap();
        fs::write(servers.remote(format!("remote-{name}")), name).unwrap();
    }
    let said = complaint(&servers.scp(&["-O", "a", "forbidden", "z", "demo:"]).await);
    assert!(said.contains("forbidden: Permission denied"), "{said}");
    assert!(servers.remote("a").exists() && servers.remote("z").exists());
    let said = complaint(&servers.scp(&["-O", "demo:remote-*", "."]).await);
    assert!(said.contains("remote-forbidden: Permission denied"), "{said}");
    assert!(servers.here("remote-a").exists() && servers.here("remote-z").exists());
    fs::create_dir(servers.here("dir")).unwrap();
    fs::write(servers.here("dir/file"), "x").unwrap();
    for (arguments, words) in [
        (["-O", "demo:nothing", "."], "nothing: No such file or directory"),
        (["-O", "demo:.", "x"], "not a regular file"),
        (["-O", "a", "demo:no/where"], "no/where: No such file or directory"),
        (["-O", "a", "demo:/dev/full"], "No space left on device"),
        (["-Or", "dir", "demo:a"], "Not a directory"),
    ] {
        let said = complaint(&servers.scp(&arguments).await);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_lead_in_circles_end() {
    let servers = FileServers::new();
    fs::create_dir(servers.remote("dir")).unwrap();
    fs::write(servers.remote("dir/file"), "x").unwrap();
    symlink("self", servers.remote("dir/self")).unwrap();
    let said = complaint(&servers.scp(&["-O", "-r", "demo:dir", "."]).await);
    assert!(said.contains("dir/self: Too many levels of symbolic links"), "{said}");
    assert!(servers.here("dir/file").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_asked_about_the_path_that_is_meant() {
    let servers = FileServers::under(|home| Grant::for_files_but(FileAction::Upload, home.join("safe")));
    fs::create_dir(servers.remote("safe")).unwrap();
    symlink("safe", servers.remote("door")).unwrap();
    fs::write(servers.here("file"), "new").unwrap();
    for target in ["demo:safe", "demo:door", "demo:safe/new", "demo:./door/../door/new"] {
        let said = complaint(&servers.scp(&["-O", "file", target]).await);
        assert!(said.contains("Permission denied: denied by policy \"but\": not below that"), "{target}: {said}");
    }
    assert_eq!(fs::read_dir(servers.remote("safe")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_uploaded_in_a_session_than_the_policy_lets() {
    let policies = "@id(\"little\") @upload_limit(\"64KiB\") permit (principal, action, resource);";
    let servers = FileServers::under(|_| Grant::under(policies, "tester", "web-1", Action::Files));
    fs::write(servers.here("large"), vec![b'x'; 2 << 20]).unwrap();
    let said = complaint(&servers.scp(&["-O", "large", "demo:large"]).await);
    assert!(said.contains("no more than 65536 bytes may be uploaded"), "{said}");
    assert!(fs::metadata(servers.remote("large")).unwrap().len() <= 64 << 10);
}

/// Sends bytes to `scp -t`, and gives what it says and its exit code.
async fn sink(home: &Path, line: &str, bytes: &[u8]) -> (String, i32) {
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    let (files, _) = local_service(home);
    let events = Arc::new(Events::default());
    let ledger = FileLedger { events };
    let serving = tokio::spawn(serve_scp(theirs, parse_scp_command(line.as_bytes()).unwrap(), files, ledger));
    ours.write_all(bytes).await.unwrap();
    ours.shutdown().await.unwrap();
    let mut said = Vec::new();
    ours.read_to_end(&mut said).await.unwrap();
    let code = serving.await.unwrap().unwrap_or(255);
    (String::from_utf8_lossy(&said).into_owned(), code)
}

#[tokio::test]
async fn records_that_lead_out_of_the_target_are_refused() {
    let top = tempfile::tempdir().unwrap();
    let home = top.path().join("home");
    fs::create_dir(&home).unwrap();
    for (bytes, words) in [
        ("C0644 1 ../x\nx\0", "unexpected filename"),
        ("C0644 1 ..\nx\0", "unexpected filename"),
        ("C0644 1 /tmp/portcullis-x\nx\0", "unexpected filename"),
        ("D0755 0 ..\nC0644 1 x\nx\0E\n", "unexpected filename"),
        ("D0755 0 .\nE\nE\nC0644 1 x\nx\0", "unexpected filename"),
        ("C0644 -1 x\n", "size not present"),
        ("C0644 99999999999999999999 x\n", "size out of range"),
        ("C0999 1 x\nx\0", "bad mode"),
        ("T1 0 1 9999999\nC0644 1 x\nx\0", "atime.usec not delimited"),
        // the first line may be what a shell said in the place of the other side
        ("hello\n", "scp: hello\n"),
        ("T1 0 1 0\nhello\n", "expected control record"),
    ] {
        let (said, code) = sink(&home, "scp -r -t .", bytes.as_bytes()).await;
        assert!(said.contains(words), "{bytes:?}: {said:?}");
        assert_eq!(code, 1, "{bytes:?}");
        assert_eq!(fs::read_dir(&home).unwrap().count(), 0, "{bytes:?}");
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 1, "{bytes:?}");
    }
    let (said, code) = sink(&home, "scp -t .", b"D0755 0 dir\n").await;
    assert!(said.contains("received directory without -r") && code == 1, "{said}");
    let (said, code) = sink(&home, "scp -d -t nowhere", b"").await;
    assert!(said.contains("nowhere: No such file or directory") && code == 1, "{said}");
}

#[tokio::test]
async fn a_client_that_stops_in_mid_file_fails() {
    let home = tempfile::tempdir().unwrap();
    let (said, code) = sink(home.path(), "scp -t .", b"C0644 1000 x\nhalf").await;
    assert_eq!((said.as_str(), code), ("\0\0\x01scp: Broken pipe\n", 1));
    let (said, code) = sink(home.path(), "scp -t .", b"C0644 10").await;
    assert_eq!((said.as_str(), code), ("\0\x01scp: protocol error: lost connection\n", 1));
    let deep: String = (0..300).map(|_| "D0755 0 d\n").collect();
    let (said, code) = sink(home.path(), "scp -r -t .", deep.as_bytes()).await;
    assert!(said.contains("too deep") && code == 1, "{said}");
}

/// As OpenSSH's: whoever reads a file's times as a promise that it is whole must not be deceived.
#[tokio::test]
async fn a_file_gets_its_times_when_its_sender_has_said_that_it_is_whole() {
    let home = tempfile::tempdir().unwrap();
    for (word, is_dated) in [("\0", true), ("\x01warned\n", true), ("\x02over\n", false), ("?\n", false), ("", false)] {
        let records = format!("T1000 0 1000 0\nC0640 1 x\nx{word}");
        let (said, _) = sink(home.path(), "scp -p -t .", records.as_bytes()).await;
        let found = fs::metadata(home.path().join("x")).unwrap();
        assert_eq!(found.mtime() == 1000, is_dated, "{word:?}: {said:?}");
        assert_eq!((found.len(), found.mode() & 0o777), (1, 0o640), "{word:?}: {said:?}");
        fs::remove_file(home.path().join("x")).unwrap();
    }
}

/// What OpenSSH's does with streams that its own client never sends, found by the differential run.
#[tokio::test]
async fn times_wait_for_the_next_that_can_have_them() {
    let home = tempfile::tempdir().unwrap();
    let dated = |name: &str| fs::metadata(home.path().join(name)).unwrap().mtime();
    fs::write(home.path().join("file"), "").unwrap();
    let records = b"T5 0 5 0\nD0755 0 file\nD0500 0 dir\nE\nT7 0 7 0\nD0755 0 file\nC0644 1 y\nz\0C0644 1 z\nz\0";
    let (said, code) = sink(home.path(), "scp -p -r -t .", records).await;
    assert!(said.contains("file: Not a directory") && code == 1, "{said:?}");
    assert_eq!((dated("dir"), dated("y")), (5, 7), "{said:?}");
    assert!(dated("z") > 7, "{said:?}");
    // directories that the end of the stream ends
    let (said, code) = sink(home.path(), "scp -p -r -t .", b"T5 0 5 0\nD0700 0 a\nT7 0 7 0\nD0200 0 b\n").await;
    assert_eq!((dated("a"), dated("a/b"), code), (5, 7, 0), "{said:?}");
    assert_eq!(fs::metadata(home.path().join("a/b")).unwrap().mode() & 0o777, 0o200);
}

#[tokio::test]
async fn an_empty_file_in_the_place_of_an_empty_one_is_of_now() {
    let home = tempfile::tempdir().unwrap();
    let file = fs::File::create(home.path().join("empty")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let (said, code) = sink(home.path(), "scp -t .", b"C0644 0 empty\n\0").await;
    assert_eq!(code, 0, "{said:?}");
    assert!(fs::metadata(home.path().join("empty")).unwrap().mtime() > 0);
}

#[tokio::test]
async fn the_clients_own_warnings_count() {
    let home = tempfile::tempdir().unwrap();
    let (_, code) = sink(home.path(), "scp -t .", b"\x01scp: x: No such file\nC0644 1 y\nz\0").await;
    assert_eq!(code, 1);
    assert_eq!(fs::read_to_string(home.path().join("y")).unwrap(), "z");
    let (_, code) = sink(home.path(), "scp -t .", b"C0644 1 y\nz\0").await;
    assert_eq!(code, 0);
}

/// A node with one file, on which the first write fails, and on which nothing is ever made or changed.
fn stubborn() -> FileService {
    let (operations, mut calls) = mpsc::channel::<Call>(8);
    tokio::spawn(async move {
        let mut unanswered = Vec::new();
        while let Some((operation, answer)) = calls.recv().await {
            let result = match operation {
                Operation::MakeDir { .. } | Operation::SetStat { .. } => {
                    unanswered.push(answer);
                    continue;
                }
                Operation::Open { .. } => {
                    Ok(Answer::Opened(Opened { handle: Handle(1), real_path: b"/file".to_vec() }))
                }
                Operation::Write { offset: 0, .. } => {
                    Err(FileError::Node { errno: 5, message: "Input/output error".to_owned() })
                }
                Operation::Stat { .. } | Operation::Fstat { .. } => {
                    Ok(Answer::Attributes(Attributes { mode: Some(0o040_755), ..Attributes::default() }))
                }
                _ => Ok(Answer::Done),
            };
            let _ = answer.send(result);
        }
    });
    FileService::for_test(operations)
}

#[tokio::test]
async fn a_change_is_in_the_record_whatever_becomes_of_the_session() {
    let events = Arc::new(Events::default());
    let ledger = FileLedger { events: Arc::clone(&events) as _ };
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    let command = parse_scp_command(b"scp -r -t .").unwrap();
    let serving = tokio::spawn(serve_scp(theirs, command, stubborn(), ledger));
    ours.write_all(b"D0755 0 dir\n").await.unwrap();
    let asked = loop {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        if let Some(asked) = events.take().into_iter().find(|event| event.action == FileAction::MakeDirectory) {
            break asked;
        }
    };
    assert_eq!((&asked.path[..], asked.outcome), (&b"./dir"[..], Outcome::Asked));
    serving.abort();
}

#[tokio::test]
async fn what_was_written_behind_a_failed_write_is_counted() {
    let events = Arc::new(Events::default());
    let ledger = FileLedger { events: Arc::clone(&events) as _ };
    let (mut ours, theirs) = tokio::io::duplex(2 << 20);
    ours.write_all(b"C0644 524288 file\n").await.unwrap();
    ours.write_all(&noise(524_288)).await.unwrap();
    ours.write_all(b"\0").await.unwrap();
    ours.shutdown().await.unwrap();
    let code = serve_scp(theirs, parse_scp_command(b"scp -t .").unwrap(), stubborn(), ledger).await.unwrap();
    assert_eq!(code, 1);
    let moved = events.transfer(FileAction::Upload, "file").content.unwrap();
    assert_eq!(
        (moved.bytes, moved.hashed),
        (262_144, Hashed::Part { offset: 262_144, sha256: Sha256::digest(&noise(524_288)[262_144..]).into() })
    );
}

#[tokio::test]
async fn a_path_longer_than_any_is_refused_before_the_node_is_asked() {
    let (operations, mut calls) = mpsc::channel::<Call>(8);
    let ledger = FileLedger { events: Arc::new(Events::default()) };
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    let command = parse_scp_command(format!("scp -d -t {}", "x".repeat(4097)).as_bytes()).unwrap();
    let code = serve_scp(theirs, command, FileService::for_test(operations), ledger).await.unwrap();
    let mut said = String::new();
    ours.read_to_string(&mut said).await.unwrap();
    assert!(said.ends_with(": File name too long\n") && code == 1, "{said}");
    assert!(calls.recv().await.is_none());
}
