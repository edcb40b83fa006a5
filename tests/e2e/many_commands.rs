//! Many commands on one connection, by OpenSSH's ControlMaster: they share one helper, and each has its own ends and evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::endurance::node_processes;
use crate::harness::{Demo, PATIENCE, Slow, noise, processes, run, until};

/// A control master, and how others share its connection.
pub struct Master {
    ssh: Child,
    pub option: String,
}

impl Master {
    pub fn start(demo: &Demo) -> Self {
        let socket = demo.dir().join("many");
        let option = format!("ControlPath=\"{}\"", socket.display());
        let ssh = demo
            .command("ssh")
            .args(["-MN", "-o", "SendEnv=GIT_PROTOCOL LC_TEST", "-o", &option, "demo"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        until("the master is up", PATIENCE, || socket.exists());
        Self { ssh, option }
    }

    pub fn command(&self, demo: &Demo, line: &str) -> Command {
        let mut ssh = demo.command("ssh");
        ssh.args(["-o", &self.option, "demo", line]);
        ssh
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}

fn events(demo: &Demo) -> Vec<Value> {
    let log = std::fs::read_to_string(demo.dir().join("evidence/events.jsonl")).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Of each command its session's events.
fn by_command(demo: &Demo) -> BTreeMap<String, Vec<Value>> {
    let all = events(demo);
    let opened = all.iter().filter(|event| event["event"] == "session.opened");
    opened
        .map(|opened| {
            let of_it = all.iter().filter(|event| event["id"] == opened["id"]).cloned().collect();
            (opened["command"].as_str().unwrap_or_default().to_owned(), of_it)
        })
        .collect()
}

/// The Session Manager sessions that events name: one StartSession each.
fn lanes<'a>(events: impl IntoIterator<Item = &'a Value>) -> BTreeSet<&'a str> {
    let lanes = events.into_iter().filter(|event| event["event"] == "session.lane");
    lanes.map(|event| event["session_manager_id"].as_str().unwrap()).collect()
}

#[test]
fn two_hundred_commands_share_two_sessions_and_each_has_its_own_status_and_evidence() {
    let demo = Demo::start_without_start_up_files(&[]);
    let master = Master::start(&demo);
    // eight in a row, and more at once than that
    thread::scope(|scope| {
        for lane in 0..8 {
            let (demo, master) = (&demo, &master);
            scope.spawn(move || {
                for number in (lane..200).step_by(8) {
                    let line = format!("echo out {number}; echo err {number} >&2; exit {}", number % 120);
                    let run = run(&mut master.command(demo, &line), b"", PATIENCE).ends(number % 120);
                    assert_eq!((run.out(), run.err()), (format!("out {number}\n"), format!("err {number}\n")));
                }
            });
        }
    });
    let ended = || events(&demo).iter().filter(|event| event["event"] == "session.closed").count();
    until("all have their end", PATIENCE, || ended() == 200);
    let each = by_command(&demo);
    assert_eq!(each.len(), 200);
    for (line, events) in &each {
        let exit = events.iter().find(|event| event["event"] == "session.exit").unwrap();
        let number: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(exit["code"], number, "{line}: {exit}");
    }
    // all were carried by one helper; where the machine is too busy to answer in time, a lane of it may have been replaced
    let first = each.values().map(lanes).reduce(|some, others| &some & &others).unwrap();
    assert_eq!(first.len(), 2, "{first:?}");
    let replaced =
        demo.log().matches("has taken another lane").count() + demo.log().matches("the in lane is worse").count();
    let all = events(&demo);
    assert!(lanes(&all).len() <= 2 + replaced, "{:?}", lanes(&all));
    // the connection's end is the helper's
    drop(master);
    until("nothing is left on the node", PATIENCE, || helpers(&demo).is_empty());
}

#[test]
fn what_goes_in_comes_out_and_a_slow_reader_holds_up_nobody_else() {
    let demo = Demo::start(&[]);
    let master = Master::start(&demo);
    run(&mut master.command(&demo, "true"), b"", PATIENCE).ok();
    let mut slow = Slow::start(&mut master.command(&demo, "head -c 20000000 /dev/zero; echo end >&2"));
    thread::sleep(Duration::from_millis(500));
    let bytes = noise(3_000_000, 7);
    let whole = run(&mut master.command(&demo, "cat"), &bytes, PATIENCE).ok();
    assert!(whole.stdout == bytes, "it differs");
    let long = format!("printf %s {} | wc -c", "x".repeat(100_000));
    assert_eq!(run(&mut master.command(&demo, &long), b"", PATIENCE).ok().out().trim(), "100000");
    let mut with = demo.command("ssh");
    with.args(["-o", &master.option, "-o", "SendEnv=LC_TEST", "demo", "echo \"$LC_TEST\""]).env("LC_TEST", "a b");
    assert_eq!(run(&mut with, b"", PATIENCE).ok().out(), "a b\n");
    // with a terminal as well; a control master without one sends modes of which all are off, so nothing is put before a line's end
    let mut terminal = demo.command("ssh");
    terminal.args(["-tt", "-o", &master.option, "demo", "test -t 0 && test -t 1 && echo terminal; exit 9"]);
    assert_eq!(run(&mut terminal, b"", PATIENCE).ends(9).out(), "terminal\n");
    let signalled = run(&mut master.command(&demo, "kill -TERM $$"), b"", PATIENCE);
    assert_eq!(signalled.code(), Some(255), "{signalled}");
    // what nobody reads is given up, and those beside it go on
    let broken = run(
        Command::new("sh").arg("-c").arg(format!("{} | head -c 3", shown(&master.command(&demo, "yes")))),
        b"",
        PATIENCE,
    );
    assert_eq!(broken.ok().out(), "y\ny");
    let mut count = 0;
    assert!(slow.rest(|piece| count += piece.len()).success());
    assert_eq!(count, 20_000_000);
    let each = by_command(&demo);
    let shared = each.values().map(lanes).reduce(|some, others| &some & &others).unwrap();
    assert_eq!(shared.len(), 2, "{shared:?}");
}

/// A command as a shell's words.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''"))).collect::<Vec<_>>().join(" ")
}

#[test]
fn whoever_hangs_up_ends_their_own_command_but_not_what_was_detached() {
    let demo = Demo::start(&[]);
    let master = Master::start(&demo);
    let tag = std::process::id();
    let (mine, detached, other) = (format!("6{tag}.1"), format!("6{tag}.2"), format!("6{tag}.3"));
    let start = |line: &str| {
        let mut ssh = master.command(&demo, line).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(ssh.stdout.take().unwrap());
        let mut said = String::new();
        out.read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        (ssh, out)
    };
    let (mut neighbour, mut heard) = start(&format!("echo ready; sleep {other} & read x; echo unreached; wait"));
    let (mut ended, _out) = start(&format!("nohup sleep {detached} >/dev/null 2>&1 & echo ready; sleep {mine}"));
    let lives = |what: &str| processes(&format!("sleep {what}")).iter().any(|(_, line)| line.starts_with("sleep"));
    until("all run", PATIENCE, || lives(&mine) && lives(&detached) && lives(&other));
    ended.kill().unwrap();
    ended.wait().unwrap();
    until("it is ended", PATIENCE, || !lives(&mine));
    assert!(lives(&detached), "what was detached was ended as well");
    assert!(lives(&other), "a neighbour was ended");
    for (pid, _) in processes(&format!("sleep {detached}")) {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    // the connection's end is everybody's
    drop(master);
    until("the neighbour is ended", PATIENCE, || !lives(&other));
    let mut rest = String::new();
    heard.read_to_string(&mut rest).unwrap();
    neighbour.wait().unwrap();
}

#[test]
fn a_connection_for_one_command_has_a_helper_of_its_own() {
    let demo = Demo::start(&[]);
    let run = run(demo.command("ssh").args(["-n", "demo", "echo alone"]), b"", PATIENCE).ok();
    assert_eq!(run.out(), "alone\n");
    assert_eq!(lanes(&events(&demo)).len(), 1, "its client had closed its input, and promised to ask for nothing more");
}

/// The Python helpers on this demo's nodes.
fn helpers(demo: &Demo) -> Vec<u32> {
    let all = node_processes(demo).into_iter();
    all.filter(|(_, line)| line.contains("python") && line.contains("-ISc")).map(|(pid, _)| pid).collect()
}

/// Two commands that share a helper, each waiting for a line; their sessions.
fn two_that_share(demo: &Demo, master: &Master) -> [(Child, String); 2] {
    run(&mut master.command(demo, "true"), b"", PATIENCE).ok();
    let start = |name: &str| {
        let line = format!("read line; echo {name} $line");
        let ssh =
            master.command(demo, &line).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let opened = || {
            let all = events(demo);
            let of_it = |event: &&Value| event["event"] == "session.opened" && event["command"] == line.as_str();
            all.iter().find(of_it).map(|event| event["id"].as_str().unwrap().to_owned())
        };
        let carried = |id: &String| {
            events(demo).iter().any(|event| event["event"] == "session.lane" && event["id"] == id.as_str())
        };
        until("it runs", PATIENCE, || opened().is_some_and(|id| carried(&id)));
        (ssh.unwrap(), opened().unwrap())
    };
    let both = [start("one"), start("two")];
    let all = events(demo);
    let of = |id: &str| lanes(all.iter().filter(|event| event["id"] == id)).into_iter().map(str::to_owned).collect();
    let [one, two]: [BTreeSet<String>; 2] = [of(&both[0].1), of(&both[1].1)];
    assert!(!one.is_disjoint(&two), "{one:?} {two:?}");
    both
}

fn ended(mut ssh: Child) -> (Option<i32>, String, String) {
    drop(ssh.stdin.take());
    let output = ssh.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn one_of_several_that_is_ended_leaves_its_neighbours_as_they_are() {
    let demo = Demo::start(&[]);
    let master = Master::start(&demo);
    let [(first, id), (mut second, _)] = two_that_share(&demo, &master);
    run(demo.command("ssh").args(["gate", "end", &id]), b"", PATIENCE).ok();
    let (code, out, err) = ended(first);
    assert_eq!((code, out.as_str()), (Some(255), ""), "{err}");
    std::io::Write::write_all(second.stdin.as_mut().unwrap(), b"goes on\n").unwrap();
    let (code, out, err) = ended(second);
    assert_eq!((code, out.as_str()), (Some(0), "two goes on\n"), "{err}");
    let closed = |event: &&Value| event["event"] == "session.closed" && event["id"] == id.as_str();
    assert_eq!(events(&demo).iter().find(closed).unwrap()["outcome"], "killed");
}

#[test]
fn a_shared_helper_that_is_killed_ends_what_it_carried_and_the_next_command_has_another() {
    let demo = Demo::start(&[]);
    let master = Master::start(&demo);
    let both = two_that_share(&demo, &master);
    let victims = helpers(&demo);
    assert!(!victims.is_empty(), "nothing is there to be killed");
    for pid in victims {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    for (mut ssh, id) in both {
        let stdin = ssh.stdin.take();
        let output = ssh.wait_with_output().unwrap();
        drop(stdin);
        assert_eq!(output.status.code(), Some(255), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("portcullis: "), "{said}");
        let closed = |event: &Value| event["event"] == "session.closed" && event["id"] == id.as_str();
        until("it has its end in the record", PATIENCE, || events(&demo).iter().any(closed));
        let outcome = events(&demo).into_iter().find(closed).unwrap();
        assert_eq!(outcome["outcome"], "failed", "{outcome}");
    }
    assert_eq!(run(&mut master.command(&demo, "echo again"), b"", PATIENCE).ok().out(), "again\n");
}
