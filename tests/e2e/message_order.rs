//! In which order a channel ends, beside OpenSSH's server: the same client tells what it has received.

use std::process::Command;

use crate::harness::{Demo, PATIENCE, run};
use crate::hops::Bastion;

/// How a command may end, in which order we tell of it, and in which sshd does. Pauses stand where a server's order would be chance.
const ENDS: [(&str, [&str; 3], [&str; 3]); 5] = [
    // its output is held open by another: the status doesn't wait for it
    ("sleep 2 & echo out; exit 4", STATUS_FIRST, STATUS_FIRST),
    ("sleep 2 & echo out; kill -TERM $$", ["exit-signal", "eof", "close"], ["exit-signal", "eof", "close"]),
    // it goes on without an output. Ours is over with the session: until then a sentence of the gateway's may have to come in it
    ("echo out; exec >&- 2>&-; sleep 2; exit 5", STATUS_FIRST, ["eof", "exit-status", "close"]),
    ("exec >&- 2>&-; sleep 2", STATUS_FIRST, ["eof", "exit-status", "close"]),
    (
        "echo out; exec >&- 2>&-; sleep 2; kill -KILL $$",
        ["exit-signal", "eof", "close"],
        ["eof", "exit-signal", "close"],
    ),
];

const STATUS_FIRST: [&str; 3] = ["exit-status", "eof", "close"];

/// What the client has received on its channel after its command was taken, from its debug log. It doesn't tell of data.
fn received(log: &str) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    let mut taken = false;
    for line in log.lines() {
        let word = if let Some(kind) = line.strip_prefix("debug3: receive packet: type ") {
            taken |= kind.trim() == "99";
            match kind.trim() {
                "96" => "eof",
                "97" => "close",
                _ => continue,
            }
        } else if let Some((_, request)) = line.split_once("client_input_channel_req: channel 0 rtype ") {
            match request.split(' ').next() {
                Some("exit-status") => "exit-status",
                Some("exit-signal") => "exit-signal",
                // OpenSSH's own word of its ended input says nothing of the end
                _ => continue,
            }
        } else {
            continue;
        };
        if taken {
            order.push(word.to_owned());
        }
    }
    order
}

#[test]
fn how_a_command_ended_is_told_before_the_close_and_beside_openssh_s_server() {
    let demo = Demo::shared(&[]);
    let dir = tempfile::tempdir().unwrap();
    let told = |ssh: &mut Command, command: &str| {
        let ran = run(ssh.arg("-n").arg("-vvv").args(["-o", "LogLevel=DEBUG3"]).arg(command), b"", PATIENCE);
        (received(&ran.err()), (ran.code(), ran.out()))
    };
    // who is not root has no server to compare with, and the same order to keep
    let bastion = rustix::process::geteuid().is_root().then(|| Bastion::start(dir.path()));
    let config = dir.path().join("ssh_config");
    if let Some(bastion) = &bastion {
        std::fs::write(&config, bastion.ssh_config()).unwrap();
    }
    for (command, ours, theirs) in ENDS {
        let (order, by_us) = told(demo.command("ssh").arg("demo"), command);
        assert_eq!(order, ours, "{command}");
        if bastion.is_some() {
            let (order, by_sshd) = told(Command::new("ssh").arg("-F").arg(&config).arg("bastion"), command);
            assert_eq!(order, theirs, "{command}, by sshd");
            assert_eq!(by_us, by_sshd, "{command}");
        }
    }
}
