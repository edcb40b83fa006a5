//! What owns the log's file and the folders: a thread behind a bounded queue, so that nobody else ever waits for a disk.
//!
//! ```text
//!  record ──▶ ┌ queue, bounded ┐ ──▶ disk: numbers the lines, write(2), as many as wait at once ──▶ whoever waits
//!  note   ──▶ └────────────────┘       ▲
//!                                    watch: tells them instead, where that takes too long
//! ```
//!
//! A thread inside `write(2)` can't be called back, so there is another one beside it with an eye on the clock: a disk that
//! hangs is an error like a disk that is full. It looks only now and then, so that a byte on its way to a terminal wakes one thread and
//! no second one. The clock is the system's and not the runtime's, since the disk knows no other.

use std::mem::take;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::error::EvidenceError;
use super::fields::Line;
use super::folder::{FolderDisk, FolderTask};
use super::log_file::{Bytes, LogFile};

/// How many lines may wait. A disk takes a line in some microseconds, so they only wait for one that stalls.
pub(super) const QUEUE: usize = 4096;

/// How long the disk may take for what it was given: longer than a busy one pauses, and not so long that people wait at
/// a terminal for one that hangs.
pub(super) const LONGEST_WRITE: Duration = Duration::from_secs(20);

/// The most lines that are written at once.
const BATCH: usize = 64;

/// While the disk hangs, what comes is answered so soon.
const HANGING: Duration = Duration::from_millis(50);

pub(super) type Told = oneshot::Sender<Result<(), EvidenceError>>;

/// What the writer is asked for, in the order in which it is done.
#[derive(Debug)]
pub(super) enum Job {
    /// A line, and who waits for it.
    Write(Line, Option<Told>),
    /// Something of a session's folder, and who waits for it.
    Folder(FolderTask, Option<Told>),
    /// Another file, where this one was moved away.
    Reopen(Told),
    /// Nothing; but all that was asked for before is done by then.
    Flush(oneshot::Sender<()>),
}

/// The threads. Dropped once nobody can ask for anything any more; then it waits until all is done.
#[derive(Debug)]
pub(super) struct Writer(Option<JoinHandle<()>>);

/// What the disk does.
pub(super) trait Does: Send + 'static {
    /// Has heads signed of what needs one; when it is to be asked again.
    fn heads(&mut self, now: Instant) -> Option<Duration>;
    /// All of it in order: a result for each.
    fn run(&mut self, all: Vec<ToDo>) -> Done;
    /// Another file.
    fn reopen(&mut self) -> Result<(), EvidenceError>;
    /// Nobody asks any more.
    fn end(&mut self);
}

/// One thing of many that are done at once.
pub(super) enum ToDo {
    Line(Bytes),
    Folder(FolderTask),
}

/// What became of each.
pub(super) type Done = Vec<Result<(), EvidenceError>>;

/// Who waits, and what that is called where it is missing.
type Waiting = Vec<(&'static str, Option<Told>)>;

/// What both threads know.
struct Shared {
    /// The disk's thread has it while nothing is under way.
    queue: Mutex<mpsc::Receiver<Job>>,
    /// Lines that are missing and whose numbers are, too.
    lost: Arc<AtomicU64>,
    state: Mutex<State>,
    /// The disk's thread has ended.
    ended: Condvar,
    patience: Duration,
}

#[derive(Default)]
struct State {
    /// What is under way, and since when.
    under_way: Option<(Instant, Waiting)>,
    /// The disk still owes an answer that nobody waits for any more.
    hangs: bool,
    over: bool,
}

impl Writer {
    /// Starts the threads. `lost` counts lines that never got into the queue: they are missing, so numbers are, too.
    pub(super) fn start(
        run: Uuid,
        disk: impl Does,
        queue: mpsc::Receiver<Job>,
        lost: Arc<AtomicU64>,
        patience: Duration,
    ) -> std::io::Result<Self> {
        let queue = Mutex::new(queue);
        let shared = Arc::new(Shared { queue, lost, state: Mutex::default(), ended: Condvar::new(), patience });
        // the queue can be waited for with an end only by a runtime
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let writing = Writing { run, number: 0, disk, clock, shared: shared.clone() };
        let disk = thread::Builder::new().name("evidence-disk".to_owned()).spawn(move || writing.work())?;
        let watch = thread::Builder::new().name("evidence-watch".to_owned()).spawn(move || {
            // a disk that hangs is not waited for: it keeps its thread, and the file, until the process ends
            if shared.watch() {
                let _ = disk.join();
            }
        })?;
        Ok(Self(Some(watch)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(watch) = self.0.take() {
            let _ = watch.join();
        }
    }
}

/// What the disk's thread has.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) log: LogFile,
    pub(super) folders: FolderDisk,
}

impl Does for Disk {
    fn heads(&mut self, now: Instant) -> Option<Duration> {
        [self.log.heads(now), self.folders.heads(now)].into_iter().flatten().min()
    }

    /// Lines that follow each other go into the log together.
    fn run(&mut self, all: Vec<ToDo>) -> Done {
        let (mut results, mut lines) = (Vec::with_capacity(all.len()), Vec::new());
        for one in all {
            match one {
                ToDo::Line(line) => lines.push(line),
                ToDo::Folder(task) => {
                    results.extend(self.log.append(&take(&mut lines)));
                    results.push(self.folders.run(task));
                }
            }
        }
        results.extend(self.log.append(&lines));
        results
    }

    fn reopen(&mut self) -> Result<(), EvidenceError> {
        self.log.reopen()
    }

    fn end(&mut self) {
        self.log.ask_for_head(Instant::now());
    }
}

/// The disk's thread.
struct Writing<D> {
    /// Which opening of the log this is: numbers start again with the next.
    run: Uuid,
    /// The last line's.
    number: u64,
    disk: D,
    clock: tokio::runtime::Runtime,
    shared: Arc<Shared>,
}

/// What is done at once.
#[derive(Default)]
struct Batch {
    all: Vec<ToDo>,
    waiting: Waiting,
}

impl<D: Does> Writing<D> {
    /// Does what it is asked for until nobody can ask any more. Between two tasks it sees to the heads.
    fn work(mut self) {
        let shared = self.shared.clone();
        loop {
            let wait = self.disk.heads(Instant::now());
            let mut batch = Batch::default();
            let last = {
                let mut queue = lock(&shared.queue);
                let Some(job) = self.next(&mut queue, wait) else { break };
                let mut next = job;
                loop {
                    match next {
                        Some(Job::Write(line, told)) => {
                            batch.waiting.push((line.name, told));
                            batch.all.push(ToDo::Line(self.numbered(&line)));
                        }
                        Some(Job::Folder(task, told)) => {
                            batch.waiting.push(("of a folder", told));
                            batch.all.push(ToDo::Folder(task));
                        }
                        // what came before it is done before it
                        other => break other,
                    }
                    next = if batch.all.len() < BATCH { queue.try_recv().ok() } else { None };
                }
            };
            self.append(batch);
            match last {
                Some(Job::Reopen(told)) => {
                    shared.begin(vec![("of a reopening", Some(told))]);
                    let reopened = self.disk.reopen();
                    shared.done(vec![reopened]);
                }
                Some(Job::Flush(told)) => drop(told.send(())),
                _ => {}
            }
        }
        self.disk.end();
        lock(&shared.state).over = true;
        shared.ended.notify_all();
    }

    /// The next that it is asked for, none after so long; or nothing where nobody can ask.
    fn next(&self, queue: &mut mpsc::Receiver<Job>, wait: Option<Duration>) -> Option<Option<Job>> {
        match (queue.try_recv(), wait) {
            (Ok(job), _) => Some(Some(job)),
            (Err(TryRecvError::Disconnected), _) => None,
            (Err(TryRecvError::Empty), None) => queue.blocking_recv().map(Some),
            (Err(TryRecvError::Empty), Some(wait)) => {
                let next = self.clock.block_on(async { tokio::time::timeout(wait, queue.recv()).await });
                next.map_or(Some(None), |job| job.map(Some))
            }
        }
    }

    /// Has all of it done, and tells who waits what became of it.
    fn append(&mut self, batch: Batch) {
        if batch.all.is_empty() {
            return;
        }
        self.shared.begin(batch.waiting);
        let done = self.disk.run(batch.all);
        self.shared.done(done);
    }

    fn numbered(&mut self, line: &Line) -> Bytes {
        // a number is used up by a line that is lost as well: that shows
        self.number += 1 + self.shared.lost.swap(0, Ordering::Relaxed);
        line.numbered(self.run, self.number)
    }
}

impl Shared {
    fn begin(&self, waiting: Waiting) {
        lock(&self.state).under_way = Some((Instant::now(), waiting));
    }

    /// Tells who waits; nobody does any more where it has taken too long.
    fn done(&self, results: Done) {
        let under_way = {
            let mut state = lock(&self.state);
            state.hangs = false;
            state.under_way.take()
        };
        let mut results = results.into_iter();
        for (name, told) in under_way.map(|(_, waiting)| waiting).unwrap_or_default() {
            tell(name, told, results.next().unwrap_or_else(|| Err(EvidenceError::Write(GONE.to_owned()))));
        }
    }

    /// Has an eye on the clock until the disk's thread has ended; whether it has, and does not hang.
    fn watch(&self) -> bool {
        let mut state = lock(&self.state);
        while !state.over {
            let wait = match &state.under_way {
                _ if state.hangs => HANGING,
                Some((since, _)) => self.patience.saturating_sub(since.elapsed()),
                None => self.patience / 4,
            };
            state = self.ended.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            if let Some((_, late)) = state.under_way.take_if(|(since, _)| since.elapsed() >= self.patience) {
                state.hangs = true;
                for (name, told) in late {
                    let why = format!("the disk has not taken it in {} s", self.patience.as_secs());
                    tell(name, told, Err(EvidenceError::Write(why)));
                }
            }
            // it has the queue only while it does not hang, and it can't say so before `state` is free
            if state.hangs && !self.refuse(&mut lock(&self.queue)) {
                return false;
            }
        }
        true
    }

    /// Tells all who wait that the disk hangs; false where nobody can ask any more.
    fn refuse(&self, queue: &mut mpsc::Receiver<Job>) -> bool {
        let hangs = || Err(EvidenceError::Write(HANGS.to_owned()));
        loop {
            match queue.try_recv() {
                Ok(Job::Write(line, told)) => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    tell(line.name, told, hangs());
                }
                Ok(Job::Folder(_, told)) => tell("of a folder", told, hangs()),
                Ok(Job::Reopen(told)) => tell("of a reopening", Some(told), hangs()),
                Ok(Job::Flush(told)) => drop(told.send(())),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }
}

/// Tells who waits for it what became of something.
fn tell(name: &'static str, told: Option<Told>, result: Result<(), EvidenceError>) {
    let untold = match told {
        Some(told) => told.send(result).err(),
        None => Some(result),
    };
    // nobody waits for it, or not any more
    if let Some(Err(error)) = untold {
        tracing::error!(%error, event = name, "evidence is missing an event");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing ends the disk's thread while somebody may ask it; but if it is gone, nothing is written.
pub(super) const GONE: &str = "nobody writes the log any more";
const HANGS: &str = "the disk does not answer";

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use super::*;
    use crate::evidence::event::{Event, SessionLane};
    use crate::model::CallIds;

    const SHORT: Duration = Duration::from_millis(100);

    /// A line, and what became of it.
    fn line(id: &str) -> (Job, oneshot::Receiver<Result<(), EvidenceError>>) {
        let (told, hears) = oneshot::channel();
        let calls = CallIds::default();
        let line = Line::new(Uuid::nil(), &Event::SessionLane(SessionLane { session_manager_id: id, calls: &calls }));
        (Job::Write(line, Some(told)), hears)
    }

    fn number(line: &ToDo) -> u64 {
        let ToDo::Line(line) = line else { panic!("no folder is asked for") };
        serde_json::from_slice::<serde_json::Value>(&line.line).unwrap()["seq"].as_u64().unwrap()
    }

    /// A disk that does this.
    struct Doing<F>(F);

    impl<F: FnMut(Vec<ToDo>) -> Done + Send + 'static> Does for Doing<F> {
        fn heads(&mut self, _: Instant) -> Option<Duration> {
            None
        }

        fn run(&mut self, all: Vec<ToDo>) -> Done {
            (self.0)(all)
        }

        fn reopen(&mut self) -> Result<(), EvidenceError> {
            Ok(())
        }

        fn end(&mut self) {}
    }

    #[test]
    fn lines_that_wait_are_written_together_and_numbered_in_order() {
        let (jobs, queue) = mpsc::channel(100);
        let (jobs_sent, lost) = (70, Arc::new(AtomicU64::new(0)));
        let mut waiting: Vec<_> = (0..jobs_sent)
            .map(|n| {
                let (job, hears) = line(&n.to_string());
                jobs.try_send(job).unwrap();
                hears
            })
            .collect();
        lost.store(2, Ordering::Relaxed);
        let (says, batches) = std_mpsc::channel();
        let disk = Doing(move |lines: Vec<ToDo>| {
            says.send(lines.iter().map(number).collect::<Vec<_>>()).unwrap();
            // every third line is lost
            let results = lines.iter().map(|line| match number(line) % 3 {
                0 => Err(EvidenceError::Write("no".to_owned())),
                _ => Ok(()),
            });
            results.collect()
        });
        let writer = Writer::start(Uuid::nil(), disk, queue, lost, LONGEST_WRITE).unwrap();
        drop(jobs);
        drop(writer);
        let batches: Vec<Vec<u64>> = batches.iter().collect();
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [64, 6]);
        // two were lost before the first
        assert!(batches.concat().into_iter().eq(3..73));
        for (hears, number) in waiting.iter_mut().zip(3_u64..) {
            assert_eq!(hears.try_recv().unwrap().is_ok(), number % 3 != 0, "{number}");
        }
    }

    #[test]
    fn a_disk_that_hangs_is_an_error_and_one_that_comes_back_is_none() {
        let (jobs, queue) = mpsc::channel(10);
        let ((release, released), (says, numbers)) = (std_mpsc::channel::<()>(), std_mpsc::channel());
        let disk = Doing(move |lines: Vec<ToDo>| {
            let first = number(&lines[0]);
            says.send(first).unwrap();
            if first == 1 {
                released.recv().unwrap();
            }
            vec![Ok(()); lines.len()]
        });
        let writer = Writer::start(Uuid::nil(), disk, queue, Arc::default(), SHORT).unwrap();
        let write = |id| {
            let (job, hears) = line(id);
            jobs.blocking_send(job).unwrap();
            hears.blocking_recv().unwrap()
        };
        assert!(write("1").unwrap_err().to_string().contains("the disk has not taken it"));
        assert!(write("2").unwrap_err().to_string().contains("does not answer"));
        release.send(()).unwrap();
        let (until, mut refused) = (std::time::Instant::now() + Duration::from_secs(20), 1);
        while write("again").is_err() {
            assert!(std::time::Instant::now() < until, "it never came back");
            thread::sleep(Duration::from_millis(5));
            refused += 1;
        }
        // the numbers of those that it did not take are missing, which shows
        assert_eq!(numbers.try_iter().collect::<Vec<u64>>(), [1, 2 + refused]);
        drop((jobs, writer));
    }

    #[test]
    fn a_disk_that_hangs_does_not_keep_the_gateway_from_ending() {
        let (jobs, queue) = mpsc::channel(10);
        let (keep, kept) = std_mpsc::channel::<()>();
        let disk = Doing(move |_| {
            let _ = kept.recv();
            Vec::new()
        });
        let writer = Writer::start(Uuid::nil(), disk, queue, Arc::default(), SHORT);
        let (job, hears) = line("1");
        jobs.try_send(job).unwrap();
        drop(jobs);
        drop(writer);
        assert!(hears.blocking_recv().unwrap().is_err());
        drop(keep);
    }
}
