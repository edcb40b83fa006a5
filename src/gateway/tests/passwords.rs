//! Passwords: from where they count, what a client learns, how often one may guess; and that none is written down anywhere.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::wire::{Raw, string};
use crate::identity::{Combination, EnoughFor, FirstProof, PasswordHash, SecondProof};
use crate::testing::{TestGateway, content, finish, text};

const RIGHT: &str = "correct horse battery";
const HERE: &str = "127.0.0.0/24";

/// A gateway where ada has a password, which counts from here.
async fn start() -> TestGateway {
    let gateway = TestGateway::start().await;
    gives(&gateway, "ada");
    gateway
}

fn gives(gateway: &TestGateway, person: &str) {
    let mut people = (*gateway.roster.current()).clone();
    people.add_password(person, &PasswordHash::cheap_line_of(RIGHT), &[HERE.to_owned()]).unwrap();
    gateway.roster.replace(people);
}

/// `ssh` whose person types this, by one method.
async fn types(gateway: &TestGateway, login: &str, method: &str, password: &str, more: &[&str]) -> Output {
    let script = gateway.path("askpass");
    std::fs::write(&script, "#!/bin/sh\nprintf '%s\\n' \"$TYPED\"\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let only = format!("PreferredAuthentications={method}");
    let fixed = ["-o", &only, "-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1", "-l", login];
    let mut ssh = gateway.ssh(&[&fixed[..], more, &["nokey", "echo in"]].concat());
    ssh.env("SSH_ASKPASS", &script).env("SSH_ASKPASS_REQUIRE", "force").env("TYPED", password);
    finish(ssh).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_lets_its_owner_in_by_both_methods_and_evidence_names_the_kind() {
    let gateway = start().await;
    for method in ["password", "keyboard-interactive"] {
        assert_eq!(content(&types(&gateway, "ada/web-1", method, RIGHT, &[]).await), "in\n", "{method}");
    }
    let mut plink = Command::new("plink");
    let port = gateway.address.port().to_string();
    plink.args(["-ssh", "-batch", "-P", &port, "-l", "ada/web-1", "-pw", RIGHT]);
    let mut print = Command::new("ssh-keygen");
    print.arg("-lf").arg(gateway.path("known_hosts")).stdout(Stdio::piped());
    for line in text(&finish(print).await.stdout).lines() {
        plink.args(["-hostkey", line.split(' ').nth(1).unwrap()]);
    }
    plink.args(["127.0.0.1", "echo in"]).env("HOME", gateway.dir.path());
    plink.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(content(&finish(plink).await).trim(), "in");
    let mut dbclient = Command::new("dbclient");
    dbclient.args(["-y", "-y", "-p", &port, "ada/web-1@127.0.0.1", "echo in"]).env("DROPBEAR_PASSWORD", RIGHT);
    dbclient.env("HOME", gateway.dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(content(&finish(dbclient).await), "in\n");
    let opened = gateway.event(|event| event["event"] == "session.opened").await;
    assert_eq!((&opened["person"], &opened["proof"]), (&"ada".into(), &"password".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn au4_au9_what_is_wrong_is_refused_alike_whoever_it_is_and_stands_in_no_line() {
    let gateway = start().await;
    let canary = "canary-7f3a-not-the-password";
    let mut complaints = Vec::new();
    for (login, password) in [("ada/web-1", canary), ("eve/web-1", canary), ("bob/web-1", RIGHT), ("ada/web-1", "")] {
        let ran = types(&gateway, login, "password", password, &[]).await;
        assert!(!ran.status.success(), "{login}");
        complaints.push(text(&ran.stderr).replace(login, "LOGIN"));
    }
    complaints.dedup();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    let refused = || gateway.events().into_iter().filter(|event| event["event"] == "login.refused").collect::<Vec<_>>();
    for _ in 0..200 {
        if refused().len() == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let refused = refused();
    assert!(refused.len() == 4 && refused.iter().all(|event| event["code"] == "password-wrong"), "{refused:#?}");
    // what a client says where it has no business doing so either
    let mut raw = Raw::encrypted(gateway.address).await;
    raw.ask_to_log_in().await;
    for change in [0, 1] {
        let password = [
            &[change],
            &[canary.as_bytes(), canary.as_bytes()][..=usize::from(change)]
                .iter()
                .flat_map(|text| string(text))
                .collect::<Vec<u8>>()[..],
        ]
        .concat();
        let request =
            [&[50], &[&b"ada/web-1"[..], b"ssh-connection", b"password"].map(string).concat()[..], &password].concat();
        raw.send(&request).await;
        raw.until(51).await;
    }
    drop(raw);
    let log = gateway.events().iter().map(serde_json::Value::to_string).collect::<String>();
    assert!(!log.contains("canary") && !log.contains("argon2"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_elsewhere_no_password_counts_and_none_is_asked_for() {
    let gateway = start().await;
    let elsewhere = ["-b", "127.0.1.1"];
    let ran = types(&gateway, "ada/web-1", "password", RIGHT, &elsewhere).await;
    assert!(text(&ran.stderr).contains("Permission denied (publickey)"), "{}", text(&ran.stderr));
    // a client that sends one all the same
    let mut raw = Raw::encrypted_from(std::net::Ipv4Addr::new(127, 0, 1, 2), gateway.address).await;
    raw.ask_to_log_in().await;
    let names = [&b"ada/web-1"[..], b"ssh-connection", b"password"].map(string).concat();
    raw.send(&[&[50], &names[..], &[0], &string(RIGHT.as_bytes())].concat()).await;
    raw.until(51).await;
    drop(raw);
    let event =
        gateway.event(|event| event["source"].as_str().is_some_and(|source| source.starts_with("127.0.1.2:"))).await;
    assert_eq!(event["code"], "method-not-taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_barred_for_seconds_and_others_are_not() {
    let gateway = TestGateway::with(|settings| settings.refusal_delay = Duration::ZERO).await;
    gives(&gateway, "ada");
    let mut raw = Raw::encrypted(gateway.address).await;
    raw.ask_to_log_in().await;
    let names = [&b"ada/web-1"[..], b"ssh-connection", b"password"].map(string).concat();
    for password in [&["a wrong one of ada's"; 6][..], &[RIGHT]].concat() {
        raw.send(&[&[50], &names[..], &[0], &string(password.as_bytes())].concat()).await;
        raw.until(51).await;
    }
    drop(raw);
    // a good one is not looked at either
    gateway.event(|event| event["code"] == "too-many-guesses").await;
    assert_eq!(content(&types(&gateway, "ada/web-1", "password", RIGHT, &["-b", "127.0.0.2"]).await), "in\n");
    // a key is no guess
    assert_eq!(content(&gateway.run(&["web", "echo in"]).await), "in\n");
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(content(&types(&gateway, "ada/web-1", "password", RIGHT, &[]).await), "in\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_may_have_to_come_as_well_and_a_rule_without_passwords_takes_none() {
    let gateway = start().await;
    let rule = |first, second| EnoughFor {
        people: vec!["*".to_owned()],
        groups: Vec::new(),
        enough: vec![Combination { first, second }],
    };
    let under = |rule: EnoughFor| {
        let people = (*gateway.roster.current()).clone();
        let mut people = people.with_enough(vec![rule], Duration::ZERO);
        people.add_secrets(b"ada GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        gateway.roster.replace(people);
    };
    under(rule(FirstProof::Password, Some(SecondProof::Totp)));
    let asked = types(&gateway, "ada/web-1", "password,keyboard-interactive", RIGHT, &["-v"]).await;
    assert!(
        !asked.status.success() && text(&asked.stderr).contains("using \"password\" with partial success"),
        "{}",
        text(&asked.stderr)
    );
    gateway.event(|event| event["code"] == "second-factor-wrong").await;
    under(rule(FirstProof::Key, None));
    assert!(!types(&gateway, "ada/web-1", "password", RIGHT, &[]).await.status.success());
    gateway.event(|event| event["code"] == "proof-not-enough").await;
}
