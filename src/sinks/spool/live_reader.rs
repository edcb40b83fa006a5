//! Reading the live log, which may end in half a line, have lines that nobody wrote, and miss segments.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::disk::{disk, read_small, write_whole};
use super::record::{LONGEST_LINE, Record};
use crate::error::SinkError;

/// A place in the live log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl Cursor {
    /// As it was kept. One that can't be read is the beginning: what was delivered is delivered again.
    pub(crate) fn load(path: &Path) -> Result<Self, SinkError> {
        let kept = read_small(path)?;
        Ok(kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    pub(crate) fn store(self, path: &Path) -> Result<(), SinkError> {
        let text = format!("{{\"segment\":{},\"offset\":{}}}\n", self.segment, self.offset);
        write_whole(path, text.as_bytes())
    }
}

/// Some records, and where the next ones are.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Each with its length in the log, and the place behind it.
    pub(crate) records: Vec<(Record, Cursor)>,
    /// Behind all that was looked at.
    pub(crate) next: Cursor,
    /// Lines that are none of ours, or torn.
    pub(crate) bad: u64,
}

/// The segments that are there and their bytes, the oldest first.
pub(super) fn segments(dir: &Path) -> Result<Vec<(u64, u64)>, SinkError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(disk(dir, "read"))? {
        let entry = entry.map_err(disk(dir, "read"))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|name| name.parse().ok());
        if let Some(number) = number {
            // one that went meanwhile is none
            if let Ok(metadata) = entry.metadata() {
                found.push((number, metadata.len()));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The next records behind `from` and before `tip`: at most so many, and about so many bytes.
pub(crate) fn read_batch(dir: &Path, from: Cursor, tip: Cursor, most: usize, bytes: usize) -> Result<Batch, SinkError> {
    let mut batch = Batch { next: from, ..Batch::default() };
    if from >= tip {
        return Ok(batch);
    }
    let all = segments(dir)?;
    let mut size = 0;
    for (number, _) in all.into_iter().filter(|(number, _)| (from.segment..=tip.segment).contains(number)) {
        let start = if number == from.segment { from.offset } else { 0 };
        let path = dir.join(format!("{number:016}.log"));
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(disk(&path, "read")(error)),
        };
        file.seek(SeekFrom::Start(start)).map_err(disk(&path, "read"))?;
        // of the one that is being written only what is known to be whole
        let end = if number == tip.segment { tip.offset } else { u64::MAX };
        let mut reader = BufReader::with_capacity(64 << 10, file.take(end.saturating_sub(start)));
        let mut at = Cursor { segment: number, offset: start };
        loop {
            if batch.records.len() >= most || size >= bytes {
                batch.next = at;
                return Ok(batch);
            }
            let (record, len) = next_record(&mut reader).map_err(disk(&path, "read"))?;
            if len == 0 {
                break;
            }
            at.offset += len;
            size = size.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
            match record {
                Some(record) => batch.records.push((record, at)),
                None => batch.bad += 1,
            }
        }
        batch.next = at;
    }
    // what comes now is in a segment of its own, where those between are gone
    batch.next = if batch.next.segment < tip.segment { Cursor { segment: tip.segment, offset: 0 } } else { batch.next };
    Ok(batch)
}

/// One line: what it says, and its length with the newline; a length of 0 at the end. A line that is too long is passed over.
fn next_record(reader: &mut impl std::io::BufRead) -> std::io::Result<(Option<Record>, u64)> {
    let mut line = Vec::new();
    let mut len = reader.by_ref().take(LONGEST_LINE as u64).read_until(b'\n', &mut line)? as u64;
    if len == 0 {
        return Ok((None, 0));
    }
    if line.last() == Some(&b'\n') {
        return Ok((serde_json::from_slice(&line).ok(), len));
    }
    line.clear();
    while len >= LONGEST_LINE as u64 {
        let more = reader.by_ref().take(64 << 10).read_until(b'\n', &mut line)? as u64;
        len += more;
        if more == 0 || line.last() == Some(&b'\n') {
            break;
        }
        line.clear();
    }
    Ok((None, len))
}

/// What is in the bytes of a segment, and how many lines are none of ours: for whoever looks into a spool, and for the fuzzer.
pub fn read_records(bytes: &[u8]) -> (Vec<Record>, u64) {
    let (mut reader, mut records, mut bad) = (bytes, Vec::new(), 0);
    // a slice gives no error
    while let Ok((record, len)) = next_record(&mut reader) {
        match record {
            Some(record) => records.push(record),
            None if len == 0 => break,
            None => bad += 1,
        }
    }
    (records, bad)
}
