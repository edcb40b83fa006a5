// must fail: E0616
use portcullis::internals::evidence::Unrecorded;

pub fn read(bytes: Unrecorded) -> usize {
    bytes.0.len()
}
