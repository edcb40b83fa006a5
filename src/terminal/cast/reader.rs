//! Recordings read: asciicast v2 and v3, streamed.

use crate::Size;
use serde_json::Value;
use std::io::{BufRead, Read};
use std::time::Duration;

/// The longest line that is read. A chunk of output is far shorter; escaping makes at most six bytes of one.
const LONGEST_LINE: u64 = 4 << 20;

/// The latest time that is believed: longer than any session, and far from where a sum would overflow.
const LATEST: Duration = Duration::from_secs(366 * 86_400);

/// Why a recording could not be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file or stream.
    #[error("the recording can't be read at line {line}: {source}")]
    Io {
        /// From 1.
        line: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not a recording, or a line of it is damaged.
    #[error("line {line} of the recording is not asciicast: {what}")]
    Line {
        /// From 1.
        line: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The last line has no newline and is not whole: the writer was stopped in the middle of it. All lines before it are good.
    #[error(
        "the recording ends in the middle of line {line}: whoever wrote it was stopped there; all before it is whole"
    )]
    Torn {
        /// From 1.
        line: u64,
    },
}

/// The first line, of either version.
#[derive(Clone, Debug)]
pub struct ReadHeader {
    /// 2 or 3.
    pub version: u8,
    /// The terminal's size at the start.
    pub size: Size,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    /// The title.
    pub title: Option<String>,
    /// The command.
    pub command: Option<String>,
    /// The terminal's type.
    pub term: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The terminal was sent this.
    Output(String),
    /// Typed; never in a recording of ours, but in others'.
    Input(String),
    /// A marker.
    Mark(String),
    /// Another size.
    Resize(Size),
    /// The command's exit status (v3).
    Exit(String),
    /// A code that neither version knows; readers have to pass over it.
    Other,
}

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Since the start, in both versions.
    pub at: Duration,
    /// What.
    pub kind: Kind,
}

/// Reads a recording line by line: its memory is that of one line, which may have 4 MiB.
pub struct Reader<R> {
    source: R,
    header: ReadHeader,
    line: u64,
    at: Duration,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It can't be read, or is not the header of version 2 or 3.
    pub fn new(mut source: R) -> Result<Self, ReadError> {
        let mut line = 0;
        let text = next_line(&mut source, &mut line)?.ok_or(ReadError::Line { line: 1, what: "it is empty" })?;
        let header = header(&text.bytes, line).map_err(|error| text.or_torn(error))?;
        Ok(Self { source, header, line, at: Duration::ZERO, ended: false })
    }

    /// The header.
    pub fn header(&self) -> &ReadHeader {
        &self.header
    }

    fn read(&mut self) -> Result<Option<Event>, ReadError> {
        loop {
            let Some(text) = next_line(&mut self.source, &mut self.line)? else { return Ok(None) };
            let bytes = text.bytes.trim_ascii();
            // v3 has comments; an empty line is nobody's event
            if bytes.is_empty() || (self.header.version == 3 && bytes.starts_with(b"#")) {
                continue;
            }
            let (time, kind) = event(bytes, self.line).map_err(|error| text.or_torn(error))?;
            self.at =
                if self.header.version == 3 { self.at.saturating_add(time) } else { self.at.max(time) }.min(LATEST);
            return Ok(Some(Event { at: self.at, kind }));
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Event, ReadError>;

    /// The next event. After an error there is none.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = self.read().transpose();
        self.ended = !matches!(read, Some(Ok(_)));
        read
    }
}

struct Text {
    bytes: Vec<u8>,
    whole: bool,
    line: u64,
}

impl Text {
    fn or_torn(&self, error: ReadError) -> ReadError {
        if self.whole { error } else { ReadError::Torn { line: self.line } }
    }
}

fn next_line(source: &mut impl BufRead, line: &mut u64) -> Result<Option<Text>, ReadError> {
    *line += 1;
    let mut bytes = Vec::new();
    let read = source
        .take(LONGEST_LINE)
        .read_until(b'\n', &mut bytes)
        .map_err(|source| ReadError::Io { line: *line, source })?;
    if read == 0 {
        return Ok(None);
    }
    let whole = bytes.last() == Some(&b'\n');
    if !whole && u64::try_from(read).unwrap_or(u64::MAX) >= LONGEST_LINE {
        return Err(ReadError::Line { line: *line, what: "it is longer than 4 MiB" });
    }
    Ok(Some(Text { bytes, whole, line: *line }))
}

fn header(bytes: &[u8], line: u64) -> Result<ReadHeader, ReadError> {
    let wrong = |what| ReadError::Line { line, what };
    let value: Value = serde_json::from_slice(bytes).map_err(|_| wrong("the header is not JSON"))?;
    let version = match value.get("version").and_then(Value::as_u64) {
        Some(2) => 2,
        Some(3) => 3,
        Some(_) => return Err(wrong("only the versions 2 and 3 are known")),
        None => return Err(wrong("the header has no version")),
    };
    let (columns, rows, term) = if version == 2 {
        (value.get("width"), value.get("height"), value.pointer("/env/TERM"))
    } else {
        (value.pointer("/term/cols"), value.pointer("/term/rows"), value.pointer("/term/type"))
    };
    let number = |value: Option<&Value>| value.and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok());
    let (Some(columns), Some(rows)) = (number(columns), number(rows)) else {
        return Err(wrong("the header has no size of the terminal"));
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    Ok(ReadHeader {
        version,
        size: Size { columns, rows },
        timestamp: value.get("timestamp").and_then(Value::as_u64),
        title: text(value.get("title")),
        command: text(value.get("command")),
        term: text(term),
    })
}

fn event(bytes: &[u8], line: u64) -> Result<(Duration, Kind), ReadError> {
    let wrong = |what| ReadError::Line { line, what };
    let (time, code, data): (f64, String, Value) =
        serde_json::from_slice(bytes).map_err(|_| wrong("an event is [time, \"code\", \"data\"]"))?;
    let time = Duration::try_from_secs_f64(time).map_err(|_| wrong("its time is negative or too large"))?.min(LATEST);
    let text = |data: Value| match data {
        Value::String(text) => Ok(text),
        _ => Err(wrong("its data is no text")),
    };
    let kind = match code.as_str() {
        "o" => Kind::Output(text(data)?),
        "i" => Kind::Input(text(data)?),
        "m" => Kind::Mark(text(data)?),
        "x" => Kind::Exit(text(data)?),
        "r" => {
            let data = text(data)?;
            let size =
                data.split_once('x').and_then(|(columns, rows)| Some((columns.parse().ok()?, rows.parse().ok()?)));
            let (columns, rows) = size.ok_or_else(|| wrong("a resize is COLUMNSxROWS"))?;
            Kind::Resize(Size { columns, rows })
        }
        _ => Kind::Other,
    };
    Ok((time, kind))
}
