//! What runs is known, and can be ended from outside: its person reads why.

use std::process::{Output, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::process::{Child, Command};

use super::wire::{Raw, take};
use crate::identity::{People, Purpose};
use crate::policy::Policy;
use crate::session::Running;
use crate::testing::{SOON, TestGateway, text};

/// A session of ada's, once it runs.
async fn start(gateway: &TestGateway, args: &[&str]) -> (Child, Running) {
    let child = gateway.ssh(args).spawn().unwrap();
    (child, begun(gateway).await)
}

async fn begun(gateway: &TestGateway) -> Running {
    let mut changes = gateway.sessions.registry().subscribe();
    loop {
        if let Some(session) = changes.running().pop() {
            return session;
        }
        tokio::time::timeout(SOON, changes.changed()).await.expect("nothing has begun");
    }
}

async fn end(child: Child) -> Output {
    tokio::time::timeout(SOON, child.wait_with_output()).await.expect("it was not ended").unwrap()
}

/// Waits until these sessions run and no others.
async fn runs(gateway: &TestGateway, expected: &[Running]) {
    let mut changes = gateway.sessions.registry().subscribe();
    let come = async {
        while changes.running() != expected {
            changes.changed().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), come).await.is_ok(), "what runs: {:?}", changes.running());
}

async fn closed(gateway: &TestGateway, session: &Running) -> serde_json::Value {
    let id = session.id.to_string();
    gateway.event(|event| event["event"] == "session.closed" && event["id"] == id.as_str()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_session_ends_with_its_reason_and_no_other_does() {
    let gateway = TestGateway::start().await;
    let (ssh, session) = start(&gateway, &["web", "echo here; exec sleep 60"]).await;
    let about = (session.person.as_str(), session.node_name.as_str(), session.action);
    assert_eq!(about, ("ada", "web-1", "Exec"));
    gateway.works().await;
    // a client may be gone a moment before its session is
    runs(&gateway, std::slice::from_ref(&session)).await;
    assert!(gateway.sessions.registry().kill(session.id, "somebody ended this session"));
    let ran = end(ssh).await;
    assert_eq!(ran.status.code(), Some(255));
    assert!(text(&ran.stderr).contains("portcullis: somebody ended this session"), "{}", text(&ran.stderr));
    let closed = closed(&gateway, &session).await;
    assert_eq!((&closed["outcome"], &closed["why"]), (&"killed".into(), &"somebody ended this session".into()));
    runs(&gateway, &[]).await;
    gateway.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_file_session_ends_and_is_counted() {
    let gateway = TestGateway::start().await;
    let mut sftp = Command::new("sftp");
    sftp.arg("-F").arg(gateway.path("ssh_config")).arg("web");
    sftp.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut sftp = sftp.spawn().unwrap();
    let stdin = sftp.stdin.take();
    let session = begun(&gateway).await;
    assert_eq!(session.action, "Files");
    // the client's first words are there, so it has got so far
    while gateway.events().iter().all(|event| event["event"] != "file.operation") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(gateway.sessions.registry().kill(session.id, "enough"));
    let closed = closed(&gateway, &session).await;
    // it does not look at its ssh while it waits for a command
    drop(stdin);
    let ran = end(sftp).await;
    assert!(text(&ran.stderr).contains("portcullis: enough"), "{}", text(&ran.stderr));
    assert_eq!((&closed["outcome"], &closed["why"]), (&"killed".into(), &"enough".into()));
    assert!(closed["stdin"]["bytes"].as_u64() > Some(0) && closed["stdout"]["bytes"].as_u64() > Some(0), "{closed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_sessions_sums_are_of_what_passed() {
    let gateway = TestGateway::start().await;
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    let channel = raw.subsystem(0, 1 << 20, 32768, "sftp").await;
    // SSH_FXP_INIT, version 3
    let init = [0, 0, 0, 5, 1, 0, 0, 0, 3];
    raw.data(channel, &init).await;
    let answer = raw.until(94).await;
    let version = take(&mut &answer[5..]);
    raw.send(&[&[96], &channel.to_be_bytes()[..]].concat()).await;
    let closed = gateway.event(|event| event["event"] == "session.closed").await;
    let sum = |bytes: &[u8]| serde_json::json!({ "bytes": bytes.len(), "sha256": hex::encode(Sha256::digest(bytes)) });
    assert_eq!((&closed["stdin"], &closed["stdout"]), (&sum(&init), &sum(&version)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_client_reads_nothing_can_be_killed() {
    let gateway = TestGateway::start().await;
    let mut ssh = gateway.ssh(&["web", "cat /dev/zero"]).spawn().unwrap();
    let session = begun(&gateway).await;
    // nobody takes what ssh prints, so that ssh takes nothing either
    let _unread = (ssh.stdout.take(), ssh.stderr.take());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(gateway.sessions.registry().kill(session.id, "enough"));
    assert_eq!(closed(&gateway, &session).await["outcome"], "killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_end_is_told_to_whoever_still_has_a_session() {
    let mut gateway = TestGateway::start().await;
    gateway.node.idle.store(true, Ordering::Relaxed);
    let (ssh, session) = start(&gateway, &["web", "stays"]).await;
    let (ran, ()) = tokio::join!(end(ssh), gateway.stop());
    assert_eq!(ran.status.code(), Some(255));
    assert!(text(&ran.stderr).contains("portcullis: the gateway is shutting down"), "{}", text(&ran.stderr));
    assert_eq!(closed(&gateway, &session).await["why"], "the gateway is shutting down");
}

#[tokio::test]
async fn each_command_of_a_line_is_asked_about_and_in_the_record() {
    let policies = "@id(\"lines\") permit (principal, action == Action::\"Exec\", resource);\n\
                    @id(\"look\") permit (principal, action == Action::\"Command\", resource)\n\
                    when { context.known && [\"echo\", \"true\"].contains(context.name) };";
    let gateway = TestGateway::under(policies).await;
    let ran = gateway.run(&["web", "true && echo $(echo a b)"]).await;
    assert_eq!(text(&ran.stdout), "a b\n");
    let opened = gateway.event(|event| event["event"] == "session.opened").await;
    let command = |name: &str| serde_json::json!({ "name": name, "known": true, "policy": "look" });
    assert_eq!(opened["commands"], serde_json::json!([command("true"), command("echo"), command("echo")]));
    assert_eq!(opened["policy"], "lines, look");
    for (line, code, says) in [
        ("echo a; id", "command-not-listed", "no policy lets ada run the command `id` on web-1"),
        ("eval id", "command-unknown", "so what it runs is unknown"),
        ("echo a >/tmp/x", "command-not-listed", "the command `>`"),
    ] {
        let refused = gateway.run(&["web", line]).await;
        assert!(refused.stdout.is_empty() && text(&refused.stderr).contains(says), "{line}: {refused:?}");
        let event = gateway.event(|event| event["event"] == "channel.refused" && event["code"] == code).await;
        assert_eq!(event["policy"], "default");
    }
}

#[tokio::test]
async fn z5_what_is_allowed_no_more_ends_with_a_sentence_and_what_is_allowed_goes_on() {
    let gateway = TestGateway::start().await;
    let [mut ending, mut staying] = ["web", "bob"].map(|host| gateway.ssh(&[host, "echo in; read line; echo out"]));
    let ending = ending.stdin(Stdio::piped()).spawn().unwrap();
    let mut staying = staying.stdin(Stdio::piped()).spawn().unwrap();
    gateway.runs(2).await;
    let bobs = "@id(\"bobs\") permit (principal == Person::\"bob\", action in Action::\"Commands\", resource);";
    gateway.policies.replace(Policy::for_test(bobs));
    let people = gateway.roster.current();
    assert_eq!(
        gateway.sessions.judge_anew(|identity| people.renew(identity, std::time::SystemTime::now(), Purpose::GoOn)),
        1
    );
    let said = text(&ending.wait_with_output().await.unwrap().stderr);
    let sentence =
        "portcullis: the policies have changed: denied by policy \"default\": no policy lets ada do Exec on web-1";
    assert!(said.contains(sentence), "{said}");
    // what goes on has an event of it, in its folder as well
    let judged = gateway.event(|event| event["event"] == "session.judged").await;
    assert_eq!(judged["policy_set"], gateway.policies.current().version().sha256());
    drop(staying.stdin.take());
    assert_eq!(text(&staying.wait_with_output().await.unwrap().stdout), "in\nout\n");
    let id = judged["id"].as_str().unwrap();
    let sealed = gateway.event(|event| event["event"] == "session.sealed" && event["id"] == id).await;
    let folder = gateway.path("sessions").join(sealed["folder"].as_str().unwrap());
    let events = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
    assert!(events.contains("\"activity_name\":\"Judged\""), "{events}");
}

#[tokio::test]
async fn z5_a_connection_whose_person_is_there_no_more_opens_nothing() {
    let gateway = TestGateway::start().await;
    let socket = gateway.path("mux").display().to_string();
    let mut master = gateway.ssh(&["-M", "-S", &socket, "web", "echo in; read line"]);
    let master = master.stdin(Stdio::piped()).spawn().unwrap();
    gateway.event(|event| event["event"] == "session.opened").await;
    assert_eq!(text(&gateway.run(&["-S", &socket, "web", "echo second"]).await.stdout), "second\n");
    gateway.roster.replace(People::default());
    let refused = gateway.run(&["-S", &socket, "web", "echo third"]).await;
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    let said = text(&master.wait_with_output().await.unwrap().stderr);
    assert!(said.contains("the key that you logged in with is yours no more"), "{said}");
}
