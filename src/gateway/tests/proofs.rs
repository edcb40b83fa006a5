//! What a key's line says of it holds on every channel of whoever logs in by it.

use std::time::SystemTime;

use crate::identity::{People, Purpose, RealmRoles, Roles};
use crate::testing::{SOON, TestGateway, finish, text};

/// A gateway where ada's key has these options.
async fn with_options(policies: Option<&str>, options: &str) -> TestGateway {
    let gateway = match policies {
        Some(policies) => TestGateway::under(policies).await,
        None => TestGateway::start().await,
    };
    let key = std::fs::read_to_string(gateway.path("ada.pub")).unwrap();
    let keys = [format!("{options} {key}")];
    gateway.roster.replace(People::new([("ada", &keys[..])]).unwrap().in_roles(RealmRoles::for_test(Roles::Gateway)));
    gateway
}

#[tokio::test]
async fn au7_a_forced_command_takes_the_place_of_any_and_is_told_what_was_asked() {
    let gateway = with_options(None, "command=\"echo forced: $SSH_ORIGINAL_COMMAND\"").await;
    for (args, said) in [
        (&["web", "echo asked"][..], "forced: echo asked\n"),
        (&["web"], "forced:\n"),
        (&["-s", "web", "sftp"], "forced: internal-sftp\n"),
        (&["web", "scp -t /tmp"], "forced: scp -t /tmp\n"),
    ] {
        let ran = gateway.run(args).await;
        assert_eq!(text(&ran.stdout), said, "{args:?}: {}", text(&ran.stderr));
    }
    // the gateway's own commands as well
    let ran = gateway.run(&["gate", "whoami"]).await;
    assert!(ran.stdout.is_empty() && text(&ran.stderr).contains("this is the gateway"), "{ran:?}");
    let opened = gateway.event(|event| event["original_command"] == "echo asked").await;
    assert_eq!((&opened["action"], &opened["original_action"]), (&"Exec".into(), &"Exec".into()));
    assert_eq!(opened["command"], "echo forced: $SSH_ORIGINAL_COMMAND");
    assert_eq!(gateway.events().iter().filter(|event| event["original_action"] == "Shell").count(), 1);
}

#[tokio::test]
async fn au7_policy_judges_the_command_that_is_forced_and_not_the_one_that_was_asked_for() {
    let policy = "@id(\"uptime\") permit (principal, action == Action::\"Exec\", resource)\n\
                  when { context.command == \"echo up\" };\n\
                  @id(\"commands\") permit (principal, action == Action::\"Command\", resource);";
    let gateway = with_options(Some(policy), "command=\"echo up\"").await;
    assert_eq!(text(&gateway.run(&["web", "rm -r /"]).await.stdout), "up\n");
    let gateway = with_options(Some(policy), "command=\"echo down\"").await;
    let ran = gateway.run(&["web", "echo up"]).await;
    assert!(ran.stdout.is_empty() && text(&ran.stderr).contains("denied by policy"), "{ran:?}");
}

#[tokio::test]
async fn au7_a_key_for_files_alone_runs_nothing() {
    let gateway = with_options(None, "restrict,command=\"internal-sftp\"").await;
    let mut sftp = tokio::process::Command::new("sftp");
    sftp.arg("-F").arg(gateway.path("ssh_config")).args(["-b", "/dev/null", "web"]);
    assert!(finish(sftp).await.status.success());
    let ran = gateway.run(&["web", "echo in"]).await;
    assert!(!text(&ran.stdout).contains("in"), "{ran:?}");
    let opened = gateway.events().into_iter().filter(|event| event["event"] == "session.opened");
    assert!(opened.map(|event| event["action"].clone()).all(|action| action == "Files"));
}

#[tokio::test]
async fn au7_no_terminal_and_no_forwarding_where_the_key_has_none() {
    let gateway = with_options(None, "restrict").await;
    let ran = gateway.run(&["-tt", "web", "true"]).await;
    assert!(text(&ran.stderr).contains("PTY allocation request failed"), "{}", text(&ran.stderr));
    assert_eq!(text(&gateway.run(&["web", "echo in"]).await.stdout), "in\n");
    let refused = |asked: &'static str| {
        move |event: &serde_json::Value| event["code"] == "taken-by-the-key" && event["asked"] == asked
    };
    gateway.event(refused("terminal")).await;
    let ran = gateway.run(&["-o", "LogLevel=INFO", "-W", "127.0.0.1:1", "web"]).await;
    assert!(text(&ran.stderr).contains("may not forward"), "{}", text(&ran.stderr));
    gateway.event(refused("forwarding to 127.0.0.1:1")).await;
    // and a key without such options has both, as far as there is any
    let gateway = with_options(None, "restrict,pty").await;
    assert!(gateway.node.starts.lock().unwrap().is_empty());
    gateway.run(&["-tt", "web", "true"]).await;
    assert!(gateway.node.starts.lock().unwrap()[0].pty.is_some());
}

#[tokio::test]
async fn au7_a_key_that_does_not_count_is_refused_without_a_word_and_the_log_says_why() {
    for (options, code) in [
        ("from=\"192.0.2.0/24\"", "source-not-allowed"),
        ("from=\"127.0.0.0/8,!127.0.0.1\"", "source-not-allowed"),
        ("expiry-time=\"20200101Z\"", "proof-expired"),
        ("verify-required", "user-not-verified"),
    ] {
        let gateway = with_options(None, options).await;
        let ran = gateway.run(&["web", "echo in"]).await;
        let said = text(&ran.stderr);
        assert!(ran.stdout.is_empty() && said.contains("Permission denied (publickey)"), "{options}: {said}");
        for word in ["from", "expir", "192.0.2", "verif", "PIN"] {
            assert!(!said.contains(word), "{options}: {said}");
        }
        gateway.event(|event| event["event"] == "login.refused" && event["code"] == code).await;
    }
    let gateway = with_options(None, "from=\"127.0.0.0/8,::1\",expiry-time=\"29991231Z\"").await;
    gateway.works().await;
}

#[tokio::test]
async fn a_session_ends_with_a_sentence_when_the_time_of_its_key_is_over() {
    let gateway = with_options(None, "expiry-time=\"29991231Z\"").await;
    let mut session = gateway.ssh(&["web", "read line; echo never"]);
    let session = session.stdin(std::process::Stdio::piped()).spawn().unwrap();
    gateway.event(|event| event["event"] == "session.opened").await;
    let people = gateway.roster.current();
    let end = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(32_503_593_600);
    let ended = |now| gateway.sessions.end_expired(now, |identity| people.renew(identity, now, Purpose::GoOn));
    assert_eq!(ended(end - std::time::Duration::from_secs(1)), 0);
    // the event is written before the session is among those that run
    let began = std::time::Instant::now();
    while ended(end) == 0 {
        assert!(began.elapsed() < SOON, "nothing has ended");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let said = text(&session.wait_with_output().await.unwrap().stderr);
    assert!(said.contains("how you logged in is no proof any more: the key's expiry-time has passed"), "{said}");
}
