//! What of a session is in the index while it is live.

use std::collections::BTreeSet;

use portcullis_folder::{CommandRecord, File, FileRecord, Manifest};
use uuid::Uuid;

use super::chunks::{Chunk, Chunks};
use super::lines;
use super::moment;
use super::reading::cast_line;

/// A session that is live.
pub(super) struct Live {
    pub(super) manifest: Box<Manifest>,
    pub(super) n: Option<i64>,
    commands: u64,
    files: u64,
    texts: u64,
    pub(super) chunks: Chunks,
    /// Which stream's text came last.
    text_of: Option<File>,
}

/// What of several jobs is written together.
#[derive(Default)]
pub(super) struct Together {
    pub(super) commands: Vec<(i64, Box<CommandRecord>)>,
    pub(super) files: Vec<(i64, f64, Box<FileRecord>)>,
    pub(super) texts: Vec<(i64, Chunk)>,
    pub(super) whose: BTreeSet<Uuid>,
}

impl Live {
    /// One of which nothing was written yet; `n` is its row, where it has one.
    pub(super) fn new(manifest: Box<Manifest>, n: Option<i64>) -> Self {
        Self { manifest, n, commands: 0, files: 0, texts: 0, chunks: Chunks::default(), text_of: None }
    }

    /// Takes what was written into one of its files; false where that is not what such a file has.
    pub(super) fn take(&mut self, n: i64, file: File, bytes: &[u8], to: &mut Together) -> bool {
        match file {
            File::Commands => self.lines(bytes, |live, line| {
                let record = serde_json::from_str(line).ok()?;
                to.commands.push((lines::key(n, live.commands)?, Box::new(record)));
                live.commands += 1;
                Some(())
            }),
            File::Files => self.lines(bytes, |live, line| {
                let record: FileRecord = serde_json::from_str(line).ok()?;
                to.files.push((lines::key(n, live.files)?, live.after(&record.time), Box::new(record)));
                live.files += 1;
                Some(())
            }),
            File::Terminal => self.lines(bytes, |live, line| {
                // the header is an object
                if line.starts_with('{') {
                    return Some(());
                }
                let (at, kind, data) = cast_line(line).ok()?;
                if kind == "o" {
                    let chunks = live.chunks.take(at, &data);
                    live.add(n, chunks, to);
                }
                Some(())
            }),
            _ => {
                // what one stream has said does not go on with another's
                if self.text_of != Some(file) {
                    let rest: Vec<Chunk> = self.chunks.finish().into_iter().collect();
                    self.add(n, rest, to);
                }
                let chunks = self.chunks.take(0.0, &String::from_utf8_lossy(bytes));
                self.add(n, chunks, to);
                self.text_of = Some(file);
                true
            }
        }
    }

    fn lines(&mut self, bytes: &[u8], mut take: impl FnMut(&mut Self, &str) -> Option<()>) -> bool {
        let mut all = true;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            all &= std::str::from_utf8(line).ok().and_then(|line| take(self, line)).is_some();
        }
        all
    }

    pub(super) fn add(&mut self, n: i64, chunks: Vec<Chunk>, to: &mut Together) {
        for chunk in chunks {
            if let Some(key) = lines::key(n, self.texts) {
                self.texts += 1;
                to.texts.push((key, chunk));
            }
        }
    }

    /// Seconds from its opening to a time.
    fn after(&self, time: &str) -> f64 {
        let both = moment::milliseconds(time).zip(moment::milliseconds(&self.manifest.opened));
        both.map_or(0.0, |(time, opened)| time.saturating_sub(opened).max(0) as f64 / 1000.0)
    }
}
