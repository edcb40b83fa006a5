//! Port sessions: bytes between the client and a TCP port of the node, or of a host that the node can reach.
//!
//! ```text
//!   plain   arrivals ─▶ one TCP connection ─▶ wire     ends with the connection; no half-close
//!   mux     arrivals ─▶ smux server ⇄ a TCP connection per stream        (type LocalPortForwarding, current clients)
//! ```
//!
//! The connection is made after the handshake; what the client sends before is refused and comes again. Bytes are never
//! changed. A plain session whose port refuses crashes the real agent's worker, which it misses after a minute.

use std::net::{IpAddr, Ipv6Addr};

use bytes::{Bytes, BytesMut};
use portcullis_protocol::version::Version;
use portcullis_protocol::{Flag, PayloadType};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use super::document::PortProperties;
use super::pump::{Pace, read};
use super::session::{End, Outcome, Running};
use super::streams;
use super::wire::{Arrival, Arrivals};

/// Runs the session until the port, the client or the service ends it.
pub(super) async fn run(running: &Running<'_>, properties: PortProperties, arrivals: Arrivals) -> End {
    let target = match Target::resolve(&properties).await {
        Ok(target) => target,
        Err(why) => return Outcome::failed(why).into(),
    };
    let version: Option<Version> = running.client_version.as_deref().and_then(|version| version.parse().ok());
    if let Some(version) = version.filter(|version| properties.forwarding && *version >= Version::CLIENT_WITH_MUX) {
        return streams::run(running, target, version, arrivals).await;
    }
    plain(running, &properties, &target, arrivals).await
}

/// One connection.
async fn plain(running: &Running<'_>, properties: &PortProperties, target: &Target, mut arrivals: Arrivals) -> End {
    let mut stream = tokio::select! {
        dialled = target.dial() => match dialled {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(session = %running.task.session_id, "Unable to connect to specified port: {error}");
                return End::Crash;
            }
        },
        () = running.cancel.cancelled() => return Outcome::SUCCESS.into(),
    };
    // a wire that has gone cancels the session
    let _ = running.wire.ready().await;
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
            () = running.cancel.cancelled() => return Outcome::SUCCESS.into(),
        };
        drop((reader, writer));
        match lost {
            Lost::Terminated => return Outcome::SUCCESS.into(),
            Lost::ByPort(Ok(())) if !properties.forwarding => return Outcome::SUCCESS.into(),
            Lost::ByPort(Err(_)) | Lost::ByClient if !properties.forwarding => return Outcome::failed("").into(),
            Lost::ByPort(_) | Lost::ByClient => {}
        }
        // The next data makes a new connection.
        let first = tokio::select! {
            first = next_data(&mut arrivals) => first,
            () = running.cancel.cancelled() => return Outcome::SUCCESS.into(),
        };
        let Some(first) = first else { return Outcome::SUCCESS.into() };
        stream = match target.dial().await {
            Ok(stream) => stream,
            Err(_) => return Outcome::failed("").into(),
        };
        if stream.write_all(&first).await.is_err() {
            return Outcome::failed("").into();
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

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Tried in order; the node itself is `localhost` by name.
    hosts: Vec<String>,
    port: String,
}

impl Target {
    /// Looks the host up and refuses addresses that belong to the cloud's own services.
    async fn resolve(properties: &PortProperties) -> Result<Self, String> {
        let port = properties.port.clone();
        if properties.host.is_empty() {
            return Ok(Self { hosts: vec!["localhost".to_owned()], port });
        }
        // a name that cannot be looked up fails when it is dialled, as in the real agent
        let found = tokio::net::lookup_host((properties.host.as_str(), 0)).await;
        let addresses: Vec<IpAddr> = found.map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default();
        if addresses.iter().copied().any(is_forbidden) {
            return Err(format!("Forwarding to IP address {} is forbidden.", properties.host));
        }
        Ok(Self { hosts: addresses.iter().map(IpAddr::to_string).collect(), port })
    }

    /// Connects; the first address's error is the one that counts.
    pub(super) async fn dial(&self) -> std::io::Result<TcpStream> {
        let port: u16 = self.port.parse().map_err(|_| std::io::Error::other("the port is no number"))?;
        let mut first_error = None;
        for host in &self.hosts {
            match TcpStream::connect((host.as_str(), port)).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.unwrap_or_else(|| std::io::Error::other("missing address")))
    }
}

/// Link-local addresses, where the cloud's metadata, name and time services are, and their fixed IPv6 addresses.
fn is_forbidden(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || CLOUD_V6.contains(&address),
    }
}

const CLOUD_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x123),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x240),
];

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolve(host: &str) -> Result<Target, String> {
        Target::resolve(&PortProperties { host: host.into(), port: "80".into(), forwarding: false }).await
    }

    #[tokio::test]
    async fn the_clouds_own_services_are_out_of_reach() {
        for host in ["169.254.169.254", "169.254.0.1", "::ffff:169.254.169.254", "fd00:ec2::254", "fe80::1"] {
            assert_eq!(resolve(host).await, Err(format!("Forwarding to IP address {host} is forbidden.")));
        }
        assert_eq!(resolve("127.0.0.1").await.unwrap().hosts, ["127.0.0.1"]);
        assert_eq!(resolve("").await.unwrap().hosts, ["localhost"]);
    }

    #[tokio::test]
    async fn dialling_fails_with_the_first_error() {
        let nowhere = Target { hosts: Vec::new(), port: "80".into() };
        assert_eq!(nowhere.dial().await.unwrap_err().to_string(), "missing address");
        let nonsense = Target { hosts: vec!["localhost".into()], port: "http".into() };
        assert!(nonsense.dial().await.is_err());
    }
}
