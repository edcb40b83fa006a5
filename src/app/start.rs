//! The product, from its parts to its end.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::configuration::{
    PeopleFault, PolicyError, RealmFault, balancers, evidence_bounds, people, policy, spoken_with, transport_options,
};
use super::control::Control;
use super::evidence::{EvidenceKeyring, archive, encryption, evidence_key, index, published_keys, redaction};
use super::holds::NotedHolds;
use super::reload::{InForce, Reloader};
use super::retention::Retention;
use super::sign_in::{ProviderFault, provider};
use super::sinks::{Delivery, SinksFault, look_at};
use super::user_keys::UserKeyReader;
use crate::backend::lanes::Lanes;
use crate::backend::{Realm, Realms};
use crate::config::{Config, PolicyFile, ProofFiles, ShellTransport, SshdCredential};
use crate::evidence::{EventLog, EvidenceError, Place};
use crate::gateway::{Gateway, GatewayError, HostCa, HostKeys, Settings};
use crate::identity::{KeysOfUsers, People, Roster, SourceListError};
use crate::model::SshdPorts;
use crate::oidc::Provider;
use crate::policy::Policies;
use crate::session::{Registry, SessionOpener};
use crate::ssh::KeyFileError;
use crate::transport::{Transport, UserCa};

/// The product, ready to serve.
#[derive(Debug)]
pub struct App {
    gateway: Gateway,
    reloader: Arc<Reloader>,
    lanes: Arc<dyn Lanes>,
    log: Arc<EventLog>,
    sinks: Option<Arc<Delivery>>,
    registry: Registry,
    retention: Retention,
    holds: NotedHolds,
    /// None where it could not be had; the gateway serves all the same.
    control: Option<Control>,
}

/// How long sessions may take to be terminated at the end; what is left ends at the account's idle limit.
const LAST_SESSIONS: Duration = Duration::from_secs(10);

/// How long the last lines may wait for their disk: a service manager waits for the whole of the end.
const LAST_LINES: Duration = Duration::from_secs(5);

/// How long the sinks may take for what came last; they get the rest after the next start.
const LAST_DELIVERIES: Duration = Duration::from_secs(5);

/// Why the product can't start; each is a sentence.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A host key, or that of an authority of the gateway's.
    #[error(transparent)]
    HostKey(#[from] KeyFileError),
    /// Somebody's key, or role.
    #[error(transparent)]
    People(#[from] PeopleFault),
    /// The provider at which people sign in.
    #[error(transparent)]
    Provider(#[from] ProviderFault),
    /// A realm's name.
    #[error(transparent)]
    Realm(#[from] RealmFault),
    /// The policies.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The event log.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// Where evidence goes besides.
    #[error(transparent)]
    Sinks(#[from] SinksFault),
    /// A network that clients come from.
    #[error(transparent)]
    Network(#[from] SourceListError),
    /// An address.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
}

impl App {
    /// Loads what the configuration names and takes the addresses. Connections are accepted by [`App::run`].
    pub async fn start(
        config: &Config,
        policies: &[PolicyFile],
        proofs: &ProofFiles,
        realms: Vec<Realm>,
        drain: Duration,
    ) -> Result<Self, AppError> {
        let (host_keys, people, provider) = load(config, proofs)?;
        let (roster, in_force) = (Roster::from(people), Policies::new(policy(policies)?));
        let user_keys = UserKeyReader::of(&realms);
        let (realms, lanes) = Realms::of(realms);
        let lanes: Arc<dyn Lanes> = Arc::new(lanes);
        let directory = &config.evidence.directory;
        let (limit, reserve) = (config.evidence.max_bytes, config.evidence.reserve_bytes);
        let key = Arc::new(evidence_key(&config.evidence)?);
        let host_ca = HostCa::load_or_create(&config.host_ca_path())?;
        let user_ca = match config.sshd.credential {
            Some(SshdCredential::UserCa) => Some(UserCa::load_or_create(&config.user_ca_path())?),
            None => None,
        };
        let log = EventLog::open_at(Place { directory, limit, reserve, key: key.clone(), index: Some(index(config)) })?;
        let sinks = Delivery::start(config, &realms).await?;
        if let Some(sinks) = &sinks {
            log.tell(sinks.clone());
        }
        let keyring = EvidenceKeyring::of(&config.evidence);
        log.seal_interrupted(directory, &key, &published_keys(&config.evidence)?, &keyring).await;
        let log = log.redacted(redaction(&config.evidence)?).bounded(evidence_bounds(config));
        let log = log.encrypted(encryption(&config.evidence)?);
        let log = Arc::new(log);
        let transport = Transport::new(&realms, lanes.clone(), transport_options(config, user_ca)?);
        let transport = Arc::new(transport);
        let sessions = SessionOpener::new(roster.clone(), in_force.clone(), realms, transport, log.clone());
        // the agent's own shell has the account's environment
        let sessions =
            sessions.with_shell_marks(config.evidence.shell_marks && config.lanes.shell == ShellTransport::Helper);
        let sessions = sessions.with_sshd_ports(SshdPorts::new(config.all_sshd_ports()));
        let sessions = Arc::new(sessions);
        let control = Control::bind(&config.evidence.directory, sessions.registry());
        let control = control.map(|control| control.telling_of(sinks.clone()));
        let control =
            control.inspect_err(|error| tracing::warn!(%error, "sessions can't be ended from this machine")).ok();
        let registry = sessions.registry().clone();
        let mut settings = Settings::new(&config.limits, &config.environment, config.gateway.banner.as_deref());
        settings.provider = provider;
        settings.algorithms = config.gateway.algorithms;
        settings.algorithms_for = spoken_with(&config.gateway)?;
        settings.balancers = balancers(&config.gateway)?;
        settings.agent_shells = config.lanes.shell == ShellTransport::Agent;
        settings.archive = Some(archive(config));
        settings.drain = drain;
        settings.notice = config.evidence.notice;
        let gateway =
            Gateway::bind(&config.gateway.listen, &host_keys, host_ca, roster.clone(), sessions.clone(), settings)
                .await?;
        let read = InForce {
            config: config.clone(),
            policies: policies.to_vec(),
            proofs: proofs.clone(),
            user_keys: KeysOfUsers::default(),
            told: BTreeSet::new(),
        };
        let reloader = Reloader::new(roster, in_force, sessions, lanes.clone(), log.clone(), user_keys, read)?;
        let reloader = Arc::new(reloader);
        let retention = Retention::new(config, log.clone(), sinks.clone());
        let holds = NotedHolds::new(directory, log.clone());
        Ok(Self { gateway, reloader, lanes, log, sinks, registry, retention, holds, control })
    }

    /// Where it listens, with the ports that were chosen where 0 was asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.gateway.addresses()
    }

    /// What puts another configuration in force.
    pub fn reloader(&self) -> Arc<Reloader> {
        self.reloader.clone()
    }

    /// The event log, to be reopened when somebody has moved it away.
    pub fn event_log(&self) -> Arc<EventLog> {
        self.log.clone()
    }

    /// Serves until `shutdown` comes, lets what runs go on for the drain time, then sees that no session is left behind.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = self.gateway.run(shutdown) => {}
            never = self.reloader.keep_user_keys() => match never {},
            never = tell_heads(&self.log) => match never {},
            never = end_what_is_not_kept(self.sinks.as_deref(), &self.registry) => match never {},
            never = read_preferences(self.sinks.as_deref()) => match never {},
            never = self.retention.keep() => match never {},
            never = self.holds.keep() => match never {},
            never = answer(self.control.as_ref()) => match never {},
        }
        let left = self.lanes.drain(LAST_SESSIONS).await;
        if left > 0 {
            tracing::warn!(left, "sessions could not be terminated in time");
        }
        // what was noted without waiting for it must not die with the process
        if tokio::time::timeout(LAST_LINES, self.log.flush()).await.is_err() {
            tracing::error!("the disk does not take the last lines of the event log");
        }
        if let Some(sinks) = &self.sinks {
            sinks.drain(LAST_DELIVERIES).await;
        }
        if tokio::time::timeout(LAST_LINES, self.log.flush_index()).await.is_err() {
            tracing::warn!("the index does not take what came last; it is read from the folders at the next start");
        }
    }
}

async fn read_preferences(sinks: Option<&Delivery>) -> Infallible {
    match sinks {
        Some(sinks) => sinks.read_preferences().await,
        None => std::future::pending().await,
    }
}

async fn end_what_is_not_kept(sinks: Option<&Delivery>, registry: &Registry) -> Infallible {
    match sinks {
        Some(sinks) => sinks.end_what_is_not_kept(registry).await,
        None => std::future::pending().await,
    }
}

async fn answer(control: Option<&Control>) -> Infallible {
    match control {
        Some(control) => control.serve().await,
        None => std::future::pending().await,
    }
}

/// Tells in the journal, once a minute, how far the folders are of the sessions that run.
async fn tell_heads(log: &EventLog) -> Infallible {
    loop {
        tokio::time::sleep(HEADS_EVERY).await;
        log.rest();
        log.note_heads();
    }
}

/// How far a folder was is told so often.
const HEADS_EVERY: Duration = Duration::from_secs(60);

/// Loads what the configuration names, without making or starting anything: `portcullis check` goes as far as this.
pub fn load(config: &Config, proofs: &ProofFiles) -> Result<(HostKeys, People, Option<Provider>), AppError> {
    let gateway = &config.gateway;
    let host_keys = HostKeys::load(&gateway.host_keys)?.with_certificates(&gateway.host_certificates)?;
    let host_keys = host_keys.with_legacy(&gateway.legacy_host_keys)?;
    // the first start makes one
    HostCa::load(&config.host_ca_path())?;
    if config.sshd.credential == Some(SshdCredential::UserCa) {
        UserCa::load(&config.user_ca_path())?;
    }
    let people = people(config, proofs)?;
    let provider = provider(config)?;
    EventLog::check(&config.evidence.directory)?;
    look_at(config).map_err(SinksFault::Sinks)?;
    Ok((host_keys, people, provider))
}
