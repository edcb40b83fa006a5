//! The live log: events and anchors on their way to sinks, in segments on disk. Sinks read it at their own pace, so that one that is
//! down costs disk and no memory; what all have taken is removed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::disk::disk;
use super::live_reader::{Cursor, segments};
use super::record::{LONGEST_LINE, Record};
use crate::error::SinkError;

/// After so many bytes another segment begins. A sixteenth of the bound where that is less.
const SEGMENT: u64 = 4 << 20;

/// How often what was written is given to the disk.
const SYNC: Duration = Duration::from_secs(1);

/// What stands in it beyond the bound: the ends of sessions that the bound has ended, and anchors. An eighth of it.
const BEYOND: u64 = 8;

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
    /// What was written and not given to the disk yet; a segment of some MiB each, so there are few.
    unsynced: Vec<File>,
    dirty: bool,
    new_segment: bool,
    /// What is written ends in half a line.
    torn: bool,
    /// Why what was written can't be given to the disk: told to whoever writes next.
    unsyncable: Option<std::io::Error>,
}

/// What one line may take of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// As much as the bound leaves.
    Bounded,
    /// Some beyond the bound: the end of a session that the bound has ended.
    Beyond,
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
            unsynced: Vec::new(),
            dirty: false,
            new_segment: true,
            torn: false,
            unsyncable: None,
        };
        log.sizes.insert(tip.segment, 0);
        log.prune()?;
        Ok(log)
    }

    pub(crate) fn tip(&self) -> watch::Receiver<Cursor> {
        self.told.subscribe()
    }

    /// How many bytes are there that this sink has not taken.
    pub(crate) fn behind(&self, sink: &str) -> u64 {
        let Some((cursor, _)) = self.readers.get(sink) else { return 0 };
        let all: u64 = self.sizes.range(cursor.segment..).map(|(_, size)| size).sum();
        if self.sizes.contains_key(&cursor.segment) { all.saturating_sub(cursor.offset) } else { all }
    }

    fn bytes(&self) -> u64 {
        self.sizes.values().sum()
    }

    /// Whether a sink that is required would let a session's event in.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes().saturating_add(self.segment()) <= self.max
    }

    fn segment(&self) -> u64 {
        SEGMENT.min(self.max / 16)
    }

    fn append(&mut self, line: &[u8], room: Room) -> Result<(), SinkError> {
        if let Some(error) = self.unsyncable.take() {
            return Err(disk(&self.dir, "written")(error));
        }
        let len = line.len() as u64;
        if self.torn || self.tip.offset > 0 && self.tip.offset + len > self.segment() {
            self.next_segment()?;
        }
        let most = match room {
            Room::Bounded => self.max,
            Room::Beyond => self.max.saturating_add(self.max / BEYOND),
        };
        while self.bytes().saturating_add(len) > most {
            self.make_room()?;
        }
        if let Err(error) = self.file.write_all(line) {
            // half a line may stand there: nothing is written behind it. Where it can't be cut off another segment begins, and where
            // that can't be made either no line is taken until it can
            self.torn = self.file.set_len(self.tip.offset).is_err();
            return Err(disk(&self.dir, "written")(error));
        }
        self.dirty = true;
        self.tip.offset += len;
        self.sizes.insert(self.tip.segment, self.tip.offset);
        self.told.send_replace(self.tip);
        Ok(())
    }

    fn next_segment(&mut self) -> Result<(), SinkError> {
        let next = Cursor { segment: self.tip.segment.saturating_add(1), offset: 0 };
        let before = std::mem::replace(&mut self.file, create(&self.dir, next.segment)?);
        if std::mem::take(&mut self.dirty) {
            self.unsynced.push(before);
        }
        self.new_segment = true;
        self.torn = false;
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

    /// What is to be given to the disk, so that nobody waits for that with the log in hand.
    fn take_unsynced(&mut self) -> std::io::Result<Vec<File>> {
        let mut files = std::mem::take(&mut self.unsynced);
        if std::mem::take(&mut self.dirty) {
            files.push(self.file.try_clone()?);
        }
        if std::mem::take(&mut self.new_segment) {
            files.push(File::open(&self.dir)?);
        }
        Ok(files)
    }
}

fn path_of(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:016}.log"))
}

fn create(dir: &Path, segment: u64) -> Result<File, SinkError> {
    let path = path_of(dir, segment);
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
    file.map_err(disk(&path, "made"))
}

/// The log, for whoever writes into it; a thread gives it to the disk, so that nobody else waits for that.
#[derive(Clone, Debug)]
pub(crate) struct LiveWriter {
    log: Arc<Mutex<LiveLog>>,
    // gone with the last of the writers, which ends the thread
    _thread: Sender<()>,
}

impl LiveWriter {
    pub(crate) fn start(log: LiveLog) -> Result<Self, SinkError> {
        let dir = log.dir.clone();
        let log = Arc::new(Mutex::new(log));
        let (writers, gone) = channel::<()>();
        let written = Arc::clone(&log);
        let thread = std::thread::Builder::new().name("sinks-sync".to_owned());
        let work = move || {
            while let Err(RecvTimeoutError::Timeout) = gone.recv_timeout(SYNC) {
                sync(&written);
            }
            sync(&written);
        };
        thread.spawn(work).map_err(disk(&dir, "written"))?;
        Ok(Self { log, _thread: writers })
    }

    /// Returns once `write(2)` has taken it: a killed gateway tells it at its next start.
    pub(crate) fn append(&self, record: &Record, room: Room) -> Result<(), SinkError> {
        let mut line = serde_json::to_vec(record).map_err(|_| SinkError::TooLong(0))?;
        line.push(b'\n');
        if line.len() > LONGEST_LINE {
            return Err(SinkError::TooLong(line.len()));
        }
        self.log().append(&line, room)
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, LiveLog> {
        lock(&self.log)
    }
}

fn lock(log: &Mutex<LiveLog>) -> MutexGuard<'_, LiveLog> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sync(log: &Mutex<LiveLog>) {
    let files = lock(log).take_unsynced();
    // not with the log in hand: a disk takes its time
    let synced = files.and_then(|files| files.iter().try_for_each(File::sync_data));
    if let Err(error) = synced {
        tracing::error!(%error, "the spool can't be given to the disk");
        lock(log).unsyncable = Some(error);
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
