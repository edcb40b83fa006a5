//! A port session with many connections: smux streams inside the data channel, a TCP connection for each.
//!
//! ```text
//!                      ┌─────┐ ─ bounded queue ─▶ connection 3 ⇄ port
//!   arrivals ─────────▶│ Mux │ ◀─ one chunk ─────
//!   wire ◀─ sender ◀── │     │ ─ bounded queue ─▶ connection 5 ⇄ port
//!                      └─────┘ ◀─ one chunk ─────
//! ```
//!
//! Either end's end of stream ends the whole connection: there is no half-close. A connection that cannot be made is
//! told with a flag and the end of its stream; the session goes on. A connection that does not read holds up the others
//! when what waits for it fills the multiplexer's budget: smux version 1 has no window per stream.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use portcullis_protocol::Flag;
use portcullis_protocol::PayloadType;
use portcullis_protocol::mux::{Keepalive, Mux, MuxError, MuxEvent, MuxLimits, MuxRole, Read, StreamId};
use portcullis_protocol::version::Version;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::port::Target;
use super::pump::Pace;
use super::session::{End, Outcome, Running};
use super::socket::Clock;
use super::wire::{Arrival, Arrivals};

/// Runs the session until the client or the service ends it.
pub(super) async fn run(running: &Running<'_>, target: Target, version: Version, mut arrivals: Arrivals) -> End {
    let manner = &running.context.manner;
    let limits = MuxLimits {
        // a frame and its header fill one frame of the channel; slow ones are cut anyway
        frame: if manner.pace.is_some() { 32 << 10 } else { manner.payload.saturating_sub(8).max(1024) },
        keepalive: (version <= Version::CLIENT_WITH_KEEPALIVE).then(Keepalive::default),
        ..MuxLimits::default()
    };
    let clock = Clock::start();
    let (news, inbox) = mpsc::channel(16);
    let streams = Streams {
        mux: Mux::new(MuxRole::Server, limits, clock.now()),
        clock,
        target,
        connections: HashMap::new(),
        full: HashSet::new(),
        flags: VecDeque::new(),
        tasks: JoinSet::new(),
        news,
        inbox,
        room: Arc::new(Notify::new()),
    };
    let (out, queue) = mpsc::channel(2);
    // a wire that has gone cancels the session
    let _ = running.wire.ready().await;
    tokio::select! {
        outcome = streams.serve(&mut arrivals, out) => outcome.into(),
        () = send(running, queue) => Outcome::SUCCESS.into(),
        () = running.cancel.cancelled() => Outcome::SUCCESS.into(),
    }
}

/// On its way to the client.
enum Out {
    Bytes(Bytes),
    Flag(Flag),
}

/// Sends in pieces of a read's size, at the session's pace, until the wire has gone.
async fn send(running: &Running<'_>, mut queue: mpsc::Receiver<Out>) {
    let manner = &running.context.manner;
    let mut pace = Pace::new(manner);
    while let Some(out) = queue.recv().await {
        let mut bytes = match out {
            Out::Bytes(bytes) => bytes,
            Out::Flag(flag) => {
                if running.wire.flag(flag).await.is_err() {
                    return;
                }
                continue;
            }
        };
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(manner.payload));
            if running.wire.until_active().await.is_err()
                || running.wire.send(PayloadType::Output, piece).await.is_err()
            {
                return;
            }
            pace.rest().await;
        }
    }
}

struct Streams {
    mux: Mux,
    clock: Clock,
    target: Target,
    connections: HashMap<StreamId, Connection>,
    /// Streams with something to read whose connection has no room.
    full: HashSet<StreamId>,
    /// For the client, before anything else.
    flags: VecDeque<Flag>,
    tasks: JoinSet<()>,
    news: mpsc::Sender<(StreamId, News)>,
    inbox: mpsc::Receiver<(StreamId, News)>,
    /// A connection has taken something.
    room: Arc<Notify>,
}

/// The multiplexer's side of a connection.
struct Connection {
    /// What the client sent; gone when the client has finished.
    to_port: Option<mpsc::Sender<Bytes>>,
    /// A chunk from the port that the multiplexer has not taken wholly.
    waits: Option<Bytes>,
    /// Given back when it has.
    credit: Arc<Semaphore>,
    given_up: CancellationToken,
}

/// From a connection.
enum News {
    Data(Bytes),
    /// It could not be made.
    Refused(std::io::Error),
    /// It is over.
    Closed,
}

impl Streams {
    async fn serve(mut self, arrivals: &mut Arrivals, out: mpsc::Sender<Out>) -> Outcome {
        loop {
            self.handle_events();
            let reads = self.mux.wants_input();
            let timeout = self.mux.poll_timeout().map(|at| at.saturating_sub(self.clock.now()));
            let step = tokio::select! {
                room = out.reserve(), if !self.flags.is_empty() || !self.mux.is_flushed() => {
                    let next = self.flags.pop_front().map(Out::Flag).or_else(|| self.mux.poll_output().map(Out::Bytes));
                    if let (Ok(room), Some(next)) = (room, next) {
                        room.send(next);
                    }
                    Ok(())
                }
                arrival = arrivals.recv(), if reads => match arrival {
                    Some(Arrival::Data(bytes)) => self.mux.handle_input(self.clock.now(), bytes),
                    Some(Arrival::Flag(Flag::TerminateSession)) => return Outcome::SUCCESS,
                    Some(_) => Ok(()),
                    None => std::future::pending().await,
                },
                Some((id, news)) = self.inbox.recv() => {
                    self.handle_news(id, news);
                    Ok(())
                }
                () = self.room.notified() => {
                    for id in std::mem::take(&mut self.full) {
                        self.fill(id);
                    }
                    Ok(())
                }
                Some(_) = self.tasks.join_next() => Ok(()),
                () = sleep(timeout) => self.mux.handle_timeout(self.clock.now()),
            };
            if let Err(error) = step {
                return self.failed(&error);
            }
        }
    }

    fn failed(&self, error: &MuxError) -> Outcome {
        tracing::debug!(streams = self.mux.stats().streams, "the multiplexer failed: {error}");
        Outcome::failed("")
    }

    fn handle_events(&mut self) {
        while let Some(event) = self.mux.poll_event() {
            match event {
                MuxEvent::Opened(id) => self.connect(id),
                MuxEvent::Readable(id) => self.fill(id),
                MuxEvent::Writable(id) => self.take(id),
            }
        }
    }

    fn connect(&mut self, id: StreamId) {
        let (to_port, from_client) = mpsc::channel(4);
        let credit = Arc::new(Semaphore::new(1));
        let given_up = CancellationToken::new();
        self.connections.insert(
            id,
            Connection { to_port: Some(to_port), waits: None, credit: Arc::clone(&credit), given_up: given_up.clone() },
        );
        let (target, news, room) = (self.target.clone(), self.news.clone(), Arc::clone(&self.room));
        self.tasks.spawn(async move {
            let last = match target.dial().await {
                Ok(stream) => {
                    tokio::select! {
                        () = copy(id, stream, from_client, &room, &credit, &news) => News::Closed,
                        () = given_up.cancelled() => return,
                    }
                }
                Err(error) => News::Refused(error),
            };
            let _ = news.send((id, last)).await;
        });
    }

    /// From the multiplexer to the connection, as far as it has room.
    fn fill(&mut self, id: StreamId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            // the connection is over: what still comes is dropped
            while let Read::Data(_) = self.mux.read(id) {}
            return;
        };
        let Some(to_port) = &connection.to_port else { return };
        loop {
            let permit = match to_port.try_reserve() {
                Ok(permit) => permit,
                Err(mpsc::error::TrySendError::Full(())) => {
                    self.full.insert(id);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(())) => return,
            };
            match self.mux.read(id) {
                Read::Data(bytes) => permit.send(bytes),
                Read::Empty => return,
                Read::End => break,
            }
        }
        // what is queued is still written, then the connection is closed
        connection.to_port = None;
    }

    /// From the connection to the multiplexer, as far as that has room.
    fn take(&mut self, id: StreamId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(mut bytes) = connection.waits.take() else { return };
        self.mux.write(id, &mut bytes);
        if bytes.is_empty() {
            connection.credit.add_permits(1);
        } else {
            connection.waits = Some(bytes);
        }
    }

    fn handle_news(&mut self, id: StreamId, news: News) {
        match news {
            News::Data(bytes) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.waits = Some(bytes);
                    self.take(id);
                }
            }
            News::Refused(error) => {
                tracing::debug!("{id} could not be connected: {error}");
                self.flags.push_back(Flag::ConnectToPortError);
                self.close(id);
            }
            News::Closed => self.close(id),
        }
    }

    /// The stream ends after what was written to it, and what is not read of it is dropped.
    fn close(&mut self, id: StreamId) {
        if let Some(connection) = self.connections.remove(&id) {
            connection.given_up.cancel();
        }
        self.full.remove(&id);
        self.mux.finish(id);
        while let Read::Data(_) = self.mux.read(id) {}
    }
}

/// Bytes both ways until either side ends, then the connection is closed as a whole.
async fn copy(
    id: StreamId,
    stream: TcpStream,
    mut from_client: mpsc::Receiver<Bytes>,
    room: &Notify,
    credit: &Semaphore,
    news: &mpsc::Sender<(StreamId, News)>,
) {
    let (mut reader, mut writer) = stream.into_split();
    let to_client = async {
        loop {
            // one chunk at a time: the next is read when the multiplexer has taken the last
            let Ok(permit) = credit.acquire().await else { return };
            permit.forget();
            let mut buffer = BytesMut::with_capacity(CHUNK);
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if news.send((id, News::Data(buffer.freeze()))).await.is_err() {
                return;
            }
        }
    };
    let to_port = async {
        while let Some(bytes) = from_client.recv().await {
            room.notify_one();
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = to_client => {}
        () = to_port => {}
    }
}

async fn sleep(time: Option<std::time::Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

const CHUNK: usize = 32 << 10;
