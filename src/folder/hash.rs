//! SHA-256, whole and running. AWS-LC's, which uses the processor's own instructions.

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from(digest(&SHA256, bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As JSON has it: 64 lower-case digits.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// As notes have it: base64 with padding.
    pub fn base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Only the form that [`Hash::hex`] has.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        lower.then_some(Self(bytes))
    }

    /// Only the form that [`Hash::base64`] has: no other text may stand for the same hash.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<Digest> for Hash {
    fn from(digest: Digest) -> Self {
        let mut bytes = [0; 32];
        // SHA-256 has as many
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hash({})", self.hex())
    }
}

/// A hash of what has come so far, which can be asked at any time.
#[derive(Clone)]
pub struct Running {
    context: Context,
    bytes: u64,
}

impl Running {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self { context: Context::new(&SHA256), bytes: 0 }
    }

    /// More bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// How many there were.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of all so far; more may come.
    pub fn hash(&self) -> Hash {
        self.context.clone().finish().into()
    }

    /// The hash of all.
    pub fn finish(self) -> Hash {
        self.context.finish().into()
    }
}

impl Default for Running {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running({} bytes)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_hash_is_that_of_all_bytes_and_can_be_asked_in_between() {
        let mut running = Running::new();
        assert_eq!(running.hash().hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        running.update(b"a");
        assert_eq!(running.hash(), Hash::of(b"a"));
        running.update(b"bc");
        assert_eq!((running.bytes(), running.hash()), (3, Hash::of(b"abc")));
        // FIPS 180-2, B.1
        assert_eq!(running.finish().hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_hash_has_one_form_in_hex_and_one_in_base64() {
        let hash = Hash::of(b"abc");
        assert_eq!(Hash::from_hex(&hash.hex()), Some(hash));
        assert_eq!(Hash::from_hex(&hash.hex().to_uppercase()), None);
        assert_eq!(Hash::from_hex("ab"), None);
        let text = hash.base64();
        assert_eq!(Hash::from_base64(&text), Some(hash));
        for other in [text.trim_end_matches('=').to_owned(), format!("{text}="), format!(" {text}"), "ab==".to_owned()]
        {
            assert_eq!(Hash::from_base64(&other), None, "{other}");
        }
        // the last digit has two bits that no byte has: one form only
        let (last, rest) = (text.as_bytes()[42], &text[..42]);
        let same = (b'A'..=b'z').filter(|&other| other != last);
        for other in same {
            assert_ne!(Hash::from_base64(&format!("{rest}{}=", char::from(other))), Some(hash));
        }
    }
}
