//! The accept loop: survives what `accept` can fail with, keeps to the limits, and drains at the end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::Connection;
use super::connection_limits::{ConnectionLimits, Permit};
use super::handler::ClientHandler;
use super::hostkeys::HostKeys;
use super::preauth_stream::{PreauthStream, Progress};
use super::settings::Settings;
use super::shared::Shared;
use crate::identity::People;
use crate::session::{Registry, SessionOpener};

/// A gateway that has its addresses.
#[derive(Debug)]
pub struct Gateway {
    listeners: Vec<TcpListener>,
    config: Arc<russh::server::Config>,
    shared: Arc<Shared>,
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
        people: People,
        sessions: Arc<SessionOpener>,
        settings: Settings,
    ) -> Result<Self, GatewayError> {
        if host_keys.keys().is_empty() {
            return Err(GatewayError::NoHostKey);
        }
        let mut listeners = Vec::new();
        for &address in addresses {
            let listener = TcpListener::bind(address).await;
            listeners.push(listener.map_err(|source| GatewayError::Listen { address, source })?);
        }
        let limits = Arc::new(ConnectionLimits::new(&settings));
        let config = settings.russh(host_keys);
        let environment = settings.allowed_environment();
        let shared = Arc::new(Shared { people, sessions, settings, environment });
        Ok(Self { listeners, config, shared, limits })
    }

    /// The addresses, with the ports that were chosen where 0 was asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves until `shutdown` comes, then lets what runs go on for the drain time, ends what is left then, and comes back
    /// when all is closed.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stage, stages) = watch::channel(Stage::Serving);
        let mut accepting = JoinSet::new();
        let (drain, sessions) = (self.shared.settings.drain, self.shared.sessions.clone());
        for listener in self.listeners {
            let (config, shared, limits) = (self.config.clone(), self.shared.clone(), self.limits.clone());
            accepting.spawn(accept(listener, config, shared, limits, stages.clone()));
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

/// Where the gateway is in its life; it only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Connections are accepted.
    Serving,
    /// Those that are there may go on.
    Draining,
    /// They may not, either.
    Ending,
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

/// What people read whose sessions or connections are ended by the gateway's end.
const SHUTTING_DOWN: &str = "the gateway is shutting down";

/// How long sessions that are ended may take, and how long their connections.
const LAST_WORDS: Duration = Duration::from_secs(2);

async fn accept(
    listener: TcpListener,
    config: Arc<russh::server::Config>,
    shared: Arc<Shared>,
    limits: Arc<ConnectionLimits>,
    mut stages: watch::Receiver<Stage>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = comes(&mut stages, Stage::Draining) => break,
        };
        match accepted {
            Ok((tcp, source)) => {
                let progress = Arc::new(Progress::default());
                match limits.take(source.ip(), progress.clone()) {
                    Ok(permit) => {
                        let client = Client { tcp, source, permit, progress };
                        connections.spawn(serve(client, config.clone(), shared.clone(), stages.clone()));
                    }
                    // no words: whoever is over a limit is mostly no SSH client
                    Err(limit) => tracing::warn!(%source, %limit, "connection refused"),
                }
            }
            Err(error) => {
                // out of file descriptors or memory: what runs goes on, new ones wait
                tracing::warn!(%error, "accept failed");
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

/// Waits for a stage of the gateway's life; if nobody leads it any more, that is the end as well.
async fn comes(stages: &mut watch::Receiver<Stage>, stage: Stage) {
    let _ = stages.wait_for(|now| *now >= stage).await;
}

/// A small packet or two; what is longer goes past it.
const READ_BUFFER: usize = 16 * 1024;

/// A connection that was reset before it was accepted is nothing; being out of descriptors takes a moment to get better.
fn pause_after(error: &io::Error) -> Duration {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {
            Duration::ZERO
        }
        _ => Duration::from_millis(100),
    }
}

/// Somebody who has connected.
struct Client {
    tcp: TcpStream,
    source: SocketAddr,
    permit: Permit,
    progress: Arc<Progress>,
}

async fn serve(
    client: Client,
    config: Arc<russh::server::Config>,
    shared: Arc<Shared>,
    mut stages: watch::Receiver<Stage>,
) {
    let Client { tcp, source, permit, progress } = client;
    // keystrokes must not wait for each other
    let _ = tcp.set_nodelay(true);
    let login = Duration::from_secs(u64::from(shared.settings.limits.login_seconds));
    let permit = Arc::new(permit);
    // a packet is read in two steps; one system call is enough for both, and for the next few
    let stream = BufReader::with_capacity(READ_BUFFER, PreauthStream::new(tcp, login, progress.clone()));
    let connection = Connection::new(shared, source, progress.clone(), permit.clone());
    let id = connection.id;
    let started = russh::server::run_stream(config, stream, ClientHandler(connection)).await;
    let ended = match started {
        Err(error) => Err(error),
        Ok(mut running) => {
            let handle = running.handle();
            tokio::select! {
                ended = &mut running => ended,
                () = comes(&mut stages, Stage::Ending) => {
                    let bye = SHUTTING_DOWN.to_owned();
                    let sent = handle.disconnect(russh::Disconnect::ByApplication, bye, String::new());
                    let _ = tokio::time::timeout(LAST_WORDS / 2, sent).await;
                    tokio::time::timeout(LAST_WORDS / 2, running).await.unwrap_or(Ok(()))
                }
            }
        }
    };
    let (received, sent) = progress.bytes();
    match ended {
        Ok(()) => tracing::debug!(connection = %id, %source, received, sent, "connection ended"),
        Err(error) => tracing::debug!(connection = %id, %source, received, sent, %error, "connection ended"),
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
