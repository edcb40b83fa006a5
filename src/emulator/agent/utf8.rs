//! What the agent does to the output of shells and commands on its way to the client.
//!
//! The agent believes that output is UTF-8. Each chunk is put behind what was left of the one before and read character
//! by character:
//!
//! ```text
//!   a character                                  passes
//!   a byte that is none, 4 or more from the end  passes as that one byte
//!   a byte that is none, closer to the end       is held back with all that follows it (at most 3 bytes)
//!   EF BF BD, a genuine U+FFFD                   is taken for a byte that is none: EF passes, BF BD vanish
//! ```
//!
//! What is held back at the end of the stream is lost. Plain ASCII is never touched. Ports do none of this.

use bytes::{Bytes, BytesMut};

/// One output stream on its way to the client.
#[derive(Debug, Default)]
pub(super) struct Utf8Stage {
    held: BytesMut,
}

impl Utf8Stage {
    /// A buffer for the next read of at most `room` bytes: what was held back is in front already.
    pub(super) fn buffer(&mut self, room: usize) -> BytesMut {
        let mut buffer = BytesMut::with_capacity(self.held.len() + room);
        buffer.extend_from_slice(&self.held);
        self.held.clear();
        buffer
    }

    /// What may be sent of a buffer that [`Self::buffer`] gave and a read has filled. May be empty.
    pub(super) fn pass(&mut self, mut buffer: BytesMut) -> Bytes {
        if buffer.is_ascii() {
            return buffer.freeze();
        }
        let (kept, held) = scan(&mut buffer);
        self.held.extend_from_slice(&buffer[held..]);
        buffer.truncate(kept);
        buffer.freeze()
    }
}

/// Moves what passes to the front. Returns how much that is, and where the held-back rest starts.
fn scan(buffer: &mut [u8]) -> (usize, usize) {
    let length = buffer.len();
    let mut kept = 0;
    let mut at = 0;
    while at < length {
        let valid = match str::from_utf8(&buffer[at..]) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let end = at + valid;
        while let Some(found) = replacement_character(&buffer[at..end]) {
            let found = at + found;
            if length - found < UTF8_MAX {
                return (keep(buffer, kept, at, found), found);
            }
            kept = keep(buffer, kept, at, found + 1);
            at = found + REPLACEMENT.len();
        }
        kept = keep(buffer, kept, at, end);
        at = end;
        if at < length {
            if length - at < UTF8_MAX {
                return (kept, at);
            }
            kept = keep(buffer, kept, at, at + 1);
            at += 1;
        }
    }
    (kept, length)
}

/// Where the next U+FFFD is in valid UTF-8.
fn replacement_character(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(lead) = text[from..].iter().position(|byte| *byte == REPLACEMENT[0]) {
        let at = from + lead;
        if text[at..].starts_with(&REPLACEMENT) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn keep(buffer: &mut [u8], kept: usize, from: usize, to: usize) -> usize {
    if kept != from {
        buffer.copy_within(from..to, kept);
    }
    kept + (to - from)
}

/// The most bytes that one character takes.
const UTF8_MAX: usize = 4;
const REPLACEMENT: [u8; 3] = [0xEF, 0xBF, 0xBD];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(chunks: &[&[u8]]) -> (Vec<u8>, Vec<u8>) {
        let mut stage = Utf8Stage::default();
        let mut sent = Vec::new();
        for chunk in chunks {
            let mut buffer = stage.buffer(chunk.len());
            buffer.extend_from_slice(chunk);
            sent.extend_from_slice(&stage.pass(buffer));
        }
        (sent, stage.held.to_vec())
    }

    /// Recorded from the agent's own function: chunks in, bytes out, bytes still held.
    #[test]
    fn as_the_agent_does_it() {
        type Row<'a> = (&'a [&'a [u8]], &'a [u8], &'a [u8]);
        let table: &[Row<'_>] = &[
            (&[b"A\xef\xbf\xbdB"], b"A\xefB".as_slice(), b""),
            (&[b"A\xef\xbf\xbdBCD"], b"A\xefBCD", b""),
            (&[b"xx\xff\xfe"], b"xx", b"\xff\xfe"),
            (&[b"\xff\xff\xff", b"\xff"], b"\xff", b"\xff\xff\xff"),
            (&[b"abc\xef\xbf\xbd"], b"abc", b"\xef\xbf\xbd"),
            (&[b"abc\xef\xbf\xbd", b"d"], b"abc\xefd", b""),
            (&[b"abc\xe2\x82", b"\xac"], b"abc\xe2\x82\xac", b""),
            (&[b"ab\xff\n"], b"ab", b"\xff\n"),
            (&[b"ab\xff\nc"], b"ab", b"\xff\nc"),
            (&[b"ab\xffcde"], b"ab\xffcde", b""),
            (&[b"a\xed\xa0\x80bcd"], b"a\xed\xa0\x80bcd", b""),
            (&[b"a\xf0\x9f\x98\x80"], b"a\xf0\x9f\x98\x80", b""),
            (&[b"a\xc0\x80bcd"], b"a\xc0\x80bcd", b""),
            (&[b"\x00\x01\x1b\x7f\r\n"], b"\x00\x01\x1b\x7f\r\n", b""),
        ];
        for (chunks, sent, held) in table {
            assert_eq!(run(chunks), (sent.to_vec(), held.to_vec()), "{chunks:02x?}");
        }
    }

    #[test]
    fn all_byte_values_but_the_last_three() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(run(&[&all]), (all[..253].to_vec(), all[253..].to_vec()));
    }

    /// The rule as the module comment has it, one position at a time.
    fn oracle(text: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut sent, mut at) = (Vec::new(), 0);
        while at < text.len() {
            let character = (1..=4.min(text.len() - at)).find(|n| str::from_utf8(&text[at..at + n]).is_ok());
            match character {
                Some(n) if text[at..at + n] != REPLACEMENT => {
                    sent.extend_from_slice(&text[at..at + n]);
                    at += n;
                }
                found => {
                    if text.len() - at < 4 {
                        return (sent, text[at..].to_vec());
                    }
                    sent.push(text[at]);
                    at += found.unwrap_or(1);
                }
            }
        }
        (sent, Vec::new())
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<u8>().prop_map(|b| vec![b]),
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            Just(REPLACEMENT.to_vec()),
            Just(b"plain".to_vec()),
            Just(vec![0xEF, 0xBF]),
        ]
    }

    proptest! {
        #[test]
        fn like_the_rule(pieces in proptest::collection::vec(piece(), 0..24)) {
            let text = pieces.concat();
            prop_assert_eq!(run(&[&text]), oracle(&text));
        }

        #[test]
        fn ascii_passes_however_it_is_cut(text in "[ -~\n]{0,200}", cut in 0_usize..200) {
            let (first, second) = text.as_bytes().split_at(cut.min(text.len()));
            prop_assert_eq!(run(&[first, second]), (text.as_bytes().to_vec(), Vec::new()));
        }

        #[test]
        fn at_most_three_bytes_are_held(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..9)) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            prop_assert!(run(&chunks).1.len() <= 3);
        }
    }
}
