//! The Python helper's dialect.
//!
//! ```text
//!  0      1          5          9          13
//!  | kind | number   | length   | check    | payload …      towards the node
//!  | kind | number   | length   | payload …                 from it; all integers are big-endian
//! ```
//!
//! Towards the node a lane is a raw terminal and carries the bytes as they are. But an agent whose websocket breaks may
//! deliver a frame twice (observed with agent 3.3): it expects the next one only when it has written that it has this one.
//! So there the check is the CRC-32 of all the rest of the record, and a helper to whom it does not fit wants another lane.
//!
//! From the node records pass the agent's UTF-8 scan, which alters `EF BF BD` and holds back what is no whole character at
//! the end of a chunk (observed with agent 3.3). So there a lane begins with `PCR1\n`; in each record DLE (10) is written
//! `10 41` and EF `10 42`; and a trailer of ASCII bytes follows it.
//!
//! Where both ends can, a record `z` stands for one of data. Towards the node it is input, and its payload a zlib stream; from
//! it the payload is the kind that it stands for, the length of its data (4), and a zlib stream that makes just so much.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use memchr::memchr;

use super::Encoded;
use crate::model::Exit;
use crate::transport::helper::deflate::{Data, Deflated, Deflater};
use crate::transport::helper::record::{FromNode, Hello, LONGEST_PAYLOAD, RecordError, ToNode, sentence};

/// How a lane begins on which a helper speaks so.
pub(super) const MAGIC: &[u8] = b"PCR1\n";

/// The record's bytes. A state is not counted, so its number is 0, and its stamp is a part of it.
pub(super) fn encode(number: u32, record: &ToNode, deflater: &mut Deflater) -> Encoded {
    let deflated = if let ToNode::Stdin(data) = record { deflater.deflate(data) } else { None };
    let kind = if deflated.is_some() { DEFLATED } else { record.kind() };
    let apart = match (deflated, record) {
        (Some(data), _) => data.into(),
        (None, ToNode::Stdin(data)) if data.len() >= APART => data.clone(),
        _ => Bytes::new(),
    };
    let length = if apart.is_empty() { payload_len(record) } else { apart.len() };
    let mut bytes = BytesMut::with_capacity(HEADER + CHECK + length - apart.len());
    bytes.put_u8(kind);
    bytes.put_u32(if matches!(record, ToNode::State { .. }) { 0 } else { number });
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.put_u32(0);
    if apart.is_empty() {
        put_payload(number, record, &mut bytes);
    }
    let mut check = crc32fast::Hasher::new();
    check.update(&bytes[..HEADER]);
    check.update(&bytes[HEADER + CHECK..]);
    check.update(&apart);
    bytes[HEADER..HEADER + CHECK].copy_from_slice(&check.finalize().to_be_bytes());
    Encoded { head: bytes.freeze(), rest: apart }
}

/// A record where nothing is lost or altered on the way: its kind, its length (4), and the payload.
pub(in crate::transport) fn encode_plain(record: &ToNode, bytes: &mut BytesMut) {
    let length = payload_len(record);
    bytes.reserve(PLAIN_HEADER + length);
    bytes.put_u8(record.kind());
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    put_payload(0, record, bytes);
}

/// The next record that was written so, if it has come whole.
pub(in crate::transport) fn next_plain(input: &mut BytesMut) -> Result<Option<FromNode>, RecordError> {
    let Some(mut header) = input.get(..PLAIN_HEADER) else { return Ok(None) };
    let (kind, length) = (header.get_u8(), header.get_u32() as usize);
    if length > LONGEST_PAYLOAD {
        return Err(RecordError::Malformed("its length"));
    }
    if input.len() < PLAIN_HEADER + length {
        return Ok(None);
    }
    input.advance(PLAIN_HEADER);
    parse(kind, input.split_to(length).freeze()).map(Some)
}

fn put_payload(number: u32, record: &ToNode, bytes: &mut BytesMut) {
    match record {
        ToNode::State { received, credit, lease } => {
            bytes.put_u32(*received);
            bytes.put_u64(*credit);
            bytes.put_u32(*lease);
            bytes.put_u32(number);
        }
        ToNode::Stdin(data) | ToNode::Command(data) | ToNode::Variables(data) => bytes.put_slice(data),
        ToNode::StdinEnd(count) => bytes.put_u64(*count),
        ToNode::Size(size) => {
            for value in [size.cols, size.rows, size.x_pixels, size.y_pixels] {
                bytes.put_u16(value);
            }
        }
        ToNode::Signal(name) => bytes.put_slice(name.as_bytes()),
        ToNode::CloseOutput | ToNode::Bye => {}
    }
}

fn payload_len(record: &ToNode) -> usize {
    match record {
        ToNode::State { .. } => 20,
        ToNode::Stdin(data) | ToNode::Command(data) | ToNode::Variables(data) => data.len(),
        ToNode::StdinEnd(_) | ToNode::Size(_) => 8,
        ToNode::Signal(name) => name.len(),
        ToNode::CloseOutput | ToNode::Bye => 0,
    }
}

/// Reads what follows [`MAGIC`]. Each record is put together in a buffer of its own that is as long as it says, so that its bytes
/// are copied once and nothing grows.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// What has come and was not looked at.
    input: Bytes,
    /// Whether the last byte was a DLE, whose second byte is still to come.
    escaped: bool,
    header: [u8; HEADER],
    /// How much of the header is there.
    known: usize,
    /// Payload and trailer, unescaped; how long they get, the header says.
    rest: BytesMut,
    /// How many bytes were looked at, so that tests and fuzz targets can see that none is again and again.
    #[cfg(any(test, feature = "testing"))]
    pub(super) steps: usize,
}

impl Reader {
    pub(super) fn feed(&mut self, input: Bytes) {
        self.input = match self.input.is_empty() {
            true => input,
            // whoever reads all records before it feeds more never comes here
            false => [&self.input[..], &input].concat().into(),
        };
    }

    pub(super) fn is_partial(&self) -> bool {
        self.known > 0 || !self.input.is_empty()
    }

    pub(super) fn next_record(&mut self) -> Result<Option<(u32, FromNode)>, RecordError> {
        while self.known < HEADER {
            let Some(byte) = self.next_byte()? else { return Ok(None) };
            self.header[self.known] = byte;
            self.known += 1;
        }
        let mut header = &self.header[..];
        let (kind, number, length) = (header.get_u8(), header.get_u32(), header.get_u32() as usize);
        if length > LONGEST_PAYLOAD {
            return Err(RecordError::Malformed("its length"));
        }
        let whole = length + TRAILER.len();
        if self.rest.capacity() == 0 {
            self.rest.reserve(whole);
        }
        while self.rest.len() < whole {
            let plain = &self.input[..self.input.len().min(whole - self.rest.len())];
            let found = memchr(DLE, plain);
            let plain = found.unwrap_or(plain.len());
            #[cfg(any(test, feature = "testing"))]
            {
                self.steps += plain + usize::from(found.is_some());
            }
            if plain > 0 && !self.escaped {
                self.rest.extend_from_slice(&self.input[..plain]);
                self.input.advance(plain);
                continue;
            }
            let Some(byte) = self.next_byte()? else { return Ok(None) };
            self.rest.put_u8(byte);
        }
        self.known = 0;
        let mut payload = std::mem::take(&mut self.rest).freeze();
        if payload.split_off(length) != TRAILER {
            return Err(RecordError::Malformed("its trailer"));
        }
        Ok(Some((number, parse(kind, payload)?)))
    }

    /// The next byte, unescaped, if it has come whole.
    fn next_byte(&mut self) -> Result<Option<u8>, RecordError> {
        #[cfg(any(test, feature = "testing"))]
        {
            self.steps += 1;
        }
        let mut next = self.input.try_get_u8();
        if next == Ok(DLE) && !self.escaped {
            self.escaped = true;
            next = self.input.try_get_u8();
        }
        let Ok(byte) = next else {
            // even an empty part of it would keep the socket's whole buffer
            self.input = Bytes::new();
            return Ok(None);
        };
        Ok(Some(match (std::mem::take(&mut self.escaped), byte) {
            (false, byte) => byte,
            (true, b'A') => DLE,
            (true, b'B') => 0xef,
            (true, _) => return Err(RecordError::Malformed("an unknown escape")),
        }))
    }
}

fn parse(kind: u8, mut payload: Bytes) -> Result<FromNode, RecordError> {
    let short = |_| RecordError::Malformed("a short payload");
    Ok(match kind {
        b'H' => FromNode::Hello(Hello::parse(proven(&payload)?)?),
        b'R' => FromNode::Ready {
            received: payload.try_get_u32().map_err(short)?,
            lane: payload.try_get_u32().map_err(short)?,
        },
        b'L' => FromNode::InGone {
            lane: payload.try_get_u32().map_err(short)?,
            let_go: payload.try_get_u8().map_err(short)? == 0,
        },
        b'P' => FromNode::Pong {
            stamp: payload.try_get_u32().map_err(short)?,
            received: payload.try_get_u32().map_err(short)?,
        },
        b'A' => FromNode::State {
            received: payload.try_get_u32().map_err(short)?,
            credit: payload.try_get_u64().map_err(short)?,
        },
        b'o' => FromNode::Stdout(payload.into()),
        b'e' => FromNode::Stderr(payload.into()),
        DEFLATED => match payload.try_get_u8().map_err(short)? {
            b'o' => FromNode::Stdout(Data::Deflated(Deflated::parse(payload)?)),
            b'e' => FromNode::Stderr(Data::Deflated(Deflated::parse(payload)?)),
            _ => return Err(RecordError::Malformed("what it has deflated")),
        },
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

/// The kind of a record that stands for one of data.
const DEFLATED: u8 = b'z';
/// Data of so many bytes is not copied behind its header; less is not worth another way through the queues.
const APART: usize = 4 * 1024;
const HEADER: usize = 9;
const PLAIN_HEADER: usize = 5;
const CHECK: usize = 4;
const DLE: u8 = 0x10;
const TRAILER: &[u8] = b"~~~\n";

#[cfg(test)]
pub(super) mod testing {
    use super::{DLE, TRAILER};

    /// A record as the helper writes it.
    pub(in crate::transport) fn record(kind: u8, number: u32, payload: &[u8]) -> Vec<u8> {
        let mut plain = vec![kind];
        plain.extend_from_slice(&number.to_be_bytes());
        plain.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        plain.extend_from_slice(payload);
        let mut bytes = Vec::new();
        for byte in plain {
            match byte {
                DLE => bytes.extend_from_slice(b"\x10A"),
                0xef => bytes.extend_from_slice(b"\x10B"),
                other => bytes.push(other),
            }
        }
        bytes.extend_from_slice(TRAILER);
        bytes
    }
}
