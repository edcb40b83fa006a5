//! The corpus: recordings of real shells, and what the shells say they ran.
#![expect(clippy::print_stdout, reason = "the table is what the test is for")]

use crate::{Command, CommandWatch, How, Nonce, Size, UNSURE_BELOW};
use base64::Engine as _;
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Deserialize)]
struct Header {
    name: String,
    kind: String,
    columns: u16,
    rows: u16,
    half: String,
    marks: String,
    secrets: Vec<String>,
}

#[derive(Deserialize)]
struct Truth {
    command: String,
}

#[derive(Clone)]
enum What {
    Output(Vec<u8>),
    Input(Vec<u8>),
    Resize(Size),
}

struct Recording {
    header: Header,
    events: Vec<(Duration, What)>,
    truth: Vec<String>,
}

fn folder() -> PathBuf {
    // to look at recordings that are not in the repository
    std::env::var_os("PORTCULLIS_CORPUS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")), PathBuf::from)
}

fn recordings() -> Vec<Recording> {
    let mut names: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().is_some_and(|name| name.ends_with(".jsonl") && !name.ends_with(".truth.jsonl")))
        .collect();
    names.sort();
    names.iter().map(read).collect()
}

fn read(path: &PathBuf) -> Recording {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let header = serde_json::from_str(lines.next().unwrap()).unwrap();
    let events = lines
        .map(|line| {
            let (time, kind, data): (f64, String, String) = serde_json::from_str(line).unwrap();
            let bytes = |data: &str| base64::engine::general_purpose::STANDARD.decode(data).unwrap();
            let what = match kind.as_str() {
                "o" => What::Output(bytes(&data)),
                "i" => What::Input(bytes(&data)),
                "r" => {
                    let (columns, rows) = data.split_once('x').unwrap();
                    What::Resize(Size { columns: columns.parse().unwrap(), rows: rows.parse().unwrap() })
                }
                other => panic!("{path:?} has an event {other}"),
            };
            (Duration::from_secs_f64(time), what)
        })
        .collect();
    let truth = fs::read_to_string(path.with_extension("").with_extension("truth.jsonl")).unwrap();
    let truth = truth.lines().map(|line| serde_json::from_str::<Truth>(line).unwrap().command).collect();
    Recording { header, events, truth }
}

/// What a watch tells of a recording, when each output is cut by `cut` (how long the next piece is).
fn watch(recording: &Recording, cut: &mut dyn FnMut() -> usize) -> (Vec<Command>, usize) {
    let size = Size { columns: recording.header.columns, rows: recording.header.rows };
    let mut watch = CommandWatch::new(size, Nonce::new(&recording.header.marks));
    let mut last = Duration::ZERO;
    for (at, what) in &recording.events {
        last = *at;
        match what {
            What::Output(bytes) => {
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(cut().clamp(1, rest.len()));
                    watch.output(*at, now);
                    rest = later;
                }
            }
            What::Input(bytes) => watch.input(*at, bytes),
            What::Resize(size) => watch.resize(*at, *size),
        }
    }
    watch.finish(last);
    let commands: Vec<Command> = std::iter::from_fn(|| watch.next()).collect();
    let hidden = std::iter::from_fn(|| watch.hidden_input()).count();
    (commands, hidden)
}

/// How many lines of both stand in the same order, and which of them.
fn common(told: &[&str], truth: &[&str]) -> Vec<(usize, usize)> {
    let mut table = vec![vec![0_usize; truth.len() + 1]; told.len() + 1];
    for (i, one) in told.iter().enumerate().rev() {
        for (j, other) in truth.iter().enumerate().rev() {
            table[i][j] = if one == other { table[i + 1][j + 1] + 1 } else { table[i + 1][j].max(table[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < told.len() && j < truth.len() {
        if told[i] == truth[j] {
            pairs.push((i, j));
            i += 1;
            j += 1;
        } else if table[i + 1][j] >= table[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[derive(Default, Clone, Copy)]
struct Score {
    truth: usize,
    told: usize,
    right: usize,
    unsure: usize,
    unsure_right: usize,
    hidden: usize,
    secrets: usize,
}

impl Score {
    fn add(&mut self, other: Score) {
        self.truth += other.truth;
        self.told += other.told;
        self.right += other.right;
        self.unsure += other.unsure;
        self.unsure_right += other.unsure_right;
        self.hidden += other.hidden;
        self.secrets += other.secrets;
    }

    fn precision(&self) -> f64 {
        self.right as f64 / (self.told as f64).max(1.0)
    }

    fn recall(&self) -> f64 {
        self.right as f64 / (self.truth as f64).max(1.0)
    }
}

/// Per bucket of confidence: told, and right.
type Calibration = BTreeMap<u32, (usize, usize)>;

fn score(recording: &Recording, calibration: &mut Calibration) -> Score {
    let (commands, hidden) = watch(recording, &mut || usize::MAX);
    let truth: Vec<&str> = recording.truth.iter().map(String::as_str).collect();
    let all: Vec<&str> = commands.iter().map(|command| command.line.as_str()).collect();
    let sure: Vec<&str> = commands
        .iter()
        .filter(|command| command.confidence >= UNSURE_BELOW)
        .map(|command| command.line.as_str())
        .collect();
    let pairs = common(&sure, &truth);
    let all_pairs = common(&all, &truth);
    for (place, command) in commands.iter().enumerate() {
        let entry = calibration.entry((command.confidence * 10.0).min(9.99) as u32).or_default();
        entry.0 += 1;
        entry.1 += usize::from(all_pairs.iter().any(|(told, _)| *told == place));
    }
    // only of the half that may be tuned on
    if std::env::var_os("PORTCULLIS_MISSES").is_some() && recording.header.half == "tune" {
        let name = &recording.header.name;
        for (place, line) in sure.iter().enumerate().filter(|(place, _)| !pairs.iter().any(|pair| pair.0 == *place)) {
            let command = commands.iter().find(|command| command.line == **line).unwrap();
            println!("{name}: told, not run ({place}, {:.2}): {line:?}", command.confidence);
        }
        for (place, line) in truth.iter().enumerate().filter(|(place, _)| !pairs.iter().any(|pair| pair.1 == *place)) {
            println!("{name}: run, not told ({place}): {line:?}");
        }
        for command in commands.iter().filter(|command| command.confidence < UNSURE_BELOW) {
            println!("{name}: unsure ({:.2}): {:?}", command.confidence, command.line);
        }
        if hidden != recording.header.secrets.len() {
            println!("{name}: {hidden} marks of hidden input, {} secrets", recording.header.secrets.len());
        }
    }
    for secret in &recording.header.secrets {
        assert!(!commands.iter().any(|command| command.line.contains(secret)), "{}: a secret", recording.header.name);
    }
    Score {
        truth: truth.len(),
        told: sure.len(),
        right: pairs.len(),
        unsure: all.len() - sure.len(),
        unsure_right: all_pairs.len().saturating_sub(pairs.len()),
        hidden,
        secrets: recording.header.secrets.len(),
    }
}

#[test]
fn what_was_run_is_told_of_recordings_that_nothing_was_tuned_on() {
    let recordings = recordings();
    let mut kinds: BTreeMap<(String, String), Score> = BTreeMap::new();
    let mut halves: BTreeMap<String, (Score, Calibration)> = BTreeMap::new();
    for recording in &recordings {
        let half = halves.entry(recording.header.half.clone()).or_default();
        let score = score(recording, &mut half.1);
        half.0.add(score);
        kinds.entry((recording.header.kind.clone(), recording.header.half.clone())).or_default().add(score);
    }
    println!(
        "{:<28} {:<9} {:>5} {:>5} {:>5} {:>6} {:>9} {:>6}",
        "kind", "half", "run", "told", "right", "unsure", "precision", "recall"
    );
    let print = |kind: &str, half: &str, score: &Score| {
        println!(
            "{kind:<28} {half:<9} {:>5} {:>5} {:>5} {:>6} {:>9.3} {:>6.3}  hidden {} of {}",
            score.truth,
            score.told,
            score.right,
            score.unsure,
            score.precision(),
            score.recall(),
            score.hidden,
            score.secrets
        );
    };
    for ((kind, half), score) in &kinds {
        print(kind, half, score);
    }
    for (half, (score, calibration)) in &halves {
        print("all", half, score);
        for (bucket, (told, right)) in calibration {
            println!("  confidence 0.{bucket}: {right} of {told} right");
        }
    }
    if let Some((score, _)) = halves.get("held-out") {
        assert!(score.precision() >= 0.97, "precision {:.3}", score.precision());
        assert!(score.recall() >= 0.95, "recall {:.3}", score.recall());
    }
}

#[test]
fn where_output_is_cut_makes_no_difference() {
    let recordings = recordings();
    if recordings.is_empty() {
        return;
    }
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(index in any::<proptest::sample::Index>(), sizes in proptest::collection::vec(1_usize..40, 1..20))| {
        let recording = index.get(&recordings);
        let (whole, hidden) = watch(recording, &mut || usize::MAX);
        let mut sizes = sizes.iter().cycle();
        let (cut, cut_hidden) = watch(recording, &mut || *sizes.next().unwrap());
        prop_assert_eq!(whole, cut, "{}", recording.header.name);
        prop_assert_eq!(hidden, cut_hidden);
    });
}

#[test]
fn commands_with_proved_marks_say_so() {
    for recording in recordings().iter().filter(|recording| !recording.header.marks.is_empty()) {
        let (commands, _) = watch(recording, &mut || usize::MAX);
        assert!(commands.iter().any(|command| command.how == How::Marks), "{}", recording.header.name);
    }
}
