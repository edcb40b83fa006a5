//! What the gateway writes, in the dialect that the helper speaks.

use bytes::Bytes;

use super::{binary, lines};
use crate::transport::helper::deflate::Deflater;
use crate::transport::helper::record::ToNode;

/// How the records of one helper are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::transport::helper) enum Dialect {
    /// The Python helper's: numbers and bytes as they are.
    #[default]
    Binary,
    /// The `sh` helper's, which can neither unpack integers nor escape bytes.
    Lines,
}

/// A record as it goes on a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::transport::helper) struct Encoded {
    /// All of it, or what stands before its data.
    pub(in crate::transport::helper) head: Bytes,
    /// Long data, which is the client's own buffer: it is kept until the helper has it, and would be there twice.
    pub(in crate::transport::helper) rest: Bytes,
}

impl Encoded {
    pub(in crate::transport::helper) fn len(&self) -> usize {
        self.head.len() + self.rest.len()
    }
}

impl Dialect {
    /// The bytes of a record under its number. A state has none; what is given for it is the stamp that a
    /// [`FromNode::Pong`] repeats.
    ///
    /// Input is deflated where the dialect has a word for that, and it is worth it.
    ///
    /// [`FromNode::Pong`]: crate::transport::helper::record::FromNode::Pong
    pub(in crate::transport::helper) fn encode(self, number: u32, record: &ToNode, deflater: &mut Deflater) -> Encoded {
        match self {
            Self::Binary => binary::encode(number, record, deflater),
            Self::Lines => Encoded { head: lines::encode(number, record), rest: Bytes::new() },
        }
    }

    /// What a record of so much input counts against the credit that the helper gives.
    pub(in crate::transport::helper) fn input_cost(self, length: usize) -> u64 {
        match self {
            Self::Binary => length as u64,
            Self::Lines => lines::input_cost(length),
        }
    }

    /// The longest record that pieces of input are joined to, where a record costs the node more than its bytes.
    pub(in crate::transport::helper) fn joins_input_up_to(self) -> Option<usize> {
        match self {
            Self::Binary => None,
            Self::Lines => Some(lines::LONGEST_JOINED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_carries_its_stamp_and_no_number() {
        let state = ToNode::State { received: 1, credit: 2, lease: 3 };
        let mut deflater = Deflater::new(true);
        assert_eq!(Dialect::Lines.encode(7, &state, &mut deflater).head, &b"S 7 1 2 3\n"[..]);
        let binary = Dialect::Binary.encode(7, &state, &mut deflater).head;
        assert_eq!((&binary[..5], &binary[29..]), (&b"S\0\0\0\0"[..], &[0, 0, 0, 7][..]));
    }
}
