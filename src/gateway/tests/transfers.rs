//! Files through the whole front-end: the clients that people have, over a real connection.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::wire::{Raw, string};
use crate::testing::{TestGateway, finish, text};

/// `scp` or `sftp`, told about the gateway.
fn client(gateway: &TestGateway, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg("-F").arg(gateway.path("ssh_config")).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// `curl` by a person's key; it waits for no answer longer than 20 s.
fn curl(key: &str, url: &str, args: &[&str]) -> Command {
    let mut command = Command::new("curl");
    command.args(["-sS", "--insecure", "--max-time", "20", "--key", key, "--pubkey", &format!("{key}.pub")]);
    command.args(args).arg(url).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A file whose bytes do not repeat early.
fn noise(path: &Path, length: usize) -> Vec<u8> {
    let bytes = crate::testing::noise(length);
    std::fs::write(path, &bytes).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn scp_both_ways_in_both_its_modes() {
    let gateway = TestGateway::start().await;
    let local = gateway.path("large");
    let bytes = noise(&local, 5_000_003);
    for (mode, name) in [("-s", "new"), ("-O", "old")] {
        let up = finish(client(&gateway, "scp", &[mode, &local.display().to_string(), &format!("web:{name}")])).await;
        assert!(up.status.success(), "{mode}: {}", text(&up.stderr));
        assert!(std::fs::read(gateway.node.home.path().join(name)).unwrap() == bytes);
        let back = gateway.path(&format!("back-{name}"));
        let down = client(&gateway, "scp", &[mode, &format!("web:{name}"), &back.display().to_string()]);
        let down = finish(down).await;
        assert!(down.status.success(), "{mode}: {}", text(&down.stderr));
        assert!(std::fs::read(back).unwrap() == bytes);
        let missing = finish(client(&gateway, "scp", &[mode, "web:nowhere", "."])).await;
        assert_eq!(missing.status.code(), Some(1));
        assert!(text(&missing.stderr).contains("No such file or directory"), "{}", text(&missing.stderr));
    }
    let opened = gateway.event(|event| event["event"] == "session.opened").await;
    assert_eq!(opened["action"], "Files");
    let uploaded = gateway.event(|event| event["event"] == "file.closed" && event["action"] == "Upload").await;
    assert_eq!((&uploaded["bytes"], &uploaded["id"]), (&5_000_003.into(), &opened["id"]));
    let closed = gateway.event(|event| event["event"] == "session.closed").await;
    assert_eq!(closed["outcome"], "finished");
    // the protocol around the file's bytes, and hardly anything the other way
    let (sent, got) = (closed["stdin"]["bytes"].as_u64().unwrap(), closed["stdout"]["bytes"].as_u64().unwrap());
    assert!((5_000_003..5_200_000).contains(&sent) && (100..100_000).contains(&got), "{closed}");
    // sha256sum </dev/null
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert!(closed["stdin"]["sha256"] != nothing && closed["stderr"]["sha256"] == nothing, "{closed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sftp_says_goodbye_and_ends_with_success() {
    let gateway = TestGateway::start().await;
    std::fs::write(gateway.path("batch"), "mkdir d\ncd d\npwd\nls -l ..\n").unwrap();
    let batch = gateway.path("batch").display().to_string();
    let ran = finish(client(&gateway, "sftp", &["-b", &batch, "web"])).await;
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    assert!(gateway.node.home.path().join("d").is_dir());
    gateway.event(|event| event["event"] == "session.closed" && event["outcome"] == "finished").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_transfer_is_told_and_nothing_is_opened() {
    let gateway = TestGateway::start().await;
    noise(&gateway.path("x"), 10);
    let local = gateway.path("x").display().to_string();
    for mode in ["-s", "-O"] {
        let ran = finish(client(&gateway, "scp", &[mode, &local, "bob:x"])).await;
        assert!(!ran.status.success());
        let sentence =
            "denied by policy \"default\": no policy lets bob do Files on web-1; ask whoever keeps the policies";
        assert!(text(&ran.stderr).contains(sentence), "{mode}: {}", text(&ran.stderr));
    }
    assert!(!gateway.node.home.path().join("x").exists());
    let gate = finish(client(&gateway, "sftp", &["gate"])).await;
    assert!(text(&gate.stderr).contains("name a node"), "{}", text(&gate.stderr));
}

/// libssh2 (and so curl) looks at neither stderr nor the status: to it, an end without a record was an empty file.
#[tokio::test(flavor = "multi_thread")]
async fn an_scp_that_is_denied_is_a_failure_to_every_client() {
    let gateway = TestGateway::start().await;
    noise(&gateway.path("x"), 10);
    let local = gateway.path("x").display().to_string();
    let (key, copy) = (gateway.path("bob").display().to_string(), gateway.path("copy").display().to_string());
    let denied = "portcullis: denied by policy \"default\": no policy lets bob do Files on web-1; ask whoever keeps the policies";
    // not what curl makes of a login that names no node, or one that can't be read: every end before the first record
    for login in ["web-1", "bob", "web%201"] {
        let url = format!("scp://{login}@{}/etc/hostname", gateway.address);
        let down = finish(curl(&key, &url, &["-o", &copy])).await;
        assert!(matches!(down.status.code(), Some(78 | 79)), "{login} down: {down:?}");
        let up = finish(curl(&key, &url, &["-T", &local])).await;
        assert!(matches!(up.status.code(), Some(25 | 79)), "{login} up: {up:?}");
    }
    for args in [[&local, "bob:x"], ["bob:x", &copy]] {
        let ran = finish(client(&gateway, "scp", &[&["-O"][..], &args].concat())).await;
        assert_eq!((ran.status.code(), text(&ran.stderr)), (Some(1), format!("{denied}\n")));
    }
    assert_eq!(std::fs::read(&copy).unwrap_or_default(), b"");
}

/// libssh2 (and so curl) waits for the server's version and for answers, and looks at nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn an_sftp_that_is_denied_is_a_failure_to_every_client_and_at_once() {
    let gateway = TestGateway::start().await;
    noise(&gateway.path("x"), 10);
    let local = gateway.path("x").display().to_string();
    let (key, copy) = (gateway.path("bob").display().to_string(), gateway.path("copy").display().to_string());
    let denied = "portcullis: denied by policy \"default\": no policy lets bob do Files on web-1; ask whoever keeps the policies";
    for login in ["web-1", "bob", "web%201"] {
        let url = format!("sftp://{login}@{}/etc/hostname", gateway.address);
        for args in [["-o", &copy], ["-T", &local]] {
            let ended = finish(curl(&key, &url, &args)).await;
            // 28 would be that it waited for all of that time
            assert!(!matches!(ended.status.code(), Some(0 | 28) | None), "{login} {args:?}: {ended:?}");
        }
    }
    for (program, args) in [("scp", [&local[..], "bob:x"]), ("scp", ["bob:x", &copy]), ("sftp", ["bob:x", &copy])] {
        let ran = finish(client(&gateway, program, &args)).await;
        assert_ne!(ran.status.code(), Some(0), "{program} {args:?}");
        assert!(text(&ran.stderr).contains(denied), "{program} {args:?}: {ran:?}");
    }
    assert_eq!(std::fs::read(&copy).unwrap_or_default(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_killed_in_the_middle_leaves_an_event_and_no_session() {
    let gateway = TestGateway::start().await;
    noise(&gateway.path("x"), 30 << 20);
    let local = gateway.path("x").display().to_string();
    let mut scp = client(&gateway, "scp", &["-l", "40000", &local, "web:x"]).spawn().unwrap();
    gateway.event(|event| event["event"] == "file.opened").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    scp.kill().await.unwrap();
    let closed = gateway.event(|event| event["event"] == "session.closed").await;
    assert_ne!(closed["outcome"], "interrupted", "{closed}");
    let file = gateway.event(|event| event["event"] == "file.closed").await;
    assert_eq!(file["outcome"], "unfinished");
}

#[tokio::test]
async fn a_client_that_hangs_up_on_its_answers_does_not_hide_what_it_did() {
    let gateway = TestGateway::start().await;
    let home = gateway.node.home.path();
    noise(&home.join("big"), 200_000);
    for number in 10..20 {
        std::fs::write(home.join(format!("file-{number}")), "x").unwrap();
    }
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    // its window holds the answers to the first requests, and not the big one
    let channel = raw.subsystem(0, 1000, 32768, "sftp").await;
    let open = [&[3, 0, 0, 0, 1][..], &string(b"big"), &[0, 0, 0, 1, 0, 0, 0, 0]].concat();
    let lstat = [&[7, 0, 0, 0, 2][..], &string(b"big")].concat();
    let read = [&[5, 0, 0, 0, 3][..], &string(&[0, 0, 0, 1]), &[0; 8], &200_000_u32.to_be_bytes()].concat();
    raw.data(channel, &string(&[1, 0, 0, 0, 3])).await;
    raw.data(channel, &string(&open)).await;
    gateway.event(|event| event["event"] == "file.opened").await;
    raw.data(channel, &[string(&lstat), string(&read)].concat()).await;
    for number in 10..20 {
        let name = string(format!("file-{number}").as_bytes());
        raw.data(channel, &string(&[&[13, 0, 0, 0, number], &name[..]].concat())).await;
    }
    gateway.event(|event| event["event"] == "file.asked" && event["path"] == "file-19").await;
    drop(raw);
    // soon, and not only when a channel's last words are cut off
    let closed = gateway.event(|event| event["event"] == "session.closed").await;
    assert_eq!(closed["outcome"], "client-gone");
    for number in 10..20 {
        let name = format!("file-{number}");
        assert!(!home.join(&name).exists());
        let done = |event: &serde_json::Value| event["event"] == "file.operation" && event["outcome"] == "done";
        assert!(gateway.events().iter().any(|event| done(event) && event["path"] == *name), "{name}");
    }
}
