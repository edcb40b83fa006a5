//! Folders go after their time: the gateway looks once a day.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use portcullis_sinks::retention::{Deleted, Policy, RetentionError, Sweeping, sweep};
use time::OffsetDateTime;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::sinks::Delivery;
use crate::config::Config;
use crate::evidence::{EventLog, SessionDeleted};

/// What the legal holds are in, in the evidence directory.
pub const HOLDS: &str = "holds.json";

/// So many folders go at once: they are told in the journal before, one by one.
const AT_ONCE: usize = 1000;

/// How soon after the start, and how often then. Where a thousand went there may be more.
const FIRST: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);
const NEXT: Duration = Duration::from_secs(10);

/// What is to be deleted, and whom it concerns.
#[derive(Clone, Debug)]
pub(super) struct Retention {
    policy: Policy,
    evidence: std::path::PathBuf,
    log: Arc<EventLog>,
    sinks: Option<Arc<Delivery>>,
}

impl Retention {
    pub(super) fn new(config: &Config, log: Arc<EventLog>, sinks: Option<Arc<Delivery>>) -> Self {
        let evidence = &config.evidence;
        Self { policy: evidence.retention.clone(), evidence: evidence.directory.clone(), log, sinks }
    }

    /// Once a day, for ever.
    pub(super) async fn keep(&self) -> Infallible {
        if self.policy == Policy::default() {
            return std::future::pending().await;
        }
        let mut pause = FIRST;
        loop {
            tokio::time::sleep(pause).await;
            pause = match self.sweep(OffsetDateTime::now_utc()).await {
                Ok(gone) => {
                    if !gone.is_empty() {
                        tracing::info!(folders = gone.len(), "folders of sessions were deleted: their time was over");
                    }
                    if gone.len() < AT_ONCE { EVERY } else { NEXT }
                }
                Err(error) => {
                    tracing::error!(%error, "retention");
                    EVERY
                }
            };
        }
    }

    /// Deletes what is due now.
    async fn sweep(&self, now: OffsetDateTime) -> Result<Vec<Deleted>, RetentionError> {
        let (this, runtime) = (self.clone(), Handle::current());
        let swept = tokio::task::spawn_blocking(move || {
            let waiting = this.sinks.as_ref().map(|sinks| sinks.waiting()).transpose();
            let waiting = waiting.map_err(|error| RetentionError::Disk(error.to_string()))?.unwrap_or_default();
            let mut sweeper = Sweeper { of: &this, waiting, runtime };
            sweep(&this.evidence, &this.policy, &this.evidence.join(HOLDS), now, AT_ONCE, &mut sweeper)
        });
        swept.await.unwrap_or_else(|error| Err(RetentionError::Disk(error.to_string())))
    }
}

/// One sweep.
struct Sweeper<'a> {
    of: &'a Retention,
    /// What a sink waits for.
    waiting: BTreeSet<Uuid>,
    runtime: Handle,
}

impl Sweeping for Sweeper<'_> {
    fn delivered(&mut self, folder: &str) -> Option<OffsetDateTime> {
        let Some(sinks) = &self.of.sinks else { return Some(OffsetDateTime::UNIX_EPOCH) };
        let session = folder.split_once('/').and_then(|(_, session)| session.parse().ok())?;
        sinks.delivered(&self.waiting, session, folder)
    }

    fn tell(&mut self, deleted: &Deleted) -> Result<(), String> {
        let Deleted { folder, person, node, realm, .. } = deleted;
        let event = SessionDeleted { folder, person, node, realm };
        let told = self.of.log.record_deletion(deleted.session, &event);
        self.runtime.block_on(told).map_err(|error| error.to_string())
    }

    fn gone(&mut self, session: Uuid, folder: &str) {
        self.of.log.deleted(session);
        if let Some(sinks) = &self.of.sinks {
            sinks.forget(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_folder::{Depth, Journal, SigningKey, verify_journal};
    use portcullis_sinks::retention::{Hold, HoldOn, Holds};

    use super::*;
    use crate::evidence::{Opening, Outcome, Place, SessionRecord};
    use crate::policy::{Action, Grant};

    #[tokio::test]
    async fn a_chain_is_whole_after_a_deletion_and_what_is_on_hold_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (key, _) = SigningKey::generate("portcullis/gate-1").unwrap();
        let place = Place { directory: dir.path(), limit: 1 << 30, reserve: 0, key: Arc::new(key), index: None };
        let keys = [place.key.verifying_key().clone()];
        let log = Arc::new(EventLog::open_at(place).unwrap());
        let mut sessions = Vec::new();
        for _ in 0..2 {
            let grant = Grant::for_test("web-1", Action::Files);
            let record = SessionRecord::open(&log, &grant, Opening::for_test()).await.unwrap();
            sessions.push(record.id());
            record.close(&Outcome::Finished).await.unwrap();
        }
        log.flush().await;
        let hold = Hold {
            on: HoldOn::Session(sessions[0]),
            by: "counsel".to_owned(),
            why: "case 7".to_owned(),
            since: "2026-11-30T00:00:00Z".to_owned(),
        };
        Holds { holds: vec![hold] }.store(&dir.path().join(HOLDS)).unwrap();
        let mut config = Config::default();
        config.evidence.directory = dir.path().to_owned();
        config.evidence.retention.days = Some(30);
        let retention = Retention::new(&config, log.clone(), None);
        let now = OffsetDateTime::now_utc();
        assert_eq!(retention.sweep(now + time::Duration::days(29)).await.unwrap(), []);
        let gone = retention.sweep(now + time::Duration::days(31)).await.unwrap();
        assert_eq!(gone.iter().map(|gone| gone.session).collect::<Vec<_>>(), [sessions[1]]);
        log.flush().await;
        drop((retention, log));
        let (logs, checkpoints) = ([dir.path().join("events.jsonl")], [dir.path().join("events.checkpoints")]);
        let journal = Journal {
            logs: &logs,
            checkpoints: &checkpoints,
            evidence: Some(dir.path()),
            anchors: &[],
            keys: &keys,
            depth: Depth::Whole,
        };
        let report = verify_journal(&journal);
        assert_eq!((report.faults.clone(), report.sessions.deleted, report.sessions.verified), (vec![], 1, 1));
        // and one that goes by another hand is missed
        let day = portcullis_folder::day_of(now);
        std::fs::remove_dir_all(dir.path().join("sessions").join(day).join(sessions[0].to_string())).unwrap();
        assert!(!verify_journal(&journal).is_whole());
    }
}
