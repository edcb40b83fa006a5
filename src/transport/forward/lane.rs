//! One port session, and the connections that it carries to one place.
//!
//! ```text
//!   PortStream 3 ─┐              ┌ driver ◀── Output ── reader ─┐
//!   PortStream 5 ─┼─▶ MuxStreams ┤                              │ the session's data channel
//!      open ──────┘              └ driver ──▶ queue ─▶ writer ──┘
//! ```
//!
//! The multiplexer says nothing when a connection stands, only when one does not (a flag, and the end of its stream). So a connection
//! is taken to stand when the target has said something, or when nothing has come back for a moment after the agent acknowledged
//! what asks for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use portcullis_protocol::Flag;
use portcullis_protocol::mux::{Command, Header, Keepalive, MuxLimits, MuxRole};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::error::DialError;
use crate::backend::lanes::{Lane, SessionRequest};
use crate::data_channel::{ChannelEvent, ChannelReader, ChannelWriter, MuxDriver, MuxStream, MuxStreams};
use crate::model::{CallIds, ForwardTarget, SessionId, TargetHost};
use crate::transport::helper::output_window::OutputWindow;
use crate::transport::node_places::NodePermit;

/// AWS's documents of port sessions.
const OWN_PORT: &str = "AWS-StartPortForwardingSession";
const REMOTE_PORT: &str = "AWS-StartPortForwardingSessionToRemoteHost";

/// What is permitted for one of them is for both.
const BESIDE: [&str; 2] = [OWN_PORT, REMOTE_PORT];

/// How many connections one session carries.
const STREAMS: usize = 1024;

/// A session without connections is kept for so long: clients come back.
const KEPT: Duration = Duration::from_secs(30);

/// How long an agent may take to acknowledge what asks for a connection. Whose worker has died never does.
const ACKNOWLEDGED: Duration = Duration::from_secs(10);

/// How long nothing may come back after that before a connection is taken to stand: to the node itself, where it is refused at
/// once, and to others.
const STANDS_ON_NODE: Duration = Duration::from_millis(20);
const STANDS: Duration = Duration::from_millis(100);

/// Whose reader takes nothing for so long, while others wait behind it, has its connection ended.
const STALLED: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(500);

/// A session on which nothing moves for so long is not used for new connections.
const HELD_UP: Duration = Duration::from_secs(1);

/// Frames of the multiplexer that wait for the data channel.
const QUEUE: usize = 2;

/// A port session.
#[derive(Debug)]
pub(super) struct PortLane {
    /// The service's name for it, and the calls that it was begun by: each session that it carries tells of it.
    pub(super) id: SessionId,
    pub(super) calls: CallIds,
    streams: MuxStreams,
    writer: ChannelWriter,
    state: Arc<State>,
    target: ForwardTarget,
}

#[derive(Debug)]
struct State {
    /// The last stream whose opening the data channel has taken.
    asked: watch::Sender<u32>,
    established: watch::Sender<bool>,
    /// Why it is over, when it is.
    ended: watch::Sender<Option<String>>,
    /// Connections that the agent could not make, and whose streams nobody has seen end.
    failed: AtomicUsize,
    /// Since when the data channel has taken nothing, while something waits for it.
    blocked: std::sync::Mutex<Option<Instant>>,
    /// New connections go elsewhere.
    retired: AtomicBool,
    let_go: CancellationToken,
}

/// One connection.
#[derive(Debug)]
pub(super) struct PortStream {
    stream: MuxStream,
    lane: Arc<PortLane>,
    heard: AtomicBool,
}

/// The session that reaches a target.
pub(super) fn request(target: &ForwardTarget, payload: usize) -> SessionRequest {
    let (document, host) = match &target.host {
        TargetHost::Localhost => (OWN_PORT, None),
        host => (REMOTE_PORT, Some(("host".to_owned(), vec![host.to_string()]))),
    };
    let port = ("portNumber".to_owned(), vec![target.port.to_string()]);
    SessionRequest {
        beside: &BESIDE,
        parameters: host.into_iter().chain([port]).collect(),
        payload,
        ..SessionRequest::new(document)
    }
}

impl PortLane {
    /// Drives a session that has been opened. `held`: its place on the node, and what it may hold in memory.
    pub(super) fn start(
        lane: Lane,
        target: ForwardTarget,
        payload: usize,
        held: (NodePermit, OutputWindow),
        let_go: CancellationToken,
    ) -> Arc<Self> {
        let limits = MuxLimits {
            // a frame and its header fill one frame of the channel
            frame: payload.saturating_sub(Header::LENGTH).max(256),
            receive_budget: usize::try_from(held.1.bytes()).unwrap_or(usize::MAX),
            streams: STREAMS,
            // agents before 3.1.1511.0 want a sign of life; none has to give one
            keepalive: Some(Keepalive { interval: Duration::from_secs(10), timeout: Duration::from_secs(86_400) }),
            ..MuxLimits::default()
        };
        let (streams, driver) = MuxStreams::new(MuxRole::Client, limits);
        streams.accept_none();
        let state = Arc::new(State {
            asked: watch::Sender::new(0),
            established: watch::Sender::new(false),
            ended: watch::Sender::new(None),
            failed: AtomicUsize::new(0),
            blocked: std::sync::Mutex::default(),
            retired: AtomicBool::new(false),
            let_go,
        });
        let port = Arc::new(Self {
            id: lane.id.clone(),
            calls: lane.calls.clone(),
            streams,
            writer: lane.writer.clone(),
            state,
            target,
        });
        tokio::spawn(run(lane, driver, port.clone(), held));
        port
    }

    /// Whether a new connection may be asked of it.
    pub(super) fn is_usable(&self) -> bool {
        !self.state.retired.load(Ordering::Relaxed) && self.state.ended.borrow().is_none()
    }

    /// Whether what it carries stands still.
    pub(super) fn is_held_up(&self) -> bool {
        let blocked = *self.state.blocked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        blocked.is_some_and(|since| since.elapsed() >= HELD_UP)
            || self.streams.full_for().is_some_and(|full| full >= HELD_UP)
    }

    /// Connects to the target.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<PortStream, DialError> {
        let target = || self.target.to_string();
        let Some(stream) = self.streams.open() else {
            return match self.streams.is_over() {
                true => Err(DialError::NodeGone(self.ended().await)),
                false => Err(DialError::TooMany(STREAMS)),
            };
        };
        let stream = PortStream { stream, lane: self.clone(), heard: AtomicBool::new(false) };
        let number = stream.stream.id().number();
        let stands = async {
            let mut asked = self.state.asked.subscribe();
            let acknowledged = async {
                // neither fails while this lane is there
                let _ = asked.wait_for(|last| *last >= number).await;
                let _ = self.writer.drain().await;
            };
            if timeout(ACKNOWLEDGED, acknowledged).await.is_err() {
                // whoever does not answer is asked no more
                self.retire();
                return Err(DialError::TimedOut(target()));
            }
            let moment = if self.target.host == TargetHost::Localhost { STANDS_ON_NODE } else { STANDS };
            tokio::time::sleep(moment).await;
            Ok(())
        };
        tokio::select! {
            biased;
            () = stream.stream.readable() => {}
            stands = stands => stands?,
        }
        if self.streams.is_over() {
            return Err(DialError::NodeGone(self.ended().await));
        }
        if !stream.stream.has_bytes() && stream.has_ended() && self.take_failure() {
            return Err(DialError::Failed(target()));
        }
        Ok(stream)
    }

    /// Uses it for no new connection.
    fn retire(&self) {
        self.state.retired.store(true, Ordering::Relaxed);
    }

    /// One of the failures that the agent has told, which belongs to a stream that has ended without a byte.
    fn take_failure(&self) -> bool {
        let failed = &self.state.failed;
        failed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |failed| failed.checked_sub(1)).is_ok()
    }

    /// Why it is over: known a moment after its streams are.
    async fn ended(&self) -> String {
        let mut ended = self.state.ended.subscribe();
        let told = timeout(Duration::from_secs(1), ended.wait_for(Option::is_some)).await;
        let why = told.ok().and_then(Result::ok).and_then(|why| why.clone());
        why.unwrap_or_else(|| LOST.to_owned())
    }
}

const LOST: &str = "the session that carries this forward was lost";

impl PortStream {
    fn has_ended(&self) -> bool {
        self.stream.has_ended()
    }

    /// The next bytes; nothing at the end.
    pub(super) async fn read(&self) -> io::Result<Option<Bytes>> {
        if let Some(bytes) = self.stream.read().await {
            self.heard.store(true, Ordering::Relaxed);
            return Ok(Some(bytes));
        }
        if self.stream.has_stalled() {
            return Err(io::Error::other(STANDS_STILL));
        }
        if self.lane.streams.is_over() {
            return Err(io::Error::other(self.lane.ended().await));
        }
        if !self.heard.load(Ordering::Relaxed) && self.lane.take_failure() {
            // it was taken to stand too early
            return Err(io::Error::other(DialError::Failed(self.lane.target.to_string()).to_string()));
        }
        Ok(None)
    }

    pub(super) async fn write(&self, bytes: Bytes) -> io::Result<()> {
        match self.stream.write_all(bytes).await {
            Ok(()) => Ok(()),
            Err(gone) => Err(io::Error::new(io::ErrorKind::BrokenPipe, gone)),
        }
    }

    /// Ends both directions, when what was written is sent.
    pub(super) fn finish(&self) {
        self.stream.finish();
    }
}

const STANDS_STILL: &str = "the client took nothing of this connection for seconds while others to the same place waited behind it, \
     and it was ended for them";

/// Until the session is over, nobody needs it any more, or nothing may go on.
async fn run(mut lane: Lane, driver: MuxDriver, port: Arc<PortLane>, held: (NodePermit, OutputWindow)) {
    let Lane { writer, reader, lapse, .. } = &mut lane;
    let state = port.state.clone();
    let said = Arc::new(std::sync::Mutex::new(None));
    let (out, queue) = mpsc::channel(QUEUE);
    let ended = tokio::select! {
        ended = driver.run(from_node(reader, &state, &said), out) => match ended {
            Ok(()) => {
                let said = said.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
                said.unwrap_or_else(|| LOST.to_owned())
            }
            Err(error) => format!("the node's agent said something that makes no sense: {error}"),
        },
        () = to_node(writer, queue, &state) => LOST.to_owned(),
        why = lapse.told() => why.to_string(),
        () = until_let_go(&port) => {
            // asked for in words, so that the agent need not find out; the session is terminated besides
            let _ = writer.flag(Flag::TerminateSession);
            "nobody needed the session any more".to_owned()
        }
    };
    tracing::debug!(session = %lane.id, ended, "a port session is over");
    state.ended.send_replace(Some(ended));
    drop(port);
    lane.close().await;
    drop(held);
}

/// What the node sends; its end is the session's.
fn from_node<'a>(
    reader: &'a mut ChannelReader,
    state: &'a State,
    said: &'a std::sync::Mutex<Option<String>>,
) -> impl Stream<Item = Bytes> + 'a {
    stream::unfold(reader, move |reader| async move {
        let why = loop {
            match reader.next().await {
                Some(ChannelEvent::Output(bytes)) => return Some((bytes, reader)),
                Some(ChannelEvent::Established) => drop(state.established.send_replace(true)),
                Some(ChannelEvent::ConnectFailed) => drop(state.failed.fetch_add(1, Ordering::Relaxed)),
                Some(ChannelEvent::Closed(text)) => break closed(&text),
                Some(ChannelEvent::Lost(text)) => break text,
                Some(_) => {}
                None => break LOST.to_owned(),
            }
        };
        *said.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(why);
        None
    })
}

/// What the agent says at the end, as far as it is known: the rest is its own words, which nobody repeats.
fn closed(text: &str) -> String {
    if text.contains("is forbidden") { FORBIDDEN.to_owned() } else { CLOSED.to_owned() }
}

/// What an agent says of addresses that it leads nobody to.
pub(super) const FORBIDDEN: &str = "the node's agent leads nobody there";
const CLOSED: &str = "Session Manager, or the node's agent, has ended the session that carries this forward";

/// Sends what the multiplexer has, once somebody listens.
async fn to_node(writer: &ChannelWriter, mut queue: mpsc::Receiver<Bytes>, state: &State) {
    let mut established = state.established.subscribe();
    if established.wait_for(|established| *established).await.is_err() {
        return;
    }
    let blocked = |since| *state.blocked.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = since;
    while let Some(frame) = queue.recv().await {
        let opens = opens(&frame);
        blocked(Some(Instant::now()));
        if writer.send(frame).await.is_err() {
            return;
        }
        blocked(None);
        if let Some(number) = opens {
            state.asked.send_replace(number);
        }
    }
    // the multiplexer is over, and who drives it says why
    std::future::pending().await
}

/// The number of the stream that a frame opens.
fn opens(frame: &Bytes) -> Option<u32> {
    let header = Header::decode(*frame.first_chunk()?).ok()?;
    (header.command == Command::Syn).then(|| header.stream.number())
}

/// Looks after the streams until none has been there for a while, or the connection that they are of is over.
async fn until_let_go(port: &PortLane) {
    let mut used = Instant::now();
    loop {
        tokio::select! {
            () = port.state.let_go.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Some(stream) = port.streams.end_stalled(STALLED) {
            tracing::debug!(session = %port.id, %stream, "a forward's client took nothing, and held up others");
        }
        let now = Instant::now();
        if port.streams.count() > 0 {
            used = now;
        } else if now.duration_since(used) >= KEPT {
            // whoever comes in between finds that it is over, and opens another
            port.retire();
            if port.streams.count() == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: u32) -> ForwardTarget {
        ForwardTarget::parse(host, port).unwrap()
    }

    #[test]
    fn the_node_s_own_ports_are_one_document_and_other_hosts_another() {
        let own = request(&target("localhost", 5432), 1024);
        assert_eq!((own.document.as_str(), own.silent), (OWN_PORT, false));
        assert_eq!(own.parameters, [("portNumber".to_owned(), vec!["5432".to_owned()])].into());
        for (written, dialled) in [("0x7f.1", "127.0.0.1"), ("::1", "::1"), ("10.1", "10.0.0.1"), ("DB.", "db")] {
            let other = request(&target(written, 1), 1024);
            assert_eq!(
                (other.document.as_str(), other.parameters["host"].as_slice()),
                (REMOTE_PORT, &[dialled.to_owned()][..])
            );
        }
    }

    #[test]
    fn a_frame_that_opens_a_stream_is_known() {
        assert_eq!(opens(&Bytes::from_static(&[1, 0, 0, 0, 5, 0, 0, 0])), Some(5));
        assert_eq!(opens(&Bytes::from_static(&[1, 1, 0, 0, 5, 0, 0, 0])), None);
        assert_eq!(opens(&Bytes::from_static(&[1, 2, 1, 0, 5, 0, 0, 0, 0])), None);
        assert_eq!(opens(&Bytes::from_static(&[1])), None);
    }
}
