//! A recording as it is made: asciicast v2, line by line.

use super::json;
use crate::Size;
use crate::utf8::Decoder;
use serde_json::{Map, Value};
use std::time::Duration;

/// The first line of a recording.
#[derive(Clone, Debug)]
pub struct Header {
    /// The terminal's size at the start.
    pub size: Size,
    /// When the session was opened, in seconds since 1970.
    pub timestamp: u64,
    /// What a player shows as the title.
    pub title: Option<String>,
    /// The command that runs in the terminal; none for a shell.
    pub command: Option<String>,
    /// The client's `TERM`.
    pub term: Option<String>,
}

impl Header {
    /// The line, with its newline.
    fn line(&self) -> Vec<u8> {
        let mut header = Map::new();
        header.insert("version".into(), 2.into());
        // a player divides by them; a client that tells 0 has no size
        header.insert("width".into(), if self.size.columns == 0 { 80 } else { self.size.columns }.into());
        header.insert("height".into(), if self.size.rows == 0 { 24 } else { self.size.rows }.into());
        header.insert("timestamp".into(), self.timestamp.into());
        for (name, value) in [("title", &self.title), ("command", &self.command)] {
            if let Some(value) = value {
                header.insert(name.into(), Value::from(value.as_str()));
            }
        }
        if let Some(term) = &self.term {
            header.insert(
                "env".into(),
                Value::Object([("TERM".to_owned(), Value::from(term.as_str()))].into_iter().collect()),
            );
        }
        let mut line = Value::Object(header).to_string().into_bytes();
        line.push(b'\n');
        line
    }
}

/// Makes the lines of a recording. Nothing is held back but the start of a character that is cut, until the next call.
///
/// Times that go back are written as the latest one: a player takes them for a jump.
pub struct Writer {
    decoder: Decoder,
    last: Duration,
}

impl Writer {
    /// The writer, and the header's line.
    #[must_use]
    pub fn new(header: &Header) -> (Self, Vec<u8>) {
        (Self { decoder: Decoder::default(), last: Duration::ZERO }, header.line())
    }

    /// The terminal was sent `bytes`; appends at most one line.
    pub fn output(&mut self, at: Duration, bytes: &[u8], to: &mut Vec<u8>) {
        let mut text = String::with_capacity(bytes.len());
        self.decoder.decode(bytes, &mut text);
        self.event(at, "o", &text, to);
    }

    /// The terminal has another size.
    pub fn resize(&mut self, at: Duration, size: Size, to: &mut Vec<u8>) {
        if size.columns > 0 && size.rows > 0 {
            self.event(at, "r", &format!("{}x{}", size.columns, size.rows), to);
        }
    }

    /// A marker, which a player can jump to.
    pub fn mark(&mut self, at: Duration, label: &str, to: &mut Vec<u8>) {
        let at = at.max(self.last);
        self.last = at;
        json::event(at, "m", label, to);
    }

    /// No more comes: a character that was cut is written as U+FFFD.
    pub fn finish(&mut self, at: Duration, to: &mut Vec<u8>) {
        let mut text = String::new();
        self.decoder.finish(&mut text);
        self.event(at, "o", &text, to);
    }

    fn event(&mut self, at: Duration, code: &str, data: &str, to: &mut Vec<u8>) {
        if !data.is_empty() {
            self.last = self.last.max(at);
            json::event(self.last, code, data, to);
        }
    }
}
