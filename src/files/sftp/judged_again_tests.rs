//! What is open is asked about again: by a client of our own, and by OpenSSH's in the middle of a transfer.

use std::fs;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::tests::{Client, WRITE, status};
use crate::files::tests::servers::{Events, FileServers};
use crate::files::{FileEvent, Outcome};
use crate::identity::Identity;
use crate::policy::{Action, FileAction, Grant, Policies, Policy};
use crate::testing::{complaint, local_service_under, noise, text};
use crate::transport::file_service::OpenFlags;
use crate::transport::file_service::sftp::packet::Request;

const ALL: &str = "@id(\"all\") permit (principal, action, resource);";
const LOOK: &str = "@id(\"look\") permit (principal, action in Action::\"BrowseFiles\", resource);";

const READ: OpenFlags =
    OpenFlags { read: true, write: false, append: false, create: false, truncate: false, exclusive: false };

/// `SSH_FX_OK`, `SSH_FX_PERMISSION_DENIED` (the draft, section 7).
const OK: u32 = 0;
const DENIED: u32 = 3;

impl Client {
    /// What comes of a write: its status.
    async fn writes(&mut self, handle: &Bytes, offset: u64) -> u32 {
        let data = Bytes::from_static(b"some bytes");
        let (kind, rest) = self.call(Request::Write { handle: handle.clone(), offset, data }).await;
        assert_eq!(kind, 101);
        status(&rest)
    }

    /// What comes of a read: its status, where it is not data.
    async fn reads(&mut self, handle: &Bytes, offset: u64) -> u32 {
        let (kind, rest) = self.call(Request::Read { handle: handle.clone(), offset, length: 10 }).await;
        if kind == 103 { OK } else { status(&rest) }
    }
}

fn denied(events: &[FileEvent]) -> Vec<FileAction> {
    let denied = events.iter().filter(|event| matches!(event.outcome, Outcome::Denied(_)));
    denied.map(|event| event.action).collect()
}

#[tokio::test]
async fn z5_what_is_open_is_asked_about_again_when_others_are_in_force() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("there"), noise(100_000)).unwrap();
    let grant = Grant::for_test("web-1", Action::Files);
    let policies = grant.policies();
    let events = Arc::new(Events::default());
    let (files, log) = local_service_under(grant, home.path());
    let (mut client, serving) = Client::new(files, &events).await;
    let made = client.open("made", WRITE).await;
    let there = client.open("there", READ).await;
    let (kind, rest) = client.call(Request::OpenDir { path: b".".to_vec() }).await;
    assert_eq!(kind, 102);
    let directory = rest.slice(4..);
    assert_eq!((client.writes(&made, 0).await, client.reads(&there, 0).await), (OK, OK));

    policies.replace(Policy::for_test(LOOK));
    let before = events.take().len();
    assert!(before > 0);
    let asked = log.lock().unwrap().len();
    for turn in 1..4 {
        let offset = 10 * turn;
        assert_eq!((client.writes(&made, offset).await, client.reads(&there, offset).await), (DENIED, DENIED));
        assert_eq!(client.reads(&made, 0).await, DENIED, "what was written is not read either");
    }
    let copy = Request::CopyData { from: there.clone(), offset: 0, length: 0, to: made.clone(), to_offset: 0 };
    assert_eq!(status(&client.call(copy).await.1), DENIED);
    let changed = log.lock().unwrap().split_off(asked);
    assert!(changed.is_empty(), "the node is asked for nothing of it: {changed:?}");
    // what may be done yet goes on, on the same handles
    assert_eq!(client.call(Request::Fstat { handle: made.clone() }).await.0, 105);
    assert_eq!(client.call(Request::ReadDir { handle: directory.clone() }).await.0, 104);
    let noted = events.take();
    // one of each file and use, and the copy's own
    assert_eq!(
        denied(&noted),
        [FileAction::Upload, FileAction::Download, FileAction::Download, FileAction::Copy],
        "{noted:#?}"
    );
    let Outcome::Denied(denial) = &noted[0].outcome else { panic!("{noted:?}") };
    assert_eq!(denial.version, policies.current().version().clone());

    policies.replace(Policy::for_test(ALL));
    assert_eq!((client.writes(&made, 10).await, client.reads(&there, 10).await), (OK, OK), "the handles are good");
    policies.replace(Policy::for_test("@id(\"get\") permit (principal, action == Action::\"Download\", resource);"));
    assert_eq!((client.writes(&made, 20).await, client.reads(&there, 20).await), (DENIED, OK));
    let (_, rest) = client.call(Request::ReadDir { handle: directory }).await;
    assert_eq!(status(&rest), DENIED);
    assert_eq!(
        denied(&events.take()),
        [FileAction::Upload, FileAction::List],
        "it is said again of what was allowed between"
    );
    client.call(Request::Close { handle: made }).await;
    drop(client);
    serving.await.unwrap().unwrap();
    let kept = events.transfer(FileAction::Upload, "made").content.unwrap();
    assert_eq!(kept.bytes, 20, "what was written before and between is in the record, and nothing else");
    assert_eq!(fs::read(home.path().join("made")).unwrap(), b"some bytes".repeat(2));
}

#[tokio::test]
async fn z5_a_file_that_is_open_is_asked_about_by_its_path_its_person_and_its_limits() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("safe")).unwrap();
    let policies = |obliges: &str, safe: &str| {
        Policy::for_test(&format!(
            "@id(\"ops\") {obliges} permit (principal in Group::\"ops\", action, resource);\n\
             @id(\"look\") permit (principal, action in Action::\"BrowseFiles\", resource);\n{safe}"
        ))
    };
    let grant = Grant::for_test_to(Identity::for_test_in("ada", &["ops"]), "web-1", Action::Files);
    let (in_force, standing) = (grant.policies(), grant.standing());
    in_force.replace(policies("", ""));
    let (files, _) = local_service_under(grant, home.path());
    let (mut client, _serving) = Client::new(files, &Arc::default()).await;
    let (inside, outside) = (client.open("safe/x", WRITE).await, client.open("x", WRITE).await);
    assert_eq!((client.writes(&inside, 0).await, client.writes(&outside, 0).await), (OK, OK));
    // no policy has looked at a path so far
    let safe = home.path().canonicalize().unwrap().join("safe/*");
    let forbid = format!(
        "@id(\"safe\") forbid (principal, action == Action::\"Upload\", resource) when {{ context.path like {:?} }};",
        safe.display()
    );
    in_force.replace(policies("", &forbid));
    assert_eq!((client.writes(&inside, 10).await, client.writes(&outside, 10).await), (DENIED, OK));
    // ten bytes are written by a leave that says nothing of how many, and ten by one that lets five more be
    in_force.replace(policies("@upload_limit(\"15\")", ""));
    assert_eq!((client.writes(&inside, 10).await, client.writes(&outside, 20).await), (OK, DENIED));
    in_force.replace(policies("", ""));
    assert_eq!(client.writes(&outside, 20).await, OK);
    // the same policies, and somebody who is in the group no more
    let none = standing.of(Identity::for_test("ada"), &in_force);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!((client.writes(&outside, 30).await, client.reads(&outside, 0).await), (DENIED, DENIED));
    let _ = none.of(Identity::for_test_in("ada", &["ops"]), &in_force);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(client.writes(&outside, 30).await, OK);
}

/// Servers, and the policies of what is done by them.
fn servers() -> (FileServers, Policies) {
    let mut policies = None;
    let servers = FileServers::under(|_| {
        let grant = Grant::for_test("web-1", Action::Files);
        policies = Some(grant.policies());
        grant
    });
    (servers, policies.unwrap())
}

/// OpenSSH's clients at a mebibyte a second, and what is changed while they are at it.
#[tokio::test(flavor = "multi_thread")]
async fn z5_a_transfer_of_sftp_or_scp_ends_in_the_middle_and_says_why() {
    let size = 4 << 20;
    for way in ["sftp", "scp", "old scp"] {
        for action in [FileAction::Upload, FileAction::Download] {
            let (servers, policies) = servers();
            let bytes = noise(size);
            fs::write(servers.here("big"), &bytes).unwrap();
            fs::write(servers.remote("big"), &bytes).unwrap();
            let (changed, change) = oneshot::channel();
            let up = action == FileAction::Upload;
            let target = if up { servers.remote("up") } else { servers.here("down") };
            tokio::spawn(async move {
                // some of it has gone over, and at this speed most of it has not
                while fs::metadata(&target).map_or(0, |target| target.len()) == 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                policies.replace(Policy::for_test(LOOK));
                let _ = changed.send(());
            });
            let ran: Output = match (way, up) {
                ("sftp", true) => servers.sftp_with(&["-l", "8192"], "put big up\n").await,
                ("sftp", false) => servers.sftp_with(&["-l", "8192"], "get big down\n").await,
                (_, true) => servers.scp(&[mode(way), "-l", "8192", "big", "demo:up"]).await,
                (_, false) => servers.scp(&[mode(way), "-l", "8192", "demo:big", "down"]).await,
            };
            assert!(change.await.is_ok());
            let said = complaint(&ran);
            // what sftp says of a refused read or write is its own; scp's protocol has room for the words
            assert!(said.to_lowercase().contains("permission denied"), "{way}, {action:?}: {said}");
            assert!(way != "old scp" || said.contains("denied by policy \"default\""), "{said} {}", text(&ran.stdout));
            let name = if up { "up" } else { "big" };
            let moved = servers.events.transfer(action, name).content.unwrap().bytes;
            assert!(moved > 0 && moved < size as u64, "{way}, {action:?}: {moved} bytes");
            let denials = denied(&servers.events.take());
            assert!(denials.contains(&action), "{way}: {denials:?}");
        }
    }
}

fn mode(way: &str) -> &'static str {
    if way == "scp" { "-s" } else { "-O" }
}
