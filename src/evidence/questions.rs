//! What a client asks of the node's files without changing any: so much of it is listed one by one, and the rest counted.
//!
//! ```text
//!  question ──▶ room in this minute? ──yes──▶ file.operation
//!                 │ no
//!                 ▼
//!               counted by action and outcome ──every 10 s, and at the session's end──▶ file.summed
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::file_event::{FileOperation, FileOutcome, FileSum};
use crate::model::RefusalCode;

/// Between two sums of one session.
const EVERY: Duration = Duration::from_secs(10);

/// Different error numbers that are told apart in one sum: a node may make them up.
const MAX_KINDS: usize = 64;

/// What was asked since the last sum.
#[derive(Debug)]
pub(super) struct Questions {
    a_minute: u32,
    /// How many were listed, less what has drained since.
    listed: f64,
    at: Instant,
    /// The first one that was only counted.
    since: Option<Instant>,
    counts: BTreeMap<Kind, u64>,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    action: &'static str,
    outcome: &'static str,
    code: Option<RefusalCode>,
    errno: Option<i32>,
}

impl Questions {
    pub(super) fn new(a_minute: u32, now: Instant) -> Self {
        Self { a_minute, listed: 0.0, at: now, since: None, counts: BTreeMap::new() }
    }

    /// One was asked; whether it is to be listed. If not, it is counted.
    pub(super) fn asked(&mut self, event: &FileOperation<'_>, now: Instant) -> bool {
        let most = f64::from(self.a_minute);
        let drained = now.saturating_duration_since(self.at).as_secs_f64() * most / 60.0;
        self.listed = (self.listed - drained).max(0.0);
        self.at = now;
        if self.listed + 1.0 <= most {
            self.listed += 1.0;
            return true;
        }
        let mut kind = Kind::of(event);
        if self.counts.len() >= MAX_KINDS && !self.counts.contains_key(&kind) {
            kind.errno = None;
        }
        *self.counts.entry(kind).or_default() += 1;
        self.since.get_or_insert(now);
        false
    }

    /// The sum, where it is time for one.
    pub(super) fn due(&mut self, now: Instant) -> Option<Vec<FileSum>> {
        let since = self.since?;
        (now.saturating_duration_since(since) >= EVERY).then(|| self.rest()).flatten()
    }

    /// The sum of what was counted since the last one, if anything was.
    pub(super) fn rest(&mut self) -> Option<Vec<FileSum>> {
        self.since.take()?;
        let counts = std::mem::take(&mut self.counts).into_iter();
        let sum = |(kind, count): (Kind, u64)| FileSum {
            action: kind.action,
            outcome: kind.outcome,
            code: kind.code,
            errno: kind.errno,
            count,
        };
        Some(counts.map(sum).collect())
    }
}

impl Kind {
    fn of(event: &FileOperation<'_>) -> Self {
        let (code, errno) = match event.outcome {
            FileOutcome::Denied { code, .. } => (Some(code), None),
            FileOutcome::Failed { errno, .. } => (None, errno),
            FileOutcome::Done | FileOutcome::Unfinished => (None, None),
        };
        Self { action: event.action, outcome: event.outcome.name(), code, errno }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file_event::Paths;
    use super::*;

    fn failed(errno: i32) -> FileOperation<'static> {
        let outcome = FileOutcome::Failed { errno: Some(errno), why: "no" };
        FileOperation { action: "Stat", paths: Paths::default(), outcome }
    }

    #[test]
    fn so_many_a_minute_are_listed_and_the_rest_is_counted_by_kind() {
        let start = Instant::now();
        let mut questions = Questions::new(3, start);
        let listed = (0..10).filter(|_| questions.asked(&failed(2), start)).count();
        assert_eq!(listed, 3);
        assert!(!questions.asked(&FileOperation { outcome: FileOutcome::Done, ..failed(0) }, start));
        assert!(questions.due(start + EVERY / 2).is_none());
        let sums = questions.due(start + EVERY).unwrap();
        let told: Vec<_> = sums.iter().map(|sum| (sum.action, sum.outcome, sum.errno, sum.count)).collect();
        assert_eq!(told, [("Stat", "done", None, 1), ("Stat", "failed", Some(2), 7)]);
        assert!(questions.rest().is_none());
        // a third of a minute later there is room for one
        let later = start + Duration::from_secs(20);
        assert!(questions.asked(&failed(2), later) && !questions.asked(&failed(2), later));
        assert_eq!(questions.rest().unwrap().len(), 1);
    }

    #[test]
    fn a_node_that_makes_up_error_numbers_makes_no_sum_long() {
        let start = Instant::now();
        let mut questions = Questions::new(0, start);
        for errno in 0..10_000 {
            questions.asked(&failed(errno), start);
        }
        let sums = questions.rest().unwrap();
        assert_eq!(sums.len(), MAX_KINDS + 1);
        assert_eq!(sums.iter().map(|sum| sum.count).sum::<u64>(), 10_000);
    }
}
