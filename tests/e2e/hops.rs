//! Hops through the real program: OpenSSH and others, one line of `known_hosts`, somebody's own bastion in front.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Demo, PATIENCE, Run, noise, portcullis, run, until};

fn ssh(demo: &Demo, args: &[&str]) -> Run {
    run(demo.command("ssh").args(args), b"", PATIENCE)
}

#[test]
fn every_program_gets_through_a_hop_by_one_line_of_known_hosts() {
    let demo = Demo::shared(&[]);
    let dir = tempfile::tempdir().unwrap();
    // that line, and no other
    let known = dir.path().join("known");
    let ca = std::fs::read_to_string(demo.dir().join("host_ca.pub")).unwrap();
    std::fs::write(&known, format!("@cert-authority * {ca}")).unwrap();
    let known = format!("UserKnownHostsFile={}", known.display());
    let hop = ssh(&demo, &["-o", &known, "-v", "hop-demo", "echo in; exit 7"]).ends(7);
    assert_eq!(hop.out(), "in\n", "{hop}");
    assert!(hop.err().contains("Server host certificate: ssh-ed25519-cert-v01@openssh.com"), "{hop}");
    // ssh itself gives the name of its file to a shell, so this one has no space in it
    let copy = dir.path().join("ssh_config");
    std::fs::copy(demo.dir().join("ssh_config"), &copy).unwrap();
    let jump = ["-o", &known, "-J", "gate", "hop-web-1", "echo in"];
    assert_eq!(run(Command::new("ssh").arg("-F").arg(&copy).args(jump), b"", PATIENCE).ok().out(), "in\n");
    let (here, back) = (dir.path().join("here"), dir.path().join("back"));
    std::fs::write(&here, noise(300_000, 5)).unwrap();
    let there = format!("hop-demo:{}", dir.path().join("there").display());
    for mode in [&["-q"][..], &["-O", "-q"]] {
        for (from, to) in [(here.to_str().unwrap(), there.as_str()), (&there, back.to_str().unwrap())] {
            run(demo.command("scp").args(mode).args(["-o", &known, from, to]), b"", PATIENCE).ok();
        }
        assert!(std::fs::read(&back).unwrap() == std::fs::read(&here).unwrap());
    }
    let batch = format!("get {} {}\n", here.display(), dir.path().join("got").display());
    run(demo.command("sftp").args(["-b", "-", "-o", &known, "hop-demo"]), batch.as_bytes(), PATIENCE).ok();
    assert!(std::fs::read(dir.path().join("got")).unwrap() == std::fs::read(&here).unwrap());
    let socket = format!("ControlPath={}", dir.path().join("mux").display());
    for n in 0..3 {
        let args = ["-o", "ControlMaster=auto", "-o", "ControlPersist=20", "-o", &socket, "-o", &known, "hop-web-1"];
        assert_eq!(ssh(&demo, &[&args[..], &[&format!("exit {n}")]].concat()).code(), Some(n));
    }
    ssh(&demo, &["-o", &socket, "-O", "exit", "hop-web-1"]);
    let terminal =
        run(demo.command("ssh").args(["-tt", "-o", &known, "hop-demo"]), b"echo on $((1+1)); exit 4\n", PATIENCE);
    assert!(terminal.ends(4).out().contains("on 2"));
}

#[test]
fn who_may_not_hop_is_told_before_anything_is_asked() {
    let demo = Demo::shared(&[]);
    let ada = demo.dir().join("ada_key").display().to_string();
    let jump =
        format!("ProxyCommand=ssh -F '{}' -i '{ada}' -W %h:%p ada@gate", demo.dir().join("ssh_config").display());
    let refused = ssh(&demo, &["-o", &jump, "hop-web-1", "true"]).ends(255);
    assert!(refused.err().contains("no policy lets ada do Hop on web-1"), "{refused}");
    let nowhere = ssh(&demo, &["-o", "HostName=dmeo", "hop-demo", "true"]).ends(255);
    assert!(nowhere.err().contains("did you mean demo?"), "{nowhere}");
}

/// An sshd of somebody's own, that forwards.
pub struct Bastion {
    sshd: Child,
    port: u16,
    dir: PathBuf,
}

impl Bastion {
    pub fn start(dir: &Path) -> Self {
        let dir = dir.to_owned();
        run(
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join("host")),
            b"",
            PATIENCE,
        )
        .ok();
        run(
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join("key")),
            b"",
            PATIENCE,
        )
        .ok();
        std::fs::copy(dir.join("key.pub"), dir.join("authorized")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nStrictModes no\nUsePAM no\n\
             AllowTcpForwarding yes\nPidFile none\n",
            dir.display()
        );
        std::fs::write(dir.join("config"), config).unwrap();
        std::fs::create_dir_all("/run/sshd").unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        let sshd = sshd.args(["-D", "-e", "-f"]).arg(dir.join("config")).stderr(Stdio::null()).spawn().unwrap();
        until("the bastion listens", Duration::from_secs(20), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self { sshd, port, dir }
    }

    /// `ssh_config` for `Host bastion`.
    pub fn ssh_config(&self) -> String {
        let Self { port, dir, .. } = self;
        let host_key = std::fs::read_to_string(dir.join("host.pub")).unwrap();
        std::fs::write(dir.join("known"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        format!(
            "Host bastion\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  IdentityFile {0}/key\n  IdentitiesOnly yes\n  \
             IdentityAgent none\n  UserKnownHostsFile {0}/known\n  StrictHostKeyChecking yes\n",
            dir.display()
        )
    }
}

impl Drop for Bastion {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

#[test]
fn somebodys_own_bastion_may_stand_in_front() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let demo = Demo::shared(&[]);
    let dir = tempfile::tempdir().unwrap();
    let bastion = Bastion::start(dir.path());
    let demos = std::fs::read_to_string(demo.dir().join("ssh_config")).unwrap();
    let config = format!("{}{demos}", bastion.ssh_config());
    let path = dir.path().join("ssh_config");
    std::fs::write(&path, config).unwrap();
    let through = run(
        Command::new("ssh").arg("-F").arg(&path).args(["-J", "bastion,gate", "hop-demo", "echo through both"]),
        b"",
        PATIENCE,
    );
    assert_eq!(through.ok().out(), "through both\n");
}

#[test]
fn what_clients_need_for_hops_is_printed_and_is_enough() {
    let demo = Demo::shared(&[]);
    let config = demo.dir().join("gateway.toml").display().to_string();
    let dir = tempfile::tempdir().unwrap();
    // by the operator
    let gate = format!("127.0.0.1:{}", demo.port());
    let known = portcullis(&["known-hosts", "--config", &config, "--gateway", &gate]).ok().out();
    let lines: Vec<&str> = known.lines().collect();
    assert!(
        lines[0].starts_with("@cert-authority * ssh-ed25519 ")
            && lines[1].starts_with(&format!("[127.0.0.1]:{} ssh-ed25519 ", demo.port())),
        "{known}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&portcullis(&["known-hosts", "--config", &config, "--json"]).ok().out()).unwrap();
    assert_eq!(json["lines"][0], lines[0]);
    for wrong in [&["--nodes", "a b"][..], &["--gateway", "-x"], &["--gateway", "gate:port"]] {
        portcullis(&[&["known-hosts", "--config", &config], wrong].concat()).ends(2);
    }
    // and by the person, who asks the gateway
    let ours = ssh(&demo, &["gate", "known-hosts"]).ok().out();
    assert_eq!(ours.lines().collect::<Vec<_>>(), lines[..1]);
    let plain = ssh(&demo, &["gate", "known-hosts --plain"]).ok().out();
    assert!(plain.starts_with("* ssh-ed25519 "), "{plain}");
    assert_eq!(portcullis(&["known-hosts", "--config", &config, "--plain"]).ok().out(), plain);
    // and so is the key that old clients see, and no others
    let legacy = dir.path().join("legacy").display().to_string();
    run(Command::new("ssh-keygen").args(["-q", "-t", "rsa", "-N", "", "-f", &legacy]), b"", PATIENCE).ok();
    let text = std::fs::read_to_string(&config).unwrap();
    let old = dir.path().join("gateway.toml");
    std::fs::write(&old, text.replace("legacy_host_keys = []", &format!("legacy_host_keys = [\"{legacy}\"]"))).unwrap();
    let old = portcullis(&["known-hosts", "--config", &old.display().to_string(), "--plain"]).ok().out();
    let more: Vec<&str> = old.strip_prefix(&plain).unwrap().lines().collect();
    assert!(more.len() == 1 && more[0].starts_with("* ssh-rsa "), "{old}");
    let blocks = ssh(&demo, &["gate", "ssh-config"]).ok().out();
    assert!(blocks.contains("Host web-1 mi-0123456789abcdef1\n    HostName web-1\n    User web-1\n"), "{blocks}");
    ssh(&demo, &["gate", "ssh-config '-oProxyCommand=id'"]).ends(255);
    // together they are all that a client needs
    let key = demo.dir().join("user_key");
    std::fs::write(dir.path().join("known"), &known).unwrap();
    let ssh_config = format!(
        "Host gate\n  HostName 127.0.0.1\n  Port {}\n  User you\nHost *\n  IdentityFile \"{}\"\n  IdentitiesOnly yes\n  IdentityAgent none\n  \
         UserKnownHostsFile {1}/known\n  StrictHostKeyChecking yes\n{blocks}",
        demo.port(),
        key.display(),
    )
    .replace(&format!("{}/known", key.display()), &dir.path().join("known").display().to_string());
    let path = dir.path().join("ssh_config");
    std::fs::write(&path, ssh_config).unwrap();
    for node in ["demo", "mi-0123456789abcdef1"] {
        let hop = run(Command::new("ssh").arg("-F").arg(&path).args([node, "echo in"]), b"", PATIENCE);
        assert_eq!(hop.ok().out(), "in\n");
    }
}

/// PuTTY and Dropbear know no certificates: they are shown the gateway's own key, whichever the node.
#[test]
fn clients_without_certificates_see_the_gateways_key() {
    let demo = Demo::shared(&[]);
    let dir = tempfile::tempdir().unwrap();
    let proxy = format!("ssh -F \"{}\" -W %host:%port gate", demo.dir().join("ssh_config").display());
    let fingerprint =
        run(Command::new("ssh-keygen").args(["-l", "-f"]).arg(demo.dir().join("host_key.pub")), b"", PATIENCE)
            .ok()
            .out();
    let fingerprint = fingerprint.split(' ').nth(1).unwrap().to_owned();
    let plink = run(
        Command::new("plink").env("HOME", dir.path()).args([
            "-batch",
            "-ssh",
            "-hostkey",
            &fingerprint,
            "-proxycmd",
            &proxy,
            "you@demo",
            "echo by plink; exit 5",
        ]),
        b"",
        PATIENCE,
    );
    assert_eq!(plink.ends(5).out(), "by plink\n");
    let known = ssh(&demo, &["gate", "known-hosts --plain"]).ok().out();
    std::fs::create_dir(dir.path().join(".ssh")).unwrap();
    std::fs::write(dir.path().join(".ssh/known_hosts"), known.replace("* ", "demo ")).unwrap();
    let proxy = format!("ssh -F '{}' -W demo:22 gate", demo.dir().join("ssh_config").display());
    let dropbear = run(
        Command::new("dbclient").env("HOME", dir.path()).args(["-J", &proxy, "you@demo", "echo by dbclient; exit 6"]),
        b"",
        PATIENCE,
    );
    assert_eq!(dropbear.ends(6).out(), "by dbclient\n");
}

/// `ssh_config` for a demo's gateway by its own name (`NAME-gate`) and with its node in the login (`NAME-demo`).
fn as_named(demo: &Demo, name: &str) -> String {
    let dir = demo.dir().display();
    let host = |host: &str, user: &str| {
        format!(
            "Host {name}-{host}\n  HostName 127.0.0.1\n  Port {}\n  User {user}\n  HostKeyAlias portcullis-demo\n  \
             IdentityFile \"{dir}/user_key\"\n  UserKnownHostsFile \"{dir}/known_hosts\"\n",
            demo.port()
        )
    };
    host("gate", "you") + &host("demo", "demo")
}

/// A gateway dials nobody: it is a node of the first by which the second is reached.
#[test]
fn another_gateway_is_reached_by_a_node_and_never_by_the_gateway() {
    let (near, far) = (Demo::start(&[]), Demo::start(&[]));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ssh_config");
    let config = format!(
        "{}{}Host inside\n  HostName demo\n  User you\n  IdentityFile \"{3}/user_key\"\n  \
         UserKnownHostsFile \"{3}/known_hosts\"\nHost *\n  IdentitiesOnly yes\n  IdentityAgent none\n  \
         GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  RekeyLimit {2}\n",
        as_named(&near, "near"),
        as_named(&far, "far"),
        "1M",
        far.dir().display()
    );
    std::fs::write(&path, config).unwrap();
    let ssh = |args: &[&str], stdin: &[u8]| run(Command::new("ssh").arg("-F").arg(&path).args(args), stdin, PATIENCE);
    let logins = |demo: &Demo| {
        let events = std::fs::read_to_string(demo.dir().join("evidence/events.jsonl")).unwrap();
        events.matches("\"login.accepted\"").count()
    };
    // a hop leads to nodes alone, whatever its name is
    let dialled = ssh(&["-J", "near-gate", "far-demo", "true"], b"").ends(255);
    assert!(dialled.err().contains("your login names no node"), "{dialled}");
    assert_eq!((logins(&near), logins(&far)), (1, 0), "{dialled}");
    // a command of the far one, and a hop of it, each with new keys at every mebibyte in every connection
    let bytes = noise(5_000_000, 11);
    for args in
        [&["-J", "near-demo", "far-demo", "cat; exit 6"], &["-J", "near-demo,far-gate", "inside", "cat; exit 6"]]
    {
        let through = ssh(args, &bytes).ends(6);
        assert!(through.stdout == bytes, "{args:?}: {} bytes", through.stdout.len());
    }
    // and what stood around them is each gateway's to tell
    until("the logs have it", PATIENCE, || {
        let of_near = std::fs::read_to_string(near.dir().join("evidence/events.jsonl")).unwrap();
        let of_target = of_near.matches("\"protocol\":\"ssh\",\"by\":\"target\"").count();
        (of_target, logins(&near), logins(&far)) == (2, 3, 3)
    });
}
