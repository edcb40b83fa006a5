// must fail: E0624
use portcullis::internals::identity::VerifiedKey;

pub fn forge(key: Vec<u8>) -> VerifiedKey {
    VerifiedKey::signature_checked(key, true)
}
