//! What a watch takes: `cargo run --release -p portcullis-terminal --example measure`.

use portcullis_terminal::{CommandWatch, Size};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Resident memory in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default().to_owned();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn main() {
    let mut report = String::new();
    let size = Size { columns: 80, rows: 24 };
    let before = resident();
    let count = 500;
    let mut watches: Vec<CommandWatch> = (0..count).map(|_| CommandWatch::new(size, None)).collect();
    let screen: String =
        (0..60).map(|line| format!("\x1b[1;32m{line:>8}\x1b[m some text of a row of a usual listing\r\n")).collect();
    for watch in &mut watches {
        watch.output(Duration::ZERO, screen.as_bytes());
        watch.output(Duration::ZERO, b"\x1b[?2004hada@node:~$ ");
        watch.input(Duration::ZERO, b"l");
        watch.output(Duration::ZERO, b"l");
    }
    let _ = writeln!(report, "active: {} KiB each", (resident() - before) / count);
    // the memory that was given back is used again: what is resident then is what idle ones take
    let mut idle: Vec<CommandWatch> = Vec::new();
    drop(watches);
    let before = resident();
    for _ in 0..20 * count {
        let mut watch = CommandWatch::new(size, None);
        watch.output(Duration::ZERO, screen.as_bytes());
        watch.output(Duration::ZERO, b"\x1b[?2004hada@node:~$ ");
        watch.input(Duration::ZERO, b"l");
        watch.idle();
        idle.push(watch);
    }
    let _ = writeln!(
        report,
        "idle: {} KiB each, {} bytes of it the struct",
        (resident() - before) / (20 * count),
        size_of::<CommandWatch>()
    );
    let flood: String =
        (0..20_000).map(|line| format!("{line:>8} some text of a row of a usual listing of files\r\n")).collect();
    let coloured: String = flood.replace("some", "\x1b[31msome\x1b[m");
    for (name, text) in [("plain", &flood), ("coloured", &coloured)] {
        let mut watch = CommandWatch::new(size, None);
        let start = Instant::now();
        let times = 20;
        for _ in 0..times {
            for piece in text.as_bytes().chunks(1024) {
                watch.output(Duration::ZERO, piece);
            }
        }
        let mib = (times * text.len()) as f64 / f64::from(1 << 20);
        let _ = writeln!(report, "{name}: {:.0} MiB/s", mib / start.elapsed().as_secs_f64());
    }
    let _ = std::io::Write::write_all(&mut std::io::stdout(), report.as_bytes());
}
