//! Whether a websocket is alive: pings, and how long to do without a sign (RFC 6455, section 5.5.2).
//!
//! ```text
//!   up ───── every ─────▶ ping ───── every ─────▶ ping ─ …    a client's, whatever comes puts off as well
//!   up ── first patience ─────────────▶ dead        a sign moves this deadline to its own time + patience
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// So many pings of the client's without a sign: the connection is dead.
const DEAF_AFTER_PINGS: u32 = 3;

/// How often to ping, and what counts as an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// From one ping to the next; the first comes that long after the start. Where anything is a sign, so long after the
    /// last one: what is heard from needs no ping, and is kept by its own traffic from being forgotten on the way.
    pub every: Duration,
    /// How long to do without a sign after the last one.
    pub patience: Duration,
    /// The same for the first.
    pub first_patience: Duration,
    /// What is a sign.
    pub signs: Signs,
}

/// What shows that the other end is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// Whatever comes. While we don't read, because our reader is slow, silence proves nothing.
    Anything,
    /// Answers to pings alone, read or not.
    Pongs,
}

impl Keepalive {
    /// A ping this often keeps middle boxes from forgetting the connection; three without any sign are the end of it.
    pub const fn every(every: Duration) -> Self {
        let patience = every.saturating_mul(DEAF_AFTER_PINGS);
        Self { every, patience, first_patience: patience, signs: Signs::Anything }
    }

    /// Only answers to pings count, each for so long.
    pub const fn answered_within(every: Duration, patience: Duration) -> Self {
        Self { every, patience, first_patience: every.saturating_add(patience), signs: Signs::Pongs }
    }
}

/// One websocket's pings and signs.
#[derive(Debug)]
pub struct Pulse {
    keepalive: Keepalive,
    ping_at: Instant,
    dead_at: Instant,
}

impl Pulse {
    /// The websocket is up.
    pub fn start(keepalive: Keepalive, now: Instant) -> Self {
        let (ping_at, dead_at) = (now + keepalive.every, now + keepalive.first_patience);
        Self { keepalive, ping_at, dead_at }
    }

    /// When something is to be done; a ping only if one can be sent.
    pub fn deadline(&self, can_send: bool) -> Instant {
        if can_send { self.ping_at.min(self.dead_at) } else { self.dead_at }
    }

    /// Whether to send a ping now; if so, the next is due later.
    pub fn take_ping(&mut self, now: Instant) -> bool {
        let due = now >= self.ping_at;
        if due {
            self.ping_at = now + self.keepalive.every;
        }
        due
    }

    /// Something came.
    pub fn heard(&mut self, now: Instant) {
        if self.keepalive.signs == Signs::Anything {
            self.ping_at = now + self.keepalive.every;
            self.dead_at = now + self.keepalive.patience;
        }
    }

    /// The answer to a ping came.
    pub fn answered(&mut self, now: Instant) {
        self.dead_at = now + self.keepalive.patience;
    }

    /// Nobody listens to the websocket at the moment.
    pub fn not_listening(&mut self, now: Instant) {
        self.heard(now);
    }

    /// No sign for too long.
    pub fn is_dead(&self, now: Instant) -> bool {
        now >= self.dead_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn whatever_comes_counts_for_a_client() {
        let up = Instant::now();
        let mut pulse = Pulse::start(Keepalive::every(25 * SECOND), up);
        assert_eq!(pulse.deadline(true), up + 25 * SECOND);
        assert!(!pulse.take_ping(up + 24 * SECOND) && pulse.take_ping(up + 25 * SECOND));
        assert!(!pulse.take_ping(up + 26 * SECOND));
        pulse.heard(up + 70 * SECOND);
        assert!(!pulse.take_ping(up + 94 * SECOND) && pulse.take_ping(up + 95 * SECOND));
        assert_eq!(pulse.deadline(false), up + 145 * SECOND);
        pulse.not_listening(up + 144 * SECOND);
        assert!(!pulse.is_dead(up + 218 * SECOND) && pulse.is_dead(up + 219 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn only_pongs_count_for_an_agent_whether_it_reads_or_not() {
        let up = Instant::now();
        let mut pulse = Pulse::start(Keepalive::answered_within(54 * SECOND, 60 * SECOND), up);
        pulse.heard(up + 100 * SECOND);
        pulse.not_listening(up + 113 * SECOND);
        assert!(!pulse.is_dead(up + 113 * SECOND) && pulse.is_dead(up + 114 * SECOND));
        pulse.answered(up + 55 * SECOND);
        assert!(!pulse.is_dead(up + 114 * SECOND) && pulse.is_dead(up + 115 * SECOND));
    }
}
