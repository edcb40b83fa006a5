//! Port sessions: bytes between the client and a TCP port of the node, or of a host that the node can reach.
//!
//! ```text
//!   plain   arrivals ─▶ one TCP connection ─▶ wire     ends with the connection; no half-close
//!   mux     arrivals ─▶ smux server ⇄ a TCP connection per stream        (type LocalPortForwarding, current clients)
//! ```
//!
//! The connection is made after the handshake; what the client sends before is refused and comes again. Bytes are never
//! changed. A plain session whose port refuses crashes the real agent's worker, which it misses after a minute.

use bytes::{Bytes, BytesMut};
use portcullis_protocol::version::Version;
use portcullis_protocol::{Flag, PayloadType};
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;

use super::document::PortProperties;
use super::outcome::{SessionEnd, TaskOutcome};
use super::pump::{Pace, read};
use super::running::Running;
use super::streams;
use super::target::Target;
use super::wire::{Arrival, Arrivals};

/// Runs the session until the port, the client or the service ends it.
pub(super) async fn run(running: &Running<'_>, properties: PortProperties, arrivals: Arrivals) -> SessionEnd {
    let target = match Target::resolve(&properties).await {
        Ok(target) => target,
        Err(why) => return TaskOutcome::failed(why).into(),
    };
    let version: Option<Version> = running.client_version.as_deref().and_then(|version| version.parse().ok());
    if let Some(version) = version.filter(|version| properties.forwarding && *version >= Version::CLIENT_WITH_MUX) {
        return streams::run(running, target, version, arrivals).await;
    }
    plain(running, &properties, &target, arrivals).await
}

/// One connection.
async fn plain(
    running: &Running<'_>,
    properties: &PortProperties,
    target: &Target,
    mut arrivals: Arrivals,
) -> SessionEnd {
    let mut stream = tokio::select! {
        dialled = target.dial() => match dialled {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(session = %running.task.session_id, "Unable to connect to specified port: {error}");
                return SessionEnd::Crash;
            }
        },
        () = running.cancel.cancelled() => return TaskOutcome::SUCCESS.into(),
    };
    running.wire.ready();
    loop {
        let (mut reader, mut writer) = stream.into_split();
        let pump = async {
            let mut pace = Pace::new(&running.context.manner);
            let room = running.context.manner.payload;
            loop {
                if running.wire.until_active().await.is_err() {
                    return Ok(());
                }
                let mut buffer = BytesMut::with_capacity(room);
                if read(&mut reader, &mut buffer, room).await? == 0 {
                    return Ok(());
                }
                if running.wire.send(PayloadType::Output, buffer.freeze()).await.is_err() {
                    return Ok(());
                }
                pace.rest().await;
            }
        };
        let lost: Lost = tokio::select! {
            read = pump => Lost::ByPort(read),
            lost = write(&mut writer, &mut arrivals) => lost,
            () = running.cancel.cancelled() => return TaskOutcome::SUCCESS.into(),
        };
        drop((reader, writer));
        match lost {
            Lost::Terminated => return TaskOutcome::SUCCESS.into(),
            Lost::ByPort(Ok(())) if !properties.forwarding => return TaskOutcome::SUCCESS.into(),
            Lost::ByPort(Err(_)) | Lost::ByClient if !properties.forwarding => return TaskOutcome::failed("").into(),
            Lost::ByPort(_) | Lost::ByClient => {}
        }
        // The next data makes a new connection.
        let first = tokio::select! {
            first = next_data(&mut arrivals) => first,
            () = running.cancel.cancelled() => return TaskOutcome::SUCCESS.into(),
        };
        let Some(first) = first else { return TaskOutcome::SUCCESS.into() };
        stream = match target.dial().await {
            Ok(stream) => stream,
            Err(_) => return TaskOutcome::failed("").into(),
        };
        if stream.write_all(&first).await.is_err() {
            return TaskOutcome::failed("").into();
        }
    }
}

/// Why a connection is no more.
enum Lost {
    ByPort(std::io::Result<()>),
    /// The client asked to disconnect.
    ByClient,
    /// The client asked to end the session.
    Terminated,
}

/// Writes what arrives until a flag says otherwise. A connection that takes no more is noticed where it is read.
async fn write(writer: &mut OwnedWriteHalf, arrivals: &mut Arrivals) -> Lost {
    while let Some(arrival) = arrivals.recv().await {
        match arrival {
            Arrival::Data(bytes) => {
                if let Err(error) = writer.write_all(&bytes).await {
                    tracing::debug!("the port takes no more: {error}");
                    break;
                }
            }
            Arrival::Flag(Flag::TerminateSession) => return Lost::Terminated,
            Arrival::Flag(Flag::DisconnectToPort) => return Lost::ByClient,
            Arrival::Flag(_) | Arrival::Size(_) => {}
        }
    }
    std::future::pending().await
}

/// The first data after a connection was lost; `None` if the client ends the session instead.
async fn next_data(arrivals: &mut Arrivals) -> Option<Bytes> {
    loop {
        match arrivals.recv().await {
            Some(Arrival::Data(bytes)) => return Some(bytes),
            Some(Arrival::Flag(Flag::TerminateSession)) => return None,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}
