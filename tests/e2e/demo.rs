//! The demo as a stranger meets it: copy, paste, run twice, run where it can't.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Demo, PATIENCE, PORTCULLIS, Run, portcullis, processes, program, run, until, wait};
use crate::terminal::Terminal;

/// A command of the page, as a person would run it: in a shell, somewhere.
fn as_printed(line: &str) -> Run {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("README.md"), "x").unwrap();
    let mut command = Command::new("sh");
    run(command.args(["-c", line]).current_dir(dir.path()).env("HOME", dir.path()), b"", PATIENCE)
}

#[test]
fn its_page_is_short_and_its_commands_work_as_printed() {
    let demo = Demo::start(&[]);
    assert!(demo.page.lines().count() <= 30, "{}", demo.page);
    assert!(demo.page.lines().all(|line| line.chars().count() <= 200), "{}", demo.page);
    let (first, second) = demo.page.split_once("Policies say who may do what").unwrap();
    let commands = |part: &str| -> Vec<String> {
        let lines = part.lines().filter_map(|line| line.strip_prefix("  "));
        lines.map(str::to_owned).collect()
    };
    let sessions = commands(first);
    assert_eq!(sessions.len(), 5, "{sessions:?}");
    for line in sessions {
        // a shell would want a terminal
        let interactive = line.starts_with("ssh ") && line.ends_with(" demo");
        as_printed(&if interactive { format!("{line} true") } else { line }).ok();
    }
    // who is refused, is asked for a ticket, gets in and is named
    let story = commands(second);
    let [in_development, in_production, asked, with_ticket, record] = &story[..] else { panic!("{story:?}") };
    as_printed(in_development).ok();
    let refused = as_printed(in_production).ends(255);
    let sentence = "denied by policy \"default\": no policy lets ada do Exec on db-1; ask whoever keeps the policies";
    assert!(refused.err().contains(sentence), "{refused}");
    let mut shell = Command::new("sh");
    let mut terminal = Terminal::start(shell.args(["-c", asked]), 80, 24);
    terminal.expect("policy \"production-by-ticket\" wants to know why you are here: a ticket, such as INC-1234");
    terminal.expect("reason: ");
    terminal.send("INC-1234 try it\recho in-$((1 + 1)); exit\r");
    terminal.expect("in-2");
    assert_eq!(terminal.end().code(), Some(0), "{}", terminal.all());
    let named = || serde_json::from_str::<serde_json::Value>(&as_printed(record).ok().out()).unwrap();
    assert_eq!(named()["requestParameters"]["reason"], "INC-1234 try it");
    as_printed(with_ticket).ok();
    let record = named();
    assert_eq!(record["requestParameters"]["reason"], "INC-1234");
    assert_eq!(record["requestParameters"]["target"], "mi-0123456789abcdef2");
    assert_eq!(record["userIdentity"]["sessionContext"]["sourceIdentity"], "you");
}

#[test]
fn ssh_scp_and_sftp_by_copy_and_paste() {
    let demo = Demo::shared(&[]);
    assert_eq!(demo.ssh("echo hello", b"").ok().out(), "hello\n");
    let dir = tempfile::tempdir().unwrap();
    let (file, back) = (dir.path().join("a file"), dir.path().join("back"));
    std::fs::write(&file, "content").unwrap();
    let there = format!("demo:{}", dir.path().join("there").display());
    demo.scp([file.to_str().unwrap(), &there]).ok();
    demo.scp([&there, back.to_str().unwrap()]).ok();
    assert_eq!(std::fs::read(&back).unwrap(), b"content");
    let listing = demo.sftp(&format!("ls -l \"{}\"\n", dir.path().display())).ok();
    assert!(listing.out().contains("there"), "{listing}");
}

#[test]
fn gate_is_the_gateway_and_wants_a_node() {
    let demo = Demo::shared(&[]);
    let run = run(demo.command("ssh").args(["demo@gate", "echo hello"]), b"", PATIENCE).ok();
    assert_eq!(run.out(), "hello\n");
    let run = run_gate(&demo, "whoami").ok();
    assert!(run.out().starts_with("you (publickey SHA256:"), "{run}");
    assert!(run_gate(&demo, "help").ok().out().contains("<os-user>%<node>"));
    assert_eq!(run_gate(&demo, "uptime").code(), Some(127));
}

fn run_gate(demo: &Demo, command: &str) -> Run {
    run(demo.command("ssh").args(["gate", command]), b"", PATIENCE)
}

#[test]
fn a_second_run_in_the_same_directory_keeps_the_keys() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("demo dir");
    let first = Demo::start_in(&dir, &[]);
    first.ssh("true", b"").ok();
    let key = std::fs::read(dir.join("user_key")).unwrap();
    assert_eq!(first.end(Signal::INT).code(), Some(0), "{}", first.log());
    let second = Demo::start_in(&dir, &[]);
    second.ssh("true", b"").ok();
    assert_eq!(std::fs::read(dir.join("user_key")).unwrap(), key);
}

#[test]
fn its_directory_is_for_its_owner_alone() {
    let demo = Demo::shared(&[]);
    let mut stack = vec![demo.dir().to_owned()];
    while let Some(path) = stack.pop() {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let open_to_others = metadata.permissions().mode() & 0o077;
        assert!(path != demo.dir() || open_to_others == 0, "{} is open to others", path.display());
        if metadata.is_dir() {
            stack.extend(std::fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
        } else {
            let public = path.extension().is_some_and(|end| end == "pub");
            assert!(public || open_to_others == 0, "{} is open to others", path.display());
        }
    }
}

#[test]
fn a_taken_port_is_one_sentence_and_4() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("demo");
    let run = portcullis(&["demo", "--dir", place.to_str().unwrap(), "--listen", &address]).ends(4);
    assert!(run.err().contains(&address) && run.err().contains("--listen"), "{run}");
    assert_eq!(run.err().lines().count(), 1, "{run}");
}

#[test]
fn a_directory_that_cannot_be_written_is_one_sentence_and_5() {
    for place in ["/dev/null/demo", "/proc/demo"] {
        let run = portcullis(&["demo", "--dir", place, "--listen", "127.0.0.1:0"]).ends(5);
        assert!(run.err().contains(place) && run.err().contains("--dir"), "{run}");
        assert_eq!(run.err().lines().count(), 1, "{run}");
    }
}

#[test]
fn without_a_shell_it_is_one_sentence_and_6() {
    let namespace = ["--mount", "--map-root-user"];
    let probe =
        run(Command::new("unshare").args(namespace).args(["mount", "--bind", "/dev/null", "/bin/sh"]), b"", PATIENCE);
    if probe.code() != Some(0) {
        eprintln!("SKIPPED: nobody may make a mount namespace here, as in most containers: {}", probe.err());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("demo");
    // a mount namespace of our own hides /bin/sh from the demo alone
    let hide = "mount --bind /dev/null /bin/sh && exec \"$0\" demo --dir \"$1\" --listen 127.0.0.1:0";
    let mut command = Command::new("unshare");
    command.args(namespace).args(["bash", "-c", hide, PORTCULLIS]).arg(&place);
    let run = run(&mut command, b"", PATIENCE);
    let run = run.ends(6);
    assert!(run.err().contains("/bin/sh"), "{run}");
    assert_eq!(run.err().lines().count(), 1, "{run}");
}

#[test]
fn the_network_needs_a_flag_and_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("demo");
    let run = portcullis(&["demo", "--dir", place.to_str().unwrap(), "--listen", "0.0.0.0:0"]).ends(2);
    assert!(run.err().contains("--allow-remote"), "{run}");
    assert!(!place.exists(), "a refused demo has made its directory");
    let demo = Demo::start(&["--listen", "0.0.0.0:0", "--allow-remote"]);
    // stderr is read by another thread than the page, which was waited for
    until("the warning is there", PATIENCE, || demo.log().contains("anybody"));
    demo.ssh("true", b"").ok();
}

#[test]
fn while_it_waits_for_its_node_it_can_be_ended_and_leaves_nothing() {
    for (digit, by_signal) in [true, false].into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let mark = format!("sleep 4{}{digit}.125", std::process::id());
        let mut command = program(PORTCULLIS);
        command.args(["demo", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--node-command", &mark, "--dir"]);
        let mut demo = command.arg(dir.path().join("demo")).stdin(Stdio::piped()).spawn().unwrap();
        let sleeps = || processes(&mark).iter().any(|(_, line)| line.starts_with("sleep"));
        until("the node's program runs", PATIENCE, sleeps);
        if by_signal {
            kill_process(Pid::from_raw(demo.id() as i32).unwrap(), Signal::INT).unwrap();
        } else {
            drop(demo.stdin.take());
        }
        let ended = wait(&mut demo, Duration::from_secs(10));
        if ended.is_none() {
            demo.kill().unwrap();
        }
        assert_eq!(ended.and_then(|status| status.code()), Some(0), "by a signal: {by_signal}");
        assert!(!sleeps(), "the node's program is left behind, by a signal: {by_signal}");
    }
}

#[test]
fn nothing_is_left_outside_its_directory() {
    let home = tempfile::tempdir().unwrap();
    let (place, elsewhere) = (home.path().join("demo"), home.path().join("elsewhere"));
    std::fs::create_dir(&elsewhere).unwrap();
    let mut command = program(PORTCULLIS);
    command.args(["demo", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--dir"]).arg(&place);
    for variable in ["HOME", "XDG_RUNTIME_DIR", "TMPDIR"] {
        command.env(variable, &elsewhere);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut page = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(page.any(|line| line.starts_with("ready")), "it is not ready");
    drop(child.stdin.take());
    assert_eq!(wait(&mut child, PATIENCE).and_then(|status| status.code()), Some(0));
    let left: Vec<_> = std::fs::read_dir(&elsewhere).unwrap().flatten().collect();
    assert!(left.is_empty(), "left outside: {left:?}");
}

#[test]
fn aws_sees_the_person_and_not_the_gateway_whose_role_may_start_nothing() {
    let demo = Demo::start(&[]);
    let told = run_gate(&demo, "whoami").ok().out();
    assert!(told.contains("in AWS: role arn:aws:iam::123456789012:role/portcullis-you\n"), "{told}");
    demo.ssh("echo hello", b"").ok();
    demo.ssh("echo again", b"").ok();
    let records = |name: &str| {
        let text = std::fs::read_to_string(demo.dir().join("cloudtrail.jsonl")).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        records.filter(|record| record["eventName"] == name).collect::<Vec<_>>()
    };
    let started = records("StartSession");
    assert!(started.len() >= 2, "{started:?}");
    for record in &started {
        let who = &record["userIdentity"];
        assert_eq!(who["arn"], "arn:aws:sts::123456789012:assumed-role/portcullis-you/you");
        assert_eq!(who["sessionContext"]["sourceIdentity"], "you");
    }
    assert_eq!(records("AssumeRole").len(), 1, "the second login needs none");
    let text = std::fs::read_to_string(demo.dir().join("evidence/events.jsonl")).unwrap();
    let opened = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let opened = opened.filter(|event| event["event"] == "session.opened").collect::<Vec<_>>();
    assert!(opened.len() == 2 && opened.iter().all(|event| event["aws_source_identity"] == "you"), "{opened:?}");
}
