// must fail: E0423
use portcullis::internals::evidence::Recorded;

pub fn forge(bytes: Vec<u8>) -> Recorded {
    Recorded(bytes.into())
}
