//! Tunnels through the real program: OpenSSH to a real sshd on the node, end to end, where policy lets; and nowhere else.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Demo, PATIENCE, Run, noise, run, until};

/// The node's own sshd.
struct Sshd {
    child: Child,
    port: u16,
    dir: PathBuf,
}

impl Sshd {
    fn start(dir: &Path, port: u16) -> Self {
        for key in ["host", "key"] {
            let mut keygen = Command::new("ssh-keygen");
            run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(key)), b"", PATIENCE).ok();
        }
        std::fs::copy(dir.join("key.pub"), dir.join("authorized")).unwrap();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nStrictModes no\nUsePAM no\n\
             PidFile none\nSubsystem sftp internal-sftp\n",
            dir.display()
        );
        std::fs::write(dir.join("config"), config).unwrap();
        std::fs::create_dir_all("/run/sshd").unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        let child = sshd.args(["-D", "-e", "-f"]).arg(dir.join("config")).stderr(Stdio::null()).spawn().unwrap();
        until("the sshd listens", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { child, port, dir: dir.to_owned() }
    }

    /// A configuration of ssh by which `end` is the node, end to end.
    fn config(&self, demo: &Demo) -> PathBuf {
        // ssh gives what is behind ProxyCommand to a shell, so neither file has a space in its name
        let gate = self.dir.join("gate_config");
        std::fs::copy(demo.dir().join("ssh_config"), &gate).unwrap();
        let host_key = std::fs::read_to_string(self.dir.join("host.pub")).unwrap();
        std::fs::write(self.dir.join("known"), format!("demo-itself {host_key}")).unwrap();
        let text = format!(
            "Host end\n  User root\n  IdentityFile {0}/key\n  IdentitiesOnly yes\n  IdentityAgent none\n  HostKeyAlias demo-itself\n  \
             UserKnownHostsFile {0}/known\n  StrictHostKeyChecking yes\n  ProxyCommand ssh -F {0}/gate_config -W localhost:{1} demo\n",
            self.dir.display(),
            self.port
        );
        let path = self.dir.join("ssh_config");
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn events(demo: &Demo) -> Vec<Value> {
    let text = std::fs::read_to_string(demo.dir().join("evidence/events.jsonl")).unwrap_or_default();
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn through(demo: &Demo, target: &str) -> Run {
    run(demo.command("ssh").args(["-W", target, "demo"]), b"", PATIENCE)
}

#[test]
fn the_nodes_own_sshd_is_reached_end_to_end_where_policy_lets() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let port = free_port();
    let demo = Demo::start(&["--tunnel", &port.to_string()]);
    let dir = tempfile::tempdir().unwrap();
    let sshd = Sshd::start(dir.path(), port);
    let config = sshd.config(&demo);
    let end = |args: &[&str]| run(Command::new("ssh").arg("-F").arg(&config).args(args), b"", PATIENCE);
    let said = end(&["end", "echo over there; exit 7"]).ends(7);
    assert_eq!(said.out(), "over there\n", "{said}");
    let (here, there, back) = (dir.path().join("here"), dir.path().join("there"), dir.path().join("back"));
    std::fs::write(&here, noise(4 << 20, 77)).unwrap();
    let remote = format!("end:{}", there.display());
    for (from, to) in [(here.to_str().unwrap(), remote.as_str()), (&remote, back.to_str().unwrap())] {
        run(Command::new("scp").arg("-q").arg("-F").arg(&config).args([from, to]), b"", 3 * PATIENCE).ok();
    }
    let digest = |path: &Path| {
        let sum = run(Command::new("sha256sum").arg(path), b"", PATIENCE).ok().out();
        sum.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!((digest(&there), digest(&back)), (digest(&here), digest(&here)));
    // by a forwarded port and in other spellings as well
    for target in [format!("127.1:{port}"), format!("[::1]:{port}"), format!("demo:{port}")] {
        let banner = through(&demo, &target).ok();
        assert!(banner.out().starts_with("SSH-2.0-OpenSSH"), "{target}: {banner}");
    }
    // the record: that it was a tunnel, how much passed, that nobody saw what
    let closed = || events(&demo).iter().filter(|event| event["event"] == "session.sealed").count();
    until("each is sealed", PATIENCE, || closed() >= 6);
    let all = events(&demo);
    let opened: Vec<&Value> = all.iter().filter(|event| event["event"] == "session.opened").collect();
    assert_eq!(opened.len(), 6, "{opened:#?}");
    for opened in opened {
        let told = (&opened["action"], &opened["host"], &opened["port"], &opened["policy"]);
        assert_eq!(told, (&"Tunnel".into(), &"localhost".into(), &port.into(), &"by-a-tunnel".into()));
        let of = |name: &str| all.iter().find(|event| event["event"] == name && event["id"] == opened["id"]).unwrap();
        assert_eq!(
            (&of("forward.connected")["end_to_end"], &of("forward.connected")["way"]),
            (&true.into(), &"agent".into())
        );
        assert_eq!(of("forward.inside")["protocol"], "ssh");
        let folder = demo.dir().join("evidence/sessions").join(of("session.sealed")["folder"].as_str().unwrap());
        let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
        assert_eq!((&manifest["action"], &manifest["forward"]["end_to_end"]), (&"Tunnel".into(), &true.into()));
    }
    let most = |stream: &str| {
        let closed = all.iter().filter(|event| event["event"] == "session.closed");
        closed.filter_map(|closed| closed[stream]["bytes"].as_u64()).max().unwrap()
    };
    assert!(most("stdin") > 4 << 20 && most("stdout") > 4 << 20, "{} {}", most("stdin"), most("stdout"));
}

#[test]
fn without_a_policy_it_is_refused_in_every_spelling_and_the_hop_is_named() {
    let demo = Demo::shared(&[]);
    for target in
        ["localhost:22", "127.0.0.1:22", "127.1:22", "2130706433:22", "[::1]:22", "[::ffff:127.0.0.1]:22", "demo:22"]
    {
        let refused = through(&demo, target).ends(255);
        assert!(refused.err().contains("no policy lets you do Tunnel on demo"), "{target}: {refused}");
        assert!(refused.err().contains("ssh -J <gateway> demo is answered by the gateway"), "{target}: {refused}");
    }
}

#[test]
fn an_sshd_that_is_not_there_is_told_in_a_sentence_within_seconds() {
    let port = free_port();
    let demo = Demo::start(&["--tunnel", &port.to_string()]);
    let begun = Instant::now();
    let dead = through(&demo, &format!("localhost:{port}")).ends(255);
    assert!(dead.err().contains(&format!("the node's own sshd, on its port {port}, says nothing")), "{dead}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // the node is none the worse for it
    assert_eq!(demo.ssh("echo on", b"").ok().out(), "on\n");
}
