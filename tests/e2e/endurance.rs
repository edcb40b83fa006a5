//! What takes long or kills on purpose: stalled clients, killed gateways, killed shells, a node that must stay clean.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use sha2::{Digest as _, Sha256};

use crate::harness::{Demo, PATIENCE, Slow, processes, resident_kib, run, until};

const DOWNLOAD: usize = 1 << 30;

/// The same bytes on both ends, made by a program that both have.
fn stream(bytes: usize) -> String {
    format!("yes 0123456789abcdefghijklmnopqrstuvwxyz | head -c {bytes}")
}

#[test]
fn a_client_stalled_in_a_download_costs_no_memory_and_loses_no_byte() {
    stalled_in_a_download(Duration::from_secs(20));
}

#[test]
#[ignore = "stands still for 150 seconds, longer than any keep-alive or lease: scripts/matrix.sh runs it"]
fn a_client_stalled_for_longer_than_anything_waits() {
    stalled_in_a_download(Duration::from_secs(150));
}

fn stalled_in_a_download(stall: Duration) {
    let demo = Demo::start(&[]);
    let expected = Sha256::digest(run(Command::new("sh").args(["-c", &stream(DOWNLOAD)]), b"", PATIENCE).ok().stdout);
    let mut client = Slow::start(demo.command("ssh").args(["-n", "demo", &stream(DOWNLOAD)]));
    // the buffers fill, then everything stands
    std::thread::sleep(Duration::from_secs(10));
    let filled = resident_kib(demo.pid());
    std::thread::sleep(stall);
    let after = resident_kib(demo.pid());
    assert!(after < filled + 16 * 1024, "memory grew from {filled} to {after} KiB while the client stood still");
    let mut hash = Sha256::new();
    let mut count = 0;
    let status = client.rest(|chunk| {
        hash.update(chunk);
        count += chunk.len();
    });
    assert_eq!(count, DOWNLOAD);
    assert!(hash.finalize() == expected, "the bytes differ");
    assert!(status.success());
    let end = resident_kib(demo.pid());
    assert!(end < filled + 64 * 1024, "memory grew from {filled} to {end} KiB in the download");
}

/// What helpers have left in the run-time directory of the demo's node.
fn litter(demo: &Demo) -> usize {
    std::fs::read_dir(demo.dir().join("run")).map_or(0, Iterator::count)
}

/// Starts a silent sleep on the node and waits until it runs.
fn silent_sleep(demo: &Demo, mark: &str) -> std::process::Child {
    let client = demo
        .command("ssh")
        .args(["demo", &format!("sleep {mark}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the sleep runs", PATIENCE, || sleeps(mark));
    // what is to be cleaned up later is there, and where it is looked for
    assert!(litter(demo) > 0, "the helper keeps nothing in {}", demo.dir().join("run").display());
    client
}

fn sleeps(mark: &str) -> bool {
    processes(&format!("sleep {mark}")).iter().any(|(_, line)| line.starts_with("sleep"))
}

/// The most that anything may live on after what it belonged to was killed.
const GONE: Duration = Duration::from_secs(60);

/// Runs a test with either helper, both at once: it waits most of its time.
fn with_each_helper(test: impl Fn(&str, &str) + Sync) {
    std::thread::scope(|scope| {
        let test = &test;
        for (digit, helper) in ["auto", "sh"].into_iter().enumerate() {
            scope.spawn(move || test(helper, &format!("{}{digit}", std::process::id())));
        }
    });
}

#[test]
fn after_the_gateways_sudden_death_nothing_is_left_running() {
    with_each_helper(the_gateway_dies);
}

/// The demo is gateway, service and agent in one: nobody is left to say anything to the node.
fn the_gateway_dies(helper: &str, number: &str) {
    let demo = Demo::start(&["--faithful", "--helper", helper]);
    let mark = format!("7{number}.75");
    let mut client = silent_sleep(&demo, &mark);
    demo.end(Signal::KILL);
    let _ = client.wait();
    until("the sleep is gone and the helper has cleaned up", GONE, || !sleeps(&mark) && litter(&demo) == 0);
}

/// The processes that the agent started for sessions: with AWS's agent its workers, else the lanes' shells themselves.
fn lanes(demo: &Demo) -> Vec<u32> {
    let parent = |pid: u32| -> Option<(String, u32)> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        Some((name.to_owned(), rest.split(' ').nth(1)?.parse().ok()?))
    };
    let foreign = std::env::var_os("PORTCULLIS_E2E_NODE_COMMAND").is_some();
    let mut found = Vec::new();
    for (pid, _) in processes("") {
        let Some((name, mut above)) = parent(pid) else { continue };
        if foreign && name.starts_with("ssm-session-wor") {
            while above > 1 && above != demo.pid() {
                above = parent(above).map_or(0, |(_, next)| next);
            }
        } else if foreign {
            continue;
        }
        if above == demo.pid() {
            found.push(pid);
        }
    }
    found
}

#[test]
fn a_killed_lane_leaves_no_orphan() {
    with_each_helper(the_lanes_die);
}

fn the_lanes_die(helper: &str, number: &str) {
    let demo = Demo::start(&["--faithful", "--helper", helper]);
    let mark = format!("6{number}.125");
    let mut client = silent_sleep(&demo, &mark);
    let victims = lanes(&demo);
    assert!(!victims.is_empty(), "no lane is running");
    for pid in victims {
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    // the command is not bound to its lane: either another takes over and both live on, or both end
    std::thread::sleep(Duration::from_secs(20));
    if client.try_wait().unwrap().is_none() {
        assert!(sleeps(&mark), "the client waits for a command that is gone:\n{}", demo.log());
        client.kill().unwrap();
        client.wait().unwrap();
    }
    until("the sleep is gone and the helper has cleaned up", GONE, || !sleeps(&mark) && litter(&demo) == 0);
}

#[test]
fn ctrl_c_ends_what_runs_on_the_node_too() {
    for signal in [Signal::INT, Signal::TERM] {
        let demo = Demo::start(&[]);
        let mark = format!("8{}.{}", std::process::id(), signal.as_raw());
        let mut client = silent_sleep(&demo, &mark);
        let status = demo.end(signal);
        assert_eq!(status.code(), Some(0), "{}", demo.log());
        let _ = client.wait();
        assert!(!sleeps(&mark), "the demo has ended and its command has not");
        assert_eq!(litter(&demo), 0);
        let left = processes(&demo.dir().display().to_string());
        assert!(left.is_empty(), "left running: {left:?}");
    }
}

#[test]
fn a_canary_sent_at_once_appears_nowhere() {
    let demo = Demo::shared(&["--faithful"]);
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (demo, failed) = (&demo, &failed);
            scope.spawn(move || {
                for round in 0..100 {
                    let canary = format!("canary-{worker}-{round}-\u{1}\r\n");
                    let run = demo.ssh("cat >/dev/null; echo done", canary.as_bytes());
                    if run.code() != Some(0) || run.out() != "done\n" || run.err().contains("canary") {
                        eprintln!("round {round}: {run}");
                        failed.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(!failed.load(Ordering::Relaxed));
    assert!(!demo.log().contains("canary-"), "what a person typed is in the log");
}
