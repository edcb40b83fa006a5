//! The service as a whole: one listener, started and stopped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::config::{EmulatorError, ServiceConfig};
use super::documents::DocumentStore;
#[cfg(test)]
use super::faults::Faults;
use super::http::caller::Arrival;
use super::http::front::handle;
use super::http::keys::KeyStore;
use super::http::tls::Tls;
use super::id_tokens::IdentityProviders;
use super::nodes::Nodes;
use super::relay::faults::FaultState;
use super::sessions::Sessions;
use super::ssh_keys::SshKeys;
use super::state::Shared;
use super::trail::Trail;

/// A running embedded Session Manager. Dropping it stops it; [`Self::shutdown`] also waits until it has stopped.
pub struct Service {
    address: SocketAddr,
    url: String,
    ca_pem: Option<String>,
    shared: Arc<Shared>,
    stop_on_drop: DropGuard,
}

impl Service {
    /// Starts listening. Calls are answered as soon as this returns.
    pub async fn start(config: ServiceConfig) -> Result<Self, EmulatorError> {
        if config.tls.is_none() && !config.listen.ip().is_loopback() {
            return Err(EmulatorError::PlainOnNetwork(config.listen));
        }
        let failed = |source| EmulatorError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let host = advertised(config.advertise.as_deref(), address);
        let tls = match &config.tls {
            Some(choice) => Some(Tls::new(choice, address, &host).map_err(EmulatorError::Tls)?),
            None => None,
        };
        let now = OffsetDateTime::now_utc();
        let documents = DocumentStore::new(config.preferences.as_deref(), config.refuse_separate_output_stream, now)
            .map_err(EmulatorError::Preferences)?;
        let secure = if tls.is_some() { "s" } else { "" };
        let faults = Arc::new(FaultState::new());
        config.faults.into_iter().for_each(|fault| faults.add(fault));
        let trail = config.trail.as_deref().map(|path| {
            let failed = |source| EmulatorError::Trail { path: path.to_owned(), source };
            Trail::open(path, &config.region, &config.account).map_err(failed)
        });
        let trail = trail.transpose()?;
        let shared = Arc::new(Shared {
            websocket_url: format!("ws{secure}://{host}"),
            ssh_keys: SshKeys::of_users(&config.keys),
            keys: KeyStore::new(&config.region, config.keys, config.roles)?,
            providers: IdentityProviders::new(&config.account, config.identity_providers)?,
            trail,
            nodes: Arc::new(Nodes::new(&config.nodes)),
            documents,
            sessions: Arc::new(Sessions::new(config.limits, config.pause_publication, faults.clone())),
            faults,
            region: config.region,
            account: config.account,
            minute: config.minute,
            token_lifetime: config.token_lifetime,
            require_signed_upgrade: config.require_signed_upgrade,
            most_message: config.limits.message,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let (ca_pem, acceptor) = match tls {
            Some(tls) => (tls.ca_pem, Some(tls.acceptor)),
            None => (None, None),
        };
        let places = Arc::new(Semaphore::new(config.limits.connections));
        shared.tasks.spawn(accept(shared.clone(), listener, acceptor, places));
        shared.tasks.spawn(keep_time(shared.clone()));
        let url = format!("http{secure}://{host}");
        tracing::info!(url, "the embedded Session Manager is listening");
        let stop_on_drop = shared.stop.clone().drop_guard();
        Ok(Self { address, url, ca_pem, shared, stop_on_drop })
    }

    /// The endpoint for every one of its services: `http://127.0.0.1:PORT`, or `https` with TLS.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate of the authority made at start, PEM; clients must trust it.
    pub fn ca_pem(&self) -> Option<String> {
        self.ca_pem.clone()
    }

    /// A handle for making things go wrong.
    #[cfg(test)]
    pub fn faults(&self) -> Faults {
        Faults {
            sessions: self.shared.sessions.clone(),
            nodes: self.shared.nodes.clone(),
            state: self.shared.faults.clone(),
        }
    }

    /// Whether a node's agent is connected.
    #[cfg(test)]
    pub fn is_connected(&self, node: &str) -> bool {
        self.shared.nodes.control(node).is_some()
    }

    /// Stops, and waits until every task has ended.
    pub async fn shutdown(self) {
        let Self { shared, stop_on_drop, .. } = self;
        drop(stop_on_drop);
        shared.tasks.close();
        if tokio::time::timeout(SHUTDOWN, shared.tasks.wait()).await.is_err() {
            tracing::warn!("the embedded Session Manager has tasks left after shutting down");
        }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Host and port for URLs.
fn advertised(advertise: Option<&str>, address: SocketAddr) -> String {
    match advertise {
        Some(host) if host.ends_with(']') || !host.contains(':') => format!("{host}:{}", address.port()),
        Some(host) => host.to_owned(),
        None if address.ip().is_unspecified() => format!("127.0.0.1:{}", address.port()),
        None => address.to_string(),
    }
}

async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    places: Arc<Semaphore>,
) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = accept_one(&listener, &places) => accepted,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: some will come back.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (connection, acceptor) = (shared.clone(), acceptor.clone());
        let arrival = Arrival { address: peer.ip().to_canonical(), secure: acceptor.is_some() };
        shared.tasks.spawn(async move {
            let _ = stream.set_nodelay(true);
            let stop = connection.stop.clone();
            let serving = async {
                match acceptor {
                    None => serve(connection, arrival, permit, stream).await,
                    Some(acceptor) => {
                        let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
                        match handshake.await {
                            Ok(Ok(stream)) => serve(connection, arrival, permit, stream).await,
                            Ok(Err(error)) => tracing::debug!(%error, "no TLS"),
                            Err(_) => tracing::debug!("no TLS in time"),
                        }
                    }
                }
            };
            tokio::select! {
                () = serving => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn accept_one(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // The place comes first: with none free, callers wait in the system's queue.
    let permit = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

async fn serve<S>(shared: Arc<Shared>, arrival: Arrival, permit: OwnedSemaphorePermit, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let permit = Arc::new(permit);
    let service = service_fn(move |mut request: Request<_>| {
        request.extensions_mut().insert(arrival);
        handle(shared.clone(), permit.clone(), request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// Ends sessions that are idle or too old, and tells their nodes.
async fn keep_time(shared: Arc<Shared>) {
    let every = (shared.minute / 60).clamp(Duration::from_millis(10), Duration::from_secs(1));
    let mut clock = tokio::time::interval(every);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = clock.tick() => {}
        }
        for (session, text) in shared.sessions.tick(Instant::now()) {
            shared.nodes.tell_closed(session.target(), session.id(), text);
        }
    }
}

const HANDSHAKE: Duration = Duration::from_secs(10);
/// Idle keep-alive connections count too.
const HEADERS: Duration = Duration::from_secs(60);
const SHUTDOWN: Duration = Duration::from_secs(5);
