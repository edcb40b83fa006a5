//! How each sink is, and whether one that is required has been down for too long.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

/// How a sink is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkHealth {
    /// Its name.
    pub name: String,
    /// Whether sessions end where it is down for too long.
    pub required: bool,
    /// Since when it fails.
    pub failing_since: Option<OffsetDateTime>,
    /// Why, in a sentence.
    pub why: Option<String>,
    /// How many folders wait.
    pub waiting: u64,
    /// How many bytes of events and anchors wait.
    pub bytes: u64,
    /// When the oldest folder that waits came.
    pub oldest: Option<OffsetDateTime>,
    /// How many are in its quarantine.
    pub quarantined: u64,
    /// How many events it answered to take no more, since the start.
    pub rejected: u64,
    /// How many bytes of events the spool's bound dropped before it took them, since the start.
    pub dropped: u64,
}

/// Whether evidence reaches those sinks that it must reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinksState {
    /// It does, or will within the bounds.
    Fine,
    /// It does not: sessions end, and none is opened.
    Down {
        /// The sink.
        sink: String,
        /// Why, in a sentence.
        why: String,
    },
}

#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) required: bool,
    max_outage: Duration,
    /// By what fails: its live events, or its folders.
    failing: BTreeMap<&'static str, (Instant, OffsetDateTime, String)>,
    /// By what is full: the live log, or the folders.
    full: BTreeMap<&'static str, String>,
    pub(crate) rejected: u64,
}

/// What is told of live events.
pub(crate) const LIVE: &str = "live";

/// What is told of folders.
pub(crate) const FOLDERS: &str = "folders";

/// Of all sinks.
#[derive(Debug, Default)]
pub(crate) struct Statuses(Mutex<BTreeMap<String, Status>>);

impl Statuses {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Status>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, sink: &str, required: bool, max_outage: Duration) {
        let status = Status { required, max_outage, failing: BTreeMap::new(), full: BTreeMap::new(), rejected: 0 };
        self.all().insert(sink.to_owned(), status);
    }

    pub(crate) fn fails(&self, sink: &str, lane: &'static str, why: &str) {
        if let Some(status) = self.all().get_mut(sink) {
            if let Some(failing) = status.failing.get_mut(lane) {
                why.clone_into(&mut failing.2);
                return;
            }
            tracing::warn!(sink, why, "a sink takes no evidence; it waits in the spool");
            status.failing.insert(lane, (Instant::now(), OffsetDateTime::now_utc(), why.to_owned()));
        }
    }

    pub(crate) fn works(&self, sink: &str, lane: &'static str) {
        if let Some((since, ..)) = self.all().get_mut(sink).and_then(|status| status.failing.remove(lane)) {
            tracing::info!(sink, seconds = since.elapsed().as_secs(), "a sink takes evidence again");
        }
    }

    pub(crate) fn rejects(&self, sink: &str, events: u64) {
        if let Some(status) = self.all().get_mut(sink) {
            status.rejected = status.rejected.saturating_add(events);
        }
    }

    /// The spool is at its bound for this sink.
    pub(crate) fn full(&self, sink: &str, lane: &'static str, why: String) {
        if let Some(status) = self.all().get_mut(sink) {
            if !status.full.contains_key(lane) {
                tracing::warn!(sink, why, "the spool is full");
            }
            status.full.insert(lane, why);
        }
    }

    /// For whom it is full in this lane.
    pub(crate) fn full_ones(&self, lane: &'static str) -> Vec<String> {
        let all = self.all();
        all.iter().filter(|(_, status)| status.full.contains_key(lane)).map(|(name, _)| name.clone()).collect()
    }

    /// It is so no more.
    pub(crate) fn has_room(&self, sink: &str, lane: &'static str) {
        if let Some(status) = self.all().get_mut(sink) {
            status.full.remove(lane);
        }
    }

    /// Every sink, with what is known here; the rest is on disk.
    pub(crate) fn health(&self) -> Vec<SinkHealth> {
        let all = self.all();
        let health = all.iter().map(|(name, status)| {
            let failing = status.failing.values().min_by_key(|(since, ..)| *since);
            SinkHealth {
                name: name.clone(),
                required: status.required,
                failing_since: failing.map(|(_, since, _)| *since),
                why: failing.map(|(_, _, why)| why.clone()).or_else(|| status.full.values().next().cloned()),
                waiting: 0,
                bytes: 0,
                oldest: None,
                quarantined: 0,
                rejected: status.rejected,
                dropped: 0,
            }
        });
        health.collect()
    }

    pub(crate) fn state(&self) -> SinksState {
        self.state_at(Instant::now())
    }

    fn state_at(&self, now: Instant) -> SinksState {
        for (name, status) in self.all().iter().filter(|(_, status)| status.required) {
            let down = |why: String| SinksState::Down { sink: name.clone(), why };
            if let Some(why) = status.full.values().next() {
                return down(why.clone());
            }
            let late = status.failing.values().find(|(since, ..)| now.duration_since(*since) >= status.max_outage);
            if let Some((since, _, why)) = late {
                let seconds = now.duration_since(*since).as_secs();
                return down(format!("the sink {name} has been down for {seconds} seconds: {why}"));
            }
        }
        SinksState::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sink_that_is_required_is_ever_down_and_only_beyond_its_bound() {
        let statuses = Statuses::default();
        statuses.add("a", true, Duration::from_secs(600));
        statuses.add("b", false, Duration::from_secs(1));
        statuses.fails("a", LIVE, "no route");
        statuses.fails("b", LIVE, "no route");
        let now = Instant::now();
        // a second reason is no second beginning
        statuses.fails("a", LIVE, "refused");
        assert_eq!(statuses.state_at(now + Duration::from_secs(599)), SinksState::Fine);
        let why = "the sink a has been down for 600 seconds: refused".to_owned();
        let later = now + Duration::from_secs(600);
        assert_eq!(statuses.state_at(later), SinksState::Down { sink: "a".to_owned(), why });
        statuses.works("a", LIVE);
        assert_eq!(statuses.state_at(later), SinksState::Fine);
        statuses.full("a", FOLDERS, "full".to_owned());
        assert!(matches!(statuses.state(), SinksState::Down { .. }));
        // that the other lane has room is nothing to this one
        statuses.has_room("a", LIVE);
        assert_eq!(statuses.full_ones(FOLDERS), ["a"]);
        statuses.has_room("a", FOLDERS);
        assert_eq!(statuses.state(), SinksState::Fine);
    }
}
