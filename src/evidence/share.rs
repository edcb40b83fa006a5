//! Whose events take how much of the log: a part for each session, for each person, and for all strangers together, so
//! that nobody's noise ends what others do.
//!
//! ```text
//!  a session's events ──▶ its own part ──▶ its person's ──▶ the log       over either: that session ends
//!  a person's notes ────────────────────▶ its person's ──▶ the log       over it: counted, and told later
//!  strangers' notes ────────────────────▶ theirs together ▶ the log       over it: counted, and told later
//! ```
//!
//! A session's part is used up once. The others drain evenly, all of them in a day, so that a log which is rotated daily
//! never meets its limit because of one of them, and nobody is kept out for longer than it takes to drain a little.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::EvidenceError;

/// The parts, in bytes of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// What one session's events may take.
    pub session: u64,
    /// What one person's events may take in a day.
    pub person: u64,
    /// What may be taken in a day by the events of all who have not logged in.
    pub strangers: u64,
}

/// How much of the parts is used.
#[derive(Debug)]
pub(super) struct Used {
    shares: Shares,
    strangers: Mutex<Level>,
    /// Their names are the configuration's, so there is an end to them.
    people: Mutex<HashMap<String, Level>>,
}

/// What is used of one part that drains.
#[derive(Clone, Copy, Debug)]
struct Level {
    bytes: u64,
    at: Instant,
    /// Events that found no room and were not told of yet.
    left_out: u64,
}

/// What is used of one session's part, and whose it is.
#[derive(Debug)]
pub(super) struct SessionUse {
    person: String,
    bytes: AtomicU64,
    recorded: AtomicU64,
}

/// What becomes of an event that nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It has one; before it so many had none.
    Here {
        /// How many.
        left_out: u64,
    },
    /// It has none.
    None,
}

/// Whose part is used up.
enum Over {
    Session,
    Person,
}

/// In which a part drains.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Shares {
    /// Nobody's part ends.
    pub const UNLIMITED: Self = Self { session: u64::MAX, person: u64::MAX, strangers: u64::MAX };

    /// None of them more than a quarter of a log: whatever is configured, one person can't fill it.
    #[must_use]
    pub fn of(self, log: u64) -> Self {
        let most = log / 4;
        Self { session: self.session.min(most), person: self.person.min(most), strangers: self.strangers.min(most) }
    }
}

impl Used {
    pub(super) fn new(shares: Shares) -> Self {
        Self { shares, strangers: Mutex::new(Level::empty(Instant::now())), people: Mutex::default() }
    }

    /// An event of a session; an error where the session, or its person, may have no more.
    pub(super) fn take(&self, session: &SessionUse, bytes: u64) -> Result<(), EvidenceError> {
        self.fits(&session.bytes, &session.person, bytes).map_err(|over| match over {
            Over::Session => EvidenceError::SessionShare { bytes: self.shares.session },
            Over::Person => EvidenceError::PersonShare { bytes: self.shares.person },
        })
    }

    /// Bytes of a session's folder; an error where the session, or its person, may have no more.
    pub(super) fn take_recording(&self, session: &SessionUse, bytes: u64) -> Result<(), EvidenceError> {
        self.fits(&session.recorded, &session.person, bytes).map_err(|over| match over {
            Over::Session => EvidenceError::SessionRecording { bytes: self.shares.session },
            Over::Person => EvidenceError::PersonRecording { bytes: self.shares.person },
        })
    }

    /// `used`: what the session has had of it.
    fn fits(&self, used: &AtomicU64, person: &str, bytes: u64) -> Result<(), Over> {
        let used = used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if used > self.shares.session {
            return Err(Over::Session);
        }
        match level(&mut lock(&self.people), person).take(bytes, self.shares.person, Instant::now()) {
            true => Ok(()),
            false => Err(Over::Person),
        }
    }

    /// An event that is written in any case.
    pub(super) fn count(&self, person: &str, bytes: u64) {
        level(&mut lock(&self.people), person).add(bytes, self.shares.person, Instant::now());
    }

    /// An event that nobody waits for, of a person or of a stranger.
    pub(super) fn place(&self, person: Option<&str>, bytes: u64) -> Room {
        let now = Instant::now();
        match person {
            Some(person) => level(&mut lock(&self.people), person).place(bytes, self.shares.person, now),
            None => lock(&self.strangers).place(bytes, self.shares.strangers, now),
        }
    }
}

impl SessionUse {
    pub(super) fn new(person: &str) -> Self {
        Self { person: person.to_owned(), bytes: AtomicU64::new(0), recorded: AtomicU64::new(0) }
    }

    pub(super) fn person(&self) -> &str {
        &self.person
    }
}

impl Level {
    fn empty(now: Instant) -> Self {
        Self { bytes: 0, at: now, left_out: 0 }
    }

    fn drain(&mut self, share: u64, now: Instant) {
        let since = now.saturating_duration_since(self.at);
        let drained = u128::from(share) * since.as_millis() / DAY.as_millis();
        let drained = u64::try_from(drained).unwrap_or(u64::MAX);
        // a moment in which less than a byte drains must not be lost, or nothing ever would
        if drained > 0 {
            self.bytes = self.bytes.saturating_sub(drained);
            self.at = now;
        }
    }

    fn add(&mut self, bytes: u64, share: u64, now: Instant) {
        self.drain(share, now);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn take(&mut self, bytes: u64, share: u64, now: Instant) -> bool {
        self.drain(share, now);
        let fits = self.bytes.saturating_add(bytes) <= share;
        if fits {
            self.bytes += bytes;
        }
        fits
    }

    fn place(&mut self, bytes: u64, share: u64, now: Instant) -> Room {
        if self.take(bytes, share, now) {
            Room::Here { left_out: std::mem::take(&mut self.left_out) }
        } else {
            self.left_out += 1;
            Room::None
        }
    }
}

fn level<'a>(people: &'a mut HashMap<String, Level>, person: &str) -> &'a mut Level {
    people.entry(person.to_owned()).or_insert_with(|| Level::empty(Instant::now()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARES: Shares = Shares { session: 100, person: 150, strangers: 50 };

    #[test]
    fn a_session_has_its_part_and_its_person_another() {
        let used = Used::new(SHARES);
        let (first, second, other) = (SessionUse::new("ada"), SessionUse::new("ada"), SessionUse::new("bob"));
        used.take(&first, 100).unwrap();
        assert_eq!(used.take(&first, 1), Err(EvidenceError::SessionShare { bytes: 100 }));
        used.take(&second, 50).unwrap();
        assert_eq!(used.take(&second, 10), Err(EvidenceError::PersonShare { bytes: 150 }));
        used.take(&other, 100).unwrap();
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_once() {
        let used = Used::new(SHARES);
        for person in [None, Some("ada")] {
            let share = if person.is_some() { SHARES.person } else { SHARES.strangers };
            assert_eq!(used.place(person, share), Room::Here { left_out: 0 });
            assert_eq!([used.place(person, 1), used.place(person, 1)], [Room::None; 2]);
        }
    }

    #[test]
    fn a_part_drains_in_a_day_and_by_what_is_less_than_a_byte_as_well() {
        let start = Instant::now();
        let mut level = Level::empty(start);
        assert!(level.take(86_400, 86_400, start) && !level.take(1, 86_400, start));
        for step in 1..=10 {
            let now = start + Duration::from_millis(200 * step);
            level.drain(86_400, now);
        }
        assert_eq!(level.bytes, 86_398, "one byte a second");
        level.left_out = 7;
        let now = start + Duration::from_secs(10);
        assert_eq!(level.place(1, 86_400, now), Room::Here { left_out: 7 });
        assert_eq!(level.place(1, 86_400, now), Room::Here { left_out: 0 });
        level.drain(86_400, start + DAY * 2);
        assert_eq!(level.bytes, 0);
    }

    #[test]
    fn no_part_is_more_than_a_quarter_of_the_log() {
        assert_eq!(Shares::UNLIMITED.of(400), Shares { session: 100, person: 100, strangers: 100 });
        assert_eq!(SHARES.of(1 << 30), SHARES);
    }
}
