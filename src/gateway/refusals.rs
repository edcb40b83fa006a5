//! What was refused on one connection before it was a session: each thing once in the log, and how often in its sum.
//!
//! ```text
//!  refused ─▶ seen before? ──no──▶ room to list it? ──yes──▶ channel.refused
//!               │ yes               │ no
//!               ▼                   ▼
//!             counted by thing    counted by code ──once a minute, and at the connection's end──▶ refusals.summed
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::evidence::RefusalSum;
use crate::model::{RefusalCode, plain_text_up_to};

/// Different things that one connection has listed. A client that means well asks for a dozen: variables, forwards, an agent.
const MAX_LISTED: usize = 64;

/// How much of what was asked for is kept to tell one thing from another.
const MAX_ASKED: usize = 96;

/// Between two sums of one connection.
const EVERY: Duration = Duration::from_secs(60);

/// What was refused so far.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// How often since the last sum, by what was asked for; without that, what is too much to be told apart.
    counts: BTreeMap<(RefusalCode, Option<String>), u64>,
    listed: usize,
    since: Option<Instant>,
}

/// What becomes of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// It gets an event of its own.
    Listed,
    /// It is counted; the first one that is too much to be told apart says so.
    Counted {
        /// Whether it is the first.
        first: bool,
    },
}

impl Refusals {
    /// Something was refused.
    pub(super) fn add(&mut self, asked: &str, code: RefusalCode, now: Instant) -> Noted {
        let key = (code, Some(plain_text_up_to(MAX_ASKED, asked)));
        if let Some(count) = self.counts.get_mut(&key) {
            *count += 1;
            self.since.get_or_insert(now);
            return Noted::Counted { first: false };
        }
        if self.listed < MAX_LISTED {
            self.listed += 1;
            self.counts.insert(key, 0);
            return Noted::Listed;
        }
        let first = !self.counts.keys().any(|(_, asked)| asked.is_none());
        *self.counts.entry((code, None)).or_default() += 1;
        self.since.get_or_insert(now);
        Noted::Counted { first }
    }

    /// The sum, where it is time for one.
    pub(super) fn due(&mut self, now: Instant) -> Option<Vec<RefusalSum>> {
        let since = self.since?;
        (now.saturating_duration_since(since) >= EVERY).then(|| self.rest()).flatten()
    }

    /// What was counted since the last sum, if anything was.
    pub(super) fn rest(&mut self) -> Option<Vec<RefusalSum>> {
        self.since.take()?;
        let counted = self.counts.iter_mut().filter(|(_, count)| **count > 0);
        let sum = |((code, asked), count): (&(RefusalCode, Option<String>), &mut u64)| RefusalSum {
            code: *code,
            asked: asked.clone(),
            count: std::mem::take(count),
        };
        Some(counted.map(sum).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORWARD: RefusalCode = RefusalCode::ForwardingNotServed;

    #[tokio::test(start_paused = true)]
    async fn each_thing_is_listed_once_and_counted_then() {
        let mut refusals = Refusals::default();
        let now = Instant::now();
        assert_eq!(refusals.add("forwarding to a:1", FORWARD, now), Noted::Listed);
        assert_eq!(refusals.rest(), None);
        for _ in 0..1000 {
            assert_eq!(refusals.add("forwarding to a:1", FORWARD, now), Noted::Counted { first: false });
        }
        assert_eq!(refusals.add("forwarding to a:2", FORWARD, now), Noted::Listed);
        assert_eq!(refusals.due(now + EVERY / 2), None);
        let sum = RefusalSum { code: FORWARD, asked: Some("forwarding to a:1".to_owned()), count: 1000 };
        assert_eq!(refusals.due(now + EVERY), Some(vec![sum]));
        assert_eq!(refusals.rest(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_an_end_to_what_is_listed_and_kept() {
        let mut refusals = Refusals::default();
        let now = Instant::now();
        let noted: Vec<Noted> = (0..100_000).map(|n| refusals.add(&format!("{n}"), FORWARD, now)).collect();
        let count = |what| noted.iter().filter(|noted| **noted == what).count();
        assert_eq!((count(Noted::Listed), count(Noted::Counted { first: true })), (MAX_LISTED, 1));
        let sum = RefusalSum { code: FORWARD, asked: None, count: 100_000 - MAX_LISTED as u64 };
        assert_eq!(refusals.rest(), Some(vec![sum]));
        assert_eq!(refusals.counts.len(), MAX_LISTED + 1);
    }
}
