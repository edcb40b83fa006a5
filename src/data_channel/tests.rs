//! The driver in both roles, over a relay in this process that can cut either side: the service's place.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use portcullis_protocol::MessageType;
use portcullis_protocol::channel::{AgentRole, ClientRole, DataChannel, Event, Role};
use portcullis_protocol::payload::SessionType;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role as Side;

use super::driver::{Driver, Ends};
use super::queue::{Inbox, Outbox};
use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// Joins the two ends' websockets, drops frames for an end that is away, as the real service may.
#[derive(Default)]
struct Relay {
    ends: [Mutex<End>; 2],
}

#[derive(Default)]
struct End {
    /// Towards that end.
    sender: Option<mpsc::Sender<Message>>,
    cut: Option<oneshot::Sender<()>>,
    opens: Vec<String>,
}

/// One end's connector.
struct Pipe {
    relay: Arc<Relay>,
    end: usize,
    refuse: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    finished: Arc<Mutex<Vec<Finish>>>,
    connects: Arc<AtomicUsize>,
}

impl Relay {
    /// A fresh websocket for this end; the one before it is replaced.
    async fn attach(self: &Arc<Self>, end: usize) -> WebSocketStream<DuplexStream> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let near = WebSocketStream::from_raw_socket(near, Side::Client, Some(websocket_config())).await;
        let far = WebSocketStream::from_raw_socket(far, Side::Server, Some(websocket_config())).await;
        let (sender, mut outgoing) = mpsc::channel::<Message>(64);
        let (cut, mut was_cut) = oneshot::channel();
        {
            let mut state = self.ends[end].lock().unwrap();
            state.sender = Some(sender);
            state.cut = Some(cut);
        }
        let relay = Arc::clone(self);
        tokio::spawn(async move {
            let (mut sink, mut stream) = far.split();
            let writing = tokio::spawn(async move {
                while let Some(message) = outgoing.recv().await {
                    let mut failed = sink.feed(message).await.is_err();
                    while let Ok(message) = outgoing.try_recv() {
                        failed |= sink.feed(message).await.is_err();
                    }
                    if failed || sink.flush().await.is_err() {
                        break;
                    }
                }
            });
            let reading = async {
                while let Some(Ok(message)) = stream.next().await {
                    match message {
                        Message::Text(open) => relay.ends[end].lock().unwrap().opens.push(open.to_string()),
                        Message::Binary(_) => {
                            let other = relay.ends[1 - end].lock().unwrap().sender.clone();
                            if let Some(other) = other {
                                let _ = other.send(message).await;
                            }
                        }
                        _ => {}
                    }
                }
            };
            tokio::select! {
                () = reading => {}
                _ = &mut was_cut => {}
            }
            writing.abort();
        });
        near
    }

    fn cut(&self, end: usize) {
        let mut state = self.ends[end].lock().unwrap();
        state.sender = None;
        state.cut = None;
    }

    /// Says something to one end in the service's name.
    async fn say(&self, end: usize, message: Message) {
        let sender = self.ends[end].lock().unwrap().sender.clone();
        sender.unwrap().send(message).await.unwrap();
    }
}

impl Connector for Pipe {
    type Io = DuplexStream;

    fn connect(self: Arc<Self>) -> ConnectFuture<DuplexStream> {
        Box::pin(async move {
            let count = self.connects.fetch_add(1, Ordering::SeqCst);
            if self.ended.load(Ordering::SeqCst) {
                return Err(ConnectError::SessionEnded("the session has ended meanwhile".into()));
            }
            if self.refuse.load(Ordering::SeqCst) {
                return Err(ConnectError::Transient("could not connect to the relay".into()));
            }
            Ok(Connected { socket: self.relay.attach(self.end).await, open: format!("open {count}") })
        })
    }

    fn finish(self: Arc<Self>, how: Finish) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.finished.lock().unwrap().push(how);
        Box::pin(async {})
    }
}

/// A client and an agent on one relay.
struct Pair {
    relay: Arc<Relay>,
    pipe: Arc<Pipe>,
    client: ChannelWriter,
    client_reader: ChannelReader,
    client_task: JoinHandle<()>,
    agent: ChannelWriter,
    agent_reader: EventReader,
    agent_status: watch::Receiver<ChannelStatus>,
}

fn pipe(relay: &Arc<Relay>, end: usize) -> Arc<Pipe> {
    Arc::new(Pipe {
        relay: Arc::clone(relay),
        end,
        refuse: Arc::default(),
        ended: Arc::default(),
        finished: Arc::default(),
        connects: Arc::default(),
    })
}

async fn pair(options: ChannelOptions, handshake: bool) -> Pair {
    let relay = Arc::new(Relay::default());
    let agent = Role::Agent(AgentRole {
        handshake: handshake
            .then(|| SessionType { name: "NonInteractiveCommands".into(), properties: serde_json::Value::Null }),
        ..AgentRole::default()
    });
    let client = Role::Client(ClientRole { version: CLIENT_VERSION.into() });
    let mut far_options = ChannelOptions { silent: false, ..options.clone() };
    // The real agent waits for ever.
    far_options.limits.ack_timeout = None;
    let far = open(pipe(&relay, 1), agent, far_options).await.unwrap();
    let pipe = pipe(&relay, 0);
    let near = open(Arc::clone(&pipe), client, options).await.unwrap();
    Pair {
        relay,
        pipe,
        client: near.writer,
        client_reader: ChannelReader::new(near.reader),
        client_task: near.task,
        agent: far.writer,
        agent_reader: far.reader,
        agent_status: far.status,
    }
}

fn options(payload: usize) -> ChannelOptions {
    let mut options = ChannelOptions::default();
    options.limits.payload = payload;
    options
}

/// A piece of a stream that repeats after a prime number of bytes: every loss, repetition or exchange shows.
fn pattern(at: usize, length: usize) -> Bytes {
    const PERIOD: usize = 1_048_573;
    static TABLE: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let byte = |at: usize| (at ^ (at >> 8) ^ (at >> 16)) as u8;
        (0..PERIOD).map(byte).chain((0..PERIOD).map(byte)).collect()
    });
    let start = at % PERIOD;
    table.slice(start..start + length)
}

async fn write_pattern(writer: &ChannelWriter, total: usize) {
    let mut at = 0;
    while at < total {
        let length = (total - at).min(30_011);
        writer.send(pattern(at, length)).await.unwrap();
        at += length;
    }
}

fn check_pattern(at: &mut usize, bytes: &Bytes) {
    assert!(*bytes == pattern(*at, bytes.len()), "the stream is damaged between {at} and {}", *at + bytes.len());
    *at += bytes.len();
}

async fn read_client(reader: &mut ChannelReader, total: usize) -> usize {
    let (mut at, mut reconnects) = (0, 0);
    while at < total {
        match timeout(PATIENCE, reader.next()).await.expect("the client's stream hangs") {
            Some(ChannelEvent::Output(bytes)) => check_pattern(&mut at, &bytes),
            Some(ChannelEvent::Reconnected) => reconnects += 1,
            Some(ChannelEvent::Established) => {}
            other => panic!("{other:?} at {at}"),
        }
    }
    reconnects
}

async fn read_agent(reader: &mut EventReader, total: usize) -> usize {
    let (mut at, mut reconnects) = (0, 0);
    while at < total {
        match timeout(PATIENCE, reader.next()).await.expect("the agent's stream hangs") {
            Some(DriverEvent::Channel(Event::Data { bytes, .. })) => check_pattern(&mut at, &bytes),
            Some(DriverEvent::Reconnected) => reconnects += 1,
            Some(DriverEvent::Channel(Event::Established { .. })) => {}
            other => panic!("{other:?} at {at}"),
        }
    }
    reconnects
}

async fn both_ways(payload: usize, total: usize) {
    let Pair { client, mut client_reader, agent, mut agent_reader, .. } = pair(options(payload), true).await;
    tokio::join!(
        write_pattern(&client, total),
        write_pattern(&agent, total),
        read_client(&mut client_reader, total),
        read_agent(&mut agent_reader, total),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_directions_arrive_whole_in_small_frames() {
    both_ways(1024, 16 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_arrive_whole_both_ways() {
    both_ways(16 << 10, 100 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_cuts_on_either_side_lose_nothing() {
    const TOTAL: usize = 24 << 20;
    let Pair { relay, pipe, client, mut client_reader, agent, mut agent_reader, .. } = pair(options(1024), true).await;
    let cuts = async {
        for cut in 0..20 {
            sleep(Duration::from_millis(40)).await;
            relay.cut(cut % 2);
        }
    };
    let ((), (), (), near, _far) = tokio::join!(
        cuts,
        write_pattern(&client, TOTAL),
        write_pattern(&agent, TOTAL),
        read_client(&mut client_reader, TOTAL),
        read_agent(&mut agent_reader, TOTAL),
    );
    assert!(near > 0, "the reader was told of no reconnect");
    // Each websocket was opened with an open message of its own.
    let opens = relay.ends[0].lock().unwrap().opens.clone();
    assert_eq!(opens.len(), pipe.connects.load(Ordering::SeqCst));
    assert!(opens.windows(2).all(|two| two[0] != two[1]), "{opens:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_stops_the_sender_and_not_its_own_writer() {
    const TOTAL: usize = 32 << 20;
    let Pair { client, mut client_reader, agent, mut agent_reader, .. } = pair(options(1024), true).await;
    assert_eq!(client_reader.next().await, Some(ChannelEvent::Established));
    let sent = Arc::new(AtomicUsize::new(0));
    let writing = tokio::spawn({
        let sent = Arc::clone(&sent);
        async move {
            let mut at = 0;
            while at < TOTAL {
                agent.send(pattern(at, 32 << 10)).await.unwrap();
                at += 32 << 10;
                sent.store(at, Ordering::SeqCst);
            }
            agent
        }
    });
    let mut before = usize::MAX;
    while before != sent.load(Ordering::SeqCst) {
        before = sent.load(Ordering::SeqCst);
        sleep(Duration::from_millis(300)).await;
    }
    assert!(before < 4 << 20, "{before} bytes were taken though nobody reads");
    // The other direction still works.
    client.resize(132, 43).await.unwrap();
    client.send(pattern(0, 10)).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        match timeout(PATIENCE, agent_reader.next()).await.unwrap() {
            Some(DriverEvent::Channel(Event::Size(size))) => seen.push(format!("{}x{}", size.cols, size.rows)),
            Some(DriverEvent::Channel(Event::Data { bytes, .. })) => seen.push(format!("{} bytes", bytes.len())),
            Some(DriverEvent::Channel(Event::Established { .. })) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, ["132x43", "10 bytes"]);
    read_client(&mut client_reader, TOTAL).await;
    writing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_heard_for_a_slow_reader_is_not_late() {
    const TOTAL: usize = 4 << 20;
    let mut options = options(1024);
    options.limits.ack_timeout = Some(Duration::from_millis(300));
    options.keepalive = Keepalive::every(Duration::from_millis(100));
    let Pair { pipe, client, mut client_reader, agent, mut agent_reader, .. } = pair(options, true).await;
    assert_eq!(client_reader.next().await, Some(ChannelEvent::Established));
    let writing = tokio::spawn(async move {
        write_pattern(&agent, TOTAL).await;
        agent
    });
    sleep(Duration::from_millis(200)).await;
    // Its acknowledgement waits behind what is not read, for far longer than any patience.
    client.send(pattern(0, 10)).await.unwrap();
    read_agent(&mut agent_reader, 10).await;
    sleep(Duration::from_millis(1500)).await;
    read_client(&mut client_reader, TOTAL).await;
    client.send(pattern(10, 10)).await.unwrap();
    writing.await.unwrap();
    assert_eq!(pipe.connects.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stalls_stops_the_writer_and_a_size_overtakes_what_waits() {
    const TOTAL: usize = 8 << 20;
    let mut options = options(1024);
    options.limits.window_max = 256 << 10;
    let Pair { client, mut client_reader, agent: _agent, mut agent_reader, .. } = pair(options, true).await;
    assert_eq!(client_reader.next().await, Some(ChannelEvent::Established));
    let sent = Arc::new(AtomicUsize::new(0));
    let writing = tokio::spawn({
        let (sent, client) = (Arc::clone(&sent), client.clone());
        async move {
            let mut at = 0;
            while at < TOTAL {
                client.send(pattern(at, 8 << 10)).await.unwrap();
                at += 8 << 10;
                sent.store(at, Ordering::SeqCst);
            }
        }
    });
    let mut before = usize::MAX;
    while before != sent.load(Ordering::SeqCst) {
        before = sent.load(Ordering::SeqCst);
        sleep(Duration::from_millis(300)).await;
    }
    assert!(before < 4 << 20, "{before} bytes were taken though nobody reads");
    timeout(Duration::from_millis(100), client.resize(100, 30)).await.unwrap().unwrap();
    let (mut at, mut size_at) = (0, None);
    while at < TOTAL {
        match timeout(PATIENCE, agent_reader.next()).await.unwrap() {
            Some(DriverEvent::Channel(Event::Data { bytes, .. })) => check_pattern(&mut at, &bytes),
            Some(DriverEvent::Channel(Event::Size(_))) => size_at = Some(at),
            Some(DriverEvent::Channel(Event::Established { .. })) => {}
            other => panic!("{other:?}"),
        }
    }
    writing.await.unwrap();
    assert!(size_at.expect("the size came") + (64 << 10) < before, "{size_at:?} of {before}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_session_takes_input_before_it_says_anything() {
    let options = ChannelOptions { silent: true, ..options(1024) };
    let Pair { client, client_reader: _reader, agent: _agent, mut agent_reader, .. } = pair(options, false).await;
    client.send(pattern(0, 100)).await.unwrap();
    assert_eq!(read_agent(&mut agent_reader, 100).await, 0);
}

#[tokio::test(start_paused = true)]
async fn letting_go_of_both_halves_ends_the_session_once() {
    let Pair { pipe, client, client_reader, client_task, agent: _agent, agent_reader: _reader, .. } =
        pair(options(1024), true).await;
    let other = client.clone();
    drop((client, client_reader));
    sleep(Duration::from_millis(50)).await;
    assert!(pipe.finished.lock().unwrap().is_empty(), "a writer is still there");
    drop(other);
    timeout(PATIENCE, client_task).await.unwrap().unwrap();
    assert_eq!(*pipe.finished.lock().unwrap(), [Finish::Abandoned]);
}

const CLOSED: &[u8] = br#"{"MessageType":"channel_closed","MessageId":"0","DestinationId":"i","SessionId":"s","SchemaVersion":1,"CreatedDate":"","Output":"Max session duration reached."}"#;

/// A frame of the service's own.
fn service_frame(kind: MessageType, payload: &'static [u8]) -> Message {
    let frame = portcullis_protocol::Message {
        kind,
        created: Duration::from_secs(1_700_000_000),
        sequence: 0,
        flags: 3,
        id: uuid::Uuid::from_u128(1),
        payload_type: None,
        payload: Bytes::from_static(payload),
    };
    Message::Binary(frame.encode())
}

#[tokio::test(start_paused = true)]
async fn a_pause_and_the_end_overtake_what_is_not_read() {
    let Pair { relay, client, client_reader: _client, agent: _agent, agent_reader: _unread, mut agent_status, .. } =
        pair(options(1024), true).await;
    client.send(pattern(0, 1000)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    relay.say(1, service_frame(MessageType::PausePublication, b"{}")).await;
    timeout(PATIENCE, agent_status.wait_for(|status| status.paused)).await.unwrap().unwrap();
    relay.say(1, service_frame(MessageType::StartPublication, b"{}")).await;
    timeout(PATIENCE, agent_status.wait_for(|status| !status.paused)).await.unwrap().unwrap();
    relay.say(1, service_frame(MessageType::ChannelClosed, CLOSED)).await;
    let closed = Some(ChannelEnd::Closed);
    timeout(PATIENCE, agent_status.wait_for(|status| status.end == closed)).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_acknowledgements_and_ends_with_the_channel() {
    let Pair { relay, pipe, client: _client, mut client_reader, agent, agent_reader: _reader, .. } =
        pair(options(1024), true).await;
    assert_eq!(client_reader.next().await, Some(ChannelEvent::Established));
    timeout(PATIENCE, agent.drain()).await.unwrap().unwrap();
    pipe.refuse.store(true, Ordering::SeqCst);
    relay.cut(0);
    agent.send(pattern(0, 3)).await.unwrap();
    assert!(timeout(Duration::from_secs(1), agent.drain()).await.is_err(), "nobody has acknowledged it");
    pipe.refuse.store(false, Ordering::SeqCst);
    timeout(PATIENCE, agent.drain()).await.unwrap().unwrap();
    let (relay, drain) = (&relay, agent.drain());
    tokio::pin!(drain);
    relay.say(1, service_frame(MessageType::ChannelClosed, CLOSED)).await;
    let _ = timeout(PATIENCE, drain).await.unwrap();
    assert_eq!(timeout(PATIENCE, agent.drain()).await.unwrap(), Err(ChannelGone));
}

#[tokio::test(start_paused = true)]
async fn a_closed_channel_is_told_and_not_terminated() {
    let Pair { relay, pipe, client, mut client_reader, client_task, agent: _agent, agent_reader: _reader, .. } =
        pair(options(1024), true).await;
    assert_eq!(client_reader.next().await, Some(ChannelEvent::Established));
    relay.say(0, service_frame(MessageType::ChannelClosed, CLOSED)).await;
    let event = timeout(PATIENCE, client_reader.next()).await.unwrap();
    assert_eq!(event, Some(ChannelEvent::Closed("Max session duration reached.".into())));
    assert_eq!(client_reader.next().await, None);
    timeout(PATIENCE, client_task).await.unwrap().unwrap();
    assert_eq!(*pipe.finished.lock().unwrap(), [Finish::Closed]);
    assert_eq!(client.send(pattern(0, 1)).await, Err(ChannelGone));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_has_ended_is_not_resumed() {
    let Pair {
        relay, pipe, client: _client, mut client_reader, client_task, agent: _agent, agent_reader: _reader, ..
    } = pair(options(1024), true).await;
    assert_eq!(client_reader.next().await, Some(ChannelEvent::Established));
    pipe.ended.store(true, Ordering::SeqCst);
    relay.cut(0);
    let event = timeout(PATIENCE, client_reader.next()).await.unwrap();
    assert_eq!(event, Some(ChannelEvent::Lost("the session has ended meanwhile".into())));
    assert_eq!(client_reader.next().await, None);
    timeout(PATIENCE, client_task).await.unwrap().unwrap();
    assert_eq!(*pipe.finished.lock().unwrap(), [Finish::SessionEnded]);
}

#[tokio::test(start_paused = true)]
async fn the_hourly_close_is_a_reconnection() {
    let Pair { relay, client, mut client_reader, agent, mut agent_reader, .. } = pair(options(1024), true).await;
    assert_eq!(client_reader.next().await, Some(ChannelEvent::Established));
    relay.say(0, Message::Close(None)).await;
    assert_eq!(timeout(Duration::from_secs(5), client_reader.next()).await.unwrap(), Some(ChannelEvent::Reconnected));
    tokio::join!(write_pattern(&client, 5000), write_pattern(&agent, 5000), read_client(&mut client_reader, 5000));
    read_agent(&mut agent_reader, 5000).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stays_away_is_given_up_in_a_sentence() {
    let mut options = options(1024);
    options.reconnect.deadline = Duration::from_millis(700);
    let Pair { relay, pipe, client: _client, mut client_reader, client_task, agent, agent_reader: _reader, .. } =
        pair(options, true).await;
    assert_eq!(client_reader.next().await, Some(ChannelEvent::Established));
    agent.send(pattern(0, 3)).await.unwrap();
    assert_eq!(read_client(&mut client_reader, 3).await, 0);
    pipe.refuse.store(true, Ordering::SeqCst);
    relay.cut(0);
    match timeout(PATIENCE, client_reader.next()).await.unwrap() {
        Some(ChannelEvent::Lost(sentence)) => {
            assert!(sentence.ends_with("could not connect to the relay"), "{sentence}");
        }
        other => panic!("{other:?}"),
    }
    timeout(PATIENCE, client_task).await.unwrap().unwrap();
    assert!(pipe.connects.load(Ordering::SeqCst) > 2);
    assert_eq!(*pipe.finished.lock().unwrap(), [Finish::Abandoned]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_channel_is_pinged_and_a_dead_one_is_left() {
    let relay = Arc::new(Relay::default());
    let (near, far) = tokio::io::duplex(64 * 1024);
    let near = WebSocketStream::from_raw_socket(near, Side::Client, Some(websocket_config())).await;
    let mut far = WebSocketStream::from_raw_socket(far, Side::Server, Some(websocket_config())).await;
    let pipe = pipe(&relay, 0);
    let mut core_options = options(1024);
    core_options.limits.establish_timeout = None;
    let clock = Clock::start();
    let role = Role::Client(ClientRole { version: CLIENT_VERSION.into() });
    let core = DataChannel::new(role, core_options.limits.clone(), 1, clock.now());
    let (outbox, inbox) = (Outbox::new(1024), Inbox::new(1024));
    let first = Connected { socket: near, open: "first".into() };
    core_options.keepalive = Keepalive::every(Duration::from_millis(200));
    let ends = Ends { outbox, inbox, status: watch::channel(ChannelStatus::default()).0 };
    let driver = Driver::new(core, clock, Arc::clone(&pipe), first, core_options, ends);
    let task = tokio::spawn(driver.run());
    assert!(matches!(far.next().await, Some(Ok(Message::Text(text))) if text.as_str() == "first"));
    // As long as pings are answered, which reading does, the connection stays.
    let answering = async {
        let mut pings = 0;
        while pings < 5 {
            assert!(matches!(far.next().await, Some(Ok(Message::Ping(body))) if body.as_ref() == b"keepalive"));
            pings += 1;
        }
    };
    timeout(PATIENCE, answering).await.unwrap();
    assert_eq!(pipe.connects.load(Ordering::SeqCst), 0);
    // Nobody polls the far end any more, so nobody answers.
    sleep(Duration::from_secs(2)).await;
    assert!(pipe.connects.load(Ordering::SeqCst) > 0, "the dead connection was kept");
    task.abort();
}
