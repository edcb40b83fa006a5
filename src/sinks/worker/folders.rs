//! Brings sealed folders to one sink. One that fails waits by itself, and the others go on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::live::blocking;
use crate::aws::AwsSource;
use crate::backoff::Backoff;
use crate::error::Failure;
use crate::health::{FOLDERS, Statuses};
use crate::s3::Bucket;
use crate::spool::{FolderQueue, Item, Receipt, Spool, queued};

/// After so many refusals of one, while others are taken, it is put aside.
const REFUSALS: u32 = 3;

/// After so many that failed one after the other it is the sink that is away.
const IN_A_ROW: u32 = 3;

/// How long the worker sleeps where nothing is due.
const IDLE: Duration = Duration::from_secs(30);

/// Where folders go.
pub(crate) enum FoldersTo {
    /// Objects in a bucket.
    S3 { bucket: Bucket, prefix: String },
    /// Logs where the account's preferences say.
    AgentLogs { source: AwsSource, endpoint: Option<String> },
}

/// One sink's.
pub(crate) struct FolderWorker {
    pub(crate) sink: String,
    pub(crate) to: FoldersTo,
    pub(crate) spool: Spool,
    pub(crate) queue: FolderQueue,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) backoff: Backoff,
    pub(crate) max_age: Duration,
    /// Where folders that are refused stand; bounded by the queue.
    pub(crate) refused: HashMap<String, Refused>,
    /// How many were delivered.
    pub(crate) delivered: u64,
}

/// One that was refused.
pub(crate) struct Refused {
    times: u32,
    next: Instant,
    backoff: Backoff,
    /// How many had been delivered then.
    delivered_before: u64,
    /// It failed while others were taken: that it fails again says nothing of the sink.
    alone: bool,
}

impl Refused {
    fn new(mut backoff: Backoff, delivered_before: u64) -> Self {
        backoff.reset();
        Self { times: 0, next: Instant::now(), backoff, delivered_before, alone: false }
    }

    fn wait(&mut self) {
        self.next = Instant::now() + self.backoff.next();
    }
}

impl FolderWorker {
    /// Until the sinks are dropped.
    pub(crate) async fn run(mut self) {
        loop {
            match self.round().await {
                Ok(pause) => {
                    let _ = tokio::time::timeout(pause, self.wake.notified()).await;
                }
                // a new folder is no reason to ask a sink again that does not answer
                Err(failure) => {
                    self.statuses.fails(&self.sink, FOLDERS, &failure.to_string());
                    sleep(self.backoff.next()).await;
                }
            }
        }
    }

    /// Everything that is due, once. Says when the next is.
    async fn round(&mut self) -> Result<Duration, Failure> {
        let queue = self.queue.clone();
        let names = blocking(move || queue.names()).await?;
        self.refused.retain(|name, _| names.binary_search(name).is_ok());
        let (before, mut failed, mut in_a_row) = (self.delivered, Vec::new(), 0);
        for name in names {
            if self.refused.get(&name).is_some_and(|refused| refused.next > Instant::now()) {
                continue;
            }
            let delivered = self.delivered;
            match self.one(&name).await {
                Ok(()) if self.delivered > delivered => in_a_row = 0,
                Ok(()) => {}
                Err(failure) => {
                    failed.push((name, failure));
                    in_a_row += 1;
                }
            }
            if in_a_row >= IN_A_ROW {
                break;
            }
        }
        // where it takes some it is not the sink that fails, and those it does not take wait by themselves
        let is_alone = |(name, _): &(String, Failure)| self.refused.get(name).is_some_and(|refused| refused.alone);
        if self.delivered == before && !failed.iter().all(is_alone) {
            return failed.pop().map_or(Ok(IDLE), |(_, failure)| Err(failure));
        }
        let nothing_is_left = failed.is_empty() && self.refused.is_empty();
        for (name, why) in failed {
            tracing::warn!(sink = self.sink, item = name, %why, "a folder waits by itself, since others are taken");
            let backoff = self.backoff;
            let refused = self.refused.entry(name).or_insert_with(|| Refused::new(backoff, self.delivered));
            refused.alone = true;
            refused.wait();
        }
        // one that failed once, for a reason of this host, and has nothing to do since is not down
        let takes = self.delivered > before && self.refused.values().all(|refused| refused.alone);
        if takes || nothing_is_left {
            self.statuses.works(&self.sink, FOLDERS);
        }
        let now = Instant::now();
        let next = self.refused.values().map(|refused| refused.next.saturating_duration_since(now)).min();
        Ok(next.unwrap_or(IDLE).min(IDLE).max(Duration::from_millis(10)))
    }

    async fn one(&mut self, name: &str) -> Result<(), Failure> {
        let (queue, file) = (self.queue.clone(), name.to_owned());
        let Some(item) = blocking(move || queue.read(&file)).await? else {
            return self.put_aside(name, "the spool's note of it can't be read").await;
        };
        match self.deliver(&item).await {
            Ok(()) => {
                self.delivered += 1;
                self.refused.remove(name);
                if self.refused.is_empty() {
                    self.statuses.works(&self.sink, FOLDERS);
                }
                self.backoff.reset();
                let (queue, file) = (self.queue.clone(), name.to_owned());
                blocking(move || queue.done(&file)).await
            }
            Err(Failure::Poisoned(why)) => self.put_aside(name, &why).await,
            Err(Failure::Refused(why)) => self.refuse(name, why).await,
            Err(Failure::Sink(why)) if self.is_too_old(name) => {
                self.put_aside(
                    name,
                    &format!("it waited for longer than the spool keeps it; the last answer was: {why}"),
                )
                .await
            }
            // accounts' own buckets and groups fail apart from one another
            Err(Failure::Sink(why)) if item.agent_log.is_some() => self.refuse(name, why).await,
            Err(failure) => Err(failure),
        }
    }

    fn is_too_old(&self, name: &str) -> bool {
        let age = queued(name).map(|queued| crate::clock::now_ms().saturating_sub(queued));
        age.and_then(|age| u64::try_from(age).ok()).is_some_and(|age| Duration::from_millis(age) > self.max_age)
    }

    /// A refusal of one thing looks like a permission that is missing for all. It is this one where others are taken meanwhile.
    async fn refuse(&mut self, name: &str, why: String) -> Result<(), Failure> {
        if self.is_too_old(name) {
            return self.put_aside(name, &why).await;
        }
        let (delivered, backoff) = (self.delivered, self.backoff);
        let refused = self.refused.entry(name.to_owned()).or_insert_with(|| Refused::new(backoff, delivered));
        refused.times += 1;
        refused.wait();
        let only_this = refused.times >= REFUSALS && delivered > refused.delivered_before;
        if only_this {
            return self.put_aside(name, &why).await;
        }
        self.statuses.fails(&self.sink, FOLDERS, &why);
        Ok(())
    }

    async fn put_aside(&mut self, name: &str, why: &str) -> Result<(), Failure> {
        tracing::warn!(sink = self.sink, item = name, why, "a folder can't be delivered and is put aside");
        self.refused.remove(name);
        if self.refused.is_empty() {
            self.statuses.works(&self.sink, FOLDERS);
        }
        let (queue, name, why) = (self.queue.clone(), name.to_owned(), why.to_owned());
        blocking(move || queue.quarantine(&name, &why)).await
    }

    async fn deliver(&self, item: &Item) -> Result<(), Failure> {
        match (&self.to, &item.agent_log) {
            (FoldersTo::S3 { bucket, prefix }, None) => {
                for folder in &item.folders {
                    self.deliver_folder(bucket, prefix, item, folder).await?;
                }
                Ok(())
            }
            (FoldersTo::AgentLogs { source, endpoint }, Some(log)) => {
                crate::agent_log::deliver(&self.spool, item, log, source, endpoint.as_deref()).await
            }
            _ => Err(Failure::Poisoned("the spool's note of it is for another kind of sink".to_owned())),
        }
    }

    async fn deliver_folder(&self, bucket: &Bucket, prefix: &str, item: &Item, folder: &str) -> Result<(), Failure> {
        let poisoned = || Failure::Poisoned(format!("{:?} names no folder", crate::names::one_line(folder, 100)));
        let path = self.spool.folder(folder).ok_or_else(poisoned)?;
        let (receipts, name) = (self.spool.receipts(&self.sink), folder.to_owned());
        let has = blocking({
            let receipts = receipts.clone();
            move || Receipt::load(&receipts, &name)
        });
        if has.await?.is_some() {
            return Ok(());
        }
        let objects = crate::s3::deliver_folder(bucket, prefix, &path).await?;
        let (session, sink, delivered) = (item.session, self.sink.clone(), crate::clock::now_ms());
        let (receipt, folder) = (Receipt { v: 1, session, sink, delivered, objects }, folder.to_owned());
        blocking(move || receipt.store(&receipts, &folder)).await
    }
}
