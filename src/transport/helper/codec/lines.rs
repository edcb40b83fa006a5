//! The `sh` helper's dialect: a lane begins with `PCL1\n`, and every record, in both directions, is a line of words.
//!
//! Numbers are decimal, data from the node is Base64, data towards it follows its line as it is and is closed by a newline,
//! or is written in octal where it is so short that a process to read it would be a waste:
//!
//! ```text
//!  from the node:  H <hello>   R <received> <lane>   L <lane>   A <received> <credit>   P <stamp> <received>   F <sentence>
//!                  o <Base64>   e <Base64>   O <count>   E <count>   X <status>   Q
//!  to the node:    S <stamp> <received> <credit> <lease>   W <number> <cols> <rows> <x> <y>   K <number> <name>
//!                  t <number> <cost> <\\ooo…>   i <number> <cost> <length>⏎<bytes>   c <number> 0 <length>⏎<bytes>
//!                  I <number> 0 <count>   B <number>   C <number>
//!                  v <number> 0 <length>⏎<name>=<value in \\ooo>⏎…⏎
//! ```
//!
//! These lines bear no numbers from the node, because that helper keeps nothing and can't resume.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};

use crate::model::{Exit, WindowSize};
use crate::transport::helper::record::{FromNode, Hello, LONGEST_PAYLOAD, RecordError, ToNode, sentence};

/// How a lane begins on which a helper speaks so.
pub(super) const MAGIC: &[u8] = b"PCL1\n";

/// The longest record that pieces of input are joined to: each costs that helper a process or two.
pub(super) const LONGEST_JOINED: usize = 64 * 1024;

/// What a record of input counts against the helper's credit. It keeps short ones in a pipe of 64 KiB and the others in
/// files, and must never have to wait for room: so a short one costs what makes a full window fit the pipe, and the
/// others a little for their file.
pub(super) fn input_cost(length: usize) -> u64 {
    if length <= SHORT { 300 + 72 * length as u64 } else { 512 + length as u64 }
}

/// The record's line, and what follows it.
pub(super) fn encode(number: u32, record: &ToNode) -> Bytes {
    let kind = char::from(record.kind());
    let line = match record {
        ToNode::State { received, credit, lease } => format!("{kind} {number} {received} {credit} {lease}\n"),
        ToNode::Stdin(data) if data.len() <= SHORT => {
            let octal: String = data.iter().map(|byte| format!("\\{byte:03o}")).collect();
            format!("t {number} {} {octal}\n", input_cost(data.len()))
        }
        ToNode::Stdin(data) => return with_data(&format!("{kind} {number} {}", input_cost(data.len())), data),
        ToNode::Command(data) => return with_data(&format!("{kind} {number} 0"), data),
        ToNode::Variables(variables) => return with_data(&format!("{kind} {number} 0"), &escaped(variables)),
        ToNode::StdinEnd(count) => format!("{kind} {number} 0 {count}\n"),
        ToNode::Size(WindowSize { cols, rows, x_pixels, y_pixels }) => {
            format!("{kind} {number} {cols} {rows} {x_pixels} {y_pixels}\n")
        }
        ToNode::Signal(name) => format!("{kind} {number} {name}\n"),
        ToNode::CloseOutput | ToNode::Bye => format!("{kind} {number}\n"),
    };
    line.into()
}

/// A variable a line, its value in the words of printf(1): a shell can hold neither a NUL nor, at the end of a line, a newline.
fn escaped(variables: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(variables.len() * 2);
    for &byte in variables {
        match byte {
            0 => text.push(b'\n'),
            b'_' | b'=' | b'.' | b'/' | b':' | b'-' => text.push(byte),
            byte if byte.is_ascii_alphanumeric() => text.push(byte),
            byte => text.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
        }
    }
    text
}

fn with_data(line: &str, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(line.len() + data.len() + 16);
    bytes.put_slice(format!("{line} {}\n", data.len()).as_bytes());
    bytes.put_slice(data);
    bytes.put_u8(b'\n');
    bytes.freeze()
}

/// Reads what follows [`MAGIC`].
#[derive(Debug, Default)]
pub(super) struct Reader {
    buffer: BytesMut,
    /// How much of it has no newline: a node that sends a line byte by byte is not to have it read over each time.
    seen: usize,
    /// How many bytes were looked at, so that tests and fuzz targets can see that it is each once.
    #[cfg(any(test, feature = "testing"))]
    pub(super) steps: usize,
}

impl Reader {
    pub(super) fn feed(&mut self, input: &[u8]) {
        self.buffer.extend_from_slice(input);
    }

    pub(super) fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    pub(super) fn next_record(&mut self) -> Result<Option<FromNode>, RecordError> {
        let fresh = self.buffer.get(self.seen..).unwrap_or_default();
        let found = fresh.iter().position(|&byte| byte == b'\n');
        #[cfg(any(test, feature = "testing"))]
        {
            self.steps += found.map_or(fresh.len(), |at| at + 1);
        }
        let Some(end) = found.map(|at| self.seen + at) else {
            self.seen = self.buffer.len();
            // Base64 makes four bytes of three
            let too_long = self.buffer.len() > LONGEST_PAYLOAD * 2;
            return if too_long { Err(RecordError::Malformed("its length")) } else { Ok(None) };
        };
        self.seen = 0;
        let mut line = self.buffer.split_to(end + 1).freeze();
        line.truncate(end);
        let kind = line.first().copied().unwrap_or_default();
        Ok(Some(parse(kind, line.get(2..).unwrap_or_default())?))
    }
}

fn parse(kind: u8, rest: &[u8]) -> Result<FromNode, RecordError> {
    let malformed = || RecordError::Malformed("a line");
    let mut words = rest.split(|&byte| byte == b' ');
    let mut number =
        || words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse::<u64>().ok()).ok_or_else(malformed);
    let small = |number: u64| u32::try_from(number).map_err(|_| malformed());
    let data = || STANDARD.decode(rest).map(Bytes::from).map_err(|_| malformed());
    Ok(match kind {
        b'H' => FromNode::Hello(Hello::parse(rest)?),
        b'R' => FromNode::Ready { received: small(number()?)?, lane: small(number()?)? },
        b'L' => FromNode::InGone { lane: small(number()?)?, let_go: false },
        b'A' => FromNode::State { received: small(number()?)?, credit: number()? },
        b'P' => FromNode::Pong { stamp: small(number()?)?, received: small(number()?)? },
        b'o' => FromNode::Stdout(data()?.into()),
        b'e' => FromNode::Stderr(data()?.into()),
        b'O' => FromNode::StdoutEnd(number()?),
        b'E' => FromNode::StderrEnd(number()?),
        b'X' => FromNode::Exit(Exit::Code(small(number()?)?)),
        b'F' => FromNode::Fault(sentence(rest)),
        b'Q' => FromNode::Done,
        _ => return Err(RecordError::Malformed("its kind")),
    })
}

/// The longest input that is written in octal in a line.
const SHORT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_towards_the_node() {
        let line = |record: ToNode| encode(7, &record);
        assert_eq!(line(ToNode::Stdin("a\n".into())), &b"t 7 444 \\141\\012\n"[..]);
        let long = Bytes::from(vec![b'x'; SHORT + 1]);
        assert_eq!(line(ToNode::Stdin(long.clone()))[..], [b"i 7 577 65\n", &long[..], b"\n"].concat());
        assert_eq!(line(ToNode::Command(Bytes::new())), &b"c 7 0 0\n\n"[..]);
        let variables = Bytes::from_static(b"A=b c\nd%\xff\0LC_X=\0");
        assert_eq!(line(ToNode::Variables(variables)), &b"v 7 0 28\nA=b\\040c\\012d\\045\\377\nLC_X=\n\n"[..]);
        let state = ToNode::State { received: 1, credit: 2, lease: 3 };
        assert_eq!(line(state), &b"S 7 1 2 3\n"[..]);
    }

    proptest::proptest! {
        /// Counted in bytes looked at, not in time: each is looked at once, however the input is cut.
        #[test]
        fn a_node_cannot_have_its_text_read_twice(
            lines in proptest::collection::vec((0usize..400, proptest::bool::ANY), 1..20),
            cut in 1usize..50,
        ) {
            let mut input = Vec::new();
            for (length, ends) in lines {
                input.extend(b"o ");
                input.extend(std::iter::repeat_n(b'A', length / 4 * 4));
                input.extend(ends.then_some(b'\n'));
            }
            let mut reader = Reader::default();
            for piece in input.chunks(cut) {
                reader.feed(piece);
                while let Ok(Some(_)) = reader.next_record() {}
            }
            proptest::prop_assert!(reader.steps <= input.len(), "{} steps for {} bytes", reader.steps, input.len());
        }
    }

    #[test]
    fn a_line_without_an_end_has_one_nevertheless() {
        let mut reader = Reader::default();
        let fed = fed_until_it_has_enough(&mut reader);
        assert!(fed <= LONGEST_PAYLOAD * 2 + 1 && reader.steps <= fed, "{fed} bytes, {} steps", reader.steps);
    }

    /// Feeds single bytes until the reader has had enough: how many.
    fn fed_until_it_has_enough(reader: &mut Reader) -> usize {
        for fed in 1.. {
            reader.feed(b"A");
            if reader.next_record().is_err() {
                return fed;
            }
        }
        unreachable!()
    }

    /// A pipe holds 64 KiB; the window of input is 1 MiB.
    #[test]
    fn a_full_window_of_short_input_fits_a_pipe() {
        for length in 0..=SHORT {
            let lines = 1024 * 1024 / input_cost(length) + 1;
            let line = encode(u32::MAX, &ToNode::Stdin(Bytes::from(vec![0; length]))).len() as u64;
            assert!(lines * line < 64 * 1024, "{length}");
        }
    }
}
