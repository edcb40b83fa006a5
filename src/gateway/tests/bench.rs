//! A gateway, a node, people with keys, and `ssh` told about all of them.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use russh::keys::PrivateKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::backend::{BackendError, BoxFuture, Directory, Node};
use crate::config::{Environment, Limits};
use crate::evidence::{EventLog, LaneRecord};
use crate::files::testing::local_service;
use crate::gateway::{Gateway, HostKeys, Settings};
use crate::identity::People;
use crate::model::{Exit, NodeId, NodeName, SessionId};
use crate::policy::{Action, Grant, Policy, Rule};
use crate::session::{NodeTransport, SessionOpener};
use crate::testing::node_end::{NodeEnd, channel};
use crate::transport::file_service::FileService;
use crate::transport::{ChannelSetup, Control, InputData, OpenChannel, Out, TransportError};

/// Long for a busy machine, and much shorter than the deadline for a login: who is hung up on within this, is for a reason.
pub(super) const SOON: Duration = Duration::from_secs(8);

/// A gateway that runs until the bench is dropped.
pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) address: SocketAddr,
    pub(super) node: Arc<LocalNode>,
    pub(super) sessions: Arc<SessionOpener>,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

impl Bench {
    pub(super) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// A gateway with other settings.
    pub(super) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::build(change, &[], &[]).await
    }

    /// A gateway where ada has more keys, of these kinds.
    pub(super) async fn with_keys(kinds: &[(&str, &[&str])]) -> Self {
        Self::build(|_| (), kinds, &[]).await
    }

    /// A gateway where ada has these public keys too, which need not be any good.
    pub(super) async fn with_public_keys(lines: &[String]) -> Self {
        Self::build(|_| (), &[], lines).await
    }

    async fn build(change: impl FnOnce(&mut Settings), kinds: &[(&str, &[&str])], lines: &[String]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, kind) in [("ada", "ed25519"), ("bob", "ed25519"), ("stranger", "ed25519")] {
            keygen(&dir.path().join(name), &["-t", kind]).await;
        }
        let public = |name: &str| std::fs::read_to_string(dir.path().join(format!("{name}.pub"))).unwrap();
        let host_keys = HostKeys::load_or_create(&dir.path().join("host_key")).unwrap();
        let node = Arc::new(LocalNode {
            home: tempfile::tempdir().unwrap(),
            starts: Mutex::default(),
            controls: Arc::default(),
            idle: AtomicBool::new(false),
        });
        let list = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
        let policy = Policy::new(vec![
            Rule {
                name: "all-of-web".to_owned(),
                people: Rule::names(&list(&["ada"])),
                nodes: Rule::nodes(&list(&["web-1", "down-1"])).unwrap(),
                os_users: Rule::names(&list(&["deploy"])),
                actions: Rule::actions(&list(&["*"])).unwrap(),
            },
            Rule {
                name: "bob-may-exec".to_owned(),
                people: Rule::names(&list(&["bob"])),
                nodes: Rule::nodes(&list(&["*"])).unwrap(),
                os_users: Rule::names(&[]),
                actions: Rule::actions(&list(&["Exec"])).unwrap(),
            },
        ]);
        let log = Arc::new(EventLog::open(dir.path(), 64 << 20).unwrap());
        let sessions = Arc::new(SessionOpener::new(policy, Arc::new(TwoNodes), node.clone(), log));
        let mut settings = Settings::new(&Limits::default(), &Environment::default(), None);
        settings.drain = Duration::from_millis(200);
        change(&mut settings);
        let mut keys = lines.to_vec();
        for (name, kind) in kinds {
            keygen(&dir.path().join(name), kind).await;
            keys.push(public(name));
        }
        let mut people = People::new([("ada", &[public("ada")][..]), ("bob", &[public("bob")][..])]).unwrap();
        for line in keys {
            let wire = STANDARD.decode(line.split(' ').nth(1).unwrap()).unwrap();
            people = people.with_any_key("ada", wire);
        }
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let gateway = Gateway::bind(&[any], &host_keys, people, sessions.clone(), settings).await.unwrap();
        let address = gateway.addresses()[0];
        let known = format!("[127.0.0.1]:{} {}\n", address.port(), host_keys.public_lines()[0]);
        std::fs::write(dir.path().join("known_hosts"), known).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(gateway.run(async {
            let _ = stopped.await;
        }));
        let bench = Self { dir, address, node, sessions, stop: Some(stop), running: Some(running) };
        bench.write_config();
        bench
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Whose private key, for a client that is not `ssh`.
    pub(super) fn key(&self, name: &str) -> PrivateKey {
        PrivateKey::from_openssh(std::fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }

    /// The gateway goes on after whatever was done to it.
    pub(super) async fn works(&self) {
        assert_eq!(text(&self.run(&["web", "echo fine"]).await.stdout), "fine\n", "the gateway goes on");
    }

    fn write_config(&self) {
        let mut text = String::new();
        let dir = self.dir.path().display();
        for (host, user, key) in [
            ("web", "web-1", "ada"),
            ("deploy", "deploy%web-1", "ada"),
            ("gate", "ada", "ada"),
            ("down", "down-1", "ada"),
            ("nowhere", "db-9", "ada"),
            ("bob", "web-1", "bob"),
            ("bobs-nowhere", "db-9", "bob"),
            ("stranger", "web-1", "stranger"),
        ] {
            writeln!(text, "Host {host}\n  User {user}\n  IdentityFile {dir}/{key}").unwrap();
        }
        writeln!(text, "Host nokey\n  User web-1").unwrap();
        writeln!(
            text,
            "Host *\n  HostName 127.0.0.1\n  Port {}\n  UserKnownHostsFile {dir}/known_hosts\n  IdentitiesOnly yes\n  \
             StrictHostKeyChecking yes\n  BatchMode yes\n  IdentityAgent none\n  LogLevel ERROR",
            self.address.port()
        )
        .unwrap();
        std::fs::write(self.path("ssh_config"), text).unwrap();
    }

    /// `ssh -F … args`, with nothing on its standard input.
    pub(super) fn ssh(&self, args: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(self.path("ssh_config")).args(args);
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        ssh
    }

    /// Runs it to its end.
    pub(super) async fn run(&self, args: &[&str]) -> Output {
        finish(self.ssh(args)).await
    }

    /// Runs it with something on its standard input.
    pub(super) async fn run_with(&self, args: &[&str], input: impl Into<Vec<u8>>) -> Output {
        let mut ssh = self.ssh(args);
        let mut child = ssh.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.into();
        let writes = tokio::spawn(async move {
            let _ = stdin.write_all(&input).await;
        });
        let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await;
        writes.abort();
        output.expect("ssh did not come to its end").unwrap()
    }

    /// The events so far.
    pub(super) fn events(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.path(EventLog::FILE)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until an event is there that fits.
    pub(super) async fn event(&self, fits: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        for _ in 0..200 {
            if let Some(found) = self.events().into_iter().find(|event| fits(event)) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("no such event in {:#?}", self.events());
    }

    /// Stops the gateway and waits until it has.
    pub(super) async fn stop(&mut self) {
        drop(self.stop.take());
        self.running.take().unwrap().await.unwrap();
    }
}

/// For tests that measure this process: runs the test once more, alone in a process of its own. True there, and false
/// here, after it has passed there.
pub(super) async fn alone(test: &str) -> bool {
    const ALONE: &str = "PORTCULLIS_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--test-threads=1"]).env(ALONE, "1");
    let ran = finish({
        again.stdout(Stdio::piped()).stderr(Stdio::piped());
        again
    })
    .await;
    let output = text(&ran.stdout);
    assert!(ran.status.success() && output.contains("1 passed"), "{output}{}", text(&ran.stderr));
    false
}

/// This process's memory in bytes.
pub(super) fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Runs a command to its end, but not for ever.
pub(super) async fn finish(mut command: Command) -> Output {
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
    output.expect("it did not come to its end").unwrap()
}

pub(super) async fn keygen(path: &Path, kind: &[&str]) {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-N", "", "-f"]).arg(path).args(kind);
    assert!(keygen.status().await.unwrap().success());
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Knows two nodes, one of which is away.
#[derive(Debug)]
struct TwoNodes;

impl Directory for TwoNodes {
    fn resolve(&self, name: &NodeName) -> BoxFuture<'_, Result<Node, BackendError>> {
        let name = name.to_string();
        Box::pin(async move {
            match name.as_str() {
                "web-1" | "down-1" => {
                    Ok(Node { id: NodeId(format!("i-{name}")), online: name == "web-1", name, last_ping: None })
                }
                _ => Err(BackendError::Target(format!("no node is called {name}"))),
            }
        })
    }

    fn document(&self, _: &str) -> BoxFuture<'_, Result<Option<String>, BackendError>> {
        Box::pin(async { Ok(None) })
    }

    fn put_document(&self, _: &str, _: &str) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Runs what it is asked to with this machine's `sh`, and remembers what it was asked.
#[derive(Debug)]
pub(super) struct LocalNode {
    /// Where its files are.
    pub(super) home: tempfile::TempDir,
    pub(super) starts: Mutex<Vec<ChannelSetup>>,
    pub(super) controls: Arc<Mutex<Vec<String>>>,
    /// Runs nothing: whatever is started only stands there.
    pub(super) idle: AtomicBool,
}

impl NodeTransport for LocalNode {
    fn open(
        &self,
        grant: Grant,
        record: LaneRecord,
        setup: ChannelSetup,
    ) -> BoxFuture<'_, Result<OpenChannel, TransportError>> {
        Box::pin(async move {
            record.opened(&SessionId("ada-0123".to_owned())).await.unwrap();
            self.starts.lock().unwrap().push(setup.clone());
            if grant.os_user() == Some("deploy") {
                return Err(TransportError::ShellLost("the agent may not run things as deploy".to_owned()));
            }
            let (open, end) = channel();
            if self.idle.load(Ordering::Relaxed) {
                tokio::spawn(async move { end.voice().closed().await });
                return Ok(open);
            }
            tokio::spawn(live(grant.action().clone(), setup, end, self.controls.clone()));
            Ok(open)
        })
    }

    fn open_files(&self, _: Grant, _: LaneRecord) -> BoxFuture<'_, Result<FileService, TransportError>> {
        Box::pin(async { Ok(local_service(self.home.path()).0) })
    }
}

async fn live(action: Action, setup: ChannelSetup, end: NodeEnd, controls: Arc<Mutex<Vec<String>>>) {
    let voice = end.voice();
    let NodeEnd { mut data, mut control, .. } = end;
    let command = match &action {
        Action::Exec { command } => text(command),
        _ => "exec sh".to_owned(),
    };
    match command.as_str() {
        "break!" => {
            voice.say(Out::Stdout(Bytes::from_static(b"half"))).await;
            voice.fail("the node is gone").await;
            return;
        }
        "unknown!" => {
            voice.say(Out::Exit(Exit::Unknown)).await;
            return;
        }
        "vanish!" => {
            voice.say(Out::Stdout(Bytes::from_static(b"half"))).await;
            return;
        }
        _ => {}
    }
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(command).envs(setup.env).kill_on_drop(true);
    sh.stdin(if setup.stdin_closed { Stdio::null() } else { Stdio::piped() });
    let mut child = sh.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let mut stdin = child.stdin.take();
    let pid = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    let input = async {
        while let Some(InputData::Bytes(bytes)) = data.recv().await {
            let Some(pipe) = &mut stdin else { break };
            if pipe.write_all(&bytes).await.is_err() {
                break;
            }
        }
        stdin = None;
        while data.recv().await.is_some() {}
    };
    let control = async {
        while let Some(control) = control.recv().await {
            controls.lock().unwrap().push(format!("{control:?}"));
            if let (Control::Signal(name), Some(pid)) = (control, pid)
                && name == "TERM"
            {
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            }
        }
    };
    let out = async {
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(n @ 1..) = stdout.read(&mut buffer).await {
            if !voice.say(Out::Stdout(Bytes::copy_from_slice(&buffer[..n]))).await {
                return;
            }
        }
    };
    let err = async {
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
            if !voice.say(Out::Stderr(Bytes::copy_from_slice(&buffer[..n]))).await {
                return;
            }
        }
    };
    let output = async {
        tokio::join!(out, err);
        let status = child.wait().await.unwrap();
        use std::os::unix::process::ExitStatusExt as _;
        let exit = match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code.cast_unsigned()),
            (_, Some(15)) => Exit::Signal { name: "TERM".to_owned(), core_dumped: false },
            _ => Exit::Signal { name: "KILL".to_owned(), core_dumped: false },
        };
        voice.say(Out::Exit(exit)).await;
    };
    let hung_up = voice.closed();
    tokio::select! {
        () = async { tokio::join!(input, control); std::future::pending::<()>().await } => {}
        () = output => {}
        () = hung_up => {}
    }
}
