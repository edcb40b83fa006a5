//! A hop: a way to a node on which the gateway itself answers, so that what is done there is done in sessions of their own. It
//! opens nothing: its grant says that somebody may come to the node by this way, and each session in it has its own.
//!
//! ```text
//!  client ── RecordedStream: counted, hashed ──▶ the connection inside ──▶ open, open_files, … each judged anew
//!                     └ HopEnd: killed, or its time is over
//! ```

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::close::{Outcome, SessionEnd};
use super::open::{Caller, Destination, SessionOpener, Why};
use super::refused::Refused;
use super::running::RecordedStream;
use crate::policy::{Action, Grant};
use crate::transport::{ChannelSetup, LimitReached};

/// A hop that is allowed.
#[derive(Debug)]
pub struct HopSession {
    grant: Grant,
    end: SessionEnd,
}

/// What a hop ends by. It is there for as long as the hop is.
#[derive(Debug)]
pub struct HopEnd {
    /// Nothing is opened with it, and while the hop lasts it is known what it was given for.
    grant: Grant,
    end: SessionEnd,
    since: Instant,
}

impl SessionOpener {
    /// A hop to a node: resolved, decided and recorded as any session.
    pub async fn open_hop(&self, caller: &Caller, to: Destination) -> Result<HopSession, Refused> {
        let why = Why { given: caller.login.reason().cloned(), asks: None };
        let (grant, end) = self.admit(caller, to, Action::Hop, why, None, &mut ChannelSetup::default()).await?;
        Ok(HopSession { grant, end })
    }
}

impl HopSession {
    /// The hop's number among the sessions.
    pub fn id(&self) -> Uuid {
        self.end.id()
    }

    /// The client's bytes, which pass the record, and the hop's end.
    pub fn attach<S>(self, client: S) -> (RecordedStream<S>, HopEnd) {
        let Self { grant, end } = self;
        (RecordedStream::new(client, end.record()), HopEnd { grant, end, since: Instant::now() })
    }
}

impl HopEnd {
    /// Waits until the hop is to end: why, in a sentence for the person. `passed` says how many bytes have gone either way so far.
    pub async fn over(&self, passed: impl Fn() -> u64) -> String {
        let (longest, idle) = self.grant.times();
        let too_long = async {
            match longest {
                Some(longest) => tokio::time::sleep_until(self.since + longest).await,
                None => std::future::pending().await,
            }
        };
        let too_idle = async {
            let Some(limit) = idle else { return std::future::pending().await };
            is_idle_for(limit, passed).await;
            limit
        };
        tokio::select! {
            biased;
            reason = self.end.killed() => reason,
            () = too_long => LimitReached::Longest.to_string(),
            limit = too_idle => LimitReached::Idle(limit).to_string(),
        }
    }

    /// It is over.
    pub async fn close(self, outcome: &Outcome) {
        self.end.close(outcome).await;
    }
}

/// Waits until nothing has passed for so long; it is looked at often enough that it is never much longer.
async fn is_idle_for(limit: Duration, passed: impl Fn() -> u64) {
    let (mut before, mut since) = (passed(), Instant::now());
    while since.elapsed() < limit {
        tokio::time::sleep((limit / LOOKS).max(LEAST_LOOK)).await;
        let now = passed();
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
}

/// How often a hop's bytes are looked at in the time that it may be idle.
const LOOKS: u32 = 16;

/// And no more often than this.
const LEAST_LOOK: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idle_is_who_sends_and_gets_nothing_and_nobody_else() {
        let (bytes, begun) = (Cell::new(0), Instant::now());
        let limit = Duration::from_secs(60);
        let types = async {
            for _ in 0..30 {
                tokio::time::sleep(Duration::from_secs(20)).await;
                bytes.set(bytes.get() + 1);
            }
        };
        tokio::join!(types, is_idle_for(limit, || bytes.get()));
        let after = begun.elapsed().as_secs();
        assert!((660..670).contains(&after), "{after} s");
    }
}
