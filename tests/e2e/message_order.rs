//! In which order a channel ends, beside OpenSSH's server: the same client tells what it has received.

use std::process::Command;

use crate::harness::{Demo, PATIENCE, run};
use crate::hops::Bastion;

/// How a command may end. Pauses stand where a server's order would be chance.
const ENDS: [(&str, &[&str]); 5] = [
    // its output is held open by another: the status doesn't wait for it
    ("sleep 2 & echo out; exit 4", &["data", "exit-status", "eof", "close"]),
    // its output has ended, and it goes on
    ("echo out; exec >&- 2>&-; sleep 2; exit 5", &["data", "eof", "exit-status", "close"]),
    ("exec >&- 2>&-; sleep 2", &["eof", "exit-status", "close"]),
    // by a signal
    ("sleep 2 & echo out; kill -TERM $$", &["data", "exit-signal", "eof", "close"]),
    ("echo out; exec >&- 2>&-; sleep 2; kill -KILL $$", &["data", "eof", "exit-signal", "close"]),
];

/// What the client has received on its channel after its command was taken, from its debug log.
fn received(log: &str) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    let mut taken = false;
    for line in log.lines() {
        let word = if let Some(kind) = line.strip_prefix("debug3: receive packet: type ") {
            taken |= kind.trim() == "99";
            match kind.trim() {
                "94" | "95" => "data",
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
        // data is cut anywhere
        if taken && (word != "data" || order.last().is_none_or(|last| last != word)) {
            order.push(word.to_owned());
        }
    }
    order
}

#[test]
fn a_channel_ends_in_the_order_of_openssh_s_server() {
    let demo = Demo::shared(&[]);
    let dir = tempfile::tempdir().unwrap();
    let told = |ssh: &mut Command, command: &str| {
        let ran = run(ssh.args(["-n", "-vvv"]).args(["-o", "LogLevel=DEBUG3"]).arg(command), b"", PATIENCE);
        (received(&ran.err()), ran.code())
    };
    // who is not root has no server to compare with, and the same order to keep
    let bastion = rustix::process::geteuid().is_root().then(|| Bastion::start(dir.path()));
    let config = dir.path().join("ssh_config");
    if let Some(bastion) = &bastion {
        std::fs::write(&config, bastion.ssh_config()).unwrap();
    }
    for (command, order) in ENDS {
        let ours = told(demo.command("ssh").arg("demo"), command);
        assert_eq!(ours.0, order, "{command}");
        if bastion.is_some() {
            assert_eq!(ours, told(Command::new("ssh").arg("-F").arg(&config).arg("bastion"), command), "{command}");
        }
    }
}
