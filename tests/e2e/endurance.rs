//! What takes long or kills on purpose: stalled clients, killed gateways, killed shells, a node that must stay clean.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use sha2::{Digest as _, Sha256};

use crate::harness::{Demo, PATIENCE, SOON, Slow, foreign_node, processes, resident_kib, run, until, wait};

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
    let foreign = foreign_node();
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

/// Those among them that carry what the node says: the others are on a terminal. AWS's agent has a process of its own for
/// each, on none.
fn ways_out(demo: &Demo) -> Vec<u32> {
    let on_terminal =
        |pid: &u32| std::fs::read_link(format!("/proc/{pid}/fd/0")).is_ok_and(|path| path.starts_with("/dev/pts"));
    lanes(demo).into_iter().filter(|pid| !on_terminal(pid)).collect()
}

fn kill(pid: u32) {
    let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap(), Signal::KILL);
}

#[test]
fn a_killed_lane_leaves_no_orphan_and_a_helper_that_takes_another_goes_on() {
    with_each_helper(the_lanes_die);
}

/// Where the node runs AWS's agent, it is the workers of all lanes that are killed, and once: of a worker that dies before the
/// helper has its lane nobody hears anything, so the next that comes may be such a one and cost half a minute.
fn the_lanes_die(helper: &str, number: &str) {
    let demo = Demo::start(&["--faithful", "--helper", helper]);
    let mark = format!("6{number}.125");
    let go = demo.dir().join("go");
    let line = format!("sleep {mark} & until [ -e '{}' ]; do sleep 0.2; done; kill $!; echo well", go.display());
    let mut client = demo.command("ssh");
    client.args(["demo", &line]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = client.spawn().unwrap();
    until("the sleep runs", PATIENCE, || sleeps(&mark));
    let is_foreign = foreign_node();
    let rounds = if helper == "sh" || is_foreign { 1 } else { 3 };
    for _ in 0..rounds {
        let victims = ways_out(&demo);
        assert!(!victims.is_empty(), "no lane is running");
        victims.iter().for_each(|pid| kill(*pid));
        if helper != "sh" {
            // the command is not bound to its lane
            let is_new = |pid: &u32| !victims.contains(pid);
            until("another lane is there", PATIENCE, || ways_out(&demo).iter().any(is_new));
        }
    }
    if helper == "sh" {
        // this one says so instead of waiting for another
        assert!(!wait(&mut client, PATIENCE).expect("the client waits for a command that is gone").success());
        until("the sleep is gone and the helper has cleaned up", GONE, || !sleeps(&mark) && litter(&demo) == 0);
        return;
    }
    assert!(client.try_wait().unwrap().is_none() && sleeps(&mark), "the command has ended:\n{}", demo.log());
    std::fs::write(go, "").unwrap();
    let output = client.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"well\n"[..]), "{}", demo.log());
    until("the helper has cleaned up", GONE, || litter(&demo) == 0);
}

/// With AWS's agent nothing and nobody says so: its worker is gone, and it does not look for half a minute.
#[test]
fn a_helper_that_was_killed_with_its_lanes_is_told_of_soon() {
    let demo = Demo::start(&["--faithful"]);
    let mark = format!("9{}.375", std::process::id());
    let mut client = demo.command("ssh");
    client.args(["-n", "demo", &format!("sleep {mark}; echo")]).stdout(Stdio::null()).stderr(Stdio::piped());
    let client = client.spawn().unwrap();
    until("the sleep runs", PATIENCE, || sleeps(&mark));
    let mut victims = lanes(&demo);
    let is_helper = |line: &str| line.starts_with("/usr/") && line.contains("python") && line.contains("-ISc");
    victims.extend(node_processes(&demo).into_iter().filter(|(_, line)| is_helper(line)).map(|(pid, _)| pid));
    assert!(victims.len() > 1, "{victims:?}");
    let began = std::time::Instant::now();
    victims.into_iter().for_each(kill);
    let output = client.wait_with_output().unwrap();
    let (said, took) = (String::from_utf8_lossy(&output.stderr), began.elapsed());
    assert_eq!(output.status.code(), Some(255), "{said}");
    assert!(said.contains("the command's helper on the node is gone"), "{said}\n{}", demo.log());
    // at most ten seconds, and what a busy machine needs
    assert!(took < Duration::from_secs(15), "{took:?}");
    for (pid, _) in processes(&format!("sleep {mark}")) {
        kill(pid);
    }
}

/// The processes of helpers in this demo, by the place where they keep what is theirs.
pub fn node_processes(demo: &Demo) -> Vec<(u32, String)> {
    let place = format!("XDG_RUNTIME_DIR={}", demo.dir().join("run").display());
    let is_there = |pid: &u32| {
        let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        variables.split(|byte| *byte == 0).any(|variable| variable == place.as_bytes())
    };
    processes("").into_iter().filter(|(pid, _)| is_there(pid)).collect()
}

#[test]
fn ctrl_c_ends_what_runs_on_the_node_too() {
    for signal in [Signal::INT, Signal::TERM] {
        let demo = Demo::start(&[]);
        let mark = format!("8{}.{}", std::process::id(), signal.as_raw());
        let mut client = silent_sleep(&demo, &mark);
        let began = std::time::Instant::now();
        let status = demo.end(signal);
        let took = began.elapsed();
        assert_eq!(status.code(), Some(0), "{}", demo.log());
        // the lanes are told and ended, not waited for until they end by themselves
        // AWS's agent needs seven seconds for itself
        let own = if foreign_node() { 3 * SOON } else { Duration::ZERO };
        assert!(took < SOON + own, "{took:?}:\n{}", demo.log());
        let _ = client.wait();
        assert!(!sleeps(&mark), "the demo has ended and its command has not");
        assert_eq!(litter(&demo), 0);
        let left = processes(&demo.dir().display().to_string());
        assert!(left.is_empty(), "left running: {left:?}");
    }
}

/// A script that starts the tests in the background ignores SIGINT for them, and all that they start would inherit that.
#[test]
fn signals_work_in_tests_that_were_started_in_the_background() {
    let tests =
        ["endurance::ctrl_c_ends_what_runs_on_the_node_too", "shell::helper_pty::control_characters_are_signals"];
    let mut again = Command::new("env");
    again.arg("--ignore-signal=INT,QUIT").arg(std::env::current_exe().unwrap()).arg("--exact").args(tests);
    let ran = run(&mut again, b"", PATIENCE).ok();
    assert!(ran.out().contains("2 passed"), "{ran}");
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
