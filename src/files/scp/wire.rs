//! SCP's records on a byte stream.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The client's stream, with what has been read of it and not been used.
pub(super) struct Wire<S> {
    stream: S,
    received: BytesMut,
}

/// What the other side says to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// Go on.
    Go,
    /// Not this one; go on with the next.
    Skip,
    /// No more.
    Stop,
}

/// A control record from a client that sends files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Modification and access time, in seconds, of what comes next.
    Times {
        /// When it was last written.
        modified: u64,
        /// When it was last read.
        accessed: u64,
    },
    /// A file.
    File {
        /// Permission bits.
        mode: u32,
        /// Bytes, at most `i64::MAX`.
        size: u64,
        /// One component, never one that leads elsewhere.
        name: Vec<u8>,
    },
    /// A directory; what follows lies in it until its end.
    Directory {
        /// Permission bits.
        mode: u32,
        /// One component, never one that leads elsewhere.
        name: Vec<u8>,
    },
    /// The end of a directory.
    End,
    /// The client could not send something.
    Warning,
    /// The client gives up.
    Fatal,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, received: BytesMut::new() }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Says that what came is fine.
    pub(super) async fn ok(&mut self) -> io::Result<()> {
        self.send(b"\0").await
    }

    /// `\x01scp: PATH: why\n`: something failed, the rest goes on.
    pub(super) async fn warning(&mut self, path: &[u8], why: &str) -> io::Result<()> {
        // a line break would end the message and begin a record
        self.message(&[&record_name(path)[..], b": ", why.as_bytes()].concat()).await
    }

    /// `\x01scp: why\n`: what is wrong with the records or the command line.
    pub(super) async fn message(&mut self, why: &[u8]) -> io::Result<()> {
        let mut line = b"\x01scp: ".to_vec();
        line.extend(why.iter().map(|&byte| if byte == b'\n' { b' ' } else { byte }));
        line.push(b'\n');
        self.send(&line).await
    }

    /// `\x02scp: why\n`: nothing goes on.
    pub(super) async fn fatal(&mut self, why: &str) -> io::Result<()> {
        let line = format!("\x02scp: {}\n", why.replace('\n', " "));
        self.send(line.as_bytes()).await
    }

    /// Waits for what the client says to a record. A client that is gone says no.
    pub(super) async fn response(&mut self) -> io::Result<Response> {
        match self.byte().await? {
            Some(0) => Ok(Response::Go),
            Some(1) => {
                self.line().await?;
                Ok(Response::Skip)
            }
            Some(_) => {
                self.line().await?;
                Ok(Response::Stop)
            }
            None => Ok(Response::Stop),
        }
    }

    /// The next record; `None` where the client is done.
    pub(super) async fn record(&mut self) -> io::Result<Option<Result<Record, RecordError>>> {
        Ok(match self.byte().await? {
            None => None,
            Some(b'\n') => Some(Err(RecordError::Empty)),
            Some(first) => {
                let rest = self.line().await?;
                Some(rest.map_or(Err(RecordError::Cut), |rest| parse_record(first, &rest)))
            }
        })
    }

    /// Up to `most` bytes of a file, and less only at the end of the stream.
    pub(super) async fn content(&mut self, most: usize) -> io::Result<Bytes> {
        while self.received.len() < most {
            if !self.fill().await? {
                break;
            }
        }
        let length = most.min(self.received.len());
        Ok(self.received.split_to(length).freeze())
    }

    async fn byte(&mut self) -> io::Result<Option<u8>> {
        if self.received.is_empty() && !self.fill().await? {
            return Ok(None);
        }
        Ok(self.received.try_get_u8().ok())
    }

    /// The rest of a line, without its end, or as much as a record may be; `None` at the end of the stream.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.received.iter().position(|&byte| byte == b'\n') {
                let line = self.received.split_to(end).to_vec();
                self.received.advance(1);
                return Ok(Some(line));
            }
            // the rest is not waited for: no record is that long, and what begins as one is refused by its name
            if self.received.len() > LONGEST_LINE {
                return Ok(Some(self.received.split_to(LONGEST_LINE).to_vec()));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    async fn fill(&mut self) -> io::Result<bool> {
        self.received.reserve(RECEIVE);
        Ok(self.stream.read_buf(&mut self.received).await? > 0)
    }
}

/// Why a record was refused, in the words of OpenSSH's `scp.c`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A line of nothing.
    #[error("protocol error: unexpected <newline>")]
    Empty,
    /// The stream ended in the middle of one.
    #[error("protocol error: lost connection")]
    Cut,
    /// Its first byte begins no record. This is the line, which may be what a shell said in the place of the other side.
    #[error("protocol error: expected control record")]
    NoRecord(Vec<u8>),
    /// A part of a record that is not as it must be.
    #[error("protocol error: {0}")]
    Part(&'static str),
    /// A name that leads elsewhere.
    #[error("error: unexpected filename: {0}")]
    Name(String),
}

/// Takes one record apart: its first byte, and the rest of its line.
pub fn parse_record(first: u8, rest: &[u8]) -> Result<Record, RecordError> {
    match first {
        1 => Ok(Record::Warning),
        2 => Ok(Record::Fatal),
        b'E' => Ok(Record::End),
        b'T' => parse_times(rest),
        b'C' | b'D' => {
            let (mode, size, name) = parse_file(rest)?;
            Ok(match first {
                b'C' => Record::File { mode, size, name },
                _ => Record::Directory { mode, name },
            })
        }
        _ => Err(RecordError::NoRecord([&[first], rest].concat())),
    }
}

/// `1763781960 0 1763781960 0`
fn parse_times(rest: &[u8]) -> Result<Record, RecordError> {
    let mut fields = Fields(rest);
    let modified = fields.number("mtime.sec not present", "mtime.sec not delimited")?;
    fields.microseconds("mtime.usec not delimited")?;
    let accessed = fields.number("atime.sec not present", "atime.sec not delimited")?;
    let micros = fields.0;
    match number(micros) {
        Some(0..=999_999) => Ok(Record::Times { modified, accessed }),
        _ => Err(RecordError::Part("atime.usec not delimited")),
    }
}

/// `0644 1234 name`
fn parse_file(rest: &[u8]) -> Result<(u32, u64, Vec<u8>), RecordError> {
    let (mode, rest) = rest.split_at_checked(4).ok_or(RecordError::Part("bad mode"))?;
    if !mode.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
        return Err(RecordError::Part("bad mode"));
    }
    let mode = mode.iter().fold(0, |mode, digit| mode << 3 | u32::from(digit - b'0'));
    let mut fields = Fields(rest.strip_prefix(b" ").ok_or(RecordError::Part("mode not delimited"))?);
    let size = fields.number("size not present", "size not delimited")?;
    // `off_t` is signed
    if i64::try_from(size).is_err() {
        return Err(RecordError::Part("size out of range"));
    }
    let name = fields.0;
    // CVE-2018-20685: `.` as a name would change the directory that is copied into
    if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| b"/\0".contains(byte)) {
        return Err(RecordError::Name(String::from_utf8_lossy(name).into_owned()));
    }
    Ok((mode, size, name.to_vec()))
}

/// What is left of a record.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// A decimal number and the blank behind it. One that no 64 bits hold is the largest, as `strtoull` has it.
    fn number(&mut self, absent: &'static str, not_delimited: &'static str) -> Result<u64, RecordError> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(RecordError::Part(absent));
        }
        let (number_text, rest) = self.0.split_at(digits);
        self.0 = rest.strip_prefix(b" ").ok_or(RecordError::Part(not_delimited))?;
        Ok(number(number_text).unwrap_or(u64::MAX))
    }

    fn microseconds(&mut self, not_delimited: &'static str) -> Result<(), RecordError> {
        match self.number(not_delimited, not_delimited)? {
            0..=999_999 => Ok(()),
            _ => Err(RecordError::Part(not_delimited)),
        }
    }
}

/// A decimal number: digits and nothing else.
fn number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A name as it goes into a record: one with line breaks is written as `vis(3)` with `VIS_NL` writes it, as OpenSSH does.
pub(super) fn record_name(name: &[u8]) -> Vec<u8> {
    if !name.contains(&b'\n') {
        return name.to_vec();
    }
    let mut out = Vec::new();
    for &byte in name {
        match byte {
            b'\\' => out.extend(b"\\\\"),
            b'\t' | b' '..=b'~' => out.push(byte),
            _ => {
                out.push(b'\\');
                if byte & 0x80 != 0 {
                    out.push(b'M');
                }
                match byte & 0x7f {
                    0x7f => out.extend(b"^?"),
                    low @ 0..0x20 => out.extend([b'^', low + b'@']),
                    low => out.extend([b'-', low]),
                }
            }
        }
    }
    out
}

/// The longest record: as long as the buffer of OpenSSH's `scp.c`.
const LONGEST_LINE: usize = 16 * 1024;
/// Room for one read of the stream.
const RECEIVE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Result<Record, RecordError> {
        parse_record(line.as_bytes()[0], &line.as_bytes()[1..])
    }

    #[test]
    fn records_are_read_as_openssh_writes_them() {
        let file = Record::File { mode: 0o644, size: 12, name: b"a b".to_vec() };
        assert_eq!(parse("C0644 12 a b"), Ok(file));
        assert_eq!(parse("D0755 0 d"), Ok(Record::Directory { mode: 0o755, name: b"d".to_vec() }));
        assert_eq!(parse("T5 0 6 999999"), Ok(Record::Times { modified: 5, accessed: 6 }));
        assert_eq!(parse("E"), Ok(Record::End));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["../x", "..", ".", "", "/etc/passwd", "a/b", "a\0b"] {
            let error = parse(&format!("C0644 1 {name}")).unwrap_err();
            assert!(matches!(error, RecordError::Name(_)), "{error}");
            assert!(parse(&format!("D0755 0 {name}")).is_err());
        }
    }

    #[test]
    fn bad_modes_sizes_and_times_are_refused() {
        for line in [
            "C0844 1 a",
            "C644 1 a",
            "C0644-1 a",
            "C0644 -1 a",
            "C0644 +1 a",
            "C0644  a",
            "C0644 1",
            "C0644 9223372036854775808 a",
            "C0644 99999999999999999999999 a",
            "T-1 0 0 0",
            "T1 1000000 0 0",
            "T1 0 1",
            "T1 0 1 0 0",
            "T 0 1 0",
            "X",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_as_openssh_says_it() {
        for (line, words) in [
            ("C644 1 a", "bad mode"),
            ("C06440 1 a", "mode not delimited"),
            ("C0644 -1 a", "size not present"),
            ("C0644 5x a", "size not delimited"),
            ("C0644 99999999999999999999 a", "size out of range"),
            ("T1 0 0", "atime.sec not delimited"),
            ("T1 1000000 0 0", "mtime.usec not delimited"),
            ("T1 0 1 x", "atime.usec not delimited"),
            ("X", "expected control record"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), format!("protocol error: {words}"), "{line}");
        }
        assert_eq!(parse("D0755 0 .").unwrap_err().to_string(), "error: unexpected filename: .");
    }

    #[test]
    fn a_name_with_a_line_break_is_written_as_vis_writes_it() {
        assert_eq!(record_name(b"plain\\\xff"), b"plain\\\xff");
        assert_eq!(record_name(b"a\nb\\c\x7f\xe9\x81"), b"a\\^Jb\\\\c\\^?\\M-i\\M^A");
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(first: u8, rest: Vec<u8>) {
            let _ = parse_record(first, &rest);
            let _ = parse_record(b'C', &[b"0644 ", &rest[..]].concat());
        }
    }
}
