// must fail: E0624
use portcullis::identity::VerifiedKey;

pub fn forge(key: Vec<u8>) -> VerifiedKey {
    VerifiedKey::signature_checked(key)
}
