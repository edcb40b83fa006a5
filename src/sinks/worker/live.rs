//! Brings the live log to one sink, in order, and remembers how far it is.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::outlet::{Delivered, Outlet};
use crate::backoff::Backoff;
use crate::error::{Failure, SinkError};
use crate::health::{LIVE, Statuses};
use crate::spool::{
    Cursor, LiveWriter, Receipt, Record, Spool, is_incomplete, note_incomplete, quarantine_record, read_batch,
};

/// How many records are brought at once, and about how many bytes.
const RECORDS: usize = 1000;
const BYTES: usize = 1 << 20;

/// After so many refusals of a record, while others are taken, it is put aside.
const REFUSALS: u32 = 5;

/// How many writes to a syslog server may wait for the end of the window; beyond that they are taken together.
const WINDOW: usize = 1000;

/// A record of the log's own sink that is sealed.
type Sealed = (uuid::Uuid, String);

/// One sink's.
pub(crate) struct LiveWorker {
    pub(crate) sink: String,
    pub(crate) outlet: Outlet,
    pub(crate) spool: Spool,
    pub(crate) writer: LiveWriter,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) backoff: Backoff,
    /// What is written counts as taken after so long: zero where the sink acknowledges.
    pub(crate) window: Duration,
    /// Whether its having taken a session's events is kept as a receipt.
    pub(crate) receipts: bool,
    /// All before this is taken.
    pub(crate) taken: Cursor,
    /// What is taken, and could not be noted as that.
    pub(crate) unnoted: Option<Taken>,
}

/// How far a sink has taken the log, and which sessions ended in it.
#[derive(Clone)]
pub(crate) struct Taken {
    next: Cursor,
    sealed: Vec<Sealed>,
}

/// What was written and may yet be lost.
struct Written {
    at: Instant,
    next: Cursor,
    sealed: Vec<Sealed>,
}

impl LiveWorker {
    /// Until the sinks are dropped.
    pub(crate) async fn run(mut self) {
        let mut tip = self.writer.log().tip();
        let (mut position, mut written) = (self.taken, VecDeque::new());
        loop {
            match self.step(&mut tip, &mut position, &mut written).await {
                Ok(()) => {}
                Err(failure) => {
                    self.statuses.fails(&self.sink, LIVE, &failure.to_string());
                    // what is not known to be taken is sent again; where only the note of it failed, that alone is tried again
                    if self.unnoted.is_none() {
                        position = self.taken;
                        written.clear();
                    }
                    sleep(self.backoff.next()).await;
                }
            }
        }
    }

    async fn step(
        &mut self,
        tip: &mut watch::Receiver<Cursor>,
        position: &mut Cursor,
        written: &mut VecDeque<Written>,
    ) -> Result<(), Failure> {
        self.take_what_is_old_enough(written).await?;
        let now = *tip.borrow_and_update();
        let (dir, from): (PathBuf, Cursor) = (self.spool.live(), *position);
        let batch = blocking(move || read_batch(&dir, from, now, RECORDS, BYTES)).await?;
        if batch.next == from {
            // one that failed once, for a reason of this host, and has nothing to do since is not down
            if written.is_empty() {
                self.statuses.works(&self.sink, LIVE);
            }
            return self.wait(tip, written).await;
        }
        if batch.bad > 0 {
            tracing::warn!(
                sink = self.sink,
                lines = batch.bad,
                "lines of the spool that are torn or none of ours are passed over"
            );
        }
        if !batch.records.is_empty() {
            let mut delivered = self.outlet.deliver(&batch.records).await?;
            // where it refuses all, it is the sink that fails; where it takes some, it is these
            if let Some((_, why)) = delivered.refused.first().filter(|_| !delivered.took_some) {
                return Err(Failure::Sink(why.clone()));
            }
            if !delivered.refused.is_empty() {
                self.try_again(&batch.records, &mut delivered).await?;
            }
            self.statuses.rejects(&self.sink, delivered.rejected);
            for (place, why) in delivered.refused {
                delivered.incomplete.extend(batch.records.get(place).and_then(|(record, _)| record.of_session()));
                self.quarantine(&batch.records, place, why).await?;
            }
            let (incomplete, sessions) = (self.spool.incomplete(&self.sink), delivered.incomplete);
            if !sessions.is_empty() {
                let note = move || sessions.into_iter().try_for_each(|of| note_incomplete(&incomplete, of));
                blocking(note).await?;
            }
            if delivered.took_some {
                self.statuses.works(&self.sink, LIVE);
                self.backoff.reset();
            }
        }
        *position = batch.next;
        let sealed = batch.records.into_iter().filter_map(|(record, _)| match record {
            Record::Sealed { session, folder, .. } => Some((session, folder)),
            _ => None,
        });
        let sealed: Vec<Sealed> = sealed.collect();
        let full = written.len() >= WINDOW;
        match written.back_mut().filter(|_| full) {
            // both are taken when the later one is
            Some(last) => {
                (last.at, last.next) = (Instant::now(), batch.next);
                last.sealed.extend(sealed);
            }
            None => written.push_back(Written { at: Instant::now(), next: batch.next, sealed }),
        }
        self.take_what_is_old_enough(written).await
    }

    /// Brings those again that were refused while others were taken: a permission that was missing for some seconds looks the same.
    async fn try_again(&mut self, records: &[(Record, Cursor)], delivered: &mut Delivered) -> Result<(), Failure> {
        for _ in 1..REFUSALS {
            let Some((_, why)) = delivered.refused.first() else { return Ok(()) };
            self.statuses.fails(&self.sink, LIVE, why);
            sleep(self.backoff.next()).await;
            let mut those: Vec<usize> = delivered.refused.iter().map(|(place, _)| *place).collect();
            // as they came, which is the order of their streams
            those.sort_unstable();
            let again: Vec<_> = those.iter().filter_map(|place| records.get(*place).cloned()).collect();
            let next = self.outlet.deliver(&again).await?;
            delivered.rejected += next.rejected;
            delivered.incomplete.extend(next.incomplete);
            let at = |(place, why): (usize, String)| those.get(place).map(|place| (*place, why));
            delivered.refused = next.refused.into_iter().filter_map(at).collect();
        }
        Ok(())
    }

    async fn quarantine(&self, records: &[(Record, Cursor)], place: usize, why: String) -> Result<(), Failure> {
        let Some((record, at)) = records.get(place).cloned() else { return Ok(()) };
        tracing::warn!(sink = self.sink, why, "a sink refuses an event, which is put aside");
        let dir = self.spool.quarantine(&self.sink);
        let name = format!("{:016}-{:010}", at.segment, at.offset);
        blocking(move || quarantine_record(&dir, &name, &record, &why)).await
    }

    async fn take_what_is_old_enough(&mut self, written: &mut VecDeque<Written>) -> Result<(), Failure> {
        let mut taken = self.unnoted.take();
        while let Some(first) = written.pop_front_if(|first| first.at.elapsed() >= self.window) {
            let taken = taken.get_or_insert_with(|| Taken { next: first.next, sealed: Vec::new() });
            taken.next = first.next;
            taken.sealed.extend(first.sealed);
        }
        let Some(taken) = taken else { return Ok(()) };
        let Taken { next, sealed } = taken.clone();
        self.unnoted = Some(taken);
        let (spool, sink, writer, receipts) =
            (self.spool.clone(), self.sink.clone(), self.writer.clone(), self.receipts);
        blocking(move || {
            for (session, folder) in sealed.into_iter().filter(|_| receipts) {
                if is_incomplete(&spool.incomplete(&sink), session)? {
                    tracing::warn!(sink, %session, "a sink did not take every event of a session, so there is no receipt");
                    continue;
                }
                let delivered = crate::clock::now_ms();
                let receipt = Receipt { v: 1, session, sink: sink.clone(), delivered, objects: Vec::new() };
                if spool.folder(&folder).is_some() {
                    receipt.store(&spool.receipts(&sink), &folder)?;
                }
            }
            // receipts first: a crash between the two delivers again, and forgets nothing
            next.store(&spool.cursor(&sink))?;
            writer.log().taken(&sink, next)
        })
        .await?;
        (self.taken, self.unnoted) = (next, None);
        Ok(())
    }

    /// Until there is something to do.
    async fn wait(&mut self, tip: &mut watch::Receiver<Cursor>, written: &VecDeque<Written>) -> Result<(), Failure> {
        let old_enough = written.front().map(|first| first.at + self.window);
        let old_enough = async {
            match old_enough {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let connection = match &mut self.outlet {
            Outlet::Syslog(syslog) => syslog.connection.as_mut(),
            _ => None,
        };
        let lost = async {
            match connection {
                Some(connection) => {
                    connection.closed().await;
                    connection.lost()
                }
                None => std::future::pending().await,
            }
        };
        let lost = tokio::select! {
            changed = tip.changed() => return changed.map_err(|_| Failure::Sink("the spool has been closed".to_owned())),
            () = old_enough => return Ok(()),
            lost = lost => lost,
        };
        if let Outlet::Syslog(syslog) = &mut self.outlet {
            syslog.connection = None;
        }
        // a server that closes a connection on which nothing is under way is not down
        if written.is_empty() { Ok(()) } else { Err(lost) }
    }
}

/// Work for a disk, off the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| Failure::Sink(format!("the spool's work broke off: {error}")))?;
    done.map_err(|error| Failure::Sink(error.to_string()))
}
