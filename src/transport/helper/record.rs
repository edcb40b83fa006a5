//! The records that gateway and helper exchange, as bytes.
//!
//! ```text
//!  0      1          5          9
//!  | kind | number   | length   | payload …      all integers big-endian
//! ```
//!
//! Number 0 marks state that a later record replaces (hello, ready, acknowledgement, lease); the others are counted from
//! 1 in each direction, and both ends keep what the other has not acknowledged, so a lost lane loses nothing.
//!
//! Towards the node a lane is a raw terminal and carries the bytes as they are. From the node they pass the agent's UTF-8
//! scan, which alters `EF BF BD` and holds back what is no whole character at the end of a chunk (observed with agent 3.3).
//! So there a lane begins with `PCR1\n`; in each record DLE (10) is written `10 41` and EF `10 42`; and a trailer of ASCII
//! bytes follows it.
//!
//! The `sh` helper can neither unpack integers nor escape bytes: its lane begins with `PCL1\n`, and every record, in both
//! directions, is a line of words. Numbers are decimal, data from the node is Base64, data towards it follows its line as
//! it is and is closed by a newline, or is written in octal where it is so short that a process to read it would be a waste:
//!
//! ```text
//!  from the node:  H <hello>   R <received>   A <received> <credit>   P <stamp> <received>   F <sentence>
//!                  o <Base64>   e <Base64>   O <count>   E <count>   X <status>   Q
//!  to the node:    S <stamp> <received> <credit> <lease>   W <number> <cols> <rows> <x> <y>   K <number> <name>
//!                  t <number> <cost> <\\ooo…>   i <number> <cost> <length>⏎<bytes>   c <number> 0 <length>⏎<bytes>
//!                  I <number> 0 <count>   B <number>
//! ```
//!
//! These lines bear no numbers from the node, because that helper keeps nothing and can't resume.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::model::{Exit, WindowSize};

/// The longest payload that either end accepts.
pub const LONGEST_PAYLOAD: usize = 128 * 1024;

/// A record from the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromNode {
    /// Who speaks; the first record on every lane.
    Hello(Hello),
    /// An in lane is attached, raw and silent; records up to this number have arrived.
    Ready {
        /// The last number received.
        received: u32,
    },
    /// What has arrived, and how many bytes of input may be sent in all.
    State {
        /// The last number received.
        received: u32,
        /// The total of input bytes allowed.
        credit: u64,
    },
    /// Standard output.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// Standard output has ended after so many bytes.
    StdoutEnd(u64),
    /// Standard error has ended after so many bytes.
    StderrEnd(u64),
    /// How the command ended.
    Exit(Exit),
    /// The helper can't go on; a sentence.
    Fault(String),
    /// An answer to the state of this stamp; records up to this number have arrived.
    Pong {
        /// The stamp.
        stamp: u32,
        /// The last number received.
        received: u32,
    },
    /// Everything has been said.
    Done,
}

/// Who speaks on a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// `python3.11`, `sh`.
    pub helper: String,
    /// The helper's directory, percent-encoded as it came: handed back to the next lane.
    pub directory: String,
    /// The user id it runs as.
    pub uid: u32,
    /// Whether another out lane may take the place of a lost one.
    pub resumable: bool,
}

/// A record towards the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToNode {
    /// What has arrived, how many bytes of output may be sent in all, and for how many seconds the command may live on.
    State {
        /// The last number received.
        received: u32,
        /// The total of output bytes allowed.
        credit: u64,
        /// Seconds.
        lease: u32,
    },
    /// Standard input.
    Stdin(Bytes),
    /// Standard input has ended after so many bytes.
    StdinEnd(u64),
    /// The window's size.
    Size(WindowSize),
    /// A signal, named without `SIG`.
    Signal(String),
    /// A part of a command too long for a parameter; an empty one ends it.
    Command(Bytes),
    /// The client has gone: hang up.
    Bye,
}

/// What a record of input counts against the credit of the `sh` helper. It keeps short ones in a pipe of 64 KiB and the
/// others in files, and must never have to wait for room: so a short one costs what makes a full window fit the pipe, and
/// the others a little for their file.
pub fn line_cost(length: usize) -> u64 {
    if length <= SHORT { 300 + 72 * length as u64 } else { 512 + length as u64 }
}

impl ToNode {
    /// The record as the `sh` helper reads it. For a state the number is its stamp.
    pub fn encode_line(&self, number: u32) -> Bytes {
        let kind = char::from(self.kind());
        let line = match self {
            Self::State { received, credit, lease } => format!("{kind} {number} {received} {credit} {lease}\n"),
            Self::Stdin(data) if data.len() <= SHORT => {
                let octal: String = data.iter().map(|byte| format!("\\{byte:03o}")).collect();
                format!("t {number} {} {octal}\n", line_cost(data.len()))
            }
            Self::Stdin(data) => return with_data(&format!("{kind} {number} {}", line_cost(data.len())), data),
            Self::Command(data) => return with_data(&format!("{kind} {number} 0"), data),
            Self::StdinEnd(count) => format!("{kind} {number} 0 {count}\n"),
            Self::Size(WindowSize { cols, rows, x_pixels, y_pixels }) => {
                format!("{kind} {number} {cols} {rows} {x_pixels} {y_pixels}\n")
            }
            Self::Signal(name) => format!("{kind} {number} {name}\n"),
            Self::Bye => format!("{kind} {number}\n"),
        };
        line.into()
    }

    /// The record's bytes.
    pub fn encode(&self, number: u32) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEADER + self.payload_len());
        let (kind, length) = (self.kind(), self.payload_len());
        bytes.put_u8(kind);
        bytes.put_u32(number);
        bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        match self {
            Self::State { received, credit, lease } => {
                bytes.put_u32(*received);
                bytes.put_u64(*credit);
                bytes.put_u32(*lease);
            }
            Self::Stdin(data) | Self::Command(data) => bytes.put_slice(data),
            Self::StdinEnd(count) => bytes.put_u64(*count),
            Self::Size(size) => {
                for value in [size.cols, size.rows, size.x_pixels, size.y_pixels] {
                    bytes.put_u16(value);
                }
            }
            Self::Signal(name) => bytes.put_slice(name.as_bytes()),
            Self::Bye => {}
        }
        bytes.freeze()
    }

    fn kind(&self) -> u8 {
        match self {
            Self::State { .. } => b'S',
            Self::Stdin(_) => b'i',
            Self::StdinEnd(_) => b'I',
            Self::Size(_) => b'W',
            Self::Signal(_) => b'K',
            Self::Command(_) => b'c',
            Self::Bye => b'B',
        }
    }

    fn payload_len(&self) -> usize {
        match self {
            Self::State { .. } => 16,
            Self::Stdin(data) | Self::Command(data) => data.len(),
            Self::StdinEnd(_) | Self::Size(_) => 8,
            Self::Signal(name) => name.len(),
            Self::Bye => 0,
        }
    }
}

fn with_data(line: &str, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(line.len() + data.len() + 16);
    bytes.put_slice(format!("{line} {}\n", data.len()).as_bytes());
    bytes.put_slice(data);
    bytes.put_u8(b'\n');
    bytes.freeze()
}

/// What came on a lane is not the helper's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Something else spoke first: the text, for the person.
    #[error("the node answered with something else than the helper: {0}")]
    Foreign(String),
    /// A record is not what it must be.
    #[error("the node's helper sent a malformed record ({0})")]
    Malformed(&'static str),
}

/// Turns a lane's bytes into records.
#[derive(Debug)]
pub struct Decoder {
    format: Format,
    buffer: BytesMut,
    escaped: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Format {
    Unknown,
    Raw,
    Lines,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { format: Format::Unknown, buffer: BytesMut::new(), escaped: false }
    }
}

impl Decoder {
    /// Whether the helper speaks in lines; known once it has said anything.
    pub fn speaks_lines(&self) -> bool {
        self.format == Format::Lines
    }

    /// Takes what came; [`Decoder::next_record`] gives the records in it.
    pub fn feed(&mut self, mut input: &[u8]) -> Result<(), RecordError> {
        if self.format == Format::Unknown {
            let missing = MAGIC_LEN.saturating_sub(self.buffer.len()).min(input.len());
            self.buffer.extend_from_slice(&input[..missing]);
            input = &input[missing..];
            let known = &self.buffer[..];
            if !RAW_MAGIC.starts_with(known) && !LINE_MAGIC.starts_with(known) {
                let mut text = self.buffer.to_vec();
                text.extend_from_slice(&input[..input.len().min(300)]);
                return Err(RecordError::Foreign(sentence(&text)));
            }
            if known.len() < MAGIC_LEN {
                return Ok(());
            }
            self.format = if known == RAW_MAGIC { Format::Raw } else { Format::Lines };
            self.buffer.clear();
        }
        match self.format {
            Format::Raw => self.unescape(input),
            _ => {
                self.buffer.extend_from_slice(input);
                Ok(())
            }
        }
    }

    fn unescape(&mut self, mut input: &[u8]) -> Result<(), RecordError> {
        while let Some((&first, rest)) = input.split_first() {
            if self.escaped {
                self.escaped = false;
                self.buffer.put_u8(match first {
                    b'A' => DLE,
                    b'B' => 0xef,
                    _ => return Err(RecordError::Malformed("an unknown escape")),
                });
                input = rest;
                continue;
            }
            let plain = input.iter().position(|&byte| byte == DLE).unwrap_or(input.len());
            self.buffer.extend_from_slice(&input[..plain]);
            self.escaped = plain < input.len();
            input = &input[(plain + 1).min(input.len())..];
        }
        Ok(())
    }

    /// The next whole record with its number.
    pub fn next_record(&mut self) -> Result<Option<(u32, FromNode)>, RecordError> {
        match self.format {
            Format::Unknown => Ok(None),
            Format::Raw => self.next_raw(),
            Format::Lines => self.next_line(),
        }
    }

    fn next_raw(&mut self) -> Result<Option<(u32, FromNode)>, RecordError> {
        if self.buffer.len() < HEADER {
            return Ok(None);
        }
        let mut header = &self.buffer[..HEADER];
        let (kind, number, length) = (header.get_u8(), header.get_u32(), header.get_u32() as usize);
        if length > LONGEST_PAYLOAD {
            return Err(RecordError::Malformed("its length"));
        }
        let whole = HEADER + length + TRAILER.len();
        if self.buffer.len() < whole {
            self.buffer.reserve(whole - self.buffer.len());
            return Ok(None);
        }
        let mut record = self.buffer.split_to(whole).freeze();
        if record.split_off(HEADER + length) != TRAILER {
            return Err(RecordError::Malformed("its trailer"));
        }
        record.advance(HEADER);
        Ok(Some((number, parse(kind, record)?)))
    }

    fn next_line(&mut self) -> Result<Option<(u32, FromNode)>, RecordError> {
        let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') else {
            let too_long = self.buffer.len() > LONGEST_PAYLOAD * 2;
            return if too_long { Err(RecordError::Malformed("its length")) } else { Ok(None) };
        };
        let mut line = self.buffer.split_to(end + 1).freeze();
        line.truncate(end);
        let kind = line.first().copied().unwrap_or_default();
        Ok(Some((0, parse_line(kind, line.get(2..).unwrap_or_default())?)))
    }
}

fn parse_line(kind: u8, rest: &[u8]) -> Result<FromNode, RecordError> {
    let malformed = || RecordError::Malformed("a line");
    let mut words = rest.split(|&byte| byte == b' ');
    let mut number =
        || words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse::<u64>().ok()).ok_or_else(malformed);
    let small = |number: u64| u32::try_from(number).map_err(|_| malformed());
    let data = || STANDARD.decode(rest).map(Bytes::from).map_err(|_| malformed());
    Ok(match kind {
        b'H' => FromNode::Hello(parse_hello(rest)?),
        b'R' => FromNode::Ready { received: small(number()?)? },
        b'A' => FromNode::State { received: small(number()?)?, credit: number()? },
        b'P' => FromNode::Pong { stamp: small(number()?)?, received: small(number()?)? },
        b'o' => FromNode::Stdout(data()?),
        b'e' => FromNode::Stderr(data()?),
        b'O' => FromNode::StdoutEnd(number()?),
        b'E' => FromNode::StderrEnd(number()?),
        b'X' => FromNode::Exit(Exit::Code(small(number()?)?)),
        b'F' => FromNode::Fault(sentence(rest)),
        b'Q' => FromNode::Done,
        _ => return Err(RecordError::Malformed("its kind")),
    })
}

fn parse(kind: u8, mut payload: Bytes) -> Result<FromNode, RecordError> {
    let short = |_| RecordError::Malformed("a short payload");
    Ok(match kind {
        b'H' => FromNode::Hello(parse_hello(proven(&payload)?)?),
        b'R' => FromNode::Ready { received: payload.try_get_u32().map_err(short)? },
        b'A' => FromNode::State {
            received: payload.try_get_u32().map_err(short)?,
            credit: payload.try_get_u64().map_err(short)?,
        },
        b'o' => FromNode::Stdout(payload),
        b'e' => FromNode::Stderr(payload),
        b'O' => FromNode::StdoutEnd(payload.try_get_u64().map_err(short)?),
        b'E' => FromNode::StderrEnd(payload.try_get_u64().map_err(short)?),
        b'X' => {
            let signalled = payload.try_get_u8().map_err(short)? == 1;
            let value = payload.try_get_u32().map_err(short)?;
            let core_dumped = payload.try_get_u8().map_err(short)? == 1;
            match signal_name(value).filter(|_| signalled) {
                Some(name) => FromNode::Exit(Exit::Signal { name: name.to_owned(), core_dumped }),
                None => FromNode::Exit(Exit::Code(if signalled { 128u32.saturating_add(value) } else { value })),
            }
        }
        b'F' => FromNode::Fault(sentence(&payload)),
        b'Q' => FromNode::Done,
        _ => return Err(RecordError::Malformed("its kind")),
    })
}

/// A hello ends in every byte value once, which shows that the lane carries them all.
fn proven(payload: &[u8]) -> Result<&[u8], RecordError> {
    let probe = payload.len().checked_sub(256).ok_or(RecordError::Malformed("the hello"))?;
    let (text, probe) = payload.split_at(probe);
    if !probe.iter().copied().eq(0..=255) {
        return Err(RecordError::Malformed("the probe: this lane does not carry every byte"));
    }
    Ok(text)
}

/// `key=value;…`
fn parse_hello(text: &[u8]) -> Result<Hello, RecordError> {
    let malformed = RecordError::Malformed("the hello");
    let text = std::str::from_utf8(text).map_err(|_| malformed.clone())?;
    let value =
        |key: &str| text.split(';').find_map(|item| item.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned);
    let directory = value("d").ok_or_else(|| malformed.clone())?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "%/._-".contains(c);
    if value("v").as_deref() != Some("1") || !directory.chars().all(plain) {
        return Err(malformed);
    }
    let uid = value("u").and_then(|uid| uid.parse().ok()).ok_or_else(|| malformed.clone())?;
    let resumable = value("r").as_deref() != Some("0");
    Ok(Hello { helper: value("h").unwrap_or_default(), directory, uid, resumable })
}

/// Node output as part of a sentence: one line, no control characters, not long.
fn sentence(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).take(300).collect()
}

/// The names RFC 4254, section 6.10, lists, by Linux's numbers; the others have no name on the wire.
fn signal_name(number: u32) -> Option<&'static str> {
    Some(match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        8 => "FPE",
        9 => "KILL",
        10 => "USR1",
        11 => "SEGV",
        12 => "USR2",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        _ => return None,
    })
}

const HEADER: usize = 9;
/// The longest input that is written in octal in a line.
const SHORT: usize = 64;
const DLE: u8 = 0x10;
const TRAILER: &[u8] = b"~~~\n";
const RAW_MAGIC: &[u8] = b"PCR1\n";
const LINE_MAGIC: &[u8] = b"PCL1\n";
const MAGIC_LEN: usize = 5;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the helper writes it.
    pub(in crate::transport) fn raw(kind: u8, number: u32, payload: &[u8]) -> Vec<u8> {
        let mut plain = vec![kind];
        plain.extend_from_slice(&number.to_be_bytes());
        plain.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        plain.extend_from_slice(payload);
        let mut bytes = Vec::new();
        for byte in plain {
            match byte {
                0x10 => bytes.extend_from_slice(b"\x10A"),
                0xef => bytes.extend_from_slice(b"\x10B"),
                other => bytes.push(other),
            }
        }
        bytes.extend_from_slice(TRAILER);
        bytes
    }

    fn all(pieces: &[&[u8]]) -> Result<Vec<(u32, FromNode)>, RecordError> {
        let mut decoder = Decoder::default();
        let mut records = Vec::new();
        for piece in pieces {
            decoder.feed(piece)?;
            while let Some(record) = decoder.next_record()? {
                records.push(record);
            }
        }
        Ok(records)
    }

    #[test]
    fn lines_and_raw_records_mean_the_same() {
        let mut bytes = b"PCR1\n".to_vec();
        bytes.extend(raw(b'o', 0, b"hi\xef\x10"));
        bytes.extend(raw(b'O', 0, &4u64.to_be_bytes()));
        bytes.extend(raw(b'X', 0, &[0, 0, 0, 0, 7, 0]));
        bytes.extend(raw(b'A', 0, &[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 1, 0]));
        let lines = b"PCL1\no aGnvEA==\nO 4\nX 7\nA 9 256\n";
        assert_eq!(all(&[&bytes]).unwrap(), all(&[lines]).unwrap());
        let hello = all(&[b"PCL1\nH v=1;h=sh;r=0;d=/tmp/x;u=5\nP 3 2\n"]).unwrap();
        let expected = Hello { helper: "sh".into(), directory: "/tmp/x".into(), uid: 5, resumable: false };
        assert_eq!(hello[0].1, FromNode::Hello(expected));
        assert_eq!(hello[1].1, FromNode::Pong { stamp: 3, received: 2 });
        assert!(all(&[b"PCL1\nX 99999999999\n"]).is_err());
    }

    #[test]
    fn lines_towards_the_node() {
        let line = |record: ToNode| record.encode_line(7);
        assert_eq!(line(ToNode::Stdin("a\n".into())), &b"t 7 444 \\141\\012\n"[..]);
        let long = Bytes::from(vec![b'x'; SHORT + 1]);
        assert_eq!(line(ToNode::Stdin(long.clone()))[..], [b"i 7 577 65\n", &long[..], b"\n"].concat());
        assert_eq!(line(ToNode::Command(Bytes::new())), &b"c 7 0 0\n\n"[..]);
        let state = ToNode::State { received: 1, credit: 2, lease: 3 };
        assert_eq!(line(state), &b"S 7 1 2 3\n"[..]);
    }

    /// A pipe holds 64 KiB; the window of input is 1 MiB.
    #[test]
    fn a_full_window_of_short_input_fits_a_pipe() {
        for length in 0..=SHORT {
            let data = Bytes::from(vec![0; length]);
            let lines = 1024 * 1024 / line_cost(length) + 1;
            let line = ToNode::Stdin(data).encode_line(u32::MAX).len() as u64;
            assert!(lines * line < 64 * 1024, "{length}");
        }
    }

    #[test]
    fn what_is_not_the_helper_is_quoted_in_the_error() {
        let error = all(&[b"sudo: a password\x1b is required\n"]).unwrap_err();
        assert_eq!(error, RecordError::Foreign("sudo: a password is required".into()));
    }

    proptest! {
        #[test]
        fn records_survive_any_cut(payload in proptest::collection::vec(any::<u8>(), 0..200), cut in 1usize..9) {
            let mut bytes = b"PCR1\n".to_vec();
            bytes.extend(raw(b'e', 7, &payload));
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(all(&pieces).unwrap(), vec![(7, FromNode::Stderr(payload.into()))]);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), lines in any::<bool>()) {
            let mut whole = if lines { b"PCL1\n".to_vec() } else { b"PCR1\n".to_vec() };
            whole.extend(&bytes);
            let _ = all(&[&whole]);
            let _ = all(&[&bytes]);
        }
    }
}
