//! The third rung: a node that is reached by its own sshd, which is OpenSSH's, and trusts the demo's user CA. No helper runs there.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Demo, PATIENCE, Slow, noise, processes, run, until};
use crate::many_commands::Master;
use crate::terminal::Terminal;

/// The node's sshd, and the demo that reaches it.
struct Node {
    sshd: Child,
    demo: Demo,
    port: u16,
    dir: tempfile::TempDir,
}

/// As who these tests run.
fn user() -> String {
    run(Command::new("id").arg("-un"), b"", PATIENCE).ok().out().trim().to_owned()
}

fn keygen(path: &Path) {
    let mut keygen = Command::new("ssh-keygen");
    run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path), b"", PATIENCE).ok();
}

fn sshd(dir: &Path, port: u16, ca: &Path, more: &str) -> Child {
    // what its unit makes, where it runs as root
    let _ = std::fs::create_dir_all("/run/sshd");
    // whose shells have no start-up files, which may say something
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nTrustedUserCAKeys \"{1}\"\nAuthorizedKeysFile none\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
         LogLevel VERBOSE\nPrintMotd no\nPrintLastLog no\nAcceptEnv LANG LC_*\nSetEnv HOME={0}\nSubsystem sftp internal-sftp\n{more}\n",
        dir.display(),
        ca.display()
    );
    std::fs::write(dir.join("config"), config).unwrap();
    let mut sshd = Command::new("/usr/sbin/sshd");
    sshd.args(["-D", "-E"]).arg(dir.join("log")).arg("-f").arg(dir.join("config"));
    let sshd = sshd.stdin(Stdio::null()).spawn().unwrap();
    until("the sshd listens", PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    sshd
}

impl Node {
    fn start() -> Self {
        Self::with("", &[])
    }

    /// `more`: of its sshd's configuration; `args`: the demo's.
    fn with(more: &str, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        keygen(&dir.path().join("host"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (number, user) = (port.to_string(), user());
        let own = ["--rung", "sshd", "--sshd-port", &number, "--sshd-user", &user];
        let demo = Demo::start(&[&own[..], args].concat());
        let sshd = sshd(dir.path(), port, &demo.dir().join("user-ca-key.pub"), more);
        Self { sshd, demo, port, dir }
    }

    fn events(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.demo.dir().join("evidence/events.jsonl")).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn named(&self, name: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["event"] == name).collect()
    }

    /// How many sessions of Session Manager there were.
    fn sessions(&self) -> usize {
        let lanes = self.named("session.lane");
        let ids = lanes.iter().map(|lane| lane["session_manager_id"].as_str().unwrap());
        ids.collect::<std::collections::BTreeSet<_>>().len()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Another host key, as of another machine.
    fn replace(&mut self) {
        self.end();
        std::fs::remove_file(self.dir.path().join("host")).unwrap();
        keygen(&self.dir.path().join("host"));
        self.sshd = sshd(self.dir.path(), self.port, &self.demo.dir().join("user-ca-key.pub"), "");
    }

    fn end(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }

    fn folder(&self, session: &str) -> PathBuf {
        let days = std::fs::read_dir(self.demo.dir().join("evidence/sessions")).unwrap();
        let mut folders = days.map(|day| day.unwrap().path().join(session));
        folders.find(|folder| folder.is_dir()).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn commands_have_their_bytes_their_ends_and_their_evidence() {
    let node = Node::start();
    let both = node.demo.ssh("echo out; echo err >&2; exit 7", b"").ends(7);
    assert_eq!((both.out(), both.err()), ("out\n".to_owned(), "err\n".to_owned()));
    let bytes = noise(3 << 20, 11);
    assert!(node.demo.ssh("cat", &bytes).ok().stdout == bytes, "what went in did not come out");
    let counted = node.demo.ssh("wc -c; head -c 5000000 /dev/zero", &bytes).ok();
    assert_eq!(counted.stdout.len(), 5_000_000 + "3145728\n".len());
    // no shell of ours reads the line first
    assert_eq!(node.demo.ssh("printf '%s|' \"a  b\" '$x' \\\\", b"").ok().out(), "a  b|$x|\\|");
    let killed = node.demo.ssh("kill -TERM $$; sleep 5", b"");
    assert_eq!(killed.code(), Some(255), "{killed}");
    until("all have ended", PATIENCE, || node.named("session.closed").len() == 5);
    let exits: Vec<Value> = node.named("session.exit");
    assert!(
        exits.iter().any(|exit| exit["code"] == 7) && exits.iter().any(|exit| exit["signal"] == "TERM"),
        "{exits:?}"
    );
    let logins = node.named("session.sshd");
    assert_eq!(logins.len(), 5);
    let public = std::fs::read_to_string(node.dir.path().join("host.pub")).unwrap();
    let mut keygen = Command::new("ssh-keygen");
    let shown = run(keygen.arg("-lf").arg(node.dir.path().join("host.pub")), b"", PATIENCE).ok().out();
    let fingerprint = shown.split(' ').nth(1).unwrap();
    for login in &logins {
        assert_eq!((&login["host_key"], &login["user"]), (&Value::from(fingerprint), &Value::from(user())));
        assert_eq!(login["credential"], "user-ca");
    }
    // what was seen first is noted beside the evidence
    let noted = std::fs::read_to_string(node.demo.dir().join("node-host-keys")).unwrap();
    let key = public.split(' ').nth(1).unwrap();
    assert!(noted.lines().count() == 1 && noted.contains(key), "{noted}");
    // the certificate was for that user, and says whose session it was
    let opened = &node.named("session.opened")[0];
    let id = format!("ID {} session {}", opened["person"].as_str().unwrap(), opened["id"].as_str().unwrap());
    assert!(node.log().contains(&id), "{}", node.log());
    let trail = std::fs::read_to_string(node.demo.dir().join("cloudtrail.jsonl")).unwrap();
    assert!(trail.contains("AWS-StartSSHSession") && !trail.contains("Portcullis-OutLane"), "no other way was tried");
}

#[test]
fn a_shell_has_its_terminal_and_is_recorded() {
    let node = Node::start();
    let mut terminal = Terminal::start(node.demo.command("ssh").args(["demo"]), 97, 31);
    terminal.send("stty -echo; PS1=; unset PROMPT_COMMAND; echo REA''DY\r");
    terminal.expect("READY\r\n");
    terminal.send("stty size; tty\r");
    terminal.expect("31 97\r\n");
    terminal.expect("/dev/pts/");
    terminal.resize(120, 40);
    terminal.send("sleep 0.5; stty size\r");
    terminal.expect("40 120\r\n");
    // of the client's modes, and an interrupt that is the terminal's
    terminal.send("sh -c 'trap \"echo GOT\"\"INT\" INT; sleep 1000; echo AF\"\"TER'\r");
    thread::sleep(Duration::from_secs(1));
    terminal.send("\x03");
    terminal.expect("GOTINT\r\n");
    terminal.send("exit 3\r");
    assert_eq!(terminal.end().code(), Some(3), "{}", terminal.all());
    until("it has ended", PATIENCE, || node.named("session.closed").len() == 1);
    let opened = &node.named("session.opened")[0];
    assert_eq!(opened["action"], "Shell");
    let folder = node.folder(opened["id"].as_str().unwrap());
    let cast = std::fs::read_to_string(folder.join("terminal.cast")).unwrap();
    assert!(cast.contains("31 97") && cast.contains("GOTINT") && cast.contains("\"r\""), "{cast}");
}

#[test]
fn files_go_by_its_sftp_server_and_are_judged_hashed_and_recorded() {
    let node = Node::start();
    let (dir, bytes) = (tempfile::tempdir().unwrap(), noise(3 << 20, 12));
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(dir.path().join("here"), &bytes).unwrap();
    let batch = format!(
        "put {} {}\nls -l {2}\nrename {1} {3}\nget {3} {4}\nchmod 600 {3}\nmkdir {5}\n",
        path("here"),
        path("there"),
        dir.path().display(),
        path("renamed"),
        path("back"),
        path("made")
    );
    let mut sftp = node.demo.command("sftp");
    let listed = run(sftp.args(["-b", "-", "demo"]), batch.as_bytes(), PATIENCE).ok().out();
    assert!(listed.contains("3145728") && listed.contains("there"), "{listed}");
    assert!(std::fs::read(dir.path().join("back")).unwrap() == bytes, "what came back is another");
    let mode = std::fs::metadata(dir.path().join("renamed")).unwrap().permissions().mode();
    assert_eq!((mode & 0o777, dir.path().join("made").is_dir()), (0o600, true));
    // scp by SFTP, and the older one, both ways
    for (number, mode) in ["-s", "-O"].into_iter().enumerate() {
        let (up, down) = (path(&format!("up {number}")), path(&format!("down {number}")));
        run(
            node.demo.command("scp").args([
                mode,
                "-q",
                &path("here"),
                &format!("demo:{}", up.replace(' ', if mode == "-O" { "\\ " } else { " " })),
            ]),
            b"",
            PATIENCE,
        )
        .ok();
        run(node.demo.command("scp").args([mode, "-q", &format!("demo:{}", path("renamed")), &down]), b"", PATIENCE)
            .ok();
        assert!(std::fs::read(up).unwrap() == bytes && std::fs::read(down).unwrap() == bytes, "{mode}");
    }
    let missing =
        run(node.demo.command("scp").args(["-q", &format!("demo:{}", path("nothing")), &path("x")]), b"", PATIENCE);
    assert!(missing.code() == Some(1) && missing.err().contains("No such file"), "{missing}");
    // a policy about paths holds, whatever carries the file
    std::fs::write(dir.path().join("id_ed25519"), "secret").unwrap();
    let key = format!("db-1+INC-1234@gate:{}", path("id_ed25519"));
    let denied = run(node.demo.command("scp").args(["-q", &key, &path("stolen")]), b"", PATIENCE);
    assert!(denied.code() == Some(1) && !dir.path().join("stolen").exists(), "{denied}");
    until("all have ended", PATIENCE, || node.named("session.sealed").len() == 7);
    let first = &node.named("session.sealed")[0];
    let folder = node.demo.dir().join("evidence/sessions").join(first["folder"].as_str().unwrap());
    let files = std::fs::read_to_string(folder.join("files.jsonl")).unwrap();
    let sum = run(Command::new("sha256sum").arg(dir.path().join("here")), b"", PATIENCE).ok().out();
    assert_eq!(files.matches(sum.split(' ').next().unwrap()).count(), 2, "{files}");
    assert!(files.contains("Rename") && files.contains("MakeDirectory"), "{files}");
    // and no program of ours ran there
    let trail = std::fs::read_to_string(node.demo.dir().join("cloudtrail.jsonl")).unwrap();
    assert!(trail.contains("AWS-StartSSHSession") && !trail.contains("Portcullis-FileLane"), "{trail}");
}

#[test]
fn twenty_commands_of_a_connection_are_one_session_and_do_not_wait_for_each_other() {
    let node = Node::start();
    let master = Master::start(&node.demo);
    for number in 0..20 {
        let run = run(&mut master.command(&node.demo, &format!("echo {number}; exit {number}")), b"", PATIENCE);
        assert_eq!(run.ends(number).out(), format!("{number}\n"));
    }
    assert_eq!(node.sessions(), 1, "one StartSession");
    // one that nobody reads holds up no other
    let mut slow = Slow::start(&mut master.command(&node.demo, "head -c 20000000 /dev/zero; echo end >&2"));
    thread::sleep(Duration::from_millis(500));
    let bytes = noise(3_000_000, 7);
    assert!(run(&mut master.command(&node.demo, "cat"), &bytes, PATIENCE).ok().stdout == bytes, "it differs");
    assert_eq!(node.sessions(), 1);
    let mut length = 0;
    assert!(slow.rest(|bytes| length += bytes.len()).success());
    assert_eq!(length, 20_000_000);
    // more at once than an sshd lets on one connection
    thread::scope(|scope| {
        for number in 0..24 {
            let (demo, master) = (&node.demo, &master);
            scope.spawn(move || {
                let line = format!("sleep 2; echo {number}");
                assert_eq!(run(&mut master.command(demo, &line), b"", PATIENCE).ok().out(), format!("{number}\n"));
            });
        }
    });
    assert!((3..=4).contains(&node.sessions()), "{}", node.sessions());
    drop(master);
    until("the connection's end is theirs", PATIENCE, || {
        processes(&format!("sshd: {}", user())).iter().all(|(_, line)| !line.contains(&node.port.to_string()))
    });
}

#[test]
fn another_host_key_is_refused_and_nothing_is_sent_there() {
    let mut node = Node::start();
    node.demo.ssh("true", b"").ok();
    node.replace();
    let refused = node.demo.ssh("touch /nowhere/at-all", b"");
    assert_ne!(refused.code(), Some(0));
    let said = refused.err();
    assert!(said.contains("shows another host key than it is known by") && said.contains("node-host-keys"), "{said}");
    assert!(!node.log().lines().rev().take(3).any(|line| line.contains("Accepted")), "{}", node.log());
    // whoever runs the gateway takes the line out
    std::fs::remove_file(node.demo.dir().join("node-host-keys")).unwrap();
    node.demo.ssh("true", b"").ok();
}

#[test]
fn who_is_not_let_in_and_what_does_not_answer_is_told_in_a_sentence() {
    let mut node = Node::with("AuthorizedPrincipalsFile /dev/null", &[]);
    let refused = node.demo.ssh("true", b"").err();
    assert!(refused.contains("does not let") && refused.contains("portcullis user-ca"), "{refused}");
    node.end();
    let silent = node.demo.ssh("true", b"");
    assert!(silent.err().contains("the sshd of") && silent.took < Duration::from_secs(30), "{silent}");
    let files = node.demo.sftp("ls");
    assert!(files.code() != Some(0) && files.err().contains("the sshd of"), "{files}");
}

#[test]
fn a_variable_that_is_not_taken_is_told_of_once() {
    let node = Node::start();
    let master = Master::start(&node.demo);
    let with = |line: &str| {
        let mut ssh = node.demo.command("ssh");
        ssh.args(["-o", &master.option, "-o", "SendEnv=GIT_PROTOCOL LC_TEST", "demo", line]);
        run(ssh.env("GIT_PROTOCOL", "version=2").env("LC_TEST", "a b"), b"", PATIENCE).ok()
    };
    let first = with("echo \"$LC_TEST|$GIT_PROTOCOL\"");
    assert_eq!(first.out(), "a b|\n");
    assert!(first.err().contains("AcceptEnv"), "{first}");
    assert_eq!(with("true").err(), "", "once");
}

#[test]
fn a_reader_that_has_gone_ends_the_command() {
    let node = Node::start();
    let line = format!("yes {}", node.port);
    let mut shell = Command::new("bash");
    shell
        .arg("-c")
        .arg("ssh -F \"$1\" demo \"$2\" | head -n 1")
        .arg("sh")
        .arg(node.demo.dir().join("ssh_config"))
        .arg(&line);
    assert_eq!(run(&mut shell, b"", PATIENCE).ok().out(), format!("{}\n", node.port));
    until("it has ended on the node", PATIENCE, || processes(&line).iter().all(|(_, found)| !found.starts_with("yes")));
}
