//! The frames of a relay: what goes over its helper's standard input and output.
//!
//! ```text
//!  0      1          5          9
//!  | kind | stream   | length   | payload …          all integers are big-endian
//!
//!  to the node                                        from the node
//!    O  open: window (4), 4 address (4) port (2)        V  the version (1), before all else
//!         or 6 address (16) port (2) scope (4)          O  opened: how much may be sent in all (8)
//!         or u path, or x for a command                 N  it is not: why (1), words
//!    D  data                                            D  data
//!    F  no more data follows                            F  no more data follows
//!    X  the stream is reset                             X  the stream is reset
//!    C  nobody reads any more
//!    W  how much may be sent in all (8)                 W  how much may be sent in all (8)
//!    B  more would be sent if it might be               B  more would be sent if it might be
//!    R  look up: name                                   A  found: 4 address (4) or 6 address (16), …
//! ```
//!
//! A stream's number is the gateway's to give, and none is given twice; a look-up has one of the same numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::error::RelayError;
use crate::model::plain_text_up_to;

/// The number of a stream, or of a look-up.
pub type StreamId = u32;

/// Where a stream goes on the node: an address and never a name, so that the one that was judged is the one that is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A TCP port.
    Address(SocketAddr),
    /// A Unix socket on the node, by the bytes of its path.
    Unix(Vec<u8>),
    /// A command of the node's user, whose stream carries [`ride`](crate::transport::ride)'s records. It takes its first window
    /// before it says that it is there.
    Command,
}

/// What stands before each payload.
pub(super) const HEADER: usize = 9;
/// The longest payload from the node: a record of its helper has no more.
const LONGEST: usize = 64 * 1024;
/// So many addresses of one name are enough for anybody.
const MOST_ADDRESSES: usize = 64;
/// What a node must speak.
const VERSION: u8 = 1;

/// A frame towards the node.
#[derive(Debug)]
pub(super) enum ToNode<'a> {
    Open { target: &'a Target, window: u32 },
    Data(&'a [u8]),
    End,
    Reset,
    Close,
    Window(u64),
    Blocked,
    LookUp(&'a str),
}

impl ToNode<'_> {
    pub(super) fn encode(&self, stream: StreamId, frames: &mut BytesMut) {
        let kind = match self {
            Self::Open { .. } => b'O',
            Self::Data(_) => b'D',
            Self::End => b'F',
            Self::Reset => b'X',
            Self::Close => b'C',
            Self::Window(_) => b'W',
            Self::Blocked => b'B',
            Self::LookUp(_) => b'R',
        };
        frames.reserve(self.len());
        frames.put_u8(kind);
        frames.put_u32(stream);
        frames.put_u32(u32::try_from(self.payload_len()).unwrap_or(u32::MAX));
        match self {
            Self::Open { target, window } => {
                frames.put_u32(*window);
                put_target(target, frames);
            }
            Self::Data(data) => frames.put_slice(data),
            Self::End | Self::Reset | Self::Close | Self::Blocked => {}
            Self::Window(total) => frames.put_u64(*total),
            Self::LookUp(name) => frames.put_slice(name.as_bytes()),
        }
    }

    /// How long it is with its header.
    pub(super) fn len(&self) -> usize {
        HEADER + self.payload_len()
    }

    fn payload_len(&self) -> usize {
        match self {
            Self::Open { target: Target::Address(SocketAddr::V4(_)), .. } => 4 + 1 + 4 + 2,
            Self::Open { target: Target::Address(SocketAddr::V6(_)), .. } => 4 + 1 + 16 + 2 + 4,
            Self::Open { target: Target::Unix(path), .. } => 4 + 1 + path.len(),
            Self::Open { target: Target::Command, .. } => 4 + 1,
            Self::Data(data) => data.len(),
            Self::End | Self::Reset | Self::Close | Self::Blocked => 0,
            Self::Window(_) => 8,
            Self::LookUp(name) => name.len(),
        }
    }
}

fn put_target(target: &Target, frames: &mut BytesMut) {
    match target {
        Target::Address(SocketAddr::V4(address)) => {
            frames.put_u8(b'4');
            frames.put_slice(&address.ip().octets());
            frames.put_u16(address.port());
        }
        Target::Address(SocketAddr::V6(address)) => {
            frames.put_u8(b'6');
            frames.put_slice(&address.ip().octets());
            frames.put_u16(address.port());
            frames.put_u32(address.scope_id());
        }
        Target::Unix(path) => {
            frames.put_u8(b'u');
            frames.put_slice(path);
        }
        Target::Command => frames.put_u8(b'x'),
    }
}

/// A frame from the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FromNode {
    /// The first of all.
    Version,
    Opened(u64),
    /// A stream that could not be opened, or a name that was not found.
    Failed(RelayError),
    Data(Bytes),
    End,
    Reset,
    Window(u64),
    Blocked,
    Found(Vec<IpAddr>),
}

/// What came is not a relay's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node's relay sent {0}")]
pub struct RelayFault(pub(super) &'static str);

/// Takes a relay's frames out of what came, in whatever pieces.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// What has come and was not looked at.
    input: Bytes,
    /// What has come of a frame that is not whole; the helper writes whole ones, so this is rare.
    partial: BytesMut,
}

impl Reader {
    /// Takes what came; all frames of what came before have been read.
    pub(super) fn feed(&mut self, input: Bytes) {
        debug_assert!(self.input.is_empty());
        self.input = input;
    }

    pub(super) fn next_frame(&mut self) -> Result<Option<(StreamId, FromNode)>, RelayFault> {
        let Some(mut frame) = self.next_whole()? else { return Ok(None) };
        let (kind, stream) = (frame.get_u8(), frame.get_u32());
        frame.advance(4);
        Ok(Some((stream, parse(kind, frame)?)))
    }

    fn next_whole(&mut self) -> Result<Option<Bytes>, RelayFault> {
        if self.partial.is_empty() {
            if let Some(whole) = whole_len(&self.input)?
                && self.input.len() >= whole
            {
                return Ok(Some(self.input.split_to(whole)));
            }
            if self.input.is_empty() {
                // even an empty part of it would keep the whole buffer
                self.input = Bytes::new();
                return Ok(None);
            }
        }
        // its header first, which says how long it is
        while let missing @ 1.. = whole_len(&self.partial)?.unwrap_or(HEADER).saturating_sub(self.partial.len()) {
            let here = missing.min(self.input.len());
            if here == 0 {
                self.input = Bytes::new();
                return Ok(None);
            }
            self.partial.extend_from_slice(&self.input[..here]);
            self.input.advance(here);
        }
        Ok(Some(std::mem::take(&mut self.partial).freeze()))
    }
}

/// How long a frame is, once its header is there.
fn whole_len(begun: &[u8]) -> Result<Option<usize>, RelayFault> {
    let Some(length) = begun.get(5..HEADER) else { return Ok(None) };
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    if length > LONGEST {
        return Err(RelayFault("a frame of an impossible length"));
    }
    Ok(Some(HEADER + length))
}

fn parse(kind: u8, mut payload: Bytes) -> Result<FromNode, RelayFault> {
    let short = |_| RelayFault("a frame that is too short");
    Ok(match kind {
        b'V' if payload.try_get_u8().map_err(short)? == VERSION => FromNode::Version,
        b'V' => return Err(RelayFault("another version than this gateway speaks")),
        b'O' => FromNode::Opened(payload.try_get_u64().map_err(short)?),
        b'N' => FromNode::Failed(failure(payload.try_get_u8().map_err(short)?, &payload)),
        b'D' => FromNode::Data(payload),
        b'F' => FromNode::End,
        b'X' => FromNode::Reset,
        b'W' => FromNode::Window(payload.try_get_u64().map_err(short)?),
        b'B' => FromNode::Blocked,
        b'A' => FromNode::Found(addresses(payload)?),
        _ => return Err(RelayFault("a frame of an unknown kind")),
    })
}

fn failure(code: u8, words: &[u8]) -> RelayError {
    match code {
        1 => RelayError::Refused,
        2 => RelayError::Unreachable,
        3 => RelayError::TimedOut,
        4 => RelayError::NoSuchName,
        5 => RelayError::Permission,
        6 => RelayError::Busy,
        _ => RelayError::Failed(plain_text_up_to(200, &String::from_utf8_lossy(words))),
    }
}

fn addresses(mut payload: Bytes) -> Result<Vec<IpAddr>, RelayFault> {
    let short = |_| RelayFault("a frame that is too short");
    let mut found = Vec::new();
    while !payload.is_empty() && found.len() < MOST_ADDRESSES {
        found.push(match payload.get_u8() {
            b'4' => IpAddr::V4(Ipv4Addr::from_bits(payload.try_get_u32().map_err(short)?)),
            b'6' => IpAddr::V6(Ipv6Addr::from_bits(payload.try_get_u128().map_err(short)?)),
            _ => return Err(RelayFault("an address of an unknown family")),
        });
    }
    Ok(found)
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A frame as the node writes it.
    pub(in crate::transport::relay) fn from_node(kind: u8, stream: StreamId, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap();
        [&[kind][..], &stream.to_be_bytes(), &length.to_be_bytes(), payload].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::from_node;
    use super::*;
    use proptest::prelude::*;

    fn all(pieces: &[&[u8]]) -> Result<Vec<(StreamId, FromNode)>, RelayFault> {
        let mut reader = Reader::default();
        let mut frames = Vec::new();
        for piece in pieces {
            reader.feed(Bytes::copy_from_slice(piece));
            while let Some(frame) = reader.next_frame()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    fn one(kind: u8, payload: &[u8]) -> Result<FromNode, RelayFault> {
        all(&[&from_node(kind, 7, payload)]).map(|frames| frames[0].1.clone())
    }

    #[test]
    fn what_the_node_says() {
        assert_eq!(one(b'V', &[1]), Ok(FromNode::Version));
        assert!(one(b'V', &[2]).is_err());
        assert_eq!(one(b'O', &[0, 0, 0, 0, 0, 1, 0, 0]), Ok(FromNode::Opened(65536)));
        let v6 = [&b"6"[..], &Ipv6Addr::LOCALHOST.octets()].concat();
        let found = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        assert_eq!(one(b'A', &[b"4\x7f\0\0\x01", &v6[..]].concat()), Ok(FromNode::Found(found)));
        assert_eq!(one(b'N', b"\x01"), Ok(FromNode::Failed(RelayError::Refused)));
        assert_eq!(one(b'N', b"\x09od\x1bd"), Ok(FromNode::Failed(RelayError::Failed("od d".into()))));
        for (kind, payload) in
            [(b'O', &b"1234567"[..]), (b'W', b""), (b'N', b""), (b'A', b"4\x7f\0\0"), (b'A', b"5"), (b'?', b"")]
        {
            assert!(one(kind, payload).is_err(), "{kind} {payload:?}");
        }
        assert!(all(&[b"D\0\0\0\x01\0\x01\0\x01"]).is_err(), "longer than any may be");
    }

    #[test]
    fn what_is_said_to_the_node() {
        let encoded = |frame: ToNode<'_>| {
            let mut bytes = BytesMut::new();
            frame.encode(258, &mut bytes);
            assert_eq!(bytes.len(), frame.len());
            bytes.to_vec()
        };
        let v4 = Target::Address("127.0.0.1:80".parse().unwrap());
        assert_eq!(
            encoded(ToNode::Open { target: &v4, window: 65536 }),
            b"O\0\0\x01\x02\0\0\0\x0b\0\x01\0\x004\x7f\0\0\x01\0\x50"
        );
        let v6 = Target::Address("[fe80::1%3]:80".parse().unwrap());
        let open = encoded(ToNode::Open { target: &v6, window: 1 });
        assert_eq!(open[30..], [0, 80, 0, 0, 0, 3]);
        let unix = Target::Unix(b"/run/x".to_vec());
        assert_eq!(encoded(ToNode::Open { target: &unix, window: 1 })[13..], *b"u/run/x");
        assert_eq!(encoded(ToNode::Open { target: &Target::Command, window: 1 })[13..], *b"x");
        assert_eq!(encoded(ToNode::Data(b"hi")), b"D\0\0\x01\x02\0\0\0\x02hi");
        assert_eq!(encoded(ToNode::Window(9)), b"W\0\0\x01\x02\0\0\0\x08\0\0\0\0\0\0\0\x09");
        for frame in [ToNode::End, ToNode::Reset, ToNode::Close, ToNode::Blocked, ToNode::LookUp("db")] {
            encoded(frame);
        }
    }

    fn frames() -> impl Strategy<Value = Vec<(u8, u32, Vec<u8>)>> {
        let kind = prop_oneof![Just(b'D'), Just(b'F'), Just(b'X'), Just(b'B'), Just(b'W'), Just(b'O')];
        let payload = proptest::collection::vec(any::<u8>(), 8..40);
        proptest::collection::vec((kind, any::<u32>(), payload), 0..9)
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(frames in frames(), cut in 1usize..70) {
            let whole: Vec<u8> = frames.iter().flat_map(|(kind, stream, payload)| from_node(*kind, *stream, payload)).collect();
            let pieces: Vec<&[u8]> = whole.chunks(cut).collect();
            let read = all(&pieces).unwrap();
            prop_assert_eq!(&read, &all(&[&whole]).unwrap());
            prop_assert_eq!(read.len(), frames.len());
            for ((stream, frame), (kind, number, payload)) in read.iter().zip(&frames) {
                prop_assert_eq!(stream, number);
                if *kind == b'D' {
                    prop_assert_eq!(frame, &FromNode::Data(Bytes::copy_from_slice(payload)));
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 1usize..70) {
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(all(&pieces).is_err(), all(&[&bytes]).is_err());
        }
    }
}
