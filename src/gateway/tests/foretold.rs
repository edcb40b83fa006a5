//! An end that is known ahead is told ahead, on terminals, by OpenSSH's own client.

use std::process::{Output, Stdio};
use std::time::{Duration, SystemTime};

use tokio::process::{Child, Command};

use crate::identity::{People, Purpose, RealmRoles, Roles};
use crate::testing::{TestGateway, content, finish, text};

/// A gateway that tells of an end in seconds, and not in minutes.
async fn gateway() -> TestGateway {
    TestGateway::with(|settings| settings.foretold = [5, 2].map(Duration::from_secs).to_vec()).await
}

/// Ada's key is good until then.
async fn expires(gateway: &TestGateway, at: SystemTime) {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut date = Command::new("date");
    date.args(["-u", "+%Y%m%d%H%M%SZ", "-d", &format!("@{seconds}")]);
    let at = content(&finish(date).await);
    let key = std::fs::read_to_string(gateway.path("ada.pub")).unwrap();
    let keys = [format!("expiry-time=\"{}\" {key}", at.trim())];
    let people = People::new([("ada", &keys[..])]).unwrap();
    gateway.roster.replace(people.in_roles(RealmRoles::for_test(Roles::Gateway)));
}

/// A command that waits for its input's end.
fn waits(gateway: &TestGateway, options: &[&str]) -> Child {
    let mut ssh = gateway.ssh(&[options, &["web", "read line; echo out"]].concat());
    ssh.stdin(Stdio::piped()).spawn().unwrap()
}

async fn goes_on(mut child: Child) -> Output {
    use tokio::io::AsyncWriteExt as _;
    child.stdin.take().unwrap().write_all(b"\n").await.unwrap();
    let ran = tokio::time::timeout(crate::testing::SOON, child.wait_with_output()).await.unwrap().unwrap();
    assert!(text(&ran.stdout).contains("out"), "{ran:?}");
    ran
}

#[tokio::test]
async fn on_a_terminal_somebody_is_told_twice_before_their_proof_is_over_and_nobody_else_is() {
    let gateway = gateway().await;
    let end = SystemTime::now() + Duration::from_secs(8);
    expires(&gateway, end).await;
    let (terminal, pipe) = (waits(&gateway, &["-tt"]), waits(&gateway, &[]));
    gateway.runs(2).await;
    tokio::time::sleep(end.duration_since(SystemTime::now()).unwrap()).await;
    let told = text(&goes_on(terminal).await.stderr);
    let lines: Vec<&str> = told.lines().collect();
    // the first says that it is recorded
    let [_, first, second] = &lines[..] else { panic!("{told}") };
    let why = ", when the time of what you logged in with is over: log in again, and begin another one";
    let says = |line: &str, seconds: &[&str]| {
        seconds.iter().any(|seconds| line == format!("portcullis: this session ends in {seconds}{why}"))
    };
    // a busy machine is late
    assert!(
        says(first, &["5 seconds", "4 seconds", "3 seconds"]) && says(second, &["2 seconds", "1 second"]),
        "{told}"
    );
    assert_eq!(text(&goes_on(pipe).await.stderr), "", "what reads it may be a program");
}

#[tokio::test]
async fn who_is_given_more_time_meanwhile_is_told_nothing_and_then_of_the_end_that_comes() {
    let gateway = gateway().await;
    expires(&gateway, SystemTime::now() + Duration::from_secs(8)).await;
    let terminal = waits(&gateway, &["-tt"]);
    gateway.runs(1).await;
    let end = SystemTime::now() + Duration::from_secs(14);
    expires(&gateway, end).await;
    let (people, now) = (gateway.roster.current(), SystemTime::now());
    let judge = || gateway.sessions.judge_anew(|identity| people.renew(identity, now, Purpose::GoOn));
    assert_eq!(judge(), 0);
    tokio::time::sleep(end.duration_since(SystemTime::now()).unwrap()).await;
    let told = text(&goes_on(terminal).await.stderr);
    assert_eq!(
        told.matches("this session ends in").count(),
        2,
        "of the first end nothing, and of the second twice: {told}"
    );
}

#[tokio::test]
async fn an_expiry_that_is_set_while_a_session_runs_is_its_end_as_well() {
    let gateway = gateway().await;
    let terminal = waits(&gateway, &["-tt"]);
    gateway.runs(1).await;
    let end = SystemTime::now() + Duration::from_secs(4);
    expires(&gateway, end).await;
    let people = gateway.roster.current();
    let ended = |now| gateway.sessions.end_expired(now, |identity| people.renew(identity, now, Purpose::GoOn));
    let now = SystemTime::now();
    assert_eq!(gateway.sessions.judge_anew(|identity| people.renew(identity, now, Purpose::GoOn)), 0);
    assert_eq!(ended(now), 0);
    tokio::time::sleep(end.duration_since(now).unwrap()).await;
    assert_eq!(ended(SystemTime::now()), 1);
    let ran = tokio::time::timeout(crate::testing::SOON, terminal.wait_with_output()).await.unwrap().unwrap();
    let told = text(&ran.stderr);
    assert!(told.contains("this session ends in") && told.contains("the key's expiry-time has passed"), "{told}");
}
