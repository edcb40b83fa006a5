//! A node that is this machine's `sh` and its files, without lanes, and the directory that knows it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::Notify;

use super::node_end::{NodeEnd, channel};
use super::{local_service, text};
use crate::backend::{BackendError, BoxFuture, Directory, Node, NodeList};
use crate::evidence::LaneRecord;
use crate::model::{CallIds, Exit, NodeFacts, NodeName, SessionId};
use crate::policy::{Action, Grant};
use crate::session::{Dialer, NodeTransport};
use crate::transport::file_service::FileService;
use crate::transport::{
    ChannelSetup, Commands, Control, DialError, ForwardStream, Herald, InputData, News, OpenChannel, Out,
    TransportError,
};

/// Knows two nodes, one of which is away.
#[derive(Debug)]
pub(crate) struct TwoNodes {
    /// The id that web-1 has for now.
    pub(crate) web: Mutex<String>,
    /// How often anybody has asked about a node.
    pub(crate) asked: AtomicUsize,
    /// Somebody asks for slow-1, which is web-1 once it is let go.
    pub(crate) slow_asked: Notify,
    pub(crate) slow_let_go: Notify,
}

impl Default for TwoNodes {
    fn default() -> Self {
        Self {
            web: Mutex::new("i-web-1".to_owned()),
            asked: AtomicUsize::new(0),
            slow_asked: Notify::new(),
            slow_let_go: Notify::new(),
        }
    }
}

impl Directory for TwoNodes {
    fn resolve(&self, name: &NodeName) -> BoxFuture<'_, Result<Node, BackendError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut name = name.to_string();
        let web = self.web.lock().unwrap().clone();
        Box::pin(async move {
            if name == "slow-1" {
                self.slow_asked.notify_one();
                self.slow_let_go.notified().await;
                name = "web-1".to_owned();
            }
            match name.as_str() {
                "web-1" | "down-1" => {
                    let id = if name == "web-1" { web } else { "i-down-1".to_owned() };
                    let facts = NodeFacts::named(&id, &name).tagged("env", "test").into();
                    Ok(Node { facts, online: name == "web-1", name, computer_name: None, last_ping: None })
                }
                // several, of which one is in production
                "web" => {
                    let node = |name: &str, env: &str| {
                        let facts = NodeFacts::named(&format!("i-{name}"), name).tagged("env", env).into();
                        Node { facts, online: true, name: name.to_owned(), computer_name: None, last_ping: None }
                    };
                    let nodes = vec![node("web-1", "test"), node("web-2", "test"), node("web-3", "prod")];
                    Err(BackendError::Several { name: NodeName::for_test("web"), nodes })
                }
                _ => Err(BackendError::Target(format!("no node is called {name}"))),
            }
        })
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Arc<NodeList>, BackendError>> {
        Box::pin(async {
            let mut nodes = Vec::new();
            for name in ["web-1", "down-1"] {
                nodes.push(self.resolve(&NodeName::for_test(name)).await?);
            }
            Ok(Arc::new(NodeList { nodes, is_whole: true }))
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
pub(crate) struct ShellNode {
    /// Where its files are.
    pub(crate) home: tempfile::TempDir,
    pub(crate) starts: Mutex<Vec<ChannelSetup>>,
    /// Where forwards were to lead.
    pub(crate) dialled: Mutex<Vec<String>>,
    pub(crate) controls: Arc<Mutex<Vec<String>>>,
    /// Runs nothing: whatever is started only stands there.
    pub(crate) idle: AtomicBool,
}

impl ShellNode {
    pub(crate) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            starts: Mutex::default(),
            dialled: Mutex::default(),
            controls: Arc::default(),
            idle: AtomicBool::new(false),
        }
    }
}

impl NodeTransport for ShellNode {
    fn open(
        self: Arc<Self>,
        grant: Grant,
        record: LaneRecord,
        setup: ChannelSetup,
        herald: Herald,
        _: Arc<Commands>,
    ) -> BoxFuture<'static, Result<OpenChannel, TransportError>> {
        Box::pin(async move {
            record.opened(&SessionId("ada-0123".to_owned()), &CallIds::default()).await.unwrap();
            self.starts.lock().unwrap().push(setup.clone());
            if grant.os_user() == Some("deploy") {
                return Err(TransportError::ShellLost("the agent may not run things as deploy".to_owned()));
            }
            if matches!(grant.action(), Action::Exec { command } if command == b"waits!") {
                herald.bring(News::Waits("it waits".to_owned()));
                herald.unheard().await;
                return Err(TransportError::GivenUp);
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

    fn open_files(&self, _: Grant, _: LaneRecord, _: Herald) -> BoxFuture<'_, Result<FileService, TransportError>> {
        Box::pin(async { Ok(local_service(self.home.path()).0) })
    }

    fn dialer(self: Arc<Self>) -> Arc<dyn Dialer> {
        self
    }
}

/// Dials nobody: it says where it was to, and that nobody answers.
impl Dialer for ShellNode {
    fn dial(&self, grant: Grant, _: LaneRecord, _: Herald) -> BoxFuture<'_, Result<ForwardStream, DialError>> {
        let target = match grant.action() {
            Action::Forward { host, port } => format!("{host}:{port}"),
            Action::Tunnel { port } => format!("tunnel:{port}"),
            action => format!("{action:?}"),
        };
        self.dialled.lock().unwrap().push(target.clone());
        Box::pin(async move { Err(DialError::Refused(target)) })
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
        // the command has ended, what it left running says something, and before that is over the node is gone
        "cut-late!" => {
            voice.say(Out::Exit(Exit::Code(0))).await;
            let _ = data.recv().await;
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
    sh.arg("-c").arg(command).kill_on_drop(true);
    sh.envs(setup.env.into_iter().map(|(name, value)| (name, OsString::from_vec(value))));
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
