//! A session's recording, if it verifies.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use portcullis_folder::{Contents, Manifest};
use portcullis_index::{Plain, read_records};
use serde_json::json;
use tokio::sync::mpsc;

use super::archive;
use super::args::{ExportArgs, Format};
use super::cast::{Cast, Header};
use super::error::{Kind, Trouble};
use super::screen::Screen;
use super::shown::shown;
use super::verified::verify;
use super::{Audit, apart};

/// The most records of each kind.
const RECORDS: usize = 1_000_000;

/// How much is written at once, and how many such pieces may wait for whoever reads.
const PIECE: usize = 64 << 10;
const PIECES: usize = 4;

pub(super) async fn run(audit: &Audit<'_>, args: &ExportArgs, screen: &mut dyn Screen) -> Result<(), Trouble> {
    let exported = audit.exported(args, screen).await?;
    let (send, mut pieces) = mpsc::channel(PIECES);
    let (format, terminal) = (args.format, screen.is_terminal());
    let writing = tokio::task::spawn_blocking(move || {
        let mut out = Pieces { send, piece: Vec::with_capacity(PIECE) };
        let written = match terminal {
            // whatever it has: nothing of it is obeyed
            true => {
                let mut tame = Tame(&mut out, Vec::new());
                write(&exported, format, &mut tame).and_then(|()| tame.rest())
            }
            false => write(&exported, format, &mut out),
        };
        written.and_then(|()| out.flush())
    });
    while let Some(piece) = pieces.recv().await {
        screen.show(piece).await?;
    }
    let written = writing.await.unwrap_or_else(|_| Err(io::Error::other("the reading of the folder broke off")));
    written.map_err(|error| failed(&error))
}

impl Audit<'_> {
    /// The session that is to be exported, if it verifies or that is not asked for.
    ///
    /// # Errors
    /// It is not theirs to see, or does not verify.
    pub async fn exported(&self, args: &ExportArgs, screen: &mut dyn Screen) -> Result<Exported, Trouble> {
        let (named, _) = self.session(&args.session.id, "export").await?;
        let (folder, keys, keyring) = (named.folder.clone(), self.archive.keys(), Arc::clone(&self.archive.keyring));
        let verified = apart(move || verify(&folder, keys, &*keyring)).await?;
        let contents = self.contents(&named).await?;
        let manifest = archive::manifest(&named, Some(&contents))?;
        if !verified.whole {
            let says = verified.says.join("; ");
            if !args.unverified {
                let text = format!(
                    "session {} is not exported, since it does not verify ({says}); --unverified exports it all the same",
                    named.id
                );
                return Err(Trouble::new(Kind::Failed, text));
            }
            screen.note(&format!("it does not verify: {says}")).await;
        }
        Ok(Exported { manifest, contents })
    }
}

/// What is exported.
#[derive(Debug)]
pub struct Exported {
    manifest: Option<Manifest>,
    contents: Contents,
}

fn failed(error: &io::Error) -> Trouble {
    Trouble::new(Kind::Failed, shown(&format!("it could not be exported: {error}")))
}

/// Writes it in this form.
///
/// # Errors
/// The folder can't be read, or `to` not be written.
pub fn write(all: &Exported, format: Format, to: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Cast => cast(all, to, false),
        Format::Cast3 => cast(all, to, true),
        Format::Text => text(all, to),
        Format::Json => {
            let manifest = &all.manifest;
            let records =
                read_records(&all.contents, manifest.as_ref().map_or("", |manifest| &manifest.opened), RECORDS);
            let files: Vec<_> = records.files.iter().map(|(_, record)| record).collect();
            let all = json!({ "manifest": manifest, "commands": records.commands, "files": files, "unreadable": records.unreadable });
            writeln!(to, "{all:#}")
        }
    }
}

fn open(all: &Exported) -> io::Result<(Cast, Header)> {
    let none = || io::Error::other("that session has no recording: it had no terminal, or has shown nothing");
    let mut cast = Cast::open(&all.contents)?.ok_or_else(none)?;
    let header = cast.header()?.ok_or_else(none)?;
    Ok((cast, header))
}

/// asciicast v2 (<https://docs.asciinema.org/manual/asciicast/v2/>), or v3, in which each time is how long after the event before, and
/// the exit status is an event (<https://docs.asciinema.org/manual/asciicast/v3/>).
fn cast(all: &Exported, to: &mut dyn Write, third: bool) -> io::Result<()> {
    let (mut cast, header) = open(all)?;
    let manifest = &all.manifest;
    let title = manifest
        .as_ref()
        .map(|manifest| format!("{} on {}, session {}", manifest.person, manifest.node.name, manifest.session));
    let opened = manifest.as_ref().and_then(|manifest| {
        time::OffsetDateTime::parse(&manifest.opened, &time::format_description::well_known::Rfc3339).ok()
    });
    let mut head = match third {
        false => json!({ "version": 2, "width": header.width, "height": header.height }),
        true => json!({ "version": 3, "term": { "cols": header.width, "rows": header.height } }),
    };
    if let Some(head) = head.as_object_mut() {
        head.extend(opened.map(|time| ("timestamp".to_owned(), time.unix_timestamp().into())));
        head.extend(title.map(|title| ("title".to_owned(), title.into())));
    }
    writeln!(to, "{head}")?;
    let mut before = 0.0;
    while let Some(event) = cast.event()? {
        let time = if third { event.at - before } else { event.at };
        before = event.at;
        writeln!(to, "{}", json!([(time * 1e6).round() / 1e6, event.kind, event.data]))?;
    }
    if let (true, Some(code)) = (third, manifest.as_ref().and_then(|manifest| manifest.ended.as_ref()?.code)) {
        writeln!(to, "{}", json!([0.0, "x", code.to_string()]))?;
    }
    Ok(())
}

fn text(all: &Exported, to: &mut dyn Write) -> io::Result<()> {
    let (mut cast, _) = open(all)?;
    let (mut plain, mut shown) = (Plain::default(), String::new());
    while let Some(event) = cast.event()? {
        if event.kind == "o" {
            plain.take(&event.data, &mut shown);
        }
        // a line that is not whole may be corrected yet
        if let Some(end) = shown.rfind('\n') {
            to.write_all(shown.get(..=end).unwrap_or_default().as_bytes())?;
            shown.drain(..=end);
        }
    }
    if !shown.is_empty() {
        writeln!(to, "{shown}")?;
    }
    Ok(())
}

/// Lines for a terminal.
struct Tame<'a, W: Write>(&'a mut W, Vec<u8>);

impl<W: Write> Tame<'_, W> {
    fn rest(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.1);
        self.0.write_all(shown(&String::from_utf8_lossy(&rest)).as_bytes())
    }
}

impl<W: Write> Write for Tame<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.1.extend(part.strip_suffix(b"\n").unwrap_or(part));
            if part.ends_with(b"\n") {
                self.rest()?;
                self.0.write_all(b"\n")?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Pieces for whoever reads; writing waits for them.
struct Pieces {
    send: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.send.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
