//! Logging in, running things, being refused.

use super::wire::{Raw, string};
use crate::testing::{TestGateway, text};

#[tokio::test]
async fn runs_a_command_with_its_output_errors_and_status() {
    let gateway = TestGateway::start().await;
    let ran = gateway.run(&["web", "echo out; echo err >&2; exit 3"]).await;
    assert_eq!((text(&ran.stdout), text(&ran.stderr)), ("out\n".to_owned(), "err\n".to_owned()));
    assert_eq!(ran.status.code(), Some(3));
    let closed = gateway.event(|event| event["event"] == "session.closed").await;
    assert_eq!(closed["outcome"], "finished");
    assert_eq!(closed["stdout"]["bytes"], 4);
    let opened = gateway.event(|event| event["event"] == "session.opened").await;
    assert_eq!((&opened["person"], &opened["policy"]), (&"ada".into(), &"all-of-web".into()));
    assert_eq!(opened["command"], "echo out; echo err >&2; exit 3");
    assert!(opened["proof"].as_str().unwrap().starts_with("publickey SHA256:"));
}

#[tokio::test]
async fn every_byte_value_goes_through_both_ways() {
    let gateway = TestGateway::start().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let ran = gateway.run_with(&["web", "tee /dev/stderr"], bytes.clone()).await;
    assert!(ran.stdout == bytes && ran.stderr == bytes);
    let closed = gateway.event(|event| event["event"] == "session.closed").await;
    assert_eq!(closed["stdin"], closed["stdout"], "same length, same hash");
    assert_eq!(closed["stdin"]["bytes"], 300_000);
}

#[tokio::test]
async fn no_input_is_told_before_the_command_starts() {
    let gateway = TestGateway::start().await;
    assert_eq!(text(&gateway.run(&["web", "cat; echo done"]).await.stdout), "done\n");
    assert_eq!(text(&gateway.run(&["-n", "web", "cat; echo done"]).await.stdout), "done\n");
    assert_eq!(text(&gateway.run_with(&["web", "cat"], "x").await.stdout), "x");
    let closed: Vec<bool> = gateway.node.starts.lock().unwrap().iter().map(|start| start.stdin_closed).collect();
    assert_eq!(closed, [true, true, false]);
}

#[tokio::test]
async fn a_shell_without_a_terminal_reads_its_commands() {
    let gateway = TestGateway::start().await;
    let ran = gateway.run_with(&["-T", "web"], "echo $((6*7)); exit 9\n").await;
    assert_eq!((text(&ran.stdout).as_str(), ran.status.code()), ("42\n", Some(9)));
}

#[tokio::test]
async fn death_by_signal_is_told() {
    let gateway = TestGateway::start().await;
    let ran = gateway.run(&["-v", "web", "kill -TERM $$"]).await;
    assert_eq!(ran.status.code(), Some(255));
    assert!(text(&ran.stderr).contains("exit-signal"), "{}", text(&ran.stderr));
    let exit = gateway.event(|event| event["event"] == "session.exit").await;
    assert_eq!(exit["signal"], "TERM");
}

#[tokio::test]
async fn a_status_that_nobody_knows_is_0_and_verbose_mode_says_so() {
    const TOLD: &str = "has no exit status; 0 stands for it";
    let gateway = TestGateway::start().await;
    let ran = gateway.run(&["web", "unknown!"]).await;
    assert_eq!((ran.status.code(), text(&ran.stderr).as_str()), (Some(0), ""));
    // the agent's own shell is known to have none; where shells have one, nothing is said
    for agent_shells in [true, false] {
        let gateway = TestGateway::with(|settings| settings.agent_shells = agent_shells).await;
        let ran = gateway.run_with(&["-v", "-tt", "web"], "exit\n").await;
        assert_eq!(text(&ran.stderr).contains(TOLD), agent_shells, "{}", text(&ran.stderr));
        assert!(!text(&gateway.run_with(&["-tt", "web"], "exit\n").await.stderr).contains(TOLD));
        // a command has its lanes' status, and so has what the gateway answers itself
        for other in [&["-v", "web", "true"][..], &["-v", "-tt", "gate"]] {
            assert!(!text(&gateway.run(other).await.stderr).contains(TOLD), "{other:?}");
        }
    }
}

#[tokio::test]
async fn a_session_that_breaks_is_never_taken_for_success() {
    let gateway = TestGateway::start().await;
    for (command, sentence) in [("break!", "the node is gone"), ("vanish!", "the session ended without saying how")] {
        let ran = gateway.run(&["web", command]).await;
        assert_eq!((text(&ran.stdout).as_str(), ran.status.code()), ("half", Some(255)));
        assert_eq!(text(&ran.stderr), format!("portcullis: {sentence}\n"));
        gateway.event(|event| event["outcome"] == "failed" && event["why"] == sentence).await;
    }
}

/// As sshd does it, the status doesn't wait for what holds the output open; it is recorded by then, and an output that is cut
/// afterwards still ends in failure.
#[tokio::test]
async fn a_status_that_is_told_early_is_recorded_and_a_cut_after_it_is_told_as_well() {
    let gateway = TestGateway::start().await;
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    let channel = raw.exec(0, 1 << 20, 32768, "cut-late!").await;
    let status = |packet: &[u8]| {
        assert_eq!(packet[5..20], string(b"exit-status"));
        u32::from_be_bytes(packet[21..25].try_into().unwrap())
    };
    assert_eq!(status(&raw.until(98).await), 0);
    let recorded = gateway.events();
    assert!(recorded.iter().any(|event| event["event"] == "session.exit" && event["code"] == 0), "{recorded:?}");
    raw.data(channel, b"go on").await;
    assert!(raw.until(94).await.ends_with(b"half"));
    assert!(raw.until(95).await.ends_with(b"portcullis: the node is gone\n"));
    // the last one counts for ssh, libssh2, paramiko and PuTTY: none of them takes the half for the whole
    assert_eq!(status(&raw.until(98).await), 255);
    raw.until(97).await;
    gateway.event(|event| event["outcome"] == "failed" && event["why"] == "the node is gone").await;
}

#[tokio::test]
async fn a_stranger_is_refused_and_remembered() {
    let gateway = TestGateway::start().await;
    let ran = gateway.run(&["stranger", "true"]).await;
    assert_eq!(ran.status.code(), Some(255));
    assert!(text(&ran.stderr).contains("Permission denied (publickey)"), "{}", text(&ran.stderr));
    let event = gateway.event(|event| event["event"] == "login.refused").await;
    assert_eq!(event["login"], "web-1");
    assert!(event["asked"].as_str().unwrap().starts_with("SHA256:"));
    assert_eq!(event["reason"], "nobody here has this key");
    assert!(gateway.node.starts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn refusals_are_sentences_on_stderr_and_events() {
    let gateway = TestGateway::start().await;
    for (host, command, sentence) in [
        (
            "bob",
            "",
            "denied by policy \"default\": no policy lets bob do Shell on web-1; ask whoever keeps the policies",
        ),
        (
            "nowhere",
            "true",
            "denied by policy \"default\": no policy lets ada do Exec on db-9; ask whoever keeps the policies\n\
             portcullis: before the '@' of ssh goes the node: ssh <node>@<gateway>",
        ),
        (
            "bobs-nowhere",
            "true",
            "no node is called db-9\nportcullis: before the '@' of ssh goes the node: ssh <node>@<gateway>",
        ),
        ("down", "true", "down-1 is not connected to Systems Manager: it has not been heard of"),
        ("deploy", "true", "the agent may not run things as deploy"),
    ] {
        let mut args = vec!["-T", host];
        args.extend((!command.is_empty()).then_some(command));
        let ran = gateway.run(&args).await;
        assert_eq!(text(&ran.stderr), format!("portcullis: {sentence}\n"));
        assert_eq!(ran.status.code(), Some(255), "{host}");
        let why = if host == "deploy" { "why" } else { "reason" };
        let first = sentence.lines().next();
        gateway.event(|event| event[why].as_str() == first).await;
    }
    let as_root = gateway.run(&["-l", "root%web-1", "web", "true"]).await;
    assert!(text(&as_root.stderr).contains("no policy lets ada do Exec on web-1 as root"), "{}", text(&as_root.stderr));
    let ran = gateway.run(&["bob", "echo fine"]).await;
    assert_eq!(text(&ran.stdout), "fine\n", "what bob may do");
}

#[tokio::test]
async fn a_login_that_cannot_be_read_is_refused_in_words() {
    let gateway = TestGateway::start().await;
    let ran = gateway.run(&["-l", "web-1+", "web", "true"]).await;
    assert_eq!(ran.status.code(), Some(255));
    assert!(text(&ran.stderr).contains("the reason after '+' must be 1 to 256 characters"), "{}", text(&ran.stderr));
    let named = gateway.run(&["-l", "bob/web-1", "web", "true"]).await;
    assert!(text(&named.stderr).contains("Permission denied"), "ada's key, bob's name");
}

#[tokio::test]
async fn the_reason_comes_from_the_login_or_the_environment() {
    let gateway = TestGateway::start().await;
    gateway.run(&["-l", "web-1+INC-1 disk full", "web", "true"]).await;
    gateway.run(&["-o", "SetEnv=PORTCULLIS_REASON=INC-2", "web", "true"]).await;
    gateway.run(&["-o", "SetEnv=LC_PORTCULLIS_REASON=INC-3", "-l", "web-1+INC-4", "web", "true"]).await;
    let reasons: Vec<String> = gateway
        .events()
        .iter()
        .filter(|event| event["event"] == "session.opened")
        .map(|event| event["reason"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(reasons, ["INC-1 disk full", "INC-2", "INC-4"]);
    assert!(gateway.node.starts.lock().unwrap().iter().all(|start| start.env.is_empty()), "not the node's business");
}

#[tokio::test]
async fn environment_goes_by_the_list() {
    let gateway = TestGateway::start().await;
    let set = "SetEnv=LANG=C.UTF-8 LC_ALL=C LD_PRELOAD=/x FOO=bar BASH_ENV=/x";
    let ran = gateway.run(&["-o", set, "web", "echo $LANG $LC_ALL $LD_PRELOAD $FOO $BASH_ENV"]).await;
    assert_eq!(text(&ran.stdout), "C.UTF-8 C\n");
}

#[tokio::test]
async fn a_variable_that_no_policy_permits_is_left_out_and_the_session_goes_on() {
    let gateway = TestGateway::start().await;
    let set = "SetEnv=LANG=C.UTF-8 LC_ALL=C LC_TIME=C";
    let ran = gateway.run(&["-o", set, "bob", "echo $LANG $LC_ALL $LC_TIME"]).await;
    assert_eq!((text(&ran.stdout), text(&ran.stderr)), ("C.UTF-8\n".to_owned(), String::new()));
    let refused = gateway.event(|event| event["asked"] == "variables LC_ALL, LC_TIME on web-1").await;
    assert_eq!((&refused["code"], &refused["policy"]), (&"no-rule".into(), &"default".into()));
    let opened = gateway.event(|event| event["event"] == "session.opened").await;
    assert_eq!(opened["variables"].as_array().unwrap().len(), 1, "{opened}");
    assert_eq!((&opened["policy"], &opened["policy_set"]), (&"bob-may-exec".into(), &refused["policy_set"]));
}

#[tokio::test]
async fn a_reason_that_a_policy_wants_is_asked_for_in_words() {
    let policies = "@id(\"by-ticket\") @reason(\"a ticket\") @reason_pattern(\"INC-[0-9]+.*\")\n\
                    permit (principal, action, resource);";
    let gateway = TestGateway::under(policies).await;
    for (login, needs) in [("web-1", "needs a reason (a ticket)"), ("web-1+because", "needs another reason (a ticket)")]
    {
        let ran = gateway.run(&["-l", login, "web", "true"]).await;
        let sentence =
            format!("portcullis: denied by policy \"by-ticket\": Exec on web-1 {needs}; write it behind a +");
        assert!(text(&ran.stderr).starts_with(&sentence), "{}", text(&ran.stderr));
    }
    let ran = gateway.run(&["-o", "SetEnv=LC_PORTCULLIS_REASON=\"INC-7 disk\"", "web", "echo in"]).await;
    assert_eq!(text(&ran.stdout), "in\n", "{ran:?}");
}

#[tokio::test]
async fn the_gateway_itself_answers() {
    let gateway = TestGateway::start().await;
    let who = gateway.run(&["gate", "whoami"]).await;
    assert!(text(&who.stdout).starts_with("ada (publickey SHA256:"), "{who:?}");
    let nodes = text(&gateway.run(&["gate", "nodes"]).await.stdout);
    assert_eq!(nodes, "down-1\ti-down-1\tnot connected\t-\tenv=test\nweb-1\ti-web-1\tonline\t-\tenv=test\n");
    let nodes = text(&gateway.run(&["gate", "nodes --json"]).await.stdout);
    let nodes: serde_json::Value = serde_json::from_str(&nodes).unwrap();
    let expected = serde_json::json!({"id": "i-web-1", "realm": "test", "name": "web-1", "online": true, "last_ping": null,
        "platform": null, "computer_name": null, "tags": {"env": "test"}});
    assert_eq!((&nodes["nodes"][1], &nodes["complete"]), (&expected, &true.into()));
    assert_eq!(nodes["silent"], serde_json::json!([]));
    assert!(text(&gateway.run(&["gate", "help"]).await.stdout).contains("<os-user>%<node>"));
    let shell = gateway.run(&["-T", "gate"]).await;
    assert_eq!(shell.status.code(), Some(1));
    assert!(text(&shell.stderr).contains("name a node"), "{shell:?}");
    assert_eq!(gateway.run(&["gate", "rm -rf /"]).await.status.code(), Some(127));
}

#[tokio::test]
async fn the_gateway_stops_when_told_to() {
    let mut gateway = TestGateway::start().await;
    let mut ssh = gateway.ssh(&["web", "sleep 60"]).spawn().unwrap();
    gateway.event(|event| event["event"] == "session.opened").await;
    let before = std::time::Instant::now();
    let events = gateway.path("events.jsonl");
    let keep = gateway.path("kept");
    std::fs::hard_link(&events, &keep).unwrap();
    gateway.stop().await;
    assert!(before.elapsed().as_secs() < 5);
    assert_eq!(ssh.wait().await.unwrap().code(), Some(255));
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_opened() {
    let gateway = TestGateway::start().await;
    gateway.works().await;
    let opened = || gateway.node.starts.lock().unwrap().len();
    assert_eq!(opened(), 1);
    // a log without a name takes no event
    std::fs::remove_file(gateway.path("events.jsonl")).unwrap();
    let ran = gateway.run(&["web", "echo in"]).await;
    assert!(ran.stdout.is_empty() && text(&ran.stderr).contains("evidence can't be written"), "{ran:?}");
    let files = gateway.run(&["-s", "web", "sftp"]).await;
    assert!(text(&files.stderr).contains("evidence can't be written"), "{files:?}");
    assert_eq!(opened(), 1, "the node was asked for it");
}
