//! The accept loop: survives what `accept` can fail with, keeps to the limits, and drains at the end.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::arrival::Arrival;
use super::balanced::BalancedPlace;
use super::client_socket::ClientSocket;
use super::connection_limits::{ConnectionLimits, LimitReached};
use super::host_ca::{HostCa, NodeHosts};
use super::hostkeys::HostKeys;
use super::proxy_header::{ProxyHeader, ProxyHeaderError};
use super::server::Server;
use super::settings::Settings;
use super::stage::{LAST_WORDS, SHUTTING_DOWN, Stage, comes};
use crate::identity::Roster;
use crate::model::RefusalCode;
use crate::session::{Registry, SessionOpener};
use crate::telemetry::Repeated;

/// Between two lines of the log about connections that strangers can make as many of as they like.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// A gateway that has its addresses.
#[derive(Debug)]
pub struct Gateway {
    /// By the addresses that were asked for.
    listeners: Vec<(SocketAddr, TcpListener)>,
    server: Server,
    limits: Arc<ConnectionLimits>,
}

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// An address is taken, or not this machine's.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Nobody could check who this is.
    #[error("a host key is needed; make one with ssh-keygen -t ed25519 -N '' -f <file>")]
    NoHostKey,
}

impl Gateway {
    /// Takes the addresses; connections are accepted by [`run`](Self::run).
    pub async fn bind(
        addresses: &[SocketAddr],
        host_keys: &HostKeys,
        host_ca: HostCa,
        people: impl Into<Roster>,
        sessions: Arc<SessionOpener>,
        settings: Settings,
    ) -> Result<Self, GatewayError> {
        if host_keys.are_none() {
            return Err(GatewayError::NoHostKey);
        }
        let mut listeners = Vec::new();
        for &address in addresses {
            let listener = TcpListener::bind(address).await;
            listeners.push((address, listener.map_err(|source| GatewayError::Listen { address, source })?));
        }
        let limits = Arc::new(ConnectionLimits::new(&settings));
        let hosts = NodeHosts::new(host_keys.clone(), host_ca);
        Ok(Self { listeners, server: Server::new(hosts, people.into(), sessions, settings), limits })
    }

    /// The addresses, with the ports that were chosen where 0 was asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|(_, listener)| listener.local_addr().ok()).collect()
    }

    /// What says how many bytes people have sent that nobody has taken.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> Box<dyn Fn() -> usize + Send + Sync> {
        let shares = self.server.shared.shares.clone();
        Box::new(move || shares.bytes())
    }

    /// Serves until `shutdown` comes, then lets what runs go on for the drain time, ends what is left then, and comes back
    /// when all is closed.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stage, stages) = watch::channel(Stage::Serving);
        let mut accepting = JoinSet::new();
        let (drain, sessions) = (self.server.shared.settings.drain, self.server.shared.sessions.clone());
        for listener in self.listeners {
            accepting.spawn(accept(listener, self.server.clone(), self.limits.clone(), stages.clone()));
        }
        shutdown.await;
        tracing::info!(seconds = drain.as_secs(), "shutting down");
        stage.send_replace(Stage::Draining);
        let ended = async { while accepting.join_next().await.is_some() {} };
        let mut ended = pin!(ended);
        if tokio::time::timeout(drain, &mut ended).await.is_ok() {
            return;
        }
        // each says so on its own channel; a connection that is cut off says nothing to whoever looks at a terminal
        end_sessions(sessions.registry()).await;
        stage.send_replace(Stage::Ending);
        ended.await;
    }
}

/// Ends what runs, and gives it a moment.
async fn end_sessions(registry: &Registry) {
    let mut changes = registry.subscribe();
    registry.kill_all(SHUTTING_DOWN);
    let all_gone = async {
        while !changes.running().is_empty() {
            changes.changed().await;
        }
    };
    if tokio::time::timeout(LAST_WORDS, all_gone).await.is_err() {
        let left = registry.running();
        tracing::warn!(left = left.len(), "sessions did not end in time");
    }
}

async fn accept(
    (address, listener): (SocketAddr, TcpListener),
    server: Server,
    limits: Arc<ConnectionLimits>,
    mut stages: watch::Receiver<Stage>,
) {
    let mut connections = JoinSet::new();
    let mut failed = Repeated::new(BETWEEN_LINES);
    let door = Arc::new(Door { address, server, limits, stages: stages.clone(), refused: Mutex::default() });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // or the set would keep every connection that ever was
            Some(_) = connections.join_next() => continue,
            () = comes(&mut stages, Stage::Draining) => break,
        };
        match accepted {
            Ok((tcp, peer)) if door.server.shared.settings.is_balancer(peer.ip()) => {
                if let Some(place) = door.server.shared.balanced.place() {
                    connections.spawn(door.clone().let_in_balanced(tcp, peer, place));
                }
            }
            Ok((tcp, source)) => {
                let local = tcp.local_addr().ok();
                if let Some(served) = door.let_in(tcp, source, local) {
                    connections.spawn(served);
                }
            }
            Err(error) => {
                // out of file descriptors or memory: what runs goes on, new ones wait
                if let Some(times) = failed.count(Instant::now()) {
                    tracing::warn!(%error, times, "accept failed");
                }
                tokio::time::sleep(pause_after(&error)).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let late = async {
        comes(&mut stages, Stage::Ending).await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        () = drained => return,
        () = late => {}
    }
    connections.shutdown().await;
}

/// What a client comes in by.
struct Door {
    /// The listener's address, as it was asked for.
    address: SocketAddr,
    server: Server,
    limits: Arc<ConnectionLimits>,
    stages: watch::Receiver<Stage>,
    /// What was said of each limit.
    refused: Mutex<HashMap<LimitReached, Repeated>>,
}

impl Door {
    /// Serves whoever has come from there, unless a limit is reached.
    fn let_in(
        &self,
        tcp: TcpStream,
        source: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let now = Instant::now();
        match self.limits.take(source.ip(), now) {
            Ok(permit) => {
                let algorithms = self.server.shared.settings.spoken_with(source.ip(), self.address);
                let arrival = Arrival { source, local, algorithms };
                let socket = ClientSocket::new(tcp, permit.progress().clone());
                Some(self.server.clone().serve_stream(socket, arrival, permit, self.stages.clone()))
            }
            // no words: whoever is over a limit is mostly no SSH client
            Err(limit) => {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                let said = refused.entry(limit).or_insert_with(|| Repeated::new(BETWEEN_LINES));
                if let Some(times) = said.count(now) {
                    tracing::warn!(%source, %limit, times, "connections refused");
                }
                None
            }
        }
    }

    /// The same of whoever a balancer says that it has connected for: they, and not it, have limits and penalties.
    async fn let_in_balanced(self: Arc<Self>, mut tcp: TcpStream, balancer: SocketAddr, place: BalancedPlace) {
        let header = ProxyHeader::read(&mut tcp).await;
        drop(place);
        match header {
            Ok(ProxyHeader::Client { source, destination }) => {
                if let Some(served) = self.let_in(tcp, source, Some(destination)) {
                    served.await;
                }
            }
            // it looks whether somebody is here, which it has seen
            Ok(ProxyHeader::Local) => {}
            Err(ProxyHeaderError::Broken(error)) => tracing::debug!(%balancer, %error, "a balancer hung up"),
            Err(why) => {
                let algorithms = self.server.shared.settings.algorithms;
                let arrival = Arrival { source: balancer, local: None, algorithms };
                self.server.shared.note_refused(Uuid::new_v4(), &arrival, RefusalCode::ProxyHeader, &why.to_string());
            }
        }
    }
}

/// Between two tries to accept, where the machine has run out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection that was reset before it was accepted is nothing; being out of descriptors takes a moment to get better.
fn pause_after(error: &io::Error) -> Duration {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {
            Duration::ZERO
        }
        _ => ACCEPT_PAUSE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_descriptors_is_waited_out() {
        assert!(!pause_after(&io::Error::from_raw_os_error(24)).is_zero(), "EMFILE");
        assert!(pause_after(&io::ErrorKind::ConnectionAborted.into()).is_zero());
    }
}
