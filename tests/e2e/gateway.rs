//! The front-end as a process: what happens when its machine runs short, and what it leaves on disk.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Demo, PATIENCE, run, until};

#[test]
fn running_out_of_descriptors_is_survived() {
    let demo = Demo::start(&[]);
    demo.ssh("true", b"").ok();
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", demo.pid())).unwrap().count();
    let limit = |limit: &str| {
        let pid = demo.pid().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}:")]).status().unwrap();
        assert!(set.success());
    };
    let few = descriptors() + 8;
    limit(&few.to_string());
    let held: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(("127.0.0.1", demo.port())).unwrap()).collect();
    until("no descriptors are left", Duration::from_secs(10), || descriptors() >= few);
    std::thread::sleep(Duration::from_millis(500));
    drop(held);
    limit("1024");
    until("it is well again", Duration::from_secs(30), || demo.ssh("true", b"").code() == Some(0));
}

#[test]
fn the_log_is_private_and_has_the_whole_story() {
    let demo = Demo::start(&[]);
    demo.ssh("cat >/dev/null; echo out; exit 4", b"four").ends(4);
    let path = demo.dir().join("evidence/events.jsonl");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let events = || -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    until("the session is closed in the log", PATIENCE, || {
        events().iter().any(|event| event["event"] == "session.closed")
    });
    let events = events();
    let find = |code: &str| events.iter().find(|event| event["event"] == code).unwrap_or_else(|| panic!("{events:#?}"));
    let opened = find("session.opened");
    assert_eq!(opened["command"], "cat >/dev/null; echo out; exit 4");
    assert_eq!(find("session.exit")["code"], 4);
    let closed = find("session.closed");
    assert_eq!((&closed["outcome"], &closed["id"]), (&"finished".into(), &opened["id"]));
    assert_eq!((&closed["stdin"]["bytes"], &closed["stdout"]["bytes"]), (&4.into(), &4.into()));
    let lanes: Vec<_> = events.iter().filter(|event| event["event"] == "session.lane").collect();
    assert!(!lanes.is_empty(), "the sessions that carried it are named: {events:#?}");
    // nothing that anybody could use is in there
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("PRIVATE KEY") && !text.to_lowercase().contains("token"), "{text}");
}

#[test]
fn a_stalled_upload_takes_a_window_of_memory_and_no_more() {
    let demo = Demo::start(&[]);
    demo.ssh("true", b"").ok();
    let before = crate::harness::resident_kib(demo.pid());
    let zeros = std::fs::File::open("/dev/zero").unwrap();
    let mut ssh = demo.command("ssh");
    let mut stalled = ssh.args(["demo", "sleep 20"]).stdin(zeros).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(5));
    let grown = crate::harness::resident_kib(demo.pid()).saturating_sub(before);
    let other = run(demo.command("ssh").args(["demo", "echo there"]), b"", PATIENCE).ok();
    stalled.kill().unwrap();
    stalled.wait().unwrap();
    assert_eq!(other.out(), "there\n");
    assert!(grown < 32 << 10, "{grown} KiB more while nobody reads");
}

#[test]
fn people_see_their_sessions_and_can_end_one() {
    let demo = Demo::start(&[]);
    let gate = |command: &str| run(demo.command("ssh").args(["gate", command]), b"", PATIENCE);
    let none = || gate("sessions").ok().err().contains("no session like that runs");
    assert!(none());
    let mut held = demo.command("ssh");
    let held = held.args(["demo", "sleep 300"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until("it runs", PATIENCE, || gate("sessions").ok().out().contains("  Exec, from 127.0.0.1:"));
    let listed = gate("sessions").ok().out();
    let id = listed.lines().nth(1).unwrap().split(' ').next().unwrap();
    gate("end 1234567").ends(1);
    gate("end 00000000-0000").ends(1);
    assert_eq!(gate(&format!("end {id}")).ok().out(), format!("ending {id} (Exec of you on demo)\n"));
    let ended = held.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(255));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("portcullis: the session was ended from another login of "), "{said}");
    until("it is gone", PATIENCE, none);
    let log = std::fs::read_to_string(demo.dir().join("evidence/events.jsonl")).unwrap();
    assert!(log.lines().any(|line| line.contains("\"session.closed\"") && line.contains("\"killed\"")), "{log}");
}
