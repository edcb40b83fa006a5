//! What a realm's account asks of every session, read before the first lane. A session document of one's own overrides the
//! account's preferences, so a careless lane would drop its key, its logging and its limits: what the lanes can't carry is
//! refused in a sentence instead, and lanes' documents that are not this version's are not used.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::helper::program::documents;
use super::limits::Limits;
use crate::backend::preferences::Preferences;
use crate::backend::{BackendError, Directory};
use crate::config::Rung;

/// The account, asked again after a minute; where something is wrong, after a moment.
#[derive(Debug)]
pub(super) struct Account {
    directory: Arc<dyn Directory>,
    evidence_replaces_logging: bool,
    /// How long a minute of the preferences lasts; tests shorten it.
    minute: Duration,
    seen: Mutex<Option<(Instant, Terms)>>,
}

/// What holds for lanes in this account.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// Why no lane may open.
    refused: Option<String>,
    /// Why the lanes' own documents can't be used.
    unusable: Option<String>,
    /// The account's time limits.
    pub limits: Limits,
}

impl Account {
    pub(super) fn new(directory: Arc<dyn Directory>, evidence_replaces_logging: bool) -> Self {
        Self { directory, evidence_replaces_logging, minute: Duration::from_secs(60), seen: Mutex::new(None) }
    }

    #[cfg(test)]
    pub(super) fn set_minute(&mut self, minute: Duration) {
        self.minute = minute;
    }

    /// An account that never said so has the service's own idle limit.
    fn limits(&self, preferences: &Preferences) -> Limits {
        Limits {
            idle: Some(self.minute * preferences.idle_minutes.unwrap_or(DEFAULT_IDLE_MINUTES)),
            longest: preferences.max_minutes.map(|minutes| self.minute * minutes),
        }
    }

    /// What holds now. An account that can't be read allows nothing.
    pub(super) async fn terms(&self) -> Result<Terms, BackendError> {
        let mut seen = self.seen.lock().await;
        if let Some((at, terms)) = &*seen
            && at.elapsed() < terms.fresh_for()
        {
            return Ok(terms.clone());
        }
        let preferences = Preferences::of_account(self.directory.as_ref()).await?;
        let conflicts = preferences.lane_conflicts(self.evidence_replaces_logging);
        let logs = !self.evidence_replaces_logging && preferences.asks_for_logging();
        let refused = (!conflicts.is_empty()).then(|| {
            let instead = if logs { LOGGING_REPLACED } else { "" };
            format!(
                "the account's session preferences {}, which this gateway's lanes can't do yet; \
                 nothing was opened. Use the agent's own shell (lanes.shell = \"agent\"), or change the preferences{instead}",
                conflicts.join(" and ")
            )
        });
        let terms = Terms { refused, unusable: self.unusable(&preferences).await?, limits: self.limits(&preferences) };
        *seen = Some((Instant::now(), terms.clone()));
        Ok(terms)
    }

    async fn unusable(&self, preferences: &Preferences) -> Result<Option<String>, BackendError> {
        for (name, expected) in documents(preferences) {
            let found = self.directory.document(name).await?;
            let same = |text: &str| json(text) == json(&expected);
            match found {
                None => return Ok(Some(format!("the account has no document {name}"))),
                Some(text) if !same(&text) => {
                    return Ok(Some(format!("the account's document {name} is not this version's")));
                }
                Some(_) => {}
            }
        }
        Ok(None)
    }
}

/// What helps where the account asks for nothing worse than a log.
const LOGGING_REPLACED: &str = "; where the gateway's evidence is to stand for the agent's log, \
     evidence_replaces_agent_logging under the realm's [[realms]] says so";

impl Terms {
    /// How long they are believed. Whoever mends what is wrong wants to see it mended, but not every one of a hundred
    /// channels needs to look for itself.
    fn fresh_for(&self) -> Duration {
        if self.refused.is_none() && self.unusable.is_none() { FRESH } else { FRESH_WHEN_WRONG }
    }

    /// Whether a channel may open on this rung, and if not, why.
    pub(super) fn allow(&self, rung: Rung) -> Result<(), BackendError> {
        if let Some(why) = &self.refused {
            return Err(BackendError::Refused(why.clone()));
        }
        match &self.unusable {
            Some(why) if rung == Rung::TwoLanes => {
                Err(BackendError::Document(format!("{why}; `portcullis documents --apply` creates or updates it")))
            }
            _ => Ok(()),
        }
    }
}

fn json(text: &str) -> Option<serde_json::Value> {
    serde_json::from_str(text).ok()
}

const FRESH: Duration = Duration::from_secs(60);
const FRESH_WHEN_WRONG: Duration = Duration::from_secs(5);
/// What Session Manager itself does where the account does not say.
const DEFAULT_IDLE_MINUTES: u32 = 20;
