//! A service for one agent, and a client for one session, as small as they can be: what the agent's tests talk to.
//!
//! ```text
//!   test ── ServiceEnd ── control websocket ──┐
//!     └──── ClientEnd ──── data websocket ────┴── Agent
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use portcullis_protocol::channel::{ClientRole, DataChannel, Event, Limits, Role};
use portcullis_protocol::control::{AgentTaskAcknowledge, AgentTaskComplete, InteractiveShell};
use portcullis_protocol::open::{OpenControlChannel, OpenDataChannel, Party};
use portcullis_protocol::payload::{AgentSessionState, ChannelClosed, ExitCode, SessionState};
use portcullis_protocol::{Flag, Message as Frame, MessageType, PayloadType, Size};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role as WsRole;
use uuid::Uuid;

use crate::data_channel::Clock;
use crate::emulator::agent::{Agent, AgentConfig, Fidelity};

type Ws = WebSocketStream<TcpStream>;

/// The service's side of one agent.
pub(super) struct ServiceEnd {
    pub(super) agent: Option<Agent>,
    pub(super) control: Ws,
    controls: mpsc::Receiver<Ws>,
    data: mpsc::Receiver<(String, Ws)>,
    /// Paths and bodies of the calls that came.
    pub(super) calls: mpsc::Receiver<(String, String)>,
    pub(super) directory: tempfile::TempDir,
    /// What CreateDataChannel is refused with.
    pub(super) refusal: Arc<Mutex<Option<&'static str>>>,
    next: u32,
}

impl ServiceEnd {
    pub(super) async fn start(fidelity: Fidelity) -> Self {
        Self::start_with(|config| config.fidelity = fidelity).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut AgentConfig)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (control_tx, mut controls) = mpsc::channel(8);
        let (data_tx, data) = mpsc::channel(8);
        let (call_tx, calls) = mpsc::channel(256);
        let refusal = Arc::default();
        let ends = Ends { controls: control_tx, data: data_tx, calls: call_tx, refusal: Arc::clone(&refusal) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, ends.clone()));
            }
        });
        let directory = tempfile::tempdir().unwrap();
        let mut config = crate::emulator::agent::config::tests::config();
        config.endpoint = format!("http://{address}");
        config.work_dir = directory.path().to_owned();
        config.fidelity = Fidelity::Fast;
        change(&mut config);
        let agent = Agent::start(config).unwrap();
        let control = controls.recv().await.unwrap();
        Self { agent: Some(agent), control, controls, data, calls, directory, refusal, next: 0 }
    }

    /// Starts a session and waits for the agent's data channel.
    pub(super) async fn open(&mut self, document: Value) -> ClientEnd {
        let id = self.send_task(document).await;
        self.client(&id).await
    }

    pub(super) async fn send_task(&mut self, document: Value) -> String {
        self.next += 1;
        let session_id = format!("test-{}", self.next);
        let task = InteractiveShell {
            document,
            session_id: session_id.clone(),
            parameters: json!({}),
            ..InteractiveShell::default()
        };
        self.send(MessageType::InteractiveShell, task.encode()).await;
        session_id
    }

    pub(super) async fn client(&mut self, id: &str) -> ClientEnd {
        let (path, ws) = within(self.data.recv()).await.unwrap();
        assert_eq!(path, format!("/v1/data-channel/{id}?role=publish_subscribe"));
        ClientEnd::new(id, ws)
    }

    /// The websocket after a cut.
    pub(super) async fn reconnected(&mut self, client: &mut ClientEnd) {
        let (_, ws) = within(self.data.recv()).await.unwrap();
        client.reconnected(ws).await;
    }

    pub(super) async fn send(&mut self, kind: MessageType, payload: Bytes) {
        self.control.send(Message::Binary(frame(kind, payload).encode())).await.unwrap();
    }

    pub(super) async fn close_session(&mut self, id: &str) {
        let closed = ChannelClosed { session_id: id.into(), ..ChannelClosed::default() };
        self.send(MessageType::ChannelClosed, closed.encode()).await;
    }

    /// The next `agent_task_complete`, acknowledged.
    pub(super) async fn outcome(&mut self) -> AgentTaskComplete {
        let (id, complete) = self.outcome_unacknowledged().await;
        let acknowledge = AgentTaskAcknowledge::new(id, &complete.task_id);
        self.send(MessageType::AgentTaskAcknowledge, acknowledge.encode()).await;
        complete
    }

    pub(super) async fn outcome_unacknowledged(&mut self) -> (Uuid, AgentTaskComplete) {
        loop {
            let Message::Binary(message) = within(self.control.next()).await.unwrap().unwrap() else { continue };
            let frame = Frame::decode(message).unwrap();
            assert_eq!(frame.kind, MessageType::AgentTaskComplete);
            return (frame.id, AgentTaskComplete::decode(&frame.payload).unwrap());
        }
    }

    /// Cuts the control channel and takes the next one.
    pub(super) async fn cut_control(&mut self) {
        self.control.get_mut().shutdown().await.unwrap();
        self.control = within(self.controls.recv()).await.unwrap();
    }

    pub(super) async fn shutdown(mut self) {
        within(self.agent.take().unwrap().shutdown()).await;
    }
}

#[derive(Clone)]
struct Ends {
    controls: mpsc::Sender<Ws>,
    data: mpsc::Sender<(String, Ws)>,
    calls: mpsc::Sender<(String, String)>,
    refusal: Arc<Mutex<Option<&'static str>>>,
}

/// Answers one connection: a call, or a websocket for the test.
async fn serve(mut stream: TcpStream, ends: Ends) {
    let Ends { controls, data, calls, refusal } = ends;
    stream.set_nodelay(true).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let service = if path == "/" { "ssm" } else { "ssmmessages" };
    assert!(header("authorization").is_some_and(|text| text.contains(&format!("/{service}/aws4_request"))), "{head}");
    if head.starts_with("POST") {
        let mut body = vec![0; header("content-length").unwrap().parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let _ = calls.try_send((path.clone(), String::from_utf8(body).unwrap()));
        let refusal = refusal.lock().unwrap().filter(|_| path.starts_with("/v1/data-channel/"));
        let (status, answer) = match refusal {
            Some(refusal) => ("400 Bad Request", refusal.to_owned()),
            None if path == "/" => ("200 OK", "{}".to_owned()),
            None => ("201 Created", format!("<X><a>1.0</a><TokenValue>{path}</TokenValue></X>")),
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        return;
    }
    let key = derive_accept_key(header("sec-websocket-key").unwrap().as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {key}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    let mut ws = WebSocketStream::from_raw_socket(stream, WsRole::Server, None).await;
    let Some(Ok(Message::Text(open))) = ws.next().await else { panic!("no open message") };
    if path.starts_with("/v1/control-channel/") {
        let open = OpenControlChannel::decode(&open).unwrap();
        assert!(path.starts_with(open.token.reveal()), "{path}");
        let _ = controls.send(ws).await;
    } else {
        let open = OpenDataChannel::decode(&open).unwrap();
        assert_eq!(
            open.party,
            Party::Agent { instance_id: crate::emulator::agent::config::tests::config().instance_id }
        );
        assert!(path.starts_with(open.token.reveal()), "{path}");
        let _ = data.send((path, ws)).await;
    }
}

/// The client's side of one session, which is also the service's side of its data channel.
pub(super) struct ClientEnd {
    pub(super) id: String,
    pub(super) channel: DataChannel,
    clock: Clock,
    ws: Ws,
    unsent: VecDeque<(PayloadType, Bytes)>,
    pub(super) established: Option<Event>,
    pub(super) output: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) exit_code: Option<i32>,
    pub(super) flags: Vec<Flag>,
    pub(super) states: Vec<SessionState>,
    pub(super) frames: Vec<usize>,
    pub(super) closed: bool,
}

impl ClientEnd {
    fn new(id: &str, ws: Ws) -> Self {
        let clock = Clock::start();
        let role = Role::Client(ClientRole { version: "1.2.764.0".to_owned() });
        let mut channel = DataChannel::new(role, Limits { payload: 16 << 10, ..Limits::default() }, 7, clock.now());
        channel.handle_connected(clock.now());
        Self {
            id: id.to_owned(),
            channel,
            clock,
            ws,
            unsent: VecDeque::new(),
            established: None,
            output: Vec::new(),
            stderr: Vec::new(),
            exit_code: None,
            flags: Vec::new(),
            states: Vec::new(),
            frames: Vec::new(),
            closed: false,
        }
    }

    pub(super) fn write(&mut self, data: impl Into<Bytes>) {
        self.unsent.push_back((PayloadType::Output, data.into()));
    }

    pub(super) fn resize(&mut self, cols: u32, rows: u32) {
        self.channel.send_size(self.clock.now(), Size { cols, rows });
    }

    pub(super) fn flag(&mut self, flag: Flag) {
        self.channel.send_flag(self.clock.now(), flag);
    }

    pub(super) fn open_silently(&mut self) {
        self.channel.open_silently(self.clock.now());
    }

    /// A frame of the service's own.
    pub(super) async fn send_frame(&mut self, kind: MessageType, payload: Bytes) {
        self.ws.send(Message::Binary(frame(kind, payload).encode())).await.unwrap();
    }

    pub(super) async fn pause(&mut self) {
        self.send_frame(MessageType::PausePublication, Bytes::from_static(b"{}")).await;
    }

    pub(super) async fn resume(&mut self) {
        self.send_frame(MessageType::StartPublication, Bytes::from_static(b"{}")).await;
    }

    pub(super) async fn cut(&mut self) {
        self.ws.get_mut().shutdown().await.unwrap();
        self.channel.handle_disconnected(self.clock.now());
    }

    async fn reconnected(&mut self, ws: Ws) {
        self.ws = ws;
        self.closed = false;
        self.channel.handle_connected(self.clock.now());
    }

    /// Drives the channel until `enough`, at most 20 s.
    pub(super) async fn until(&mut self, what: &str, mut enough: impl FnMut(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            self.exchange().await;
            if enough(self) {
                return;
            }
            let timeout =
                self.channel.poll_timeout().map_or(Duration::from_secs(1), |at| at.saturating_sub(self.clock.now()));
            let message = tokio::select! {
                message = self.ws.next(), if !self.closed => message,
                () = tokio::time::sleep(timeout.min(Duration::from_millis(100))) => {
                    self.channel.handle_timeout(self.clock.now()).unwrap();
                    assert!(tokio::time::Instant::now() < deadline, "waited for {what} in vain; {}", self.state());
                    continue;
                }
            };
            match message {
                Some(Ok(Message::Binary(message))) => self.take(message),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    self.closed = true;
                    self.channel.handle_disconnected(self.clock.now());
                }
            }
        }
    }

    fn take(&mut self, message: Bytes) {
        let frame = Frame::decode(message.clone()).unwrap();
        match frame.kind {
            MessageType::AgentSessionState => {
                self.states.push(AgentSessionState::decode(&frame.payload).unwrap().state);
            }
            MessageType::OutputStreamData => self.frames.push(frame.payload.len()),
            _ => {}
        }
        self.channel.handle_message(self.clock.now(), message).unwrap();
    }

    async fn exchange(&mut self) {
        let now = self.clock.now();
        while let Some(event) = self.channel.poll_event() {
            match event {
                Event::Data { kind: PayloadType::Output, bytes } => self.output.extend_from_slice(&bytes),
                Event::Data { kind: PayloadType::StdErr, bytes } => self.stderr.extend_from_slice(&bytes),
                Event::Data { kind: PayloadType::ExitCode, bytes } => {
                    self.exit_code = Some(ExitCode::decode(&bytes).unwrap().0);
                }
                Event::Flag(flag) => self.flags.push(flag),
                established @ Event::Established { .. } => self.established = Some(established),
                other => panic!("{other:?}"),
            }
        }
        while let Some((kind, data)) = self.unsent.front_mut() {
            self.channel.write(now, *kind, data);
            if !data.is_empty() {
                break;
            }
            self.unsent.pop_front();
        }
        let mut sent = false;
        while let Some(message) = self.channel.poll_transmit(now) {
            sent = true;
            if self.closed || self.ws.feed(Message::Binary(message)).await.is_err() {
                self.closed = true;
                return;
            }
        }
        if sent && self.ws.flush().await.is_err() {
            self.closed = true;
        }
    }

    pub(super) async fn until_output(&mut self, text: &str) {
        let what = format!("{text:?}");
        self.until(&what, |client| String::from_utf8_lossy(&client.output).contains(text)).await;
    }

    pub(super) async fn until_closed(&mut self) {
        self.until("the end", |client| client.closed).await;
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    fn state(&self) -> String {
        let tail = |bytes: &[u8]| String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(200)..]).into_owned();
        format!(
            "established {:?}, {} bytes out {:?}, err {:?}, code {:?}, states {:?}, closed {}, {:?}",
            self.established.is_some(),
            self.output.len(),
            tail(&self.output),
            tail(&self.stderr),
            self.exit_code,
            self.states,
            self.closed,
            self.channel.stats(),
        )
    }
}

fn frame(kind: MessageType, payload: Bytes) -> Frame {
    Frame {
        kind,
        created: Clock::start().now(),
        sequence: 0,
        flags: 0,
        id: Uuid::new_v4(),
        payload_type: None,
        payload,
    }
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("within 20 s")
}

/// A command with separate streams.
pub(super) fn separate(commands: &str) -> Value {
    json!({"schemaVersion": "1.0", "sessionType": "NonInteractiveCommands",
        "properties": {"linux": {"commands": commands, "separateOutputStream": true}}})
}

pub(super) fn through_a_file(commands: &str) -> Value {
    json!({"schemaVersion": "1.0", "sessionType": "NonInteractiveCommands", "properties": {"linux": {"commands": commands}}})
}

pub(super) fn interactive(commands: &str) -> Value {
    json!({"schemaVersion": "1.0", "sessionType": "InteractiveCommands", "properties": {"linux": {"commands": commands}}})
}

pub(super) fn shell(inputs: Value) -> Value {
    json!({"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": inputs})
}

pub(super) fn port(properties: Value) -> Value {
    json!({"schemaVersion": "1.0", "sessionType": "Port", "properties": properties})
}

/// Whether a process with this in its command line lives.
pub(super) fn is_alive(marker: &str) -> bool {
    let found = std::process::Command::new("pgrep").args(["-f", marker]).output().unwrap();
    !found.stdout.is_empty()
}

/// Waits until it does not.
pub(super) async fn gone(marker: &str) -> bool {
    for _ in 0..100 {
        if !is_alive(marker) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}
