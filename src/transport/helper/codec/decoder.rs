//! A lane's bytes become records: the first line tells the dialect, and the rest is read in it.

use bytes::{Buf as _, Bytes, BytesMut};

use super::dialect::Dialect;
use super::{binary, lines};
use crate::transport::helper::record::{FromNode, RecordError, sentence};

/// Turns one lane's bytes into records.
#[derive(Debug)]
pub(in crate::transport::helper) struct Decoder {
    state: State,
}

#[derive(Debug)]
enum State {
    /// What has come of the first line.
    Greeting(Vec<u8>),
    Binary(binary::Reader),
    Lines(lines::Reader),
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Greeting(Vec::new()) }
    }
}

impl Decoder {
    /// What the helper speaks; known once it has said anything.
    pub(in crate::transport::helper) fn dialect(&self) -> Option<Dialect> {
        match self.state {
            State::Greeting(_) => None,
            State::Binary(_) => Some(Dialect::Binary),
            State::Lines(_) => Some(Dialect::Lines),
        }
    }

    /// Takes what came; [`Decoder::next_record`] gives the records in it.
    pub(in crate::transport::helper) fn feed(&mut self, mut input: Bytes) -> Result<(), RecordError> {
        if let State::Greeting(said) = &mut self.state {
            let missing = MAGIC_LEN.saturating_sub(said.len()).min(input.len());
            said.extend_from_slice(&input[..missing]);
            input.advance(missing);
            self.state = match &said[..] {
                binary::MAGIC => State::Binary(binary::Reader::default()),
                lines::MAGIC => State::Lines(lines::Reader::default()),
                begun if binary::MAGIC.starts_with(begun) || lines::MAGIC.starts_with(begun) => return Ok(()),
                other => return Err(RecordError::Foreign(quoted(other, &input))),
            };
        }
        match &mut self.state {
            State::Greeting(_) => {}
            State::Binary(reader) => reader.feed(input),
            State::Lines(reader) => reader.feed(&input),
        }
        Ok(())
    }

    /// Whether something has come of a record that is not whole.
    pub(in crate::transport::helper) fn is_partial(&self) -> bool {
        match &self.state {
            State::Greeting(_) => false,
            State::Binary(reader) => reader.is_partial(),
            State::Lines(reader) => reader.is_partial(),
        }
    }

    /// How many bytes were looked at so far.
    #[cfg(any(test, feature = "testing"))]
    pub(in crate::transport::helper) fn steps(&self) -> usize {
        match &self.state {
            State::Greeting(_) => 0,
            State::Binary(reader) => reader.steps,
            State::Lines(reader) => reader.steps,
        }
    }

    /// The next whole record with its number.
    pub(in crate::transport::helper) fn next_record(&mut self) -> Result<Option<(u32, FromNode)>, RecordError> {
        match &mut self.state {
            State::Greeting(_) => Ok(None),
            State::Binary(reader) => reader.next_record(),
            State::Lines(reader) => Ok(reader.next_record()?.map(|record| (0, record))),
        }
    }
}

/// What somebody else said on the lane: a line or two of it are enough for the person.
fn quoted(begun: &[u8], rest: &[u8]) -> String {
    let mut text = BytesMut::from(begun);
    text.extend_from_slice(&rest[..rest.len().min(300)]);
    sentence(&text)
}

/// Both dialects' first lines are as long.
const MAGIC_LEN: usize = binary::MAGIC.len();
const _: () = assert!(MAGIC_LEN == lines::MAGIC.len());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::helper::codec::binary_record;
    use crate::transport::helper::deflate::Deflater;
    use crate::transport::helper::record::Hello;
    use proptest::prelude::*;

    fn all(pieces: &[&[u8]]) -> Result<Vec<(u32, FromNode)>, RecordError> {
        let mut decoder = Decoder::default();
        let mut records = Vec::new();
        for piece in pieces {
            decoder.feed(Bytes::copy_from_slice(piece))?;
            while let Some(record) = decoder.next_record()? {
                records.push(record);
            }
        }
        Ok(records)
    }

    #[test]
    fn lines_and_binary_records_mean_the_same() {
        let mut bytes = b"PCR1\n".to_vec();
        bytes.extend(binary_record(b'o', 0, b"hi\xef\x10"));
        bytes.extend(binary_record(b'O', 0, &4u64.to_be_bytes()));
        bytes.extend(binary_record(b'X', 0, &[0, 0, 0, 0, 7, 0]));
        bytes.extend(binary_record(b'A', 0, &[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 1, 0]));
        let lines = b"PCL1\no aGnvEA==\nO 4\nX 7\nA 9 256\n";
        assert_eq!(all(&[&bytes]).unwrap(), all(&[lines]).unwrap());
        let hello = all(&[b"PCL1\nH v=1;h=sh;r=0;d=/tmp/x;u=5\nP 3 2\n"]).unwrap();
        let (helper, directory) = ("sh".into(), "/tmp/x".into());
        let expected =
            Hello { helper, directory, uid: 5, resumable: false, lane: 0, lost: Vec::new(), inflates: false };
        assert_eq!(hello[0].1, FromNode::Hello(expected));
        assert_eq!(hello[1].1, FromNode::Pong { stamp: 3, received: 2 });
        assert!(all(&[b"PCL1\nX 99999999999\n"]).is_err());
    }

    #[test]
    fn the_first_line_tells_the_dialect() {
        let mut decoder = Decoder::default();
        for (piece, dialect) in [(&b"PC"[..], None), (b"L1", None), (b"\n", Some(Dialect::Lines))] {
            decoder.feed(Bytes::copy_from_slice(piece)).unwrap();
            assert_eq!(decoder.dialect(), dialect);
        }
    }

    #[test]
    fn what_is_not_the_helper_is_quoted_in_the_error() {
        let error = all(&[b"sudo: a password\x1b is required\n"]).unwrap_err();
        assert_eq!(error, RecordError::Foreign("sudo: a password is required".into()));
        let in_pieces = all(&[b"P", b"Cx", b"y"]).unwrap_err();
        assert_eq!(in_pieces, RecordError::Foreign("PCx".into()));
    }

    proptest! {
        #[test]
        fn records_survive_any_cut(payload in proptest::collection::vec(any::<u8>(), 0..200), cut in 1usize..9) {
            let mut bytes = b"PCR1\n".to_vec();
            bytes.extend(binary_record(b'e', 7, &payload));
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(all(&pieces).unwrap(), vec![(7, FromNode::Stderr(payload.into()))]);
        }

        #[test]
        fn deflated_records_survive_any_cut(payload in proptest::collection::vec(0u8..4, 4096..5000), cut in 1usize..99) {
            let stream = Deflater::new(true).deflate(&payload).unwrap();
            let plain = u32::try_from(payload.len()).unwrap().to_be_bytes();
            let mut bytes = b"PCR1\n".to_vec();
            bytes.extend(binary_record(b'z', 7, &[&b"e"[..], &plain, &stream].concat()));
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            let Ok([(7, FromNode::Stderr(data))]) = <[_; 1]>::try_from(all(&pieces).unwrap()) else { panic!() };
            prop_assert_eq!(data.into_plain().unwrap(), payload);
        }

        /// Counted in bytes looked at, not in time: whatever a node says, in whatever pieces, none is looked at again and again.
        #[test]
        fn a_node_s_bytes_are_looked_at_a_few_times_at_most(
            records in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..900), 0u8..4), 0..9),
            rest in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(0x10), Just(b'A'), any::<u8>()], 0..900),
            cut in 1usize..70,
            lines in any::<bool>(),
        ) {
            let mut whole = if lines { b"PCL1\n".to_vec() } else { b"PCR1\n".to_vec() };
            for (payload, escapes) in records {
                // some have an escape at every second byte, which is the most that there can be
                let payload = if escapes == 0 { vec![0x10; payload.len()] } else { payload };
                whole.extend(binary_record(b'o', 0, &payload));
            }
            whole.extend(rest);
            let mut decoder = Decoder::default();
            for piece in whole.chunks(cut) {
                prop_assert!(decoder.feed(Bytes::copy_from_slice(piece)).is_ok());
                while let Ok(Some(_)) = decoder.next_record() {}
            }
            // in binary records a byte that is no escape is looked for and taken; an end of what has come is a look of its own
            let most = if lines { whole.len() } else { 3 * whole.len() + whole.len() / cut + 1 };
            prop_assert!(decoder.steps() <= most, "{} steps for {} bytes", decoder.steps(), whole.len());
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
