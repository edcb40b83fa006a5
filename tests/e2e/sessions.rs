//! Looking at what was recorded: by `portcullis sessions` on the gateway's machine, and over SSH by whoever policy lets.

use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::harness::{Demo, PATIENCE, Run, run, until};

fn gate(demo: &Demo, args: &[&str], command: &str) -> Run {
    run(demo.command("ssh").args(args).args(["gate", command]), b"", PATIENCE)
}

/// What a list has, as programs get it.
fn listed(demo: &Demo, which: &str) -> Vec<Value> {
    let answer: Value = serde_json::from_str(&gate(demo, &[], &format!("sessions {which} --json")).ok().out()).unwrap();
    answer["sessions"].as_array().unwrap().clone()
}

fn views(demo: &Demo) -> Vec<Value> {
    let log = std::fs::read_to_string(demo.dir().join("evidence/events.jsonl")).unwrap();
    let events = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == "evidence.viewed").collect()
}

/// Somebody at a terminal who waits for the prompt, types a line, and stays.
fn shell(demo: &Demo, line: &str) -> Child {
    let mut ssh = demo.command("ssh");
    ssh.args(["-tt", "demo"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = ssh.spawn().unwrap();
    let (mut shown, mut seen, mut piece) = (child.stdout.take().unwrap(), Vec::new(), [0; 1024]);
    while !seen.ends_with(b"$ ") && !seen.ends_with(b"# ") {
        let length = shown.read(&mut piece).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend(&piece[..length]);
    }
    std::thread::spawn(move || std::io::copy(&mut shown, &mut std::io::sink()));
    child.stdin.as_mut().unwrap().write_all(format!("{line}\r").as_bytes()).unwrap();
    child
}

#[test]
fn what_was_recorded_is_found_read_played_and_exported_over_ssh() {
    let demo = Demo::start(&[]);
    demo.ssh("echo marked-output; exit 3", b"").ends(3);
    let mut held = shell(&demo, "echo typed-$((40+2))");
    // a live session's command is found as it is learnt
    until("it is in the index", PATIENCE, || listed(&demo, "list --command typed-").len() == 1);
    let live = listed(&demo, "list --command typed-").remove(0);
    assert_eq!((&live["live"], &live["action"]), (&true.into(), &"Shell".into()));
    until("what it said is in the index", PATIENCE, || listed(&demo, "list --output typed-42").len() == 1);
    let id = live["id"].as_str().unwrap().to_owned();
    let short = &id[..8];
    assert!(gate(&demo, &[], "sessions").ok().out().contains(short));
    let page = gate(&demo, &[], &format!("sessions show {short}")).ok().out();
    assert!(page.contains("echo typed-$((40+2))") && page.contains("not yet"), "{page}");
    // it is followed from its beginning to its end
    let follow = demo
        .command("ssh")
        .args(["-n", "gate", &format!("sessions follow {short}")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    until("somebody follows", PATIENCE, || views(&demo).iter().any(|view| view["what"] == "follow"));
    let ended = gate(&demo, &[], &format!("sessions end {short} --message 'call me first'")).ok().out();
    assert_eq!(ended, format!("ending {short} (Shell of you on demo)\n"));
    held.wait().unwrap();
    let followed = follow.wait_with_output().unwrap();
    let followed = String::from_utf8_lossy(&followed.stdout).into_owned();
    assert!(followed.contains("typed-42") && followed.contains("the session has ended: killed"), "{followed}");
    let sealed = || gate(&demo, &[], &format!("sessions show {short}")).ok().out();
    until("it is sealed", PATIENCE, || sealed().contains("yes: every byte is as it was signed"));
    assert!(sealed().contains("call me first"));
    let played = gate(&demo, &[], &format!("sessions play {short} --speed 100")).ok().out();
    assert!(played.contains("typed-42"), "{played}");
    let cast = gate(&demo, &[], &format!("sessions export {short}")).ok().out();
    assert!(cast.starts_with("{\"version\":2,"), "{cast}");
    let output = listed(&demo, "list --output marked-output");
    assert_eq!(output.len(), 1);
    assert_eq!(output[0]["code"], 3);
    // each look has its event, and the session's own number is in it
    let seen = views(&demo);
    for what in ["show", "follow", "play", "export"] {
        assert!(
            seen.iter().any(|view| view["what"] == what && view["session"] == id.as_str() && view["person"] == "you"),
            "{what}"
        );
    }
    assert!(seen.iter().any(|view| view["what"] == "list" && view["session"].is_null()));
}

#[test]
fn nobody_looks_whom_policy_does_not_let() {
    let demo = Demo::start(&[]);
    demo.ssh("echo secret", b"").ok();
    until("it is in the index", PATIENCE, || listed(&demo, "list").len() == 1);
    let id = listed(&demo, "list")[0]["id"].as_str().unwrap().to_owned();
    let before = views(&demo).len();
    let key = demo.dir().join("ada_key").display().to_string();
    let ada = ["-i", key.as_str(), "-l", "ada"];
    let list = gate(&demo, &ada, "sessions list").ok();
    assert_eq!(list.out(), "", "{list}");
    assert!(list.err().contains("no session is like that"), "{list}");
    for what in ["show", "play", "follow", "export"] {
        let refused = gate(&demo, &ada, &format!("sessions {what} {id}")).ends(1);
        assert!(refused.out().is_empty() && refused.err().contains("is one that you may look at"), "{refused}");
    }
    // she asked for a list, and saw no session
    let hers: Vec<Value> = views(&demo).split_off(before);
    assert!(hers.iter().all(|view| view["what"] == "list"), "{hers:?}");
    // what is typed wrongly is a sentence, and nothing is written by it on the gateway's machine
    let wrong = gate(&demo, &[], "sessions lst").ends(2);
    assert!(wrong.err().contains("unrecognized subcommand 'lst'"), "{wrong}");
    gate(&demo, &[], &format!("sessions export {id} --to /tmp/x")).ends(2);
    gate(&demo, &[], &format!("sessions list --config /etc/passwd {id}")).ends(2);
    gate(&demo, &[], "sessions list 'unclosed").ends(2);
    assert!(gate(&demo, &[], "sessions --help").ok().out().contains("follow"));
}
