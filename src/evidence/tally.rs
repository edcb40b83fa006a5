//! How much went by on one stream, and its digest.

use sha2::{Digest as _, Sha256};

use super::event::Total;

/// A stream's length and digest so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    bytes: u64,
    hash: Sha256,
}

impl Tally {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn total(&self) -> Total {
        Total { bytes: self.bytes, sha256: self.hash.clone().finalize().into() }
    }
}
