//! The progress events of one session: asked for while bytes pass, and never waited for.

use std::time::{Duration, Instant};

use super::error::EvidenceError;
use super::event_log::Pending;
use super::writer::LONGEST_WRITE;

/// Between two progress events of one session: what a killed gateway can't say any more.
const EVERY: Duration = Duration::from_secs(60);

/// Where the next progress event is.
#[derive(Debug)]
pub(super) enum Progress {
    /// Not due: one minute after this.
    Due(Instant),
    /// Asked for since then; it has no place in the log's queue yet, or is on its way.
    Asked(Instant, Option<Pending>),
}

impl Progress {
    pub(super) fn from(now: Instant) -> Self {
        Self::Due(now)
    }

    /// Bytes have passed. `begin` puts an event into the log's queue, if there is room. An error is of an earlier one: the
    /// bytes before it have passed, those after it do not.
    pub(super) fn step(&mut self, now: Instant, begin: impl FnOnce() -> Option<Pending>) -> Result<(), EvidenceError> {
        match self {
            Self::Due(last) if now.duration_since(*last) < EVERY => {}
            Self::Due(_) => *self = Self::Asked(now, begin()),
            Self::Asked(since, Some(pending)) => match pending.outcome() {
                Some(Ok(())) => *self = Self::Due(*since),
                Some(Err(error)) => return Err(error),
                // the writer has its own patience and tells
                None => {}
            },
            Self::Asked(since, pending) => match begin() {
                Some(begun) => (*since, *pending) = (now, Some(begun)),
                // only now: a session that was silent meanwhile learns first whether there is room again
                None if now.duration_since(*since) > LONGEST_WRITE => {
                    return Err(EvidenceError::Write(FULL.to_owned()));
                }
                None => {}
            },
        }
        Ok(())
    }
}

const FULL: &str = "too many events wait for the disk";
