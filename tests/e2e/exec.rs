//! Commands without a terminal: every byte, every ending, every way a client can treat its input. Each test runs on the
//! two-lane rung and on the one-lane rung of the ladder, and with the helper that needs only `sh`.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::{Demo, PATIENCE, SOON, noise, processes, run, until, wait};

/// Runs each of these tests once per rung of the ladder, and once more per helper.
macro_rules! in_each_way {
    ($($test:ident)*) => {
        mod two_lanes {
            $(#[test] fn $test() { super::$test(&super::rung("two-lanes")); })*
        }
        mod one_lane {
            $(#[test] fn $test() { super::$test(&super::rung("one-lane")); })*
        }
        mod sh_helper {
            $(#[test] fn $test() { super::$test(&super::sh_helper()); })*
        }
    };
}

in_each_way! {
    every_byte_value_both_ways_and_on_stderr
    exit_codes_are_the_commands_own
    death_by_signal_is_told
    the_end_of_input_reaches_the_command
    input_in_all_its_forms
    a_command_that_reads_little_then_another
    a_command_that_closes_its_output_early
    output_that_nobody_reads_ends_the_command
    what_was_detached_outlives_the_client
    a_vanished_client_takes_its_command_along
    output_after_the_exit_of_the_first_process
    how_it_ended_is_told_before_what_it_left_running_has_ended
    many_at_once_on_one_connection
    arguments_arrive_as_written
    the_allowed_environment_arrives
    many_variables_arrive
    variables_are_in_nobodys_arguments
    where_the_connection_comes_from
    git_clones_and_pushes
    rsync_both_ways
    tar_both_ways
}

fn rung(rung: &str) -> Arc<Demo> {
    Demo::shared(&["--faithful", "--rung", rung])
}

fn sh_helper() -> Arc<Demo> {
    Demo::shared(&["--faithful", "--helper", "sh"])
}

fn every_byte_value_both_ways_and_on_stderr(demo: &Demo) {
    // what the agent's UTF-8 pump is known to damage is in it: EF BF BD, and an invalid tail
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.extend_from_slice(b"\xEF\xBF\xBD and \xF0\x9F\x98");
    bytes.extend(noise(300_000, 1));
    bytes.extend_from_slice(b"\xFD\xFE\xFF");
    let both = demo.ssh("tee /dev/stderr", &bytes).ok();
    assert!(both.stdout == bytes, "stdout differs: {} of {} bytes", both.stdout.len(), bytes.len());
    assert!(both.stderr == bytes, "stderr differs: {} of {} bytes", both.stderr.len(), bytes.len());
}

fn exit_codes_are_the_commands_own(demo: &Demo) {
    for code in [0, 1, 2, 126, 127, 130, 255] {
        let run = demo.ssh(&format!("printf out; printf err >&2; exit {code}"), b"").ends(code);
        assert_eq!((run.out().as_str(), run.err().as_str()), ("out", "err"), "{run}");
    }
    demo.ssh("no-such-command-anywhere", b"").ends(127);
    demo.ssh("/etc/passwd", b"").ends(126);
}

/// OpenSSH's client ends with 255 on exit-signal; a helper that can't tell reports 128 and the number.
fn death_by_signal_is_told(demo: &Demo) {
    let run = demo.ssh("kill -TERM $$", b"");
    assert!(matches!(run.code(), Some(255 | 143)), "{run}");
    let run = demo.ssh("kill -KILL $$", b"");
    assert!(matches!(run.code(), Some(255 | 137)), "{run}");
}

fn the_end_of_input_reaches_the_command(demo: &Demo) {
    let run = demo.ssh("wc -c; echo after", &noise(100_000, 2)).ok();
    assert_eq!(run.out().split_whitespace().collect::<Vec<_>>(), ["100000", "after"], "{run}");
}

fn input_in_all_its_forms(demo: &Demo) {
    let uptime = |command: &mut Command| {
        let run = run(command, b"", PATIENCE).ok();
        assert!(run.out().contains("load average"), "{run}");
    };
    // -n, and a pipe that is closed at once
    uptime(demo.command("ssh").args(["-n", "demo", "uptime"]));
    uptime(demo.command("ssh").args(["demo", "uptime"]));
    // </dev/null
    let null = demo.command("ssh").args(["demo", "uptime"]).stdin(Stdio::null()).output().unwrap();
    assert!(null.status.success(), "{null:?}");
    // input that stays open, as on a terminal, and is closed long after the command's end
    let began = Instant::now();
    let mut open = demo
        .command("ssh")
        .args(["demo", "uptime"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let held = open.stdin.take();
    assert!(wait(&mut open, PATIENCE).is_some_and(|status| status.success()), "with its input open");
    assert!(began.elapsed() < Duration::from_secs(30), "an open input delayed the end: {:?}", began.elapsed());
    drop(held);
    // nothing at all
    let run = demo.ssh("cat", b"").ok();
    assert!(run.stdout.is_empty(), "{run}");
}

fn a_command_that_reads_little_then_another(demo: &Demo) {
    let run = demo.ssh("dd bs=1 count=3 2>/dev/null | od -An -tx1; exec 0</dev/null; echo second", &noise(100_000, 3));
    let run = run.ok();
    assert!(run.out().ends_with("second\n"), "{run}");
    // and the next command on the same node starts clean
    assert_eq!(demo.ssh("cat", b"clean").ok().out(), "clean");
}

fn a_command_that_closes_its_output_early(demo: &Demo) {
    let run = demo.ssh("printf first; exec >&- 2>&-; sleep 1; exit 5", b"").ends(5);
    assert_eq!(run.out(), "first");
}

/// As `ssh demo 'exec yes' | head -1`: the client says that it shows no more.
fn output_that_nobody_reads_ends_the_command(demo: &Demo) {
    // others may be at this on the same machine
    let mark = format!("y{}{:?}", std::process::id(), std::thread::current().id()).replace(['(', ')'], "-");
    let mut ssh = demo.command("ssh");
    ssh.args(["demo", &format!("exec yes {mark}")]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut ssh = ssh.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(ssh.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ended = wait(&mut ssh, SOON);
    let _ = ssh.kill();
    assert_eq!((line.trim(), ended.is_some()), (&*mark, true), "it goes on for nobody");
    // by the signal, and not because its client has gone
    let runs = || processes(&mark).iter().any(|(_, line)| line.starts_with("yes"));
    assert!(!runs(), "the client has gone and its program has not");
}

fn what_was_detached_outlives_the_client(demo: &Demo) {
    let mark = format!("4{}.25", std::process::id());
    let run = demo.ssh(&format!("setsid nohup sleep {mark} >/dev/null 2>&1 </dev/null & echo started"), b"").ok();
    assert_eq!(run.out(), "started\n");
    std::thread::sleep(Duration::from_secs(3));
    let left = processes(&format!("sleep {mark}"));
    assert!(!left.is_empty(), "what was detached on purpose was killed");
    demo.ssh(&format!("pkill -f '^sleep {mark}$'"), b"");
    until("the detached sleep is gone", PATIENCE, || processes(&format!("sleep {mark}")).is_empty());
}

fn a_vanished_client_takes_its_command_along(demo: &Demo) {
    let mark = format!("5{}.5", std::process::id());
    let mut client = demo
        .command("ssh")
        .args(["demo", &format!("sleep {mark}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sleeping = || processes(&format!("sleep {mark}")).iter().any(|(_, line)| line.starts_with("sleep"));
    until("the command runs", PATIENCE, sleeping);
    client.kill().unwrap();
    client.wait().unwrap();
    until("the vanished client's command is gone", SOON, || !sleeping());
}

fn output_after_the_exit_of_the_first_process(demo: &Demo) {
    let run = demo.ssh("(sleep 1; echo late) & echo early", b"").ok();
    assert_eq!(run.out(), "early\nlate\n", "{run}");
}

fn how_it_ended_is_told_before_what_it_left_running_has_ended(demo: &Demo) {
    use std::io::BufRead as _;
    let go = demo.dir().join(format!("go{:?}", std::thread::current().id()));
    let line = format!("(until [ -e '{}' ]; do sleep 0.1; done; echo late) & exit 4", go.display());
    let mut client = demo.command("ssh");
    client.args(["-v", "-n", "demo", &line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().unwrap();
    let mut told = std::io::BufReader::new(client.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(told.any(|line| line.contains("rtype exit-status")), "nothing was told");
    std::fs::write(&go, "").unwrap();
    // what it says from now on is of no interest, but must not block it
    std::thread::spawn(move || told.for_each(drop));
    let output = client.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(4), &b"late\n"[..]));
    std::fs::remove_file(&go).unwrap();
}

fn many_at_once_on_one_connection(demo: &Demo) {
    let socket = demo.dir().join(format!("m{}", std::process::id()));
    let option = format!("ControlPath=\"{}\"", socket.display());
    let mut master = demo.command("ssh").args(["-MN", "-o", &option, "demo"]).stdin(Stdio::null()).spawn().unwrap();
    until("the master is up", PATIENCE, || socket.exists());
    std::thread::scope(|scope| {
        for number in 0..6u64 {
            let option = &option;
            scope.spawn(move || {
                let bytes = noise(200_000, number + 10);
                let run = run(demo.command("ssh").args(["-o", option, "demo", "cat"]), &bytes, PATIENCE).ok();
                assert!(run.stdout == bytes, "channel {number} differs");
            });
        }
    });
    let _ = master.kill();
    let _ = master.wait();
    let _ = std::fs::remove_file(socket);
}

fn arguments_arrive_as_written(demo: &Demo) {
    let nasty = "a'b\"c $$ {{x}} {{ssm:x}} # `x` \\ * ~ é\u{fffd} \t!";
    let command = format!("printf %s '{}'", nasty.replace('\'', "'\\''"));
    assert_eq!(demo.ssh(&command, b"").ok().out(), nasty);
    // several lines, and longer than any argument the agent would take
    let long = "x".repeat(100_000);
    let run = demo.ssh(&format!("# a comment\nprintf %s {long} |\nwc -c"), b"").ok();
    assert_eq!(run.out().trim(), "100000");
}

fn the_allowed_environment_arrives(demo: &Demo) {
    let mut command = demo.command("ssh");
    command.args(["-o", "SetEnv LC_TEST=\"a b\" LD_PRELOAD=evil.so PATH=/nowhere FOO=bar", "demo"]);
    let run = run(command.arg("echo \"$LC_TEST|$LD_PRELOAD|$FOO\""), b"", PATIENCE).ok();
    assert_eq!(run.out(), "a b||\n", "{run}");
}

/// More of them than a parameter of a session takes, and characters that one could not hold.
fn many_variables_arrive(demo: &Demo) {
    let mut variables = format!("SetEnv LC_BIG=\"{}\"", "%".repeat(25_000));
    for n in 0..20 {
        let _ = write!(variables, " LC_{n}=\"{}\"", "$ {{ssm:x}} ".repeat(20));
    }
    let mut command = demo.command("ssh");
    command.args(["-o", &variables, "demo", "echo \"${#LC_BIG}\"; env | grep -c '^LC_[0-9]*=[$] {{ssm:x}} '"]);
    assert_eq!(run(&mut command, b"", PATIENCE).ok().out(), "25000\n20\n");
}

/// The arguments of all processes can be read by every user of a node. Here the client runs there as well, so what it sends is
/// in its environment.
fn variables_are_in_nobodys_arguments(demo: &Demo) {
    let secret = format!("hush-{}{:?}", std::process::id(), std::thread::current().id());
    let mut command = demo.command("ssh");
    command.args(["-o", "SendEnv=LC_HUSH", "demo"]).env("LC_HUSH", &secret);
    command.arg("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'; printf '\\n%s' \"$LC_HUSH\"");
    let run = run(&mut command, b"", PATIENCE).ok();
    let out = run.out();
    let (arguments, value) = out.rsplit_once('\n').unwrap();
    assert_eq!(value, secret);
    // what it looked through has this very command in it
    assert!(arguments.contains("printf '\\n%s'") && !arguments.contains(&secret), "{run}");
}

/// As with sshd: bash reads .bashrc only where there is an SSH_CLIENT, and scripts look at both.
fn where_the_connection_comes_from(demo: &Demo) {
    let run = demo.ssh("echo \"$SSH_CONNECTION|$SSH_CLIENT|$MAIL\"", b"").ok();
    let (out, port) = (run.out(), demo.port().to_string());
    let words: Vec<&str> = out.trim().split(['|', ' ']).collect();
    assert_eq!((words.len(), words[0], words[2], words[4]), (8, "127.0.0.1", "127.0.0.1", "127.0.0.1"), "{out}");
    assert_eq!((words[3], words[1], words[6]), (&*port, words[5], &*port), "{out}");
    assert!(words[7].starts_with("/var/"), "{out}");
}

fn git_clones_and_pushes(demo: &Demo) {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path).display().to_string();
    let ssh = format!("ssh -F '{}'", demo.dir().join("ssh_config").display());
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]).args(args);
        run(command.env("GIT_SSH_COMMAND", &ssh).env("GIT_CONFIG_NOSYSTEM", "1"), b"", PATIENCE).ok()
    };
    let there = at("there.git");
    git(&["init", "--bare", &there]);
    let url = format!("ssh://demo{there}");
    let (work, again) = (at("work"), at("again"));
    git(&["clone", &url, &work]);
    std::fs::write(dir.path().join("work/noise"), noise(2_000_000, 20)).unwrap();
    git(&["-C", &work, "add", "."]);
    git(&["-C", &work, "commit", "-qm", "noise"]);
    git(&["-C", &work, "push", "origin", "HEAD:main"]);
    git(&["clone", "-b", "main", &url, &again]);
    assert!(std::fs::read(dir.path().join("again/noise")).unwrap() == noise(2_000_000, 20));
}

fn rsync_both_ways(demo: &Demo) {
    let dir = tempfile::tempdir().unwrap();
    let (here, back) = (dir.path().join("here"), dir.path().join("back"));
    std::fs::create_dir(&here).unwrap();
    for number in 0..20u64 {
        std::fs::write(here.join(format!("file {number}")), noise(20_000 * number as usize, number)).unwrap();
    }
    let ssh = format!("ssh -F '{}'", demo.dir().join("ssh_config").display());
    let sync = |from: &str, to: &str| {
        run(Command::new("rsync").args(["-a", "-s", "-e", &ssh, from, to]), b"", PATIENCE).ok();
    };
    let there = format!("demo:{}/there/", dir.path().display());
    sync(&format!("{}/", here.display()), &there);
    sync(&there, &back.display().to_string());
    run(Command::new("diff").arg("-r").args([&here, &back]), b"", PATIENCE).ok();
}

fn tar_both_ways(demo: &Demo) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("here/sub")).unwrap();
    std::fs::create_dir(dir.path().join("there")).unwrap();
    std::fs::write(dir.path().join("here/sub/noise"), noise(3_000_000, 30)).unwrap();
    let packed = run(Command::new("tar").arg("-C").arg(dir.path()).args(["-cf", "-", "here"]), b"", PATIENCE).ok();
    demo.ssh(&format!("tar -C '{}/there' -xf -", dir.path().display()), &packed.stdout).ok();
    run(Command::new("diff").arg("-r").arg(dir.path().join("here")).arg(dir.path().join("there/here")), b"", PATIENCE)
        .ok();
    let back = demo.ssh(&format!("tar -C '{}/there' -cf - here", dir.path().display()), b"").ok();
    let listed = run(Command::new("tar").args(["-tf", "-"]), &back.stdout, PATIENCE).ok();
    assert!(listed.out().contains("here/sub/noise"), "{listed}");
}

/// Whoever starts the agent may ignore signals, as a script does for what it starts in the background. What is ignored when a
/// program begins, it ignores, and so does everything that it starts.
#[test]
fn what_was_ignored_around_the_agent_is_not_ignored_in_a_command() {
    std::thread::scope(|scope| {
        for helper in ["auto", "sh"] {
            scope.spawn(move || {
                let demo = Demo::start_ignoring("INT,QUIT,USR1", &["--helper", helper]);
                let ignored = |args: &[&str]| {
                    let run = run(
                        demo.command("ssh").args(args).args(["demo", "grep SigIgn /proc/self/status"]),
                        b"",
                        PATIENCE,
                    );
                    let ran = run.ok().out();
                    // but for 32 and 33, which the C library has for itself and lets nobody set
                    u64::from_str_radix(ran.split_whitespace().nth(1).unwrap(), 16).unwrap() & !0x1_8000_0000
                };
                for args in [&[][..], &["-tt"]] {
                    assert_eq!(ignored(args), 0, "{helper} {args:?}");
                }
            });
        }
    });
}
