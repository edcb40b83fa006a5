//! The lines of a journal, over all its logs: that each follows the one before, and that each run's tree is the one that was
//! signed.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use uuid::Uuid;

use super::fault::{Code, Fault, Faults};
use super::journal_heads::{JournalHeads, Kind, RunPoint, name_of};
use super::journal_line::{JournalLine, MAX_LINE_BYTES};
use super::journal_report::NotWritten;
use crate::checkpoint::{parse_timestamp, timestamp};
use crate::hash::Hash;
use crate::lines::{Line, Lines, State};
use crate::open;
use crate::tree::Tree;

/// What is known of the lines so far.
#[derive(Default)]
pub(crate) struct LogCheck {
    pub(crate) lines: u64,
    pub(crate) unchained: u64,
    pub(crate) begins_later: bool,
    pub(crate) first: Option<String>,
    pub(crate) last: Option<String>,
    pub(crate) runs: u64,
    pub(crate) runs_in_part: u64,
    pub(crate) unsigned: u64,
    pub(crate) anchors: u64,
    pub(crate) anchors_before: u64,
    pub(crate) not_written: Vec<NotWritten>,
    before: Option<Hash>,
    /// The line before is told already.
    spoilt: bool,
    chained: bool,
    run: Option<Run>,
    ended: HashSet<Uuid>,
}

/// A run of a gateway that is being read.
struct Run {
    id: Uuid,
    seq: u64,
    tree: Tree,
    points: std::vec::IntoIter<RunPoint>,
    next: Option<RunPoint>,
    /// Its beginning was not given, so that its tree is not known.
    in_part: bool,
    signed: u64,
    odd: bool,
    /// In which log it begins, and on which line.
    begins: (String, u64),
}

/// A log, with what tells its place among others.
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    prev: Option<Hash>,
    last: Option<Hash>,
    time: String,
}

/// Opens logs and puts them into the order of their lines.
pub(crate) fn in_order(paths: &[PathBuf], faults: &mut Faults) -> Vec<Log> {
    let mut logs = Vec::new();
    for path in paths {
        match look(path) {
            Ok(Some(log)) => logs.push(log),
            Ok(None) => {}
            Err(error) => {
                faults.add(Fault::new(Code::Unreadable, format!("it can't be read: {error}")).file(name_of(path)))
            }
        }
    }
    logs.sort_by(|one, other| one.time.cmp(&other.time));
    let mut ordered: Vec<Log> = Vec::new();
    while !logs.is_empty() {
        let last = ordered.last().and_then(|log| log.last);
        let follows = |log: &Log| log.prev.is_some() && log.prev == last;
        let begins = |log: &Log| log.prev.is_none() || !logs.iter().any(|other| other.last == log.prev);
        // the one that follows; or the earliest that follows none
        let at = logs.iter().position(follows).or_else(|| logs.iter().position(begins)).unwrap_or_default();
        ordered.push(logs.remove(at));
    }
    ordered
}

fn look(path: &Path) -> io::Result<Option<Log>> {
    let mut file = open::to_read(path)?;
    let length = file.metadata()?.len();
    let mut lines = Lines::new(&mut file, MAX_LINE_BYTES);
    let Some(first) = lines.next()? else {
        return Ok(None);
    };
    let line = JournalLine::parse(first.bytes).ok();
    let (prev, time) = line.map_or((None, String::new()), |line| (line.prev().flatten(), line.time));
    let from = length.saturating_sub(MAX_LINE_BYTES as u64 + 2);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(length - from).read_to_end(&mut bytes)?;
    let last = bytes.strip_suffix(b"\n").and_then(|bytes| bytes.rsplit(|byte| *byte == b'\n').next()).map(Hash::of);
    Ok(Some(Log { path: path.to_owned(), prev, last, time }))
}

impl LogCheck {
    /// Reads a log; `told` is given each line.
    pub(crate) fn log(
        &mut self,
        path: &Path,
        heads: &mut JournalHeads,
        faults: &mut Faults,
        mut told: impl FnMut(&JournalLine, &str, u64),
    ) {
        let name = name_of(path);
        let unreadable = |error: io::Error| Fault::new(Code::Unreadable, format!("it can't be read: {error}"));
        let file = match open::to_read(path) {
            Ok(file) => file,
            Err(error) => return faults.add(unreadable(error).file(name)),
        };
        let mut lines = Lines::new(file, MAX_LINE_BYTES);
        loop {
            match lines.next() {
                Ok(Some(line)) => {
                    if let Some(parsed) = self.line(&line, &name, heads, faults) {
                        told(&parsed, &name, line.number);
                    }
                }
                Ok(None) => return,
                Err(error) => return faults.add(unreadable(error).file(name)),
            }
        }
    }

    /// After the last log: what was signed of runs and is not here.
    pub(crate) fn finish(&mut self, heads: &mut JournalHeads, faults: &mut Faults) {
        self.unsigned = self.run.as_ref().map_or(0, |run| run.tree.size() - run.signed);
        self.end_run(faults);
        let first = self.first.as_deref().and_then(parse_timestamp);
        let mut missing: HashMap<Uuid, Vec<RunPoint>> = std::mem::take(&mut heads.runs);
        for (run, points) in missing.drain() {
            // of a run that ended before the first line that was given nothing can be said
            let is_before = |point: &RunPoint| self.begins_later && first.is_some_and(|first| point.time < first);
            self.anchors_before +=
                points.iter().filter(|point| is_before(point) && point.kind == Kind::Anchor).count() as u64;
            if let Some(point) = points.iter().rfind(|point| !is_before(point)) {
                let (code, whose) = whose(point);
                let what = format!(
                    "{whose} of {} has {} lines of run {run}, and none is here",
                    timestamp(point.time),
                    point.size
                );
                faults.add(Fault::new(code, what));
            }
        }
    }

    fn line(
        &mut self,
        line: &Line<'_>,
        name: &str,
        heads: &mut JournalHeads,
        faults: &mut Faults,
    ) -> Option<JournalLine> {
        let at = |code, what: String| Fault::new(code, what).file(name).line(line.number);
        self.lines += 1;
        let hash = Hash::of(line.bytes);
        let parsed = match (line.state, JournalLine::parse(line.bytes)) {
            (State::Whole, Ok(parsed)) => parsed,
            (state, parsed) => {
                let what = match (state, parsed) {
                    (State::Torn, _) => "its end is missing".to_owned(),
                    (State::TooLong, _) => "it is longer than a line can be".to_owned(),
                    (State::Whole, parsed) => {
                        format!("it is no event: {}", parsed.err().map_or_else(String::new, |e| e.to_string()))
                    }
                };
                faults.add(at(Code::Malformed, what));
                (self.before, self.spoilt) = (Some(hash), true);
                if let Some(run) = &mut self.run {
                    run.odd = true;
                    run.seq += 1;
                    run.tree.push(line.bytes);
                }
                return None;
            }
        };
        let follows = self.follows(&parsed);
        let is_first = self.first.is_none();
        self.first.get_or_insert_with(|| parsed.time.clone());
        self.last = Some(parsed.time.clone());
        (self.before, self.spoilt) = (Some(hash), false);
        match (parsed.run, parsed.seq) {
            (Some(run), Some(seq)) => self.place(run, seq, &follows, is_first, (name, line.number), heads, faults),
            _ if self.chained => faults.add(at(Code::Malformed, "it has no run and no number".to_owned())),
            _ => {}
        }
        match follows {
            Follows::No if line.number == 1 => {
                faults.add(at(
                    Code::Deleted,
                    "the line that it follows is not here: the end of the log before, or a log between, is missing"
                        .to_owned(),
                ));
            }
            Follows::Nothing => faults.add(at(Code::Malformed, "it does not say which line it follows".to_owned())),
            _ => {}
        }
        if let Some(run) = &mut self.run {
            run.tree.push(line.bytes);
            self.anchors += run.compare(faults);
        }
        Some(parsed)
    }

    fn follows(&mut self, line: &JournalLine) -> Follows {
        match line.prev() {
            None if self.chained => Follows::Nothing,
            None => {
                self.unchained += u64::from(self.lines > 1 || line.seq != Some(1));
                Follows::Yes
            }
            Some(prev) => {
                let first = !std::mem::replace(&mut self.chained, true) && self.before.is_none();
                self.begins_later |= first;
                match prev.is_some() && (first || self.spoilt || prev == self.before) {
                    true => Follows::Yes,
                    false => Follows::No,
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a line, its place, and where faults go")]
    fn place(
        &mut self,
        id: Uuid,
        seq: u64,
        follows: &Follows,
        is_first: bool,
        (name, number): (&str, u64),
        heads: &mut JournalHeads,
        faults: &mut Faults,
    ) {
        let at = |code, what: String, line: u64| Fault::new(code, what).file(name).line(line);
        let broken = matches!(follows, Follows::No);
        if self.run.as_ref().is_none_or(|run| run.id != id) {
            self.end_run(faults);
            if !self.ended.insert(id) {
                faults.add(at(Code::Reordered, format!("run {id} was over, and goes on here"), number));
            }
            self.runs += 1;
            let mut points = heads.runs.remove(&id).unwrap_or_default().into_iter();
            let in_part = seq != 1 && is_first;
            self.runs_in_part += u64::from(in_part);
            let next = points.next();
            let mut run = Run {
                id,
                seq: 0,
                tree: Tree::new(),
                points,
                next,
                in_part,
                signed: 0,
                odd: false,
                begins: (name.to_owned(), number),
            };
            if in_part {
                run.seq = seq - 1;
            }
            if broken && seq == 1 && number > 1 {
                faults.add(at(
                    Code::Deleted,
                    "the line that it follows is not here: the end of the run before is missing".to_owned(),
                    number,
                ));
            }
            self.run = Some(run);
        }
        let Some(run) = &mut self.run else {
            return;
        };
        let next = run.seq + 1;
        let missing = |to: u64| {
            if next == to {
                format!("line {next} of run {id} is")
            } else {
                format!("lines {next} to {to} of run {id} are")
            }
        };
        match seq.cmp(&next) {
            std::cmp::Ordering::Greater if broken => {
                faults.add(at(Code::Deleted, format!("{} missing before this", missing(seq - 1)), number));
                run.odd = true;
            }
            std::cmp::Ordering::Greater => {
                if self.not_written.len() < MAX_GAPS {
                    self.not_written.push(NotWritten { run: id, from: next, to: seq - 1 });
                }
            }
            std::cmp::Ordering::Less => {
                faults.add(at(Code::Reordered, format!("line {seq} of its run stands after line {}", run.seq), number));
                run.odd = true;
            }
            std::cmp::Ordering::Equal if broken && number > 1 && seq > 1 => {
                let what = "it is not the line that the next one follows: it was changed";
                faults.add(at(Code::Edited, what.to_owned(), number - 1));
                run.odd = true;
            }
            std::cmp::Ordering::Equal => {}
        }
        run.odd |= broken;
        run.seq = run.seq.max(seq);
    }

    fn end_run(&mut self, faults: &mut Faults) {
        let Some(mut run) = self.run.take() else {
            return;
        };
        // the largest is enough
        let rest = run.next.take().into_iter().chain(run.points);
        // of a run of which lines are missing that is told already, if it isn't the last ones that are
        let is_told = |point: &RunPoint| run.in_part || (run.odd && run.seq >= point.size);
        if let Some(point) = rest.last().filter(|point| !is_told(point)) {
            let (code, whose) = whose(&point);
            let what = format!(
                "{whose} of {} has {} lines of run {}, and {} are here: its end is missing",
                timestamp(point.time),
                point.size,
                run.id,
                run.tree.size()
            );
            faults.add(Fault::new(code, what).file(run.begins.0).line(run.begins.1));
        }
    }
}

impl Run {
    /// Compares roots where one is known; how many anchors agree.
    fn compare(&mut self, faults: &mut Faults) -> u64 {
        let mut anchors = 0;
        while let Some(point) = self.next.filter(|point| point.size <= self.tree.size()) {
            self.next = self.points.next();
            if self.in_part || (point.size == 0 && point.kind == Kind::Checkpoint) {
                continue;
            }
            if point.size == self.tree.size() && point.root == self.tree.root() {
                self.signed = point.size;
                anchors += u64::from(point.kind == Kind::Anchor);
                continue;
            }
            if point.size == 0 && point.root == Tree::new().root() {
                anchors += 1;
                continue;
            }
            // what is odd by its line is told there
            if point.kind == Kind::Anchor || !self.odd {
                let (_, whose) = whose(&point);
                let code = if point.kind == Kind::Anchor { Code::RolledBack } else { Code::Edited };
                let what = format!(
                    "lines {} to {} of run {} are others than {whose} of {} has",
                    self.signed + 1,
                    point.size,
                    self.id,
                    timestamp(point.time)
                );
                faults.add(Fault::new(code, what).file(self.begins.0.clone()));
            }
            self.odd = true;
        }
        anchors
    }
}

fn whose(point: &RunPoint) -> (Code, &'static str) {
    match point.kind {
        Kind::Checkpoint => (Code::Truncated, "the head"),
        Kind::Anchor => (Code::RolledBack, "the anchor"),
    }
}

/// Whether a line follows the one before.
enum Follows {
    Yes,
    No,
    /// It says nothing, and should.
    Nothing,
}

/// The day of a time as the journal writes it.
pub(crate) fn moment(time: &str) -> Option<OffsetDateTime> {
    parse_timestamp(time)
}

/// So many holes are told one by one.
const MAX_GAPS: usize = 1000;
