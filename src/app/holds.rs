//! The journal has the legal holds: whoever asks later what had to stay, who said so and when it was let go, finds it there.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_sinks::retention::Holds;

use super::retention::HOLDS;
use crate::evidence::{self, Event, EventLog, HoldsChanged};

/// They are changed from the command line, and looked at so often.
const EVERY: Duration = Duration::from_secs(60);

/// What of them the journal has.
#[derive(Clone, Debug)]
pub(super) struct NotedHolds {
    evidence: PathBuf,
    log: Arc<EventLog>,
    /// None before the first look: a change from one run to the next is one as well.
    noted: Option<Holds>,
    /// What was told of them that can't be read.
    told: Option<String>,
}

impl NotedHolds {
    pub(super) fn new(evidence: &Path, log: Arc<EventLog>) -> Self {
        Self { evidence: evidence.to_owned(), log, noted: None, told: None }
    }

    /// Notes each change, for ever.
    pub(super) async fn keep(mut self) -> Infallible {
        loop {
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            self = match looked.await {
                Ok(looked) => looked,
                Err(error) => {
                    tracing::error!(%error, "legal holds are not noted in the journal any more");
                    return std::future::pending().await;
                }
            };
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Notes them where they are others than they were.
    fn look(&mut self) {
        match self.changed() {
            Ok(()) => self.told = None,
            Err(why) if self.told.as_ref() != Some(&why) => {
                tracing::error!(why, "the journal does not have the legal holds");
                self.told = Some(why);
            }
            Err(_) => {}
        }
    }

    fn changed(&mut self) -> Result<(), String> {
        let file = self.evidence.join(HOLDS);
        // where there never were any there is nothing to tell
        if self.noted.is_none() && !file.exists() {
            self.noted = Some(Holds::default());
        }
        let holds = Holds::load(&file).map_err(|error| error.to_string())?;
        if self.noted.as_ref() == Some(&holds) {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&holds).map_err(|error| error.to_string())?;
        let holds_set = evidence::keep_holds(&self.evidence, &text).map_err(|error| error.to_string())?;
        self.log.note_own(&Event::HoldsChanged(HoldsChanged { holds_set: &holds_set, holds: holds.holds.len() }));
        self.noted = Some(holds);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_folder::SigningKey;
    use portcullis_sinks::retention::{Hold, HoldOn};

    use super::*;
    use crate::evidence::Place;

    #[tokio::test]
    async fn each_change_of_the_holds_is_in_the_journal_with_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let (key, _) = SigningKey::generate("portcullis/gate-1").unwrap();
        let place = Place { directory: dir.path(), limit: 1 << 30, reserve: 0, key: Arc::new(key), index: None };
        let log = Arc::new(EventLog::open_at(place).unwrap());
        let file = dir.path().join(HOLDS);
        let hold = Hold {
            on: HoldOn::Person("ada".to_owned()),
            by: "counsel".to_owned(),
            why: "case 7".to_owned(),
            since: "2026-11-30T00:00:00Z".to_owned(),
        };
        let mut noted = NotedHolds::new(dir.path(), log.clone());
        noted.look();
        Holds { holds: vec![hold] }.store(&file).unwrap();
        noted.look();
        noted.look();
        std::fs::write(&file, "{").unwrap();
        noted.look();
        Holds::default().store(&file).unwrap();
        noted.look();
        // one that comes later, and finds a file, does not know what was noted
        NotedHolds::new(dir.path(), log.clone()).look();
        log.flush().await;
        let journal = std::fs::read_to_string(dir.path().join("events.jsonl")).unwrap();
        let events = journal.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let events: Vec<_> = events.filter(|event| event["event"] == "holds.changed").collect();
        assert_eq!(events.iter().map(|event| event["holds"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 0, 0]);
        let kept = format!("in-force/holds-{}.json", events[0]["holds_set"].as_str().unwrap());
        assert!(std::fs::read_to_string(dir.path().join(kept)).unwrap().contains("case 7"));
    }
}
