//! The SSH server on one stream of bytes, whatever carries it.
//!
//! ```text
//!  stream ─▶ PreauthStream (deadline, byte cap) ─▶ buffer ─▶ russh ─▶ ClientHandler
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use russh::AlgorithmKind;
use russh::server::Handle;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::sync::watch;
use uuid::Uuid;

use super::arrival::Arrival;
use super::auth::questions::Questions;
use super::balanced::Balanced;
use super::connection::Connection;
use super::connection_limits::Permit;
use super::guesses::Guesses;
use super::handler::ClientHandler;
use super::host_ca::NodeHosts;
use super::preauth_stream::{PreauthStream, Reached, Time};
use super::prompts::Prompts;
use super::settings::Settings;
use super::shared::Shared;
use super::shares::Shares;
use super::stage::{LAST_WORDS, SHUTTING_DOWN, Stage, comes};
use crate::config::Algorithms;
use crate::evidence::{Event, LoginRefused};
use crate::identity::{Roster, SecondFactors};
use crate::model::{RefusalCode, plain_text_up_to};
use crate::session::SessionOpener;

/// Serves clients, each on a stream of its own.
#[derive(Clone, Debug)]
pub(super) struct Server {
    configs: Arc<HashMap<Algorithms, Arc<russh::server::Config>>>,
    pub(super) shared: Arc<Shared>,
}

impl Server {
    pub(super) fn new(hosts: NodeHosts, people: Roster, sessions: Arc<SessionOpener>, settings: Settings) -> Self {
        let config = |algorithms| (algorithms, settings.russh(hosts.keys(), algorithms));
        let configs = Arc::new(Algorithms::ALL.map(config).into());
        let environment = settings.allowed_environment();
        let shares = Arc::new(Shares::new(&settings.limits));
        let (factors, questions, guesses) = (SecondFactors::default(), Questions::default(), Guesses::default());
        let (prompts, balanced) = (Prompts::new(settings.prompts), Balanced::default());
        let shared = Shared {
            hosts,
            people,
            factors,
            questions,
            balanced,
            guesses,
            prompts,
            sessions,
            settings,
            shares,
            environment,
        };
        Self { configs, shared: Arc::new(shared) }
    }

    /// Serves one client to its end, or to the gateway's.
    pub(super) async fn serve_stream<S>(
        self,
        stream: S,
        arrival: Arrival,
        permit: Permit,
        stages: watch::Receiver<Stage>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(config) = self.configs.get(&arrival.algorithms).cloned() else { return };
        let connection = Connection::new(self.shared, arrival, permit, stages);
        serve(config, stream, connection).await;
    }
}

/// Serves a connection, whatever carries it, to its end or to the gateway's.
pub(super) async fn serve<S>(config: Arc<russh::server::Config>, stream: S, connection: Connection)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let limits = &connection.shared.settings.limits;
    let time = Time { login: seconds(limits.login_seconds), answer: seconds(limits.answer_seconds) };
    // the handler goes as soon as the library has done with it; the permit stays until the stream is closed
    let permit = connection.permit().clone();
    let progress = permit.progress().clone();
    // a packet is read in two steps; one system call is enough for both, and for the next few
    let stream = BufReader::with_capacity(READ_BUFFER, PreauthStream::new(stream, time, progress.clone()));
    let (shared, id, arrival) = (connection.shared.clone(), connection.id, connection.arrival());
    let source = arrival.source;
    let (ending, mut stages) = (connection.ending().clone(), connection.stages().clone());
    let started = russh::server::run_stream(config, stream, ClientHandler(connection)).await;
    let ended = match started {
        Err(error) => Err(error),
        Ok(mut running) => {
            progress.reach(Reached::Identified);
            let handle = running.handle();
            tokio::select! {
                ended = &mut running => ended,
                // sessions had their time before this, and were told why they end
                () = comes(&mut stages, Stage::Ending) => {
                    // a client whose last session has just ended hangs up by itself when it has shown why; ssh throws
                    // away what it has not shown yet when a disconnection comes right behind it
                    if let Ok(ended) = tokio::time::timeout(HANG_UP, &mut running).await {
                        ended
                    } else {
                        disconnect(&handle, russh::Disconnect::ByApplication, SHUTTING_DOWN).await;
                        tokio::time::timeout(LAST_WORDS / 2, running).await.unwrap_or(Ok(()))
                    }
                }
                why = ending.comes() => {
                    tracing::info!(connection = %id, %source, reason = %why, "connection ended by the gateway");
                    disconnect(&handle, why.disconnect(), &why.to_string()).await;
                    if let Ok(ended) = tokio::time::timeout(LAST_WORDS / 2, &mut running).await {
                        ended
                    } else {
                        // it reads nothing: what it holds must go all the same
                        progress.cut();
                        running.await
                    }
                }
            }
        }
    };
    if let Err(russh::Error::NoCommonAlgo { kind, theirs, .. }) = &ended {
        shared.note_no_common_algorithm(id, &arrival, kind, theirs);
    }
    if progress.has_claimed_another() {
        shared.note_refused(id, &arrival, RefusalCode::ProxyHeader, STRANGER);
    }
    let (received, sent) = progress.bytes();
    match ended {
        Ok(()) => tracing::debug!(connection = %id, %source, received, sent, "connection ended"),
        Err(error) => tracing::debug!(connection = %id, %source, received, sent, %error, "connection ended"),
    }
}

impl Shared {
    /// Nothing was tried that the connection's own event could tell of.
    fn note_no_common_algorithm(&self, id: Uuid, arrival: &Arrival, kind: &AlgorithmKind, theirs: &[String]) {
        let kind = match kind {
            AlgorithmKind::Kex => "key exchange",
            AlgorithmKind::Key => "host key",
            AlgorithmKind::Cipher => "cipher",
            AlgorithmKind::Mac => "MAC",
            AlgorithmKind::Compression => "compression",
        };
        let theirs = plain_text_up_to(LONGEST_LIST, &theirs.join(","));
        let reason = format!("no {kind} in common; the client has {theirs}");
        self.note_refused(id, arrival, RefusalCode::NoCommonAlgorithm, &reason);
    }

    /// Leaves the event of a connection that ended before anything could be tried on it.
    pub(super) fn note_refused(&self, id: Uuid, arrival: &Arrival, code: RefusalCode, reason: &str) {
        let refused = LoginRefused {
            source: arrival.source,
            login: "",
            earlier_logins: &[],
            methods: &[],
            keys: String::new(),
            algorithms: &[],
            profile: arrival.algorithms.name(),
            code,
            reason,
        };
        self.sessions.note(id, &Event::LoginRefused(refused));
    }
}

/// Whoever is believed when they say where they come from is listed.
const STRANGER: &str =
    "a header of the PROXY protocol came from an address that is in no network of gateway.proxy_protocol.from";

/// How much of what a client offers stands in an event.
const LONGEST_LIST: usize = 400;

/// `SSH_MSG_DISCONNECT` (RFC 4253, section 11.1), for a client that still reads.
async fn disconnect(handle: &Handle, why: russh::Disconnect, text: &str) {
    let sent = handle.disconnect(why, text.to_owned(), String::new());
    let _ = tokio::time::timeout(LAST_WORDS / 2, sent).await;
}

/// How long a client may take to hang up by itself at the gateway's end: a round trip and what it does meanwhile.
pub(super) const HANG_UP: Duration = Duration::from_millis(500);

/// A few small packets, or the beginning of a long one, whose rest goes past it; idle connections have it as well.
const READ_BUFFER: usize = 8 * 1024;
