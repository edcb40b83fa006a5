//! A folder as a readable log.

use std::fs::File as OpenFile;
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::path::Path;

use portcullis_folder::{CommandRecord, File, FileRecord, Manifest};
use serde_json::Value;

use crate::error::Failure;

/// The longest line of a folder's files that is read. The recorder writes shorter ones.
const LONGEST_LINE: u64 = 4 << 20;

/// Writes what the session did: what a terminal showed; of a command without one its line, what it said as far as that is kept, and how
/// it ended; of files a line for each operation. Escape sequences stay, as in the agent's own logs in S3.
pub fn render(folder: &Path, manifest: &Manifest, out: &mut impl Write) -> Result<(), Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::NotFound => {
            Failure::Poisoned(format!("the folder {}: {error}", folder.display()))
        }
        _ => Failure::Sink(format!("the log of {} can't be written: {error}", folder.display())),
    };
    write_all(folder, manifest, out).map_err(failed)
}

fn write_all(folder: &Path, manifest: &Manifest, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "Script started on {}", as_script_has_it(&manifest.opened))?;
    if folder.join(File::Terminal.name()).exists() {
        terminal(&folder.join(File::Terminal.name()), out)?;
    } else {
        // the terminal has shown its commands; here nobody else says what was run
        lines(&folder.join(File::Commands.name()), |line: CommandRecord| command(&line, out))?;
        for (file, stream) in [(File::StdoutHead, "stdout"), (File::StderrHead, "stderr")] {
            head(&folder.join(file.name()), stream, manifest, out)?;
        }
    }
    lines(&folder.join(File::Files.name()), |line: FileRecord| operation(&line, out))?;
    let closed = manifest.closed.as_deref().map_or_else(|| "an unknown day".to_owned(), as_script_has_it);
    let ended = manifest.ended.as_ref().and_then(|ended| ended.code);
    let code = ended.map_or_else(String::new, |code| format!(" [COMMAND_EXIT_CODE=\"{code}\"]"));
    writeln!(out, "\nScript done on {closed}{code}")
}

/// `2026-11-30 07:12:33+00:00`, as util-linux's `script` writes times, of `2026-11-30T07:12:33.123Z`.
fn as_script_has_it(time: &str) -> String {
    let (day, clock) = time.split_once('T').unwrap_or((time, ""));
    let clock = clock.split(['.', 'Z', '+']).next().unwrap_or_default();
    format!("{} {}+00:00", plain(day), plain(clock))
}

/// Each line of a file that may not be there.
fn each_line(path: &Path, mut each: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let file = match OpenFile::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let (mut reader, mut line, mut number) = (BufReader::new(file), Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        let read = reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.pop_if(|last| *last == b'\n').is_none() && read as u64 == LONGEST_LINE {
            return Err(wrong(path, number, "is longer than 4 MiB"));
        }
        each(number, &line)?;
    }
}

fn wrong(path: &Path, line: u64, what: &str) -> io::Error {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    io::Error::new(io::ErrorKind::InvalidData, format!("line {line} of {name} {what}"))
}

fn lines<T: serde::de::DeserializeOwned>(path: &Path, mut each: impl FnMut(T) -> io::Result<()>) -> io::Result<()> {
    each_line(path, |number, line| {
        each(serde_json::from_slice(line).map_err(|_| wrong(path, number, "is none of ours"))?)
    })
}

fn terminal(path: &Path, out: &mut impl Write) -> io::Result<()> {
    each_line(path, |number, line| {
        let value: Value = serde_json::from_slice(line).map_err(|_| wrong(path, number, "is no asciicast"))?;
        if number > 1 && value.get(1).and_then(Value::as_str) == Some("o") {
            out.write_all(value.get(2).and_then(Value::as_str).unwrap_or_default().as_bytes())?;
        }
        Ok(())
    })
}

/// What comes from elsewhere, in a line of ours: it must not look like another one.
fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn command(command: &CommandRecord, out: &mut impl Write) -> io::Result<()> {
    match &command.command_sha256 {
        Some(hash) => write!(out, "$ (a command line with the SHA-256 {})", plain(hash))?,
        None => write!(out, "$ {}", plain(&command.command))?,
    }
    match command.verdict.as_deref() {
        Some("refused") => writeln!(out, "    (refused)"),
        _ => writeln!(out),
    }
}

fn head(path: &Path, stream: &str, manifest: &Manifest, out: &mut impl Write) -> io::Result<()> {
    let kept = match OpenFile::open(path) {
        Ok(mut file) => io::copy(&mut file, out)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let all = manifest.streams.as_ref().map(|all| if stream == "stdout" { &all.stdout } else { &all.stderr });
    match all {
        Some(all) if all.bytes > kept => {
            let (bytes, hash) = (all.bytes, plain(&all.sha256));
            writeln!(out, "\n({stream} had {bytes} bytes, of which the first {kept} are kept; SHA-256 {hash})")
        }
        _ => Ok(()),
    }
}

fn operation(file: &FileRecord, out: &mut impl Write) -> io::Result<()> {
    write!(out, "{} {} {}", plain(&file.time), plain(&file.action), plain(&file.path))?;
    if let Some(second) = &file.second_path {
        write!(out, " -> {}", plain(second))?;
    }
    if let Some(bytes) = file.bytes {
        write!(out, " {bytes} bytes")?;
    }
    if let Some(hash) = &file.sha256 {
        write!(out, " SHA-256 {}", plain(hash))?;
    }
    write!(out, ": {}", plain(&file.outcome))?;
    match &file.why {
        Some(why) => writeln!(out, " ({})", plain(why)),
        None => writeln!(out),
    }
}
