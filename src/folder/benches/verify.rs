//! How fast a folder is verified: from the disk's cache, with a checkpoint for each second of a session.
//!
//! `cargo bench -p portcullis-folder` prints a line per kind of folder.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use portcullis_folder::{File, FolderSeal, HeadChain, Manifest, SigningKey, verify_folder};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// What a session is made of: bytes of `terminal.cast` and events, in each second.
struct Kind {
    name: &'static str,
    terminal: usize,
    events: usize,
    seconds: usize,
}

const KINDS: [Kind; 3] = [
    Kind { name: "a loud terminal", terminal: 1 << 20, events: 1, seconds: 512 },
    Kind { name: "a quiet terminal", terminal: 2 << 10, events: 1, seconds: 20_000 },
    Kind { name: "files, one by one", terminal: 0, events: 1000, seconds: 300 },
];

#[expect(clippy::print_stdout, reason = "a benchmark is there to print")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --all-targets` starts it too, and is in a hurry
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    println!("folder                   MB   checkpoints   write MB/s   verify MB/s");
    for kind in KINDS {
        let dir = tempfile::tempdir()?;
        let (key, _) = SigningKey::generate("portcullis/bench")?;
        let start = Instant::now();
        let checkpoints = make(dir.path(), &kind, &key)?;
        let made = start.elapsed().as_secs_f64();
        let mut best = f64::MAX;
        let mut bytes = 0;
        for _ in 0..3 {
            let start = Instant::now();
            let report = verify_folder(dir.path(), std::slice::from_ref(key.verifying_key()));
            best = best.min(start.elapsed().as_secs_f64());
            bytes = report.bytes();
            if !report.is_whole() {
                return Err(format!("{:?}", report.faults).into());
            }
        }
        let mb = bytes as f64 / 1e6;
        println!("{:<20} {mb:>6.0} {checkpoints:>13} {:>12.0} {:>13.0}", kind.name, mb / made, mb / best);
    }
    Ok(())
}

/// Makes a folder; returns the number of checkpoints.
fn make(folder: &Path, kind: &Kind, key: &SigningKey) -> Result<u64, Box<dyn std::error::Error>> {
    let session = Uuid::from_u128(7);
    let mut now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    let mut seal = FolderSeal::new(key.verifying_key().name(), session);
    let mut chain = HeadChain::default();
    let open = |file: File| fs::File::options().append(true).create(true).open(folder.join(file.name()));
    let (mut events, mut terminal, mut heads) = (open(File::Events)?, open(File::Terminal)?, open(File::Checkpoints)?);
    let line =
        format!("[1.234567, \"o\", \"{}\"]\n", "what a program says, coloured \\u001b[31mred\\u001b[0m; ".repeat(18));
    let burst = line.repeat(kind.terminal.div_ceil(line.len()));
    for _ in 0..kind.seconds {
        now += Duration::SECOND;
        let mut lines = Vec::new();
        for _ in 0..kind.events {
            let place = seal.next(now);
            let mut event = event(place.sequence, place.time).into_bytes();
            seal.attest(&mut event)?;
            lines.append(&mut event);
            lines.push(b'\n');
        }
        events.write_all(&lines)?;
        seal.wrote(File::Events, &lines);
        if !burst.is_empty() {
            terminal.write_all(burst.as_bytes())?;
            seal.wrote(File::Terminal, burst.as_bytes());
        }
        let head = seal.head(now, false);
        seal.signed(&head);
        let signed = chain.sign(key, head);
        heads.write_all(signed.lines().as_bytes())?;
        chain.stands(&signed);
    }
    let files = [File::Events, File::Terminal].into_iter().filter_map(|file| {
        let (bytes, hash) = seal.file(file)?;
        Some(serde_json::json!({ "name": file.name(), "bytes": bytes, "sha256": hash.hex() }))
    });
    let manifest = serde_json::json!({
        "v": 1, "session": session, "gateway": key.verifying_key().name(), "connection": Uuid::nil(), "source": "192.0.2.1:22",
        "login": "a", "person": "a", "proof": "publickey SHA256:x", "node": {}, "action": "Shell", "pty": true,
        "decision": {}, "aws": {}, "opened": "", "files": files.collect::<Vec<_>>(),
    });
    let manifest = serde_json::to_vec(&serde_json::from_value::<Manifest>(manifest)?)?;
    fs::write(folder.join(File::Manifest.name()), &manifest)?;
    seal.wrote(File::Manifest, &manifest);
    let head = seal.head(now, true);
    seal.signed(&head);
    heads.write_all(chain.sign(key, head).lines().as_bytes())?;
    Ok(seal.checkpoints())
}

/// As long as an OCSF event of a file operation.
fn event(sequence: u64, time: i64) -> String {
    let uid = "8b1f0000-0000-0000-0000-000000000007";
    format!(
        r#"{{"activity_id":14,"activity_name":"Open","actor":{{"user":{{"name":"alice","groups":[{{"name":"developers"}},{{"name":"oncall"}}],"uid":"alice"}},"session":{{"uid":"{uid}","is_remote":true}}}},"category_name":"System Activity","category_uid":1,"class_name":"File System Activity","class_uid":1001,"cloud":{{"provider":"AWS","region":"eu-west-1","account":{{"uid":"123456789012"}}}},"device":{{"hostname":"web-1","instance_uid":"i-0123456789abcdef0","type_id":1,"type":"Server","region":"eu-west-1"}},"file":{{"name":"config.toml","path":"/srv/application/releases/2026-11-30/config/config.toml","type_id":1,"size":18230,"hashes":[{{"algorithm_id":3,"value":"{}"}}]}},"metadata":{{"version":"1.8.0","product":{{"name":"Portcullis","vendor_name":"Portcullis"}},"profiles":["cloud","host","record_integrity"],"sequence":{sequence},"uid":"{uid}-{sequence}"}},"severity_id":1,"severity":"Informational","status_id":1,"status":"Success","time":{time},"type_uid":100114,"type_name":"File System Activity: Open","unmapped":{{"direction":"from-node","policy":"developers-read"}}}}"#,
        "ab".repeat(32)
    )
}
