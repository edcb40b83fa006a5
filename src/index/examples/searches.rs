//! How long a search takes among 100,000 sessions, in SQLite and in PostgreSQL: each kind of query, 50 times with different values.
//!
//! `cargo run --release -p portcullis-index --example searches -- [--sessions N] [--only NAME] PLACE…`, where a place is a file or
//! `postgres://…`; what is there already is used again.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::time::{Duration, Instant};

use portcullis_folder::{CommandRecord, Counts, Decision, Ended, File, FileRecord, How, Manifest, NodeEntry};
use portcullis_index::{Index, Location, Query, Settings, Writer};
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

const FIRST: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
const WORDS: [&str; 24] = [
    "systemctl",
    "restart",
    "nginx",
    "tail",
    "journalctl",
    "kubectl",
    "deploy",
    "cat",
    "/etc/hosts",
    "postgres",
    "grep",
    "error",
    "docker",
    "build",
    "release",
    "status",
    "uptime",
    "less",
    "/var/log/syslog",
    "python3",
    "manage.py",
    "migrate",
    "vim",
    "config.yaml",
];

/// A generator without surprises: xorshift64*.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }

    fn line(&mut self, words: usize) -> String {
        (0..words).map(|_| WORDS[self.next(WORDS.len())]).collect::<Vec<_>>().join(" ")
    }
}

fn text_of(time: OffsetDateTime) -> String {
    time.format(&time::format_description::well_known::Rfc3339).unwrap()
}

fn sha256(number: usize) -> String {
    format!("{number:064x}")
}

async fn fill(location: &Location, sessions: usize) {
    let nowhere = std::env::temp_dir().join("no-such-evidence");
    let settings = Settings { location: location.clone(), evidence: nowhere, gateway: "bench".to_owned() };
    let (writer, running) = Writer::start(settings);
    let mut chance = Chance(42);
    for number in 0..sessions {
        let opened = FIRST + Duration::from_secs(number as u64 * 300);
        let at = |seconds: u64| text_of(opened + Duration::from_secs(seconds));
        let manifest = manifest(number, &mut chance, &at(0), &at(60));
        writer.opened(&manifest);
        for second in 0..10 {
            let mut command = chance.line(5);
            if number % 10_000 == 77 && second == 3 {
                command.push_str(&format!(" needle-{number}"));
            }
            let record = CommandRecord {
                time: at(second),
                at: second as f64,
                command,
                command_sha256: None,
                how: How::Screen,
                confidence: 0.9,
                names: Vec::new(),
                verdict: None,
                policy: None,
                way_out: None,
                exit: None,
            };
            writer.wrote(manifest.session, File::Commands, 0, line(&record));
        }
        for file in 0..3 {
            let record = FileRecord {
                time: at(file as u64),
                action: "Download".to_owned(),
                path: format!("/srv/data/{}/{number}-{file}.csv", WORDS[chance.next(WORDS.len())].replace('/', "-")),
                real_path: None,
                second_path: None,
                direction: None,
                bytes: Some(1000),
                sha256: Some(sha256(number * 3 + file)),
                sha256_of_part: None,
                part_offset: None,
                outcome: "done".to_owned(),
                code: None,
                policy: None,
                why: None,
            };
            writer.wrote(manifest.session, File::Files, 0, line(&record));
        }
        let mut shown = (0..24).map(|_| chance.line(7) + "\r\n").collect::<String>();
        if number % 10_000 == 99 {
            shown.push_str(&format!("panic at needle-{number}\r\n"));
        }
        writer.wrote(manifest.session, File::Terminal, 0, line(&(1.0, "o", &shown)));
        writer.sealed(&manifest, "ee");
        // the queue is bounded, and a gateway would go on
        while number % 100 == 0 && writer.waiting() > 2 << 20 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    assert_eq!(writer.stale(), 0, "some of it found no place in the queue");
    drop(writer);
    running.await.unwrap();
}

/// A line as it stands in a folder's file.
fn line(record: &impl serde::Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).unwrap();
    line.push(b'\n');
    line
}

fn manifest(number: usize, chance: &mut Chance, opened: &str, closed: &str) -> Manifest {
    let node = format!("node-{}", chance.next(1000));
    Manifest {
        v: 1,
        session: Uuid::from_u128(((number as u128) << 64) | 1 | ((chance.next(1 << 30) as u128) << 90)),
        gateway: "bench".to_owned(),
        connection: Uuid::nil(),
        hop: None,
        source: "192.0.2.1:5".to_owned(),
        client: None,
        algorithms: None,
        login: node.clone(),
        person: format!("person-{}", chance.next(200)),
        groups: Vec::new(),
        proof: "publickey".to_owned(),
        node: NodeEntry { id: format!("i-{node}"), realm: "main".to_owned(), name: node, called: None },
        os_user: None,
        action: ["Shell", "Shell", "Exec", "Files"][chance.next(4)].to_owned(),
        command: None,
        pty: true,
        reason: None,
        decision: Decision::default(),
        aws: Default::default(),
        opened: opened.to_owned(),
        closed: Some(closed.to_owned()),
        ended: Some(Ended {
            outcome: if chance.next(500) == 0 { "killed" } else { "finished" }.to_owned(),
            ..Ended::default()
        }),
        streams: None,
        counts: Counts { commands: 10, files: 3, refused: 0 },
        forward: None,
        encryption: None,
        private: None,
        files: Vec::new(),
    }
}

async fn measure(index: &Index, what: &str, sessions: usize, query: impl Fn(usize) -> Query) {
    let mut times = Vec::new();
    let mut found = 0;
    for number in 0..50 {
        let query = Query { limit: 50, ..query(number * 7919 % sessions) };
        let begun = Instant::now();
        found += index.find(&query).await.unwrap().found.len();
        times.push(begun.elapsed());
    }
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "  {what:<44} p50 {:>7.1} ms   p95 {:>7.1} ms   {:>4.1} found",
        ms(times[25]),
        ms(times[47]),
        found as f64 / 50.0
    );
}

#[tokio::main]
async fn main() {
    let mut sessions = 100_000;
    let mut places = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--sessions" => sessions = arguments.next().unwrap().parse().unwrap(),
            _ => places.push(argument),
        }
    }
    for place in places {
        let location = Location::of(Some(&place), Path::new("."));
        let index = Index::open(&location).await.unwrap();
        println!("{}", place.split('?').next().unwrap_or_default());
        if index.find(&Query { limit: 1, ..Query::default() }).await.unwrap().found.is_empty() {
            let begun = Instant::now();
            fill(&location, sessions).await;
            println!("  {sessions} sessions were written in {:.0} s", begun.elapsed().as_secs_f64());
        }
        searches(&index, sessions).await;
    }
}

async fn searches(index: &Index, sessions: usize) {
    let some = |text: String| Some(text);
    let person = |number: usize| some(format!("person-{}", number % 200));
    measure(index, "the newest", sessions, |_| Query::default()).await;
    measure(index, "person", sessions, |n| Query { person: person(n), ..Query::default() }).await;
    measure(index, "node", sessions, |n| Query { node: some(format!("node-{}", n % 1000)), ..Query::default() }).await;
    measure(index, "a day", sessions, |n| {
        let since = FIRST + Duration::from_secs(n as u64 * 300);
        Query { since: Some(since), until: Some(since + Duration::from_secs(86400)), ..Query::default() }
    })
    .await;
    measure(index, "outcome, rare", sessions, |_| Query { outcome: some("killed".into()), ..Query::default() }).await;
    measure(index, "action that nobody had", sessions, |_| Query { action: some("Hop".into()), ..Query::default() })
        .await;
    let word = |n: usize| WORDS[n % WORDS.len()].to_owned();
    measure(index, "command, common", sessions, |n| Query { command: some(word(n)), ..Query::default() }).await;
    measure(index, "command, two words", sessions, |n| Query {
        command: some(format!("{} {}", word(n), word(n / 24))),
        ..Query::default()
    })
    .await;
    let needle = |n: usize| some(format!("needle-{}", n / 10_000 * 10_000 + 77));
    measure(index, "command, rare", sessions, |n| Query { command: needle(n), ..Query::default() }).await;
    measure(index, "command, not there", sessions, |_| Query {
        command: some("restartx nginxx".into()),
        ..Query::default()
    })
    .await;
    measure(index, "command, common, of one person", sessions, |n| Query {
        command: some(word(n)),
        person: person(n),
        ..Query::default()
    })
    .await;
    measure(index, "command, rare, of one action", sessions, |n| Query {
        command: needle(n),
        action: some("Shell".into()),
        ..Query::default()
    })
    .await;
    measure(index, "command, common, of a rare outcome", sessions, |n| Query {
        command: some(word(n)),
        outcome: some("killed".into()),
        ..Query::default()
    })
    .await;
    measure(index, "output, common", sessions, |n| Query { output: some(word(n)), ..Query::default() }).await;
    measure(index, "output, three words", sessions, |n| Query {
        output: some(format!("{} {} {}", word(n), word(n / 24), word(n / 5))),
        ..Query::default()
    })
    .await;
    measure(index, "output, rare", sessions, |n| Query {
        output: some(format!("needle-{}", n / 10_000 * 10_000 + 99)),
        ..Query::default()
    })
    .await;
    measure(index, "output, not there", sessions, |_| Query {
        output: some("nginx restart systemctl tail kubectlx".into()),
        ..Query::default()
    })
    .await;
    measure(index, "output and command, common", sessions, |n| Query {
        output: some(word(n)),
        command: some(word(n / 3)),
        ..Query::default()
    })
    .await;
    measure(index, "path", sessions, |n| Query { path: some(format!("/{n}-1.csv")), ..Query::default() }).await;
    measure(index, "path, common", sessions, |_| Query { path: some("/srv/data".into()), ..Query::default() }).await;
    measure(index, "file hash", sessions, |n| Query { sha256: some(sha256(n * 3 + 1)), ..Query::default() }).await;
}
