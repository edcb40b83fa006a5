//! The live log: events and anchors on their way to sinks, in segments on disk. Sinks read it at their own pace, so that one that is
//! down costs disk and no memory; what all have taken is removed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::disk::disk;
use super::live_reader::{Cursor, segments};
use super::record::{LONGEST_LINE, Record};
use crate::error::SinkError;

/// After so many bytes another segment begins. A sixteenth of the bound where that is less.
const SEGMENT: u64 = 4 << 20;

/// How often what was written is given to the disk.
const SYNC: Duration = Duration::from_secs(1);

/// How many lines may wait for the thread.
const QUEUE: usize = 256;

/// The file that is written, and how far each sink is.
#[derive(Debug)]
pub(crate) struct LiveLog {
    dir: PathBuf,
    file: File,
    tip: Cursor,
    /// Bytes of every segment that is there, by number.
    sizes: BTreeMap<u64, u64>,
    max: u64,
    /// How far the sinks are, and whether one is required.
    readers: BTreeMap<String, (Cursor, bool)>,
    /// Bytes that were dropped before a sink took them.
    dropped: BTreeMap<String, u64>,
    told: watch::Sender<Cursor>,
    synced: Instant,
    dirty: bool,
}

impl LiveLog {
    /// Begins a new segment: the last one of another run may end in half a line.
    pub(crate) fn open(dir: &Path, max: u64, readers: BTreeMap<String, (Cursor, bool)>) -> Result<Self, SinkError> {
        let sizes: BTreeMap<u64, u64> = segments(dir)?.into_iter().collect();
        let number = sizes.keys().next_back().map_or(1, |last| last.saturating_add(1));
        let newest_cursor = readers.values().map(|(cursor, _)| cursor.segment).max().unwrap_or(0);
        // a cursor beyond every segment, where all were removed, must not be ahead of what comes now
        let tip = Cursor { segment: number.max(newest_cursor.saturating_add(1)), offset: 0 };
        let file = create(dir, tip.segment)?;
        let (told, _) = watch::channel(tip);
        let mut log = Self {
            dir: dir.to_owned(),
            file,
            tip,
            sizes,
            max,
            readers,
            dropped: BTreeMap::new(),
            told,
            synced: Instant::now(),
            dirty: false,
        };
        log.sizes.insert(tip.segment, 0);
        log.prune()?;
        Ok(log)
    }

    pub(crate) fn tip(&self) -> watch::Receiver<Cursor> {
        self.told.subscribe()
    }

    /// How many bytes are there that this sink has not taken, and since when in milliseconds, roughly.
    pub(crate) fn behind(&self, sink: &str) -> u64 {
        let Some((cursor, _)) = self.readers.get(sink) else { return 0 };
        let all: u64 = self.sizes.range(cursor.segment..).map(|(_, size)| size).sum();
        if self.sizes.contains_key(&cursor.segment) { all.saturating_sub(cursor.offset) } else { all }
    }

    fn bytes(&self) -> u64 {
        self.sizes.values().sum()
    }

    fn append(&mut self, line: &[u8]) -> Result<(), SinkError> {
        let len = line.len() as u64;
        if self.tip.offset > 0 && self.tip.offset + len > SEGMENT.min(self.max / 16) {
            self.next_segment()?;
        }
        while self.bytes().saturating_add(len) > self.max {
            self.make_room()?;
        }
        if let Err(error) = self.file.write_all(line) {
            // half a line may stand there: nothing is written behind it
            let _ = self.next_segment();
            return Err(disk(&self.dir, "written")(error));
        }
        self.dirty = true;
        self.tip.offset += len;
        self.sizes.insert(self.tip.segment, self.tip.offset);
        self.told.send_replace(self.tip);
        Ok(())
    }

    fn next_segment(&mut self) -> Result<(), SinkError> {
        self.sync()?;
        let next = Cursor { segment: self.tip.segment.saturating_add(1), offset: 0 };
        self.file = create(&self.dir, next.segment)?;
        self.tip = next;
        self.sizes.insert(next.segment, 0);
        self.told.send_replace(next);
        self.prune()
    }

    /// Drops the oldest segment, if no sink that is required still needs it.
    fn make_room(&mut self) -> Result<(), SinkError> {
        let (bytes, max) = (self.bytes(), self.max);
        let oldest = self.sizes.keys().next().copied().unwrap_or(self.tip.segment);
        let needs = self.readers.iter().find(|(_, (cursor, required))| *required && cursor.segment <= oldest);
        if let Some((sink, _)) = needs {
            return Err(SinkError::Full { bytes, max, sink: sink.clone() });
        }
        if oldest == self.tip.segment {
            return Err(SinkError::Full { bytes, max, sink: "all sinks".to_owned() });
        }
        tracing::warn!(segment = oldest, "the spool is full: events that a sink has not taken are dropped");
        self.count_dropped(oldest);
        self.drop_segment(oldest)
    }

    fn count_dropped(&mut self, segment: u64) {
        let bytes = self.sizes.get(&segment).copied().unwrap_or(0);
        for (sink, (cursor, _)) in self.readers.iter().filter(|(_, (cursor, _))| cursor.segment <= segment) {
            let read = if cursor.segment == segment { cursor.offset } else { 0 };
            *self.dropped.entry(sink.clone()).or_default() += bytes.saturating_sub(read);
        }
    }

    /// How many bytes were dropped before this sink took them.
    pub(crate) fn dropped(&self, sink: &str) -> u64 {
        self.dropped.get(sink).copied().unwrap_or(0)
    }

    /// Puts aside what is older than this: no sink would take it any more.
    pub(crate) fn expire(&mut self, age: Duration, aside: &Path) -> Result<(), SinkError> {
        let old: Vec<u64> = self.sizes.keys().copied().filter(|number| *number < self.tip.segment).collect();
        for segment in old {
            let path = path_of(&self.dir, segment);
            let written = fs::metadata(&path).and_then(|metadata| metadata.modified()).map_err(disk(&path, "read"))?;
            if written.elapsed().is_ok_and(|elapsed| elapsed > age) {
                super::disk::create_dir(aside)?;
                let to = aside.join(format!("{segment:016}.log"));
                fs::rename(&path, &to).map_err(disk(&to, "written"))?;
                tracing::warn!(
                    segment,
                    "events that waited for longer than the spool keeps them are in its quarantine"
                );
                self.count_dropped(segment);
                self.sizes.remove(&segment);
            }
        }
        Ok(())
    }

    fn drop_segment(&mut self, segment: u64) -> Result<(), SinkError> {
        super::disk::remove(&path_of(&self.dir, segment))?;
        self.sizes.remove(&segment);
        Ok(())
    }

    /// Removes what all have taken.
    fn prune(&mut self) -> Result<(), SinkError> {
        let needed = self.readers.values().map(|(cursor, _)| cursor.segment).min().unwrap_or(self.tip.segment);
        let done: Vec<u64> = self.sizes.range(..needed.min(self.tip.segment)).map(|(number, _)| *number).collect();
        done.into_iter().try_for_each(|segment| self.drop_segment(segment))
    }

    /// A sink has taken all before this.
    pub(crate) fn taken(&mut self, sink: &str, cursor: Cursor) -> Result<(), SinkError> {
        if let Some(reader) = self.readers.get_mut(sink) {
            reader.0 = cursor;
        }
        // a segment that everybody has read to its end goes before it is full, where the bound presses
        if self.bytes() > self.max / 2 && self.tip.offset > 0 && self.readers.values().all(|(at, _)| *at >= self.tip) {
            self.next_segment()?;
            let tip = self.tip;
            self.readers.values_mut().for_each(|reader| reader.0 = tip);
        }
        self.prune()
    }

    fn sync(&mut self) -> Result<(), SinkError> {
        self.synced = Instant::now();
        if std::mem::take(&mut self.dirty) {
            self.file.sync_data().map_err(disk(&self.dir, "written"))?;
        }
        Ok(())
    }
}

fn path_of(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:016}.log"))
}

fn create(dir: &Path, segment: u64) -> Result<File, SinkError> {
    let path = path_of(dir, segment);
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(disk(&path, "made"))?;
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(disk(dir, "written"))?;
    Ok(file)
}

type Told = oneshot::Sender<Result<(), SinkError>>;

/// The thread that writes, so that nobody else waits inside a `write(2)`.
#[derive(Clone, Debug)]
pub(crate) struct LiveWriter {
    queue: mpsc::Sender<(Vec<u8>, Told)>,
    log: Arc<Mutex<LiveLog>>,
}

impl LiveWriter {
    pub(crate) fn start(log: LiveLog) -> Result<Self, SinkError> {
        let (queue, todo) = mpsc::channel(QUEUE);
        let log = Arc::new(Mutex::new(log));
        let dir = lock(&log).dir.clone();
        let written = Arc::clone(&log);
        let thread = std::thread::Builder::new().name("sinks-spool".to_owned());
        thread.spawn(move || write(&written, todo)).map_err(disk(&dir, "written"))?;
        Ok(Self { queue, log })
    }

    /// Returns once `write(2)` has taken it: a killed gateway tells it at its next start.
    pub(crate) async fn append(&self, record: &Record) -> Result<(), SinkError> {
        let mut line = serde_json::to_vec(record).map_err(|_| SinkError::TooLong(0))?;
        line.push(b'\n');
        if line.len() > LONGEST_LINE {
            return Err(SinkError::TooLong(line.len()));
        }
        let (told, done) = oneshot::channel();
        self.queue.send((line, told)).await.map_err(|_| SinkError::Closed)?;
        done.await.map_err(|_| SinkError::Closed)?
    }

    pub(crate) fn log(&self) -> std::sync::MutexGuard<'_, LiveLog> {
        lock(&self.log)
    }
}

fn lock(log: &Mutex<LiveLog>) -> std::sync::MutexGuard<'_, LiveLog> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(log: &Mutex<LiveLog>, mut todo: mpsc::Receiver<(Vec<u8>, Told)>) {
    while let Some((line, told)) = todo.blocking_recv() {
        let mut log = lock(log);
        let written = log.append(&line);
        let synced = if log.synced.elapsed() >= SYNC { log.sync() } else { Ok(()) };
        let _ = told.send(written.and(synced));
    }
    let _ = lock(log).sync();
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
