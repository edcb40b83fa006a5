//! Evidence on its way out of this host: what evidence tells is handed to the sinks, and where they must have it and do not get it no
//! session goes on.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use portcullis_folder::Manifest;
use portcullis_sinks::{Options, SessionName, SinkConfig, SinkError, SinkHealth, Sinks, SinksState, SpoolPlace};
use time::OffsetDateTime;
use uuid::Uuid;

use super::agent_logs::AgentLogs;
use super::evidence::evidence_name;
use crate::backend::aws::{AwsOptions, Place, source};
use crate::backend::{BackendError, Realms};
use crate::config::{Config, Evidence};
use crate::evidence::{EvidenceError, Outlet, ToldEvent};
use crate::session::Registry;

/// Why evidence can't be brought elsewhere.
#[derive(Debug, thiserror::Error)]
pub enum SinksFault {
    /// The spool, or what is configured.
    #[error(transparent)]
    Sinks(#[from] SinkError),
    /// AWS.
    #[error("evidence.sinks: {0}")]
    Aws(BackendError),
}

/// The sinks, as evidence tells them.
#[derive(Debug)]
pub(super) struct Delivery {
    sinks: Sinks,
    agent_logs: Option<AgentLogs>,
    evidence: PathBuf,
    again: Mutex<VecDeque<Again>>,
    /// For work on threads of their own.
    this: Weak<Self>,
}

/// A folder that could not be handed on: its mark stays in `open/` until it is.
#[derive(Clone, Debug)]
struct Again {
    folder: String,
    manifest: Arc<Manifest>,
    /// Whether the sinks have it, and only its log for the account is left.
    sinks_have_it: bool,
}

/// Why a folder waits to be handed on.
#[derive(Debug, thiserror::Error)]
enum NotHanded {
    #[error(transparent)]
    Sinks(SinkError),
    #[error("the account's session preferences are not known yet, so neither is where its log goes; it is tried again")]
    PreferencesUnknown,
}

/// The spool's folder in the evidence directory.
const SPOOL: &str = "spool";

/// How many folders are tried again while the gateway runs; those beyond are handed on by the next start.
const MOST_AGAIN: usize = 1000;

/// How often they are, and how many may fail before the others wait for the next time.
const TRY_AGAIN: Duration = Duration::from_secs(30);
const FAILURES: usize = 3;

/// How often it is looked whether sessions may go on.
const LOOK: Duration = Duration::from_secs(1);

impl Delivery {
    /// Starts what is configured; nothing where there is none. The evidence directory must be this gateway's alone by now.
    pub(super) async fn start(config: &Config, realms: &Realms) -> Result<Option<Arc<Self>>, SinksFault> {
        let evidence = &config.evidence;
        let sinks = evidence.sinks.sinks();
        let agent_logs = AgentLogs::of(config, realms);
        if sinks.is_empty() && agent_logs.is_none() {
            return Ok(None);
        }
        let of_realms = config.realms.iter().filter(|realm| realm.evidence_replaces_agent_logging).map(of_realm);
        let aws = source(of_sinks(&sinks).chain(of_realms).collect()).await.map_err(SinksFault::Aws)?;
        let mut options = Options::new(&evidence_name(evidence), sinks, place(evidence), aws);
        options.limits = evidence.sinks.spool.clone();
        let (evidence, sinks) = (evidence.directory.clone(), Sinks::start(options)?);
        let again = Mutex::default();
        Ok(Some(Arc::new_cyclic(|this| Self { sinks, agent_logs, evidence, again, this: this.clone() })))
    }

    /// Reads what accounts want of their sessions' logs, and hands on again what could not be, for ever.
    pub(super) async fn read_preferences(&self) -> std::convert::Infallible {
        let read = async {
            match &self.agent_logs {
                Some(logs) => logs.read().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            never = read => never,
            never = self.hand_on_again() => never,
        }
    }

    async fn hand_on_again(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(TRY_AGAIN).await;
            if let Some(this) = self.this.upgrade() {
                let _ = tokio::task::spawn_blocking(move || this.hand_on_all_again()).await;
            }
        }
    }

    fn hand_on_all_again(&self) {
        let (mut left, mut failures) = (self.again().len(), 0);
        while left > 0 && failures < FAILURES {
            left -= 1;
            let Some(Again { folder, manifest, sinks_have_it }) = self.again().pop_front() else { return };
            match self.hand_on(&manifest, &folder, sinks_have_it) {
                Ok(()) => {
                    tracing::info!(folder, "a folder is handed to the sinks that could not be before");
                    // the mark goes as it does when a folder is handed on at once; the next start would find the same
                    let mark = self.evidence.join("open").join(folder.replace('/', "_"));
                    if let Err(error) = std::fs::remove_file(&mark) {
                        tracing::warn!(%error, folder, "the mark of a folder that is handed on can't be removed");
                    }
                }
                // it is in the list again
                Err(NotHanded::Sinks(_)) => failures += 1,
                Err(NotHanded::PreferencesUnknown) => {}
            }
        }
    }

    fn again(&self) -> MutexGuard<'_, VecDeque<Again>> {
        self.again.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands it to the sinks and to what the account wants of it. What could not be is tried again.
    fn hand_on(&self, manifest: &Arc<Manifest>, folder: &str, sinks_have_it: bool) -> Result<(), NotHanded> {
        let to_sinks = if sinks_have_it { Ok(()) } else { self.sinks.sealed(manifest.session, folder) };
        let sinks_have_it = to_sinks.is_ok();
        let handed = to_sinks.map_err(NotHanded::Sinks).and_then(|()| self.queue_logs(manifest, folder));
        if handed.is_err() {
            let mut again = self.again();
            if again.len() < MOST_AGAIN {
                again.push_back(Again { folder: folder.to_owned(), manifest: Arc::clone(manifest), sinks_have_it });
            }
        }
        handed
    }

    fn queue_logs(&self, manifest: &Manifest, folder: &str) -> Result<(), NotHanded> {
        // what is encrypted here is sent nowhere in the clear; a configuration that wants both is refused
        let Some(logs) = self.agent_logs.as_ref().filter(|_| manifest.encryption.is_none()) else { return Ok(()) };
        let logs = logs.of_session(manifest).ok_or(NotHanded::PreferencesUnknown)?;
        let queued = |log| self.sinks.agent_log(manifest.session, vec![folder.to_owned()], log);
        logs.into_iter().try_for_each(queued).map_err(NotHanded::Sinks)
    }

    /// How each sink is.
    pub(super) fn health(&self) -> Vec<SinkHealth> {
        self.sinks.health()
    }

    /// When the last of the sinks that must have a folder has acknowledged it; none where one has not, or where any still waits for it.
    pub(super) fn delivered(&self, waiting: &BTreeSet<Uuid>, session: Uuid, folder: &str) -> Option<OffsetDateTime> {
        if waiting.contains(&session) {
            return None;
        }
        self.sinks.delivered(folder).ok().flatten()
    }

    /// The sessions whose folders a sink waits for.
    pub(super) fn waiting(&self) -> Result<BTreeSet<Uuid>, SinkError> {
        self.sinks.waiting()
    }

    /// A folder is gone.
    pub(super) fn forget(&self, folder: &str) {
        if let Err(error) = self.sinks.forget(folder) {
            tracing::warn!(%error, "the receipts of a folder that was deleted stay");
        }
    }

    /// Ends what runs while evidence does not reach where it must; what would begin is refused by its record.
    pub(super) async fn end_what_is_not_kept(&self, registry: &Registry) -> std::convert::Infallible {
        let mut state = self.sinks.state();
        loop {
            // the sender goes with the sinks, which are here
            let _ = state.wait_for(|state| *state != SinksState::Fine).await;
            while let Some(why) = self.down() {
                let why = EvidenceError::Away(why).to_string();
                let ended = registry.running().iter().filter(|session| registry.kill(session.id, &why)).count();
                if ended > 0 {
                    tracing::error!(ended, why, "sessions are ended");
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Waits until the sinks have what is there, at most so long: the rest is theirs after the next start.
    pub(super) async fn drain(&self, patience: Duration) {
        if !self.sinks.drain(patience).await {
            tracing::warn!("the sinks do not have all of the evidence yet; they get it after the next start");
        }
    }
}

impl Outlet for Delivery {
    fn event(&self, event: ToldEvent<'_>) -> Result<(), String> {
        let ToldEvent { session, person, node, time, name, line, last } = event;
        let of = SessionName { session, person: person.to_owned(), node: node.to_owned() };
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time) * 1_000_000);
        let at = at.unwrap_or_else(|_| OffsetDateTime::now_utc());
        let told =
            if last { self.sinks.last_event(&of, at, name, line) } else { self.sinks.event(&of, at, name, line) };
        told.map_err(|error| error.to_string())
    }

    fn anchor(&self, note: &str) {
        if let Err(error) = self.sinks.anchor(OffsetDateTime::now_utc(), note) {
            tracing::error!(%error, "a head is not kept outside this host");
        }
    }

    fn sealed(&self, manifest: &Manifest, folder: &str) -> Result<(), String> {
        self.hand_on(&Arc::new(manifest.clone()), folder, false).map_err(|error| error.to_string())
    }

    fn down(&self) -> Option<String> {
        match &*self.sinks.state().borrow() {
            SinksState::Fine => None,
            SinksState::Down { why, .. } => Some(why.clone()),
        }
    }
}

fn place(evidence: &Evidence) -> SpoolPlace {
    SpoolPlace { directory: evidence.directory.join(SPOOL), evidence: evidence.directory.clone() }
}

/// The gateway's own credentials of a realm, for logs in its account.
fn of_realm(realm: &crate::config::Realm) -> Place {
    let options = AwsOptions {
        region: realm.region.clone(),
        profile: realm.profile.clone(),
        ca_bundle: realm.ca_bundle.clone(),
        proxy: realm.proxy.clone(),
        ..AwsOptions::default()
    };
    Place { name: realm.name.clone(), realm: true, options, local: false }
}

/// The gateway's own credentials, for each sink in its region.
fn of_sinks(sinks: &[SinkConfig]) -> impl Iterator<Item = Place> + '_ {
    let of_sink = |sink: &SinkConfig| {
        let (region, endpoint) = match sink {
            SinkConfig::S3(s3) => (&s3.region, &s3.endpoint),
            SinkConfig::CloudWatch(logs) => (&logs.region, &logs.endpoint),
            SinkConfig::Syslog(_) => return None,
        };
        let options = AwsOptions { region: region.clone(), ..AwsOptions::default() };
        let local = endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
        Some(Place { name: sink.name().to_owned(), realm: false, options, local })
    };
    sinks.iter().filter_map(of_sink)
}

/// What can be found out without asking anybody: that files of a sink are there, and are what they should be.
pub(super) fn look_at(config: &Config) -> Result<(), SinkError> {
    config.evidence.sinks.sinks().iter().try_for_each(portcullis_sinks::look_at)
}

/// Which anchors are read back.
#[derive(Clone, Debug)]
pub struct AnchorsFrom {
    /// The sink's name; the first that gets anchors and can be asked where it isn't said.
    pub sink: Option<String>,
    /// From when, and until when.
    pub range: portcullis_sinks::Range,
    /// The file that is made.
    pub file: PathBuf,
}

/// Reads anchors back from a sink into a file, for whoever verifies; how many there are, and which sink had them.
pub async fn fetch_anchors(config: &Config, from: &AnchorsFrom) -> Result<(String, u64), String> {
    let sinks = config.evidence.sinks.sinks();
    let can_be_asked = |sink: &&SinkConfig| sink.anchor() && !matches!(sink, SinkConfig::Syslog(_));
    let sink = match &from.sink {
        Some(name) => {
            sinks.iter().find(|sink| sink.name() == name).ok_or_else(|| format!("there is no sink {name}"))?
        }
        None => sinks.iter().find(can_be_asked).ok_or("no sink is configured that has anchors and can be asked")?,
    };
    let aws = source(of_sinks(std::slice::from_ref(sink)).collect()).await.map_err(|error| error.to_string())?;
    let gateway = evidence_name(&config.evidence);
    let count = portcullis_sinks::fetch_anchors(sink, &gateway, &aws, from.range, &from.file).await;
    count.map(|count| (sink.name().to_owned(), count)).map_err(|failure| failure.to_string())
}
