//! Contents and times that tests send about.

use std::time::{Duration, SystemTime};

/// Bytes that don't repeat early.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A time that is not now.
pub(crate) fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// Bytes that do not repeat soon, with everything that the agent alters among them.
pub(crate) fn awkward(size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 8);
    let mut state: u32 = 7;
    while bytes.len() < size {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(&state.to_be_bytes());
        if state.is_multiple_of(61) {
            bytes.extend_from_slice(b"\xef\xbf\xbd\x10\xff");
        }
    }
    bytes.truncate(size);
    bytes
}
