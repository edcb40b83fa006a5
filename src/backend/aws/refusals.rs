//! What AWS refuses the gateway, told to whoever runs it: the person at the other end can do nothing about it. Each kind of
//! refusal is one line of the log at once, and one more with how many there were while it goes on.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::RealmName;
use crate::telemetry::Repeated;

/// Between two lines about the same.
const EVERY: Duration = Duration::from_secs(600);

/// Kinds that are told apart: there are about a dozen calls.
const MAX_KINDS: usize = 64;

/// The refusals so far, in one realm.
#[derive(Debug)]
pub(super) struct Refusals {
    realm: RealmName,
    told: Mutex<HashMap<String, Repeated>>,
}

impl Refusals {
    /// None yet.
    pub(super) fn of(realm: RealmName) -> Self {
        Self { realm, told: Mutex::default() }
    }

    /// AWS has refused a call, or credentials; `about` is what is told apart, and the sentence ends in what would help.
    pub(super) fn note(&self, about: &str, sentence: &str) {
        if let Some(more) = self.due(about, Instant::now()) {
            tracing::warn!(realm = %self.realm, about, repeated = more, "AWS refuses the gateway: {sentence}");
        }
    }

    /// AWS does not answer.
    pub(super) fn note_unreachable(&self, sentence: &str) {
        if let Some(more) = self.due("unreachable", Instant::now()) {
            tracing::warn!(realm = %self.realm, repeated = more, "{sentence}");
        }
    }

    /// How many were not told of since the last line, if it is time for one.
    fn due(&self, about: &str, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.contains_key(about) && told.len() >= MAX_KINDS {
            told.clear();
        }
        let kind = told.entry(about.to_owned()).or_insert_with(|| Repeated::new(EVERY));
        kind.count(now).map(|times| times - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_at_once_and_one_with_the_number_while_it_goes_on() {
        let (refusals, start) = (Refusals::of(RealmName::for_test()), Instant::now());
        assert_eq!(refusals.due("ssm:StartSession", start), Some(0));
        for _ in 0..1000 {
            assert_eq!(refusals.due("ssm:StartSession", start + EVERY / 2), None);
        }
        assert_eq!(refusals.due("ssm:GetDocument", start), Some(0));
        assert_eq!(refusals.due("ssm:StartSession", start + EVERY), Some(1000));
        assert_eq!(refusals.due("ssm:StartSession", start + EVERY), None);
    }
}
