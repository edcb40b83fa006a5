//! Data that travels deflated where that is worth it. Each record is a zlib stream (RFC 1950) of its own: lanes are replaced,
//! and a record that comes again must mean the same without those before it.
//!
//! ```text
//!   shorter than 4 KiB ────────────────────────────────────────────▶ as it is
//!   else ─▶ deflated ── a quarter shorter? ── yes ─▶ deflated, and so is what follows
//!               ▲                          ── no ──▶ as it is, and so is what follows: 64 KiB, 128 KiB, … 4 MiB
//!               └─────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Windows, counts and evidence are of the plain bytes. docs/decisions/0018 says why, and what it reveals.

use bytes::{Buf as _, Bytes};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::record::{LONGEST_PAYLOAD, RecordError};

/// What is shorter goes in a few frames as it is, and is what somebody waits for.
const SHORT: usize = 4 * 1024;
/// After data that did not shrink so much goes as it is, and twice as much each time in a row.
const PAUSE: usize = 64 * 1024;
const LONGEST_PAUSE: usize = 4 * 1024 * 1024;
/// The fastest: the next ones take twice the time for a tenth less.
const LEVEL: u32 = 1;

/// Decides by trying which data is sent deflated.
#[derive(Debug)]
pub(super) struct Deflater {
    /// Whether the other end can inflate.
    works: bool,
    pause: usize,
    /// How much is to go as it is before this is tried again.
    passing: usize,
}

impl Deflater {
    /// For another end that can inflate, or can't.
    pub(super) fn new(works: bool) -> Self {
        Self { works, pause: PAUSE, passing: 0 }
    }

    /// The data deflated, where it is worth it.
    pub(super) fn deflate(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        if !self.works || data.len() < SHORT {
            return None;
        }
        if self.passing > 0 {
            self.passing = self.passing.saturating_sub(data.len());
            return None;
        }
        // what is saved must outweigh the work at both ends
        let packed = deflated(data, data.len() / 4 * 3);
        if packed.is_some() {
            self.pause = PAUSE;
        } else {
            self.passing = self.pause;
            self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        }
        packed
    }
}

/// The data deflated, if it takes no more than `most`.
fn deflated(data: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut packed = vec![0; most];
    let mut stream = Compress::new(Compression::new(LEVEL), true);
    let status = stream.compress(data, &mut packed, FlushCompress::Finish).ok()?;
    packed.truncate(usize::try_from(stream.total_out()).ok()?);
    // it is kept until the helper has it, and counts as what it is
    packed.shrink_to_fit();
    (status == Status::StreamEnd).then_some(packed)
}

/// Data from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// As it is.
    Plain(Bytes),
    /// Deflated, and nothing of it is made before somebody wants it.
    Deflated(Deflated),
}

impl Data {
    /// How many bytes of the command's it is.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.len(),
            Self::Deflated(deflated) => deflated.plain,
        }
    }

    /// The command's bytes.
    pub(super) fn into_plain(self) -> Result<Bytes, RecordError> {
        match self {
            Self::Plain(bytes) => Ok(bytes),
            Self::Deflated(deflated) => deflated.inflate(),
        }
    }
}

impl<T: Into<Bytes>> From<T> for Data {
    fn from(bytes: T) -> Self {
        Self::Plain(bytes.into())
    }
}

/// Deflated data that says how long it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deflated {
    plain: usize,
    stream: Bytes,
}

impl Deflated {
    /// What is in a record: the length (4) and a zlib stream.
    pub(super) fn parse(mut payload: Bytes) -> Result<Self, RecordError> {
        let plain = payload.try_get_u32().map_err(|_| RecordError::Malformed("a short payload"))? as usize;
        if !(1..=LONGEST_PAYLOAD).contains(&plain) {
            return Err(RecordError::Malformed("the length of its deflated data"));
        }
        Ok(Self { plain, stream: payload })
    }

    /// Makes as much as was said and no more: a stream that would be longer, or is shorter, is an error.
    fn inflate(self) -> Result<Bytes, RecordError> {
        let mut plain = vec![0; self.plain];
        let mut stream = Decompress::new(true);
        let status = stream.decompress(&self.stream, &mut plain, FlushDecompress::Finish);
        let whole = (stream.total_in(), stream.total_out()) == (self.stream.len() as u64, self.plain as u64);
        if matches!(status, Ok(Status::StreamEnd)) && whole {
            Ok(plain.into())
        } else {
            Err(RecordError::Malformed("its deflated data, which is not what it says"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        getrandom::fill(&mut bytes).unwrap();
        bytes
    }

    fn inflated(plain: usize, stream: &[u8]) -> Result<Bytes, RecordError> {
        let length = u32::try_from(plain).unwrap().to_be_bytes();
        Deflated::parse([&length[..], stream].concat().into())?.inflate()
    }

    #[test]
    fn what_is_short_or_for_an_end_that_cannot_inflate_goes_as_it_is() {
        let mut deflater = Deflater::new(true);
        assert_eq!(deflater.deflate(&[b'x'; SHORT - 1]), None);
        assert!(deflater.deflate(&[b'x'; SHORT]).is_some());
        assert_eq!(Deflater::new(false).deflate(&[b'x'; SHORT]), None);
    }

    #[test]
    fn what_does_not_shrink_is_tried_less_and_less_and_what_does_brings_it_back() {
        let (mut deflater, noise, text) = (Deflater::new(true), noise(PAUSE), vec![b'x'; PAUSE]);
        let mut passed_until_tried = || {
            assert_eq!(deflater.deflate(&noise), None);
            let mut passed = 0;
            while deflater.passing > 0 {
                assert_eq!(deflater.deflate(&text), None);
                passed += text.len();
            }
            passed
        };
        let pauses: Vec<usize> = std::iter::repeat_with(&mut passed_until_tried).take(9).collect();
        assert_eq!(pauses[..3], [PAUSE, 2 * PAUSE, 4 * PAUSE]);
        assert_eq!(pauses[7..], [LONGEST_PAUSE; 2]);
        assert!(deflater.deflate(&text).is_some());
        assert_eq!((deflater.deflate(&noise), deflater.passing), (None, PAUSE));
    }

    #[test]
    fn a_stream_makes_what_it_says_and_no_more() {
        let (plain, mut deflater) = (vec![b'x'; LONGEST_PAYLOAD], Deflater::new(true));
        let stream = deflater.deflate(&plain).unwrap();
        assert!(stream.len() < 1024 && stream.capacity() < 2048, "a bomb for who does not look");
        assert_eq!(inflated(plain.len(), &stream).unwrap(), plain);
        for (length, stream) in [
            (plain.len() - 1, &stream[..]),
            (1, &stream),
            (plain.len(), &stream[..stream.len() - 1]),
            (plain.len(), &[&stream[..], b"x"].concat()),
            (plain.len(), b""),
        ] {
            assert!(matches!(inflated(length, stream), Err(RecordError::Malformed(_))), "{length}");
        }
        let longer = deflated(&vec![b'x'; LONGEST_PAYLOAD + 1], LONGEST_PAYLOAD).unwrap();
        for length in [0, 1, LONGEST_PAYLOAD, LONGEST_PAYLOAD + 1] {
            assert!(inflated(length, &longer).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_data_comes_out_as_it_went_in(bytes in proptest::collection::vec(0u8..4, SHORT..9000)) {
            let stream = Deflater::new(true).deflate(&bytes).unwrap();
            prop_assert_eq!(inflated(bytes.len(), &stream).unwrap(), bytes);
        }

        #[test]
        fn no_stream_makes_it_panic_or_more_than_it_says(
            mut stream in proptest::collection::vec(any::<u8>(), 0..300),
            plain in 0usize..2000,
            zlib in any::<bool>(),
        ) {
            if zlib {
                stream.splice(..0, [0x78, 0x01]);
            }
            if let Ok(bytes) = inflated(plain, &stream) {
                prop_assert_eq!(bytes.len(), plain);
            }
        }
    }
}
