// must fail: E0616
use portcullis::internals::identity::{HalfProved, Identity};

pub fn take(half: HalfProved) -> Identity {
    half.identity
}
