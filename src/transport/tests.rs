//! Channels over the embedded service and agent: the lanes as the product uses them, with the faults the service can make.

mod canary;
mod cuts;
mod limits;
mod stalled;
mod watched;

use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use bytes::Bytes;
use portcullis_protocol::payload::PayloadType;
use portcullis_protocol::{Message, MessageType};

use super::{ChannelSetup, Input, OpenChannel, Out, Output, PtyRequest, Transport, TransportError, TransportOptions};
use crate::backend::Directory as _;
use crate::backend::aws::{AwsBackend, AwsOptions};
use crate::backend::preferences::Preferences;
use crate::config::{Helper, Rung};
use crate::emulator::agent::{Agent, AgentConfig, Fidelity};
use crate::emulator::faults::{Effect, End, FrameFault, Frames};
use crate::emulator::{ApiKey, NodeConfig, Service, ServiceConfig};
use crate::evidence::SessionRecord;
use crate::model::{Exit, WindowSize};
use crate::policy::{Action, Grant};

const NODE: &str = "mi-0123456789abcdef0";

/// A service, a node and a transport.
pub(crate) struct World {
    service: Service,
    _agent: Agent,
    backend: AwsBackend,
    transport: Transport,
    directory: tempfile::TempDir,
}

impl World {
    async fn new(fidelity: Fidelity, options: TransportOptions) -> Self {
        Self::under("{}", fidelity, options).await
    }

    /// One in an account with these inputs in its preferences.
    async fn under(inputs: &str, fidelity: Fidelity, options: TransportOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = ServiceConfig::new("127.0.0.1:0".parse().unwrap());
        config.keys = vec![
            ApiKey::client("AKIDCLIENT", "client-secret", "arn:aws:iam::123456789012:user/gateway"),
            ApiKey::agent("AKIDAGENT", "agent-secret", "arn:aws:iam::123456789012:role/node"),
        ];
        config.nodes = vec![NodeConfig::named(NODE, "demo")];
        let service = Service::start(config).await.unwrap();
        let keys = Credentials::new("AKIDAGENT", "agent-secret", None, None, "test");
        let mut agent = AgentConfig::new(service.url(), "us-east-1", NODE, keys, directory.path().join("agent"));
        agent.fidelity = fidelity;
        let run = directory.path().join("run");
        std::fs::create_dir(&run).unwrap();
        agent.env = vec![("XDG_RUNTIME_DIR".into(), run.into())];
        let agent = Agent::start(agent).unwrap();
        let backend = AwsBackend::new(AwsOptions {
            region: Some("us-east-1".into()),
            endpoint_ssm: Some(service.url()),
            endpoint_ssmmessages: Some(service.url().replace("http", "ws")),
            credentials: Some(Credentials::new("AKIDCLIENT", "client-secret", None, None, "test")),
            ..AwsOptions::default()
        })
        .await
        .unwrap();
        let preferences = format!(r#"{{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{inputs}}}"#);
        backend.put_document(crate::backend::preferences::DOCUMENT, &preferences).await.unwrap();
        for (name, content) in super::documents(&Preferences::of_account(&backend).await.unwrap()) {
            backend.put_document(name, &content).await.unwrap();
        }
        let until = Instant::now() + Duration::from_secs(10);
        while !service.is_connected(NODE) {
            assert!(Instant::now() < until, "the agent did not connect");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let shared = Arc::new(backend.clone());
        let transport = Transport::new(shared.clone(), shared, options);
        Self { service, _agent: agent, backend, transport, directory }
    }

    pub(crate) async fn fast() -> Self {
        Self::new(Fidelity::Fast, TransportOptions::default()).await
    }

    /// From the first word of a lane's command on, nothing that the node says arrives. Before that a session begins as
    /// ever: without its handshake the agent would give it up. Tells when the node has begun to say something.
    fn silence(&self) -> Arc<Once> {
        let faults = self.service.faults();
        let drop = FrameFault {
            session: None,
            towards: Some(End::Client),
            frames: Frames::Stream,
            percent: 100.0,
            effect: Effect::Drop,
        };
        let begun = Arc::new(Once::new());
        let watched = begun.clone();
        let tapped = self.service.faults().tap(Box::new(move |_, towards, frame| {
            let Ok(message) = Message::decode(frame.clone()) else { panic!("a frame that is none was relayed") };
            let begins = message.payload_type.is_some_and(PayloadType::is_handshake);
            if towards == End::Client && message.kind == MessageType::OutputStreamData && !begins {
                begun.call_once(|| faults.inject(drop.clone()));
            }
        }));
        assert!(tapped);
        watched
    }

    async fn exec(&self, command: &str, stdin_closed: bool) -> Result<OpenChannel, TransportError> {
        let grant = Grant::for_test(NODE, Action::Exec { command: command.as_bytes().to_vec() });
        let setup = ChannelSetup { stdin_closed, ..ChannelSetup::default() };
        self.transport.open(grant, SessionRecord::for_test().lanes(), setup).await
    }

    /// A shell on a terminal.
    async fn shell(&self) -> Result<OpenChannel, TransportError> {
        let pty = PtyRequest {
            term: "dumb".to_owned(),
            size: WindowSize { cols: 80, rows: 24, x_pixels: 0, y_pixels: 0 },
            modes: Vec::new(),
        };
        let setup = ChannelSetup { pty: Some(pty), ..ChannelSetup::default() };
        self.transport.open(Grant::for_test(NODE, Action::Shell), SessionRecord::for_test().lanes(), setup).await
    }

    /// A file service on the node.
    pub(crate) async fn files(&self) -> super::file_service::FileService {
        let grant = Grant::for_test(NODE, Action::Files);
        self.transport.open_files(grant, SessionRecord::for_test().lanes()).await.unwrap()
    }

    /// Runs a command to its end.
    async fn run(&self, command: &str, stdin: &[u8]) -> Ended {
        let OpenChannel { input, output } = self.exec(command, false).await.unwrap();
        let ((), ended) = tokio::join!(feed(input, stdin), collect(output));
        ended
    }

    /// What the helpers have left in their directory.
    async fn litter(&self) -> Vec<std::ffi::OsString> {
        let until = Instant::now() + Duration::from_secs(40);
        loop {
            let run = std::fs::read_dir(self.directory.path().join("run")).unwrap();
            let left: Vec<_> = run.map(|entry| entry.unwrap().file_name()).collect();
            if left.is_empty() || Instant::now() > until {
                return left;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[derive(Debug, Default)]
struct Ended {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit: Option<Exit>,
    error: Option<String>,
}

async fn feed(input: Input, bytes: &[u8]) {
    for part in bytes.chunks(32 * 1024) {
        if input.send(Bytes::copy_from_slice(part)).await.is_err() {
            return;
        }
    }
    let _ = input.eof().await;
    // keep the way in open: dropping it is no hang-up, but a client holds it to the end
    std::mem::forget(input);
}

async fn collect(mut output: Output) -> Ended {
    let mut ended = Ended::default();
    while let Some(out) = output.deliver().await {
        match out {
            Ok(Out::Stdout(bytes)) => ended.stdout.extend_from_slice(&bytes),
            Ok(Out::Stderr(bytes)) => ended.stderr.extend_from_slice(&bytes),
            Ok(Out::Exit(exit)) => ended.exit = Some(exit),
            Err(error) => ended.error = Some(error.to_string()),
        }
    }
    ended
}

/// Bytes that do not repeat soon, with everything that the agent alters among them.
fn awkward(size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 8);
    let mut state: u32 = 7;
    while bytes.len() < size {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(&state.to_be_bytes());
        if state.is_multiple_of(61) {
            bytes.extend_from_slice(b"\xef\xbf\xbd\x10\xff");
        }
    }
    bytes.truncate(size);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn output_errors_and_status_are_the_command_s_own() {
    let world = World::fast().await;
    let ended = world.run("printf '\\357\\277\\275\\377\\376'; echo no >&2; exit 7", b"").await;
    assert_eq!(ended.error, None);
    assert_eq!((&ended.stdout[..], &ended.stderr[..]), (&b"\xef\xbf\xbd\xff\xfe"[..], &b"no\n"[..]));
    assert_eq!(ended.exit, Some(Exit::Code(7)));
    let ended = world.run("kill -TERM $$", b"").await;
    assert_eq!(ended.exit, Some(Exit::Signal { name: "TERM".into(), core_dumped: false }), "{ended:?}");
    assert!(world.litter().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_input_costs_no_second_session() {
    let world = World::fast().await;
    let OpenChannel { input, output } = world.exec("cat; echo done", true).await.unwrap();
    let ended = collect(output).await;
    drop(input);
    assert_eq!((&ended.stdout[..], ended.exit), (&b"done\n"[..], Some(Exit::Code(0))));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_arrives_both_ways() {
    for rung in [Rung::TwoLanes, Rung::OneLane] {
        let options = TransportOptions { rung: Some(rung), ..TransportOptions::default() };
        let world = World::new(Fidelity::Fast, options).await;
        let sent = awkward(8 * 1024 * 1024);
        let ended = world.run("cat", &sent).await;
        assert_eq!(ended.error, None);
        assert_eq!(ended.exit, Some(Exit::Code(0)));
        assert!(ended.stdout == sent, "{} of {} bytes", ended.stdout.len(), sent.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_takes_its_command_along() {
    let world = World::fast().await;
    let channel = world.exec("echo here; exec sleep 987654", false).await.unwrap();
    let OpenChannel { input, mut output } = channel;
    assert!(matches!(output.deliver().await, Some(Ok(Out::Stdout(_)))));
    drop((input, output));
    assert!(world.litter().await.is_empty());
    let left = std::process::Command::new("pgrep").args(["-f", "sleep 987654"]).output().unwrap();
    assert!(left.stdout.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_session_stays_terminated() {
    let world = World::fast().await;
    let OpenChannel { input, mut output } = world.exec("echo here; sleep 987653", false).await.unwrap();
    assert!(matches!(output.deliver().await, Some(Ok(Out::Stdout(_)))));
    for session in world.service.faults().sessions() {
        world.service.faults().close(&session.id, "Ended by an operator.");
    }
    let ended = collect(output).await;
    drop(input);
    assert!(ended.error.unwrap().contains("Ended by an operator"));
    assert_eq!(ended.exit, None);
    assert!(world.litter().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_command_goes_over_the_lane() {
    let world = World::fast().await;
    let command = format!("printf %s '{}' | wc -c", "x".repeat(128 * 1024 - 64));
    let ended = world.run(&command, b"").await;
    assert_eq!(String::from_utf8_lossy(&ended.stdout).trim(), (128 * 1024 - 64).to_string(), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sh_helper_runs_a_command() {
    let options = TransportOptions { helper: Helper::Sh, ..TransportOptions::default() };
    let world = World::new(Fidelity::Fast, options).await;
    let ended = world.run("echo hi; exit 3", b"").await;
    assert_eq!((&ended.stdout[..], ended.exit), (&b"hi\n"[..], Some(Exit::Code(3))));
}
