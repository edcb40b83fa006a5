//! Who gets in, with what, and what a refusal says.

use std::process::{Command, Stdio};

use crate::harness::{Demo, PATIENCE, Run, run};

fn ssh(demo: &Demo, args: &[&str]) -> Run {
    run(demo.command("ssh").args(args), b"", PATIENCE)
}

#[test]
fn an_unknown_key_is_refused_and_nothing_else_is_offered() {
    let demo = Demo::shared(&[]);
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key), b"", PATIENCE).ok();
    let identity = format!("IdentityFile={}", key.display());
    // the configuration's own key comes after ours unless it is left out
    let port = demo.port().to_string();
    let known = format!("UserKnownHostsFile=\"{}\"", demo.dir().join("known_hosts").display());
    let mut command = Command::new("ssh");
    command.args(["-F", "none", "-o", &identity, "-o", "IdentitiesOnly=yes", "-o", &known, "-o", "IdentityAgent=none"]);
    command.args(["-o", "HostKeyAlias=portcullis-demo", "-o", "BatchMode=yes", "-p", &port, "demo@127.0.0.1", "true"]);
    let refused = run(&mut command, b"", PATIENCE).ends(255);
    assert!(refused.err().contains("Permission denied (publickey)"), "{refused}");
    assert!(demo.ssh("true", b"").code() == Some(0));
}

#[test]
fn the_host_key_is_certified_by_the_demos_ca() {
    let demo = Demo::shared(&[]);
    let dir = tempfile::tempdir().unwrap();
    let known = dir.path().join("known");
    let all = std::fs::read_to_string(demo.dir().join("known_hosts")).unwrap();
    let ca: String = all.lines().filter(|line| line.starts_with("@cert-authority")).collect();
    assert!(!ca.is_empty(), "{all}");
    std::fs::write(&known, ca + "\n").unwrap();
    let option = format!("UserKnownHostsFile={}", known.display());
    ssh(&demo, &["-o", &option, "demo", "true"]).ok();
}

#[test]
fn an_unknown_node_is_refused_in_a_sentence() {
    let demo = Demo::shared(&[]);
    let refused = ssh(&demo, &["no-such-node@gate", "true"]);
    assert_ne!(refused.code(), Some(0), "{refused}");
    assert!(refused.err().contains("no-such-node"), "{refused}");
}

#[test]
fn a_reason_in_the_login_is_taken() {
    let demo = Demo::shared(&[]);
    ssh(&demo, &["demo+ticket-42@gate", "true"]).ok();
}

/// A user of this machine, for as long as this lives.
struct SomeUser(String);

impl SomeUser {
    fn new() -> Self {
        let name = format!("pe2e{}", std::process::id());
        run(Command::new("useradd").args(["--no-create-home", "--shell", "/bin/sh", &name]), b"", PATIENCE).ok();
        Self(name)
    }
}

impl Drop for SomeUser {
    fn drop(&mut self) {
        // by force: the node may still be about to let go of the user's last process
        let _ = Command::new("userdel").arg("--force").arg(&self.0).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_named_user_is_that_user_or_a_sentence() {
    let demo = Demo::shared(&[]);
    let ask = |user: &str| ssh(&demo, &[&format!("{user}%demo@gate"), "id -un"]);
    let unknown = ask("no-such-user");
    assert_ne!(unknown.code(), Some(0), "{unknown}");
    assert!(unknown.err().contains("no-such-user"), "{unknown}");
    if rustix::process::geteuid().is_root() {
        let user = SomeUser::new();
        let run = ask(&user.0).ok();
        assert_eq!(run.out().trim(), user.0, "{run}");
    } else {
        let refused = ask("root");
        assert!(refused.out().trim() == "root" || refused.err().contains("root"), "{refused}");
    }
}

#[test]
fn forwarding_is_refused_in_one_line() {
    let demo = Demo::shared(&[]);
    let hop = ssh(&demo, &["-W", "localhost:22", "demo"]);
    assert_ne!(hop.code(), Some(0), "{hop}");
    assert!(hop.err().contains("this gateway does not forward ports or sockets yet"), "{hop}");
    // a refused -R leaves the session standing
    let kept = ssh(&demo, &["-R", "0:localhost:22", "demo", "echo kept"]);
    assert_eq!(kept.out(), "kept\n", "{kept}");
    assert!(kept.err().contains("remote forwarding (-R) is refused; the session goes on without it"), "{kept}");
}

#[test]
fn only_listed_algorithms_are_offered() {
    let demo = Demo::shared(&[]);
    for weak in ["KexAlgorithms=diffie-hellman-group14-sha1", "Ciphers=aes128-cbc", "MACs=hmac-sha1"] {
        // ciphers with a MAC of their own would leave the last one out
        let ciphers = if weak.starts_with("MACs") { "Ciphers=aes256-ctr" } else { "Compression=no" };
        let refused = ssh(&demo, &["-o", weak, "-o", ciphers, "demo", "true"]).ends(255);
        let why = refused.err();
        assert!(why.contains("no matching") || why.contains("Bad SSH2"), "{weak}: {refused}");
    }
    for fine in [
        "KexAlgorithms=curve25519-sha256",
        "Ciphers=aes256-gcm@openssh.com",
        "Ciphers=aes128-gcm@openssh.com",
        "Ciphers=chacha20-poly1305@openssh.com",
        "Ciphers=aes256-ctr",
    ] {
        ssh(&demo, &["-o", fine, "demo", "true"]).ok();
    }
}
