//! Recordings in other forms.

use super::json;
use super::reader::{Event, Kind, ReadError, ReadHeader, Reader};
use crate::utf8::Decoder;
use crate::{Size, neutral};
use serde_json::{Map, Value, json};
use std::io::{BufRead, Write};
use std::time::Duration;

/// Why an export stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The recording.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Where it goes.
    #[error("the export can't be written: {0}")]
    Write(#[from] std::io::Error),
}

/// As asciicast v3, whose times are intervals. A recording that was torn is exported up to there, and the error tells it.
///
/// # Errors
/// Reading or writing failed; what was written before is whole lines.
pub fn export_v3<R: BufRead>(from: Reader<R>, to: &mut impl Write) -> Result<(), ExportError> {
    let header = from.header();
    let mut term = json!({"cols": header.size.columns, "rows": header.size.rows});
    if let (Some(name), Some(term)) = (&header.term, term.as_object_mut()) {
        term.insert("type".into(), name.as_str().into());
    }
    let mut line = Map::new();
    line.insert("version".into(), 3.into());
    line.insert("term".into(), term);
    rest_of_header(header, &mut line);
    writeln!(to, "{}", Value::Object(line))?;
    // of whole microseconds, so that rounding does not add up
    let mut before = 0;
    events(from, to, |at| {
        let now = at.as_micros();
        let interval = now.saturating_sub(before);
        before = now;
        Duration::from_micros(u64::try_from(interval).unwrap_or(u64::MAX))
    })
}

/// As asciicast v2, for older players.
///
/// # Errors
/// Reading or writing failed; what was written before is whole lines.
pub fn export_v2<R: BufRead>(from: Reader<R>, to: &mut impl Write) -> Result<(), ExportError> {
    let header = from.header();
    let mut line = Map::new();
    line.insert("version".into(), 2.into());
    line.insert("width".into(), header.size.columns.into());
    line.insert("height".into(), header.size.rows.into());
    rest_of_header(header, &mut line);
    if let Some(term) = &header.term {
        line.insert("env".into(), json!({"TERM": term}));
    }
    writeln!(to, "{}", Value::Object(line))?;
    events(from, to, |at| at)
}

fn rest_of_header(header: &ReadHeader, line: &mut Map<String, Value>) {
    if let Some(timestamp) = header.timestamp {
        line.insert("timestamp".into(), timestamp.into());
    }
    for (name, value) in [("command", &header.command), ("title", &header.title)] {
        if let Some(value) = value {
            line.insert(name.into(), value.as_str().into());
        }
    }
}

fn events<R: BufRead>(
    from: Reader<R>,
    to: &mut impl Write,
    mut time: impl FnMut(Duration) -> Duration,
) -> Result<(), ExportError> {
    let mut line = Vec::new();
    for event in from {
        let Event { at, kind } = event?;
        line.clear();
        let (code, data) = match &kind {
            Kind::Output(text) => ("o", text.as_str()),
            Kind::Input(text) => ("i", text.as_str()),
            Kind::Mark(text) => ("m", text.as_str()),
            Kind::Exit(text) => ("x", text.as_str()),
            Kind::Resize(Size { columns, rows }) => {
                json::event(time(at), "r", &format!("{columns}x{rows}"), &mut line);
                to.write_all(&line)?;
                continue;
            }
            Kind::Other => continue,
        };
        json::event(time(at), code, data, &mut line);
        to.write_all(&line)?;
    }
    Ok(())
}

/// The longest line that a transcript holds in memory before it is broken.
const LONGEST_LINE: usize = 64 << 10;

/// As a transcript: what scrolled by, line by line, without colours, moves and full-screen programs, and with everything that
/// acts on a terminal made visible. It is what a terminal shows after the last line feed of each line; what an editor drew
/// is left out.
///
/// # Errors
/// Reading or writing failed; what was written before is whole lines.
pub fn export_text<R: BufRead>(from: Reader<R>, to: &mut impl Write) -> Result<(), ExportError> {
    let (columns, rows) = from.header().size.modelled();
    let Ok(mut model) = avt::Terminal::with_scrollback(columns, rows, Some(0)) else { return Ok(()) };
    let mut transcript = Transcript { line: String::new(), to };
    let mut decoder = Decoder::default();
    let mut text = String::new();
    let mut outcome = Ok(());
    for event in from {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                outcome = Err(error.into());
                break;
            }
        };
        match event.kind {
            Kind::Output(output) => {
                text.clear();
                decoder.decode(output.as_bytes(), &mut text);
                let mut evicted = Evicted::default();
                model.feed_with(text.as_str(), &mut evicted);
                transcript.lines(evicted.0)?;
            }
            Kind::Resize(size) => {
                let (columns, rows) = size.modelled();
                let mut evicted = Evicted::default();
                model.resize_with(columns, rows, &mut evicted);
                transcript.lines(evicted.0)?;
            }
            _ => {}
        }
    }
    let mut rest: Vec<(String, bool)> =
        model.primary_screen().visible_lines().map(|line| (line.text(), line.is_wrapped())).collect();
    while rest.last().is_some_and(|(line, _)| line.trim().is_empty()) {
        rest.pop();
    }
    transcript.lines(rest)?;
    if !transcript.line.is_empty() {
        transcript.end()?;
    }
    outcome
}

/// The lines that have left the screen: text, and whether the next one goes on with it.
#[derive(Default)]
struct Evicted(Vec<(String, bool)>);

impl avt::Observer for Evicted {
    type Output = ();

    fn evicted(&mut self, _context: &mut avt::Observation<'_>, line: &avt::Line) {
        self.0.push((line.text(), line.is_wrapped()));
    }

    fn end(&mut self, _context: &mut avt::Observation<'_>) {}
}

struct Transcript<'a, W> {
    line: String,
    to: &'a mut W,
}

impl<W: Write> Transcript<'_, W> {
    fn lines(&mut self, lines: impl IntoIterator<Item = (String, bool)>) -> std::io::Result<()> {
        for (text, goes_on) in lines {
            self.line.push_str(&text);
            if !goes_on || self.line.len() > LONGEST_LINE {
                self.end()?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> std::io::Result<()> {
        writeln!(self.to, "{}", neutral(self.line.trim_end()))?;
        self.line.clear();
        Ok(())
    }
}
