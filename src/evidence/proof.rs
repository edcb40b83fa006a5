//! Bytes and whether they are recorded, as types: what goes to a node must have been recorded, and what a node says can't
//! be read before it is. There is no other way to make the one or to open the other.

use bytes::Bytes;

/// Bytes of the client that the record has. Only an [`InputRecord`](super::InputRecord) makes them.
#[derive(Debug)]
pub struct Recorded(Bytes);

/// Bytes of the node that the record does not have yet. Only an [`OutputRecord`](super::OutputRecord) opens them.
#[derive(Debug)]
pub struct Unrecorded(Bytes);

impl Recorded {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The bytes, to be sent on.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Unrecorded {
    /// Something a node has said.
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(super) fn open(self) -> Bytes {
        self.0
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}
