//! What owns the log's file: two threads behind one bounded queue, so that nobody else ever waits for a disk.
//!
//! ```text
//!  record ──▶ ┌ queue, bounded ┐ ──▶ clerk: numbers the lines, ──▶ disk: write(2)
//!  note   ──▶ └────────────────┘     as many as wait at once  ◀── what became of each, or nothing for too long
//!                                      └─▶ whoever waits
//! ```
//!
//! A thread inside `write(2)` can't be called back, so there is another one beside it with an eye on the clock: a disk that
//! hangs is an error like a disk that is full. The clock is the system's and not the runtime's, since the disk knows no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

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

/// What the disk's thread is asked for.
enum Task {
    Do(Vec<ToDo>),
    Reopen,
}

/// One thing of many that are done at once.
enum ToDo {
    Line(Bytes),
    Folder(FolderTask),
}

/// What waits to be done: what it is, for the log, and who waits for it.
struct Waiting {
    what: Item,
    told: Option<Told>,
}

enum Item {
    Line(Line),
    Folder(FolderTask),
}

impl Item {
    /// What it is called where it is missing.
    fn name(&self) -> &'static str {
        match self {
            Self::Line(line) => line.name,
            Self::Folder(_) => "of a folder",
        }
    }
}

/// The disk's answer: a result for every line, or the one of a reopening.
type Done = Vec<Result<(), EvidenceError>>;

impl Writer {
    /// Starts the threads. `lost` counts lines that never got into the queue: they are missing, so numbers are, too.
    pub(super) fn start(
        run: Uuid,
        disk: Disk,
        queue: mpsc::Receiver<Job>,
        lost: Arc<AtomicU64>,
        patience: Duration,
    ) -> std::io::Result<Self> {
        Self::with(run, queue, lost, patience, move |tasks, done| write(disk, &tasks, &done))
    }

    /// With this in place of the disk.
    fn with(
        run: Uuid,
        queue: mpsc::Receiver<Job>,
        lost: Arc<AtomicU64>,
        patience: Duration,
        disk: impl FnOnce(std_mpsc::Receiver<Task>, std_mpsc::SyncSender<Done>) + Send + 'static,
    ) -> std::io::Result<Self> {
        // one task at a time is under way, and one more answer may come late
        let ((tasks, todo), (done, answers)) = (std_mpsc::sync_channel(1), std_mpsc::sync_channel(1));
        let disk = thread::Builder::new().name("evidence-disk".to_owned()).spawn(move || disk(todo, done))?;
        let clerk = Clerk { run, number: 0, lost, patience, tasks, answers, hangs: false };
        let clerk = thread::Builder::new().name("evidence-log".to_owned()).spawn(move || {
            // a disk that hangs is not waited for: it keeps its thread, and the file, until the process ends
            if clerk.work(queue) {
                let _ = disk.join();
            }
        })?;
        Ok(Self(Some(clerk)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(clerk) = self.0.take() {
            let _ = clerk.join();
        }
    }
}

/// What the disk's thread has.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) log: LogFile,
    pub(super) folders: FolderDisk,
}

/// The disk's thread. Between two tasks it sees to the heads.
fn write(mut disk: Disk, tasks: &std_mpsc::Receiver<Task>, done: &std_mpsc::SyncSender<Done>) {
    loop {
        let next = disk.heads(Instant::now());
        let task = match next {
            Some(wait) => tasks.recv_timeout(wait),
            None => tasks.recv().map_err(|_| std_mpsc::RecvTimeoutError::Disconnected),
        };
        let results = match task {
            Ok(Task::Do(all)) => disk.run(all),
            Ok(Task::Reopen) => vec![disk.log.reopen()],
            Err(std_mpsc::RecvTimeoutError::Timeout) => continue,
            Err(std_mpsc::RecvTimeoutError::Disconnected) => break,
        };
        if done.send(results).is_err() {
            break;
        }
    }
    disk.log.ask_for_head(Instant::now());
}

impl Disk {
    /// Has heads signed of what needs one; when it is to be asked again.
    fn heads(&mut self, now: Instant) -> Option<Duration> {
        [self.log.heads(now), self.folders.heads(now)].into_iter().flatten().min()
    }

    /// Does it in order; lines that follow each other go into the log together.
    fn run(&mut self, all: Vec<ToDo>) -> Done {
        let (mut results, mut lines) = (Vec::with_capacity(all.len()), Vec::new());
        for one in all {
            match one {
                ToDo::Line(line) => lines.push(line),
                ToDo::Folder(task) => {
                    results.extend(self.log.append(&std::mem::take(&mut lines)));
                    results.push(self.folders.run(task));
                }
            }
        }
        results.extend(self.log.append(&lines));
        results
    }
}

struct Clerk {
    /// Which opening of the log this is: numbers start again with the next.
    run: Uuid,
    /// The last line's.
    number: u64,
    lost: Arc<AtomicU64>,
    patience: Duration,
    tasks: std_mpsc::SyncSender<Task>,
    answers: std_mpsc::Receiver<Done>,
    /// The disk still owes an answer that nobody waits for any more.
    hangs: bool,
}

impl Clerk {
    /// Does what it is asked for until nobody can ask any more; whether the disk is free then.
    fn work(mut self, mut queue: mpsc::Receiver<Job>) -> bool {
        let mut lines: Vec<Waiting> = Vec::with_capacity(BATCH);
        while let Some(job) = queue.blocking_recv() {
            let mut next = Some(job);
            while let Some(job) = next {
                match job {
                    Job::Write(line, told) => lines.push(Waiting { what: Item::Line(line), told }),
                    Job::Folder(task, told) => lines.push(Waiting { what: Item::Folder(task), told }),
                    // what came before it is written to the file that was there before
                    Job::Reopen(told) => {
                        self.append(&mut lines);
                        tell(told, self.ask(Task::Reopen).and_then(|done| done.into_iter().next().unwrap_or(Ok(()))));
                    }
                    Job::Flush(told) => {
                        self.append(&mut lines);
                        let _ = told.send(());
                    }
                }
                next = if lines.len() < BATCH { queue.try_recv().ok() } else { None };
            }
            self.append(&mut lines);
        }
        !self.hangs
    }

    /// Numbers lines, has all of it done, and tells who waits what became of it.
    fn append(&mut self, waiting: &mut Vec<Waiting>) {
        if waiting.is_empty() {
            return;
        }
        let (mut all, mut names) = (Vec::with_capacity(waiting.len()), Vec::with_capacity(waiting.len()));
        for Waiting { what, told } in waiting.drain(..) {
            names.push((what.name(), told));
            all.push(match what {
                Item::Line(line) => ToDo::Line(self.numbered(&line)),
                Item::Folder(task) => ToDo::Folder(task),
            });
        }
        let mut results = match self.ask(Task::Do(all)) {
            Ok(results) => results.into_iter(),
            Err(error) => vec![Err(error); names.len()].into_iter(),
        };
        for (name, told) in names {
            let result = results.next().unwrap_or_else(|| Err(EvidenceError::Write(GONE.to_owned())));
            let untold = match told {
                Some(told) => told.send(result).err(),
                None => Some(result),
            };
            // nobody waits for it, or not any more
            if let Some(Err(error)) = untold {
                tracing::error!(%error, event = name, "evidence is missing an event");
            }
        }
    }

    fn numbered(&mut self, line: &Line) -> Bytes {
        // a number is used up by a line that is lost as well: that shows
        self.number += 1 + self.lost.swap(0, Ordering::Relaxed);
        line.numbered(self.run, self.number)
    }

    /// Has the disk do something, but does not wait for ever.
    fn ask(&mut self, task: Task) -> Result<Done, EvidenceError> {
        let error = |why: String| Err(EvidenceError::Write(why));
        if self.hangs {
            match self.answers.try_recv() {
                // its results are of lines that were given up
                Ok(_) => self.hangs = false,
                Err(_) => return error(HANGS.to_owned()),
            }
        }
        if self.tasks.send(task).is_err() {
            return error(GONE.to_owned());
        }
        match self.answers.recv_timeout(self.patience) {
            Ok(done) => Ok(done),
            Err(std_mpsc::RecvTimeoutError::Timeout) => {
                self.hangs = true;
                error(format!("the disk has not taken it in {} s", self.patience.as_secs()))
            }
            Err(std_mpsc::RecvTimeoutError::Disconnected) => error(GONE.to_owned()),
        }
    }
}

fn tell(told: Told, result: Result<(), EvidenceError>) {
    // whoever does not wait any more does not need to know
    let _ = told.send(result);
}

/// Nothing ends the disk's thread while somebody may ask it; but if it is gone, nothing is written.
pub(super) const GONE: &str = "nobody writes the log any more";
const HANGS: &str = "the disk does not answer";

#[cfg(test)]
mod tests {
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
        let writer = Writer::with(Uuid::nil(), queue, lost, LONGEST_WRITE, move |tasks, done| {
            while let Ok(Task::Do(lines)) = tasks.recv() {
                // every third line is lost
                let results = lines.iter().map(|line| match number(line) % 3 {
                    0 => Err(EvidenceError::Write("no".to_owned())),
                    _ => Ok(()),
                });
                done.send(results.collect()).unwrap();
                says.send(lines.iter().map(number).collect::<Vec<_>>()).unwrap();
            }
        });
        let writer = writer.unwrap();
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
        let (release, released) = std_mpsc::channel::<()>();
        let writer = Writer::with(Uuid::nil(), queue, Arc::default(), SHORT, move |tasks, done| {
            while let Ok(Task::Do(lines)) = tasks.recv() {
                if number(&lines[0]) == 1 {
                    released.recv().unwrap();
                }
                done.send(vec![Ok(()); lines.len()]).unwrap();
            }
        });
        let write = |id| {
            let (job, hears) = line(id);
            jobs.blocking_send(job).unwrap();
            hears.blocking_recv().unwrap()
        };
        assert!(write("1").unwrap_err().to_string().contains("the disk has not taken it"));
        assert!(write("2").unwrap_err().to_string().contains("does not answer"));
        release.send(()).unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while write("again").is_err() {
            assert!(std::time::Instant::now() < until, "it never came back");
            thread::sleep(Duration::from_millis(5));
        }
        drop((jobs, writer));
    }

    #[test]
    fn a_disk_that_hangs_does_not_keep_the_gateway_from_ending() {
        let (jobs, queue) = mpsc::channel(10);
        let (keep, kept) = std_mpsc::channel::<()>();
        let writer = Writer::with(Uuid::nil(), queue, Arc::default(), SHORT, move |_tasks, _done| {
            let _ = kept.recv();
        });
        let (job, hears) = line("1");
        jobs.try_send(job).unwrap();
        drop(jobs);
        drop(writer);
        assert!(hears.blocking_recv().unwrap().is_err());
        drop(keep);
    }
}
