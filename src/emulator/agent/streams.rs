//! A port session with many connections: smux streams inside the data channel, a TCP connection for each.
//!
//! ```text
//!   arrivals ──────▶ ┌───────────┐ ⇄ connection 3 ⇄ port
//!   wire ◀─ sender ◀ │ MuxDriver │
//!                    └───────────┘ ⇄ connection 5 ⇄ port
//! ```
//!
//! Either end's end of stream ends the whole connection: there is no half-close. A connection that cannot be made is
//! told with a flag and the end of its stream; the session goes on.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use portcullis_protocol::mux::{Keepalive, MuxLimits, MuxRole};
use portcullis_protocol::version::Version;
use portcullis_protocol::{Flag, PayloadType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::outcome::{SessionEnd, TaskOutcome};
use super::pump::Pace;
use super::running::Running;
use super::target::Target;
use super::wire::{Arrival, Arrivals};
use crate::data_channel::{ChannelWriter, MuxStream, MuxStreams};

/// Most bytes of one read of a port.
const CHUNK: usize = 32 << 10;

/// Runs the session until the client or the service ends it.
pub(super) async fn run(running: &Running<'_>, target: Target, version: Version, arrivals: Arrivals) -> SessionEnd {
    let manner = &running.context.manner;
    let limits = MuxLimits {
        // a frame and its header fill one frame of the channel; slow ones are cut anyway
        frame: if manner.pace.is_some() { 32 << 10 } else { manner.payload.saturating_sub(8).max(1024) },
        keepalive: (version <= Version::CLIENT_WITH_KEEPALIVE).then(Keepalive::default),
        ..MuxLimits::default()
    };
    let (streams, driver) = MuxStreams::new(MuxRole::Server, limits);
    let (out, queue) = mpsc::channel(2);
    running.wire.ready();
    tokio::select! {
        ended = driver.run(data(arrivals), out) => match ended {
            // the client's flag
            Ok(()) => TaskOutcome::SUCCESS.into(),
            Err(error) => {
                tracing::debug!("the multiplexer failed: {error}");
                TaskOutcome::failed("").into()
            }
        },
        never = accept(streams, target, running.wire.writer()) => match never {},
        // the wire has gone, which cancels the session as well
        () = send(running, queue) => TaskOutcome::SUCCESS.into(),
        () = running.cancel.cancelled() => TaskOutcome::SUCCESS.into(),
    }
}

/// What the client sends, until it asks for the session's end. A channel that is over has no end of its own: the session
/// is cancelled then.
fn data(arrivals: Arrivals) -> impl Stream<Item = Bytes> {
    stream::unfold(arrivals, |mut arrivals| async move {
        loop {
            match arrivals.recv().await {
                Some(Arrival::Data(bytes)) => return Some((bytes, arrivals)),
                Some(Arrival::Flag(Flag::TerminateSession)) => return None,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    })
}

/// Sends in pieces of a read's size, at the session's pace, until the wire has gone.
async fn send(running: &Running<'_>, mut queue: mpsc::Receiver<Bytes>) {
    let manner = &running.context.manner;
    let mut pace = Pace::new(manner);
    while let Some(mut bytes) = queue.recv().await {
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

/// A task for each stream that the client opens.
async fn accept(streams: MuxStreams, target: Target, writer: ChannelWriter) -> std::convert::Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(stream) = streams.accept() => {
                connections.spawn(connect(stream, target.clone(), writer.clone()));
            }
            Some(_) = connections.join_next() => {}
            // the multiplexer is over, and who polls it says why
            else => std::future::pending().await,
        }
    }
}

async fn connect(stream: MuxStream, target: Target, writer: ChannelWriter) {
    match target.dial().await {
        Ok(connection) => copy(&stream, connection).await,
        Err(error) => {
            tracing::debug!("{} could not be connected: {error}", stream.id());
            let _ = writer.flag(Flag::ConnectToPortError);
        }
    }
}

/// Bytes both ways until either side ends, then the connection is closed as a whole.
async fn copy(stream: &MuxStream, connection: TcpStream) {
    let (mut reader, mut writer) = connection.into_split();
    let to_client = async {
        loop {
            // one chunk at a time: the next is read when the multiplexer has taken the last
            let mut buffer = BytesMut::with_capacity(CHUNK);
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if stream.write_all(buffer.freeze()).await.is_err() {
                return;
            }
        }
    };
    let to_port = async {
        while let Some(bytes) = stream.read().await {
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
