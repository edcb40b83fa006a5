//! The gateway as an operator runs it, in a process of its own: `emulator` in AWS's place, `documents`, `check`, `serve`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{PATIENCE, PORTCULLIS, Run, processes, run, until, wait};

/// A service, an account with nothing in it, and a configuration for a gateway.
struct Account {
    emulator: Child,
    port: u16,
    dir: tempfile::TempDir,
}

/// Ends a process in order when it goes out of scope.
struct Ended(Child);

impl Account {
    fn new(extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let mut emulator = Command::new(PORTCULLIS)
            .args(["emulator", "--listen", "127.0.0.1:0", "--with-node", "web-1", "--until-stdin-closes"])
            .args(["--keys-out", &at("keys"), "--node-dir", &at("node"), "--tls-ca-out", &at("ca.pem")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut page = BufReader::new(emulator.stdout.take().unwrap()).lines().map_while(Result::ok);
        let ready = page.find(|line| line.starts_with("ready")).expect("the emulator is ready");
        let url = ready.split([' ', ',']).find(|word| word.starts_with("https://")).unwrap().to_owned();
        for key in ["host", "user"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]), b"", PATIENCE).ok();
        }
        std::fs::create_dir(dir.path().join("evidence")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let key = std::fs::read_to_string(dir.path().join("user.pub")).unwrap();
        let config = format!(
            "[gateway]\nlisten = [\"127.0.0.1:{port}\"]\nhost_keys = [\"host\"]\n\
             [[people]]\nname = \"ada\"\nkeys = [\"{}\"]\n\
             [[rules]]\nname = \"r\"\npeople = [\"ada\"]\nnodes = [\"web-1\"]\nactions = [\"Exec\"]\n\
             [realm]\nregion = \"us-east-1\"\nca_bundle = \"ca.pem\"\n[realm.endpoints]\nssm = \"{url}\"\n\
             [evidence]\ndirectory = \"evidence\"\n{extra}",
            key.trim()
        );
        std::fs::write(dir.path().join("gateway.toml"), config).unwrap();
        Self { emulator, port, dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PORTCULLIS);
        command.args(args).arg("--config").arg(self.at("gateway.toml"));
        command.env("AWS_SHARED_CREDENTIALS_FILE", self.at("keys")).env("AWS_CONFIG_FILE", "/dev/null");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    fn portcullis(&self, args: &[&str]) -> Run {
        run(&mut self.command(args), b"", PATIENCE)
    }

    fn serve(&self) -> Ended {
        let log = std::fs::File::create(self.at("log")).unwrap();
        let serving = self.command(&["serve"]).stdin(Stdio::null()).stderr(log).spawn().unwrap();
        let serving = Ended(serving);
        until("the gateway listens", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
        serving
    }

    fn ssh(&self, login: &str, remote: &str) -> Run {
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-F",
            "none",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "IdentityAgent=none",
            "-o",
            "StrictHostKeyChecking=no",
        ]);
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.at("known").display()));
        ssh.arg("-i").arg(self.at("user")).args(["-p", &self.port.to_string(), &format!("{login}@127.0.0.1"), remote]);
        run(&mut ssh, b"", PATIENCE)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.at("log")).unwrap()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        drop(self.emulator.stdin.take());
        if wait(&mut self.emulator, Duration::from_secs(15)).is_none() {
            let _ = self.emulator.kill();
            let _ = self.emulator.wait();
        }
    }
}

impl Ended {
    fn signal(&mut self, signal: Signal) -> Option<i32> {
        let _ = kill_process(Pid::from_raw(self.0.id() as i32).unwrap(), signal);
        wait(&mut self.0, PATIENCE).and_then(|status| status.code())
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn from_an_empty_account_to_a_session_and_an_orderly_end() {
    let account = Account::new("");
    account.portcullis(&["check"]).ok();
    let missing = account.portcullis(&["documents"]).ends(8);
    assert!(missing.out().contains("Portcullis-OutLane: missing"), "{missing}");
    assert!(missing.err().contains("documents --apply"), "{missing}");
    let applied = account.portcullis(&["documents", "--apply"]).ok();
    assert!(applied.out().contains("Portcullis-InLane: created"), "{applied}");
    account.portcullis(&["documents"]).ok();

    let mut serving = account.serve();
    assert_eq!(account.ssh("web-1", "echo through").ok().out(), "through\n");
    let denied = account.ssh("root%web-1", "true");
    assert!(denied.code() != Some(0) && denied.err().contains("denied by policy"), "{denied}");
    assert_eq!(serving.signal(Signal::TERM), Some(0), "{}", account.log());
    assert!(account.log().contains("\"message\":\"ready\""), "{}", account.log());
    let secret = std::fs::read_to_string(account.at("keys")).unwrap();
    let secret = secret.lines().find_map(|line| line.strip_prefix("aws_secret_access_key = ")).unwrap();
    assert!(!account.log().contains(secret), "a secret key is in the log");
    let events = std::fs::read_to_string(account.at("evidence/events.jsonl")).unwrap();
    assert!(events.contains("ada") && !events.contains(secret), "{events}");
}

#[test]
fn an_account_without_the_documents_is_served_over_one_lane() {
    let account = Account::new("");
    let _serving = account.serve();
    assert_eq!(account.ssh("web-1", "echo slower").ok().out(), "slower\n");
    assert!(account.log().contains("trying one lane"), "{}", account.log());
}

#[test]
fn a_key_that_aws_refuses_is_a_sentence() {
    let account = Account::new("");
    let keys = std::fs::read_to_string(account.at("keys")).unwrap();
    std::fs::write(account.at("keys"), keys.replace("aws_secret_access_key = ", "aws_secret_access_key = x")).unwrap();
    let refused = account.portcullis(&["documents"]).ends(7);
    assert!(!refused.err().contains("DispatchFailure") && !refused.err().contains("{"), "{refused}");
    assert_eq!(refused.err().lines().count(), 1, "{refused}");
}

#[test]
fn after_the_gateways_sudden_death_the_node_cleans_up() {
    let account = Account::new("");
    account.portcullis(&["documents", "--apply"]).ok();
    let mut serving = account.serve();
    let mark = format!("3{}.0625", std::process::id());
    let sleeps = || processes(&format!("sleep {mark}")).iter().any(|(_, line)| line.starts_with("sleep"));
    let litter = |dir: &Path| std::fs::read_dir(dir).map_or(0, Iterator::count);
    std::thread::scope(|scope| {
        scope.spawn(|| account.ssh("web-1", &format!("sleep {mark}")));
        until("the sleep runs", PATIENCE, sleeps);
        serving.signal(Signal::KILL);
    });
    until("the sleep is gone", Duration::from_secs(60), || !sleeps());
    until("the helper has cleaned up", Duration::from_secs(60), || litter(&account.at("node/run")) == 0);
}

#[test]
fn a_taken_port_is_4_and_a_wrong_host_key_is_3() {
    let account = Account::new("");
    let taken = std::net::TcpListener::bind(("127.0.0.1", account.port)).unwrap();
    let refused = account.portcullis(&["serve"]).ends(4);
    assert!(refused.err().contains(&account.port.to_string()), "{refused}");
    drop(taken);
    std::fs::write(account.at("host"), "no key").unwrap();
    let refused = account.portcullis(&["serve"]).ends(3);
    assert!(refused.err().contains("host key"), "{refused}");
}
