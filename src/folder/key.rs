//! Ed25519 keys in the form of notes, as Go's `golang.org/x/mod/sumdb/note` writes them:
//!
//! ```text
//! PRIVATE+KEY+portcullis/gate-1+8e0a4c1f+AX…=      to sign: base64 of 0x01 and the 32 bytes of the seed
//!             portcullis/gate-1+8e0a4c1f+AX…=      to verify: base64 of 0x01 and the 32 bytes of the public key
//! ```
//!
//! The number between is the key's id, the first four bytes of `SHA-256(name ‖ "\n" ‖ 0x01 ‖ public key)`.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::hash::Hash;

/// Who signs heads. Its secret can't be had from it, nor seen.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: VerifyingKey,
}

/// Who is believed to sign heads.
#[derive(Clone)]
pub struct VerifyingKey {
    name: String,
    id: u32,
    bytes: [u8; 32],
    /// Parsed once: there may be thousands of signatures to look at.
    parsed: ParsedPublicKey,
}

/// Why a text is no key. Never has a part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A name that notes can't have.
    #[error("a key's name has no space and no +, no control character, and at most {MAX_NAME_BYTES} bytes")]
    Name,
    /// Not the form of a key.
    #[error("it is not in the form of a note's key")]
    Form,
    /// A kind of key that is not known here.
    #[error("it is no Ed25519 key")]
    Kind,
    /// The id is not that of the name and the key: one of the three was changed.
    #[error("its id is not the one of its name and key: it was not copied whole")]
    Id,
    /// There is no randomness, or the library refused.
    #[error("the cryptographic library refused")]
    Library,
}

impl SigningKey {
    /// A new one, and the text that [`SigningKey::parse`] reads: the only place where its secret stands.
    ///
    /// # Errors
    /// [`KeyError::Name`], and [`KeyError::Library`] without randomness.
    pub fn generate(name: &str) -> Result<(Self, Zeroizing<String>), KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(seed.as_mut_slice()).map_err(|_| KeyError::Library)?;
        let key = Self::from_seed(name, &seed)?;
        let mut secret = Zeroizing::new([ED25519_KIND; 33]);
        secret[1..].copy_from_slice(seed.as_slice());
        // as large as it gets, so that nothing of it is left behind where it grew
        let mut text = Zeroizing::new(String::with_capacity(MAX_KEY_BYTES));
        text.push_str(&format!("{PRIVATE}{name}+{:08x}+", key.public.id));
        STANDARD.encode_string(secret.as_slice(), &mut text);
        Ok((key, text))
    }

    /// Reads a signing key.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, secret) = parts(text.strip_prefix(PRIVATE).ok_or(KeyError::Form)?)?;
        let key = Self::from_seed(name, &secret)?;
        if key.public.id == id { Ok(key) } else { Err(KeyError::Id) }
    }

    /// The key of a seed, which is all its secret.
    pub(crate) fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Library)?;
        let bytes = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Library)?;
        Ok(Self { public: VerifyingKey::of(name, bytes)?, pair })
    }

    /// Its public half.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    pub(crate) fn sign_bytes(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

/// Never the secret.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}+{:08x})", self.public.name, self.public.id)
    }
}

impl VerifyingKey {
    /// Reads a verifier key: `<name>+<id>+<base64>`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, bytes) = parts(text)?;
        let key = Self::of(name, *bytes)?;
        if key.id == id { Ok(key) } else { Err(KeyError::Id) }
    }

    fn of(name: &str, bytes: [u8; 32]) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name);
        }
        let named: Vec<u8> = [name.as_bytes(), b"\n", &[ED25519_KIND], &bytes].concat();
        let [a, b, c, d, ..] = *Hash::of(&named).as_bytes();
        let parsed = ParsedPublicKey::new(&ED25519, bytes).map_err(|_| KeyError::Form)?;
        Ok(Self { name: name.to_owned(), id: u32::from_be_bytes([a, b, c, d]), bytes, parsed })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id: short, so that two keys may have the same one.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether it has signed a message.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.bytes == other.bytes
    }
}

impl Eq for VerifyingKey {}

/// The form that [`VerifyingKey::parse`] reads: what is published.
impl std::fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut key = [ED25519_KIND; 33];
        key[1..].copy_from_slice(&self.bytes);
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({self})")
    }
}

/// `<name>+<id>+<base64>`, with 32 bytes of an Ed25519 key.
fn parts(text: &str) -> Result<(&str, u32, Zeroizing<[u8; 32]>), KeyError> {
    if text.len() > MAX_KEY_BYTES {
        return Err(KeyError::Form);
    }
    // base64 has a + too, and the name has none
    let (name, rest) = text.split_once('+').ok_or(KeyError::Form)?;
    let (id, base64) = rest.split_once('+').ok_or(KeyError::Form)?;
    let is_hex = id.len() == 8 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let id = u32::from_str_radix(id, 16).ok().filter(|_| is_hex).ok_or(KeyError::Form)?;
    let mut bytes = Zeroizing::new([0; 64]);
    let length = STANDARD.decode_slice(base64, bytes.as_mut_slice()).map_err(|_| KeyError::Form)?;
    let Some((&kind, key)) = bytes.get(..length).and_then(<[u8]>::split_first) else {
        return Err(KeyError::Form);
    };
    let mut found = Zeroizing::new([0; 32]);
    match (kind, key.len()) {
        (ED25519_KIND, 32) => found.copy_from_slice(key),
        (ED25519_KIND, _) => return Err(KeyError::Form),
        _ => return Err(KeyError::Kind),
    }
    Ok((name, id, found))
}

/// Whether a note's key can be called so: not empty, no Unicode space, no `+`; and, which notes leave open, no control character.
pub fn is_key_name(name: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.contains(odd)
}

/// The algorithm byte of Ed25519 signatures of a note's text.
const ED25519_KIND: u8 = 1;

const PRIVATE: &str = "PRIVATE+KEY+";

/// The longest name of a key.
pub const MAX_NAME_BYTES: usize = 255;

/// No key's text is longer.
const MAX_KEY_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of <https://pkg.go.dev/golang.org/x/mod/sumdb/note>.
    const GO_SIGNER: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const GO_VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn a_key_of_gos_own_package_is_read_and_written() {
        let key = SigningKey::parse(GO_SIGNER).unwrap();
        assert_eq!(key.verifying_key().to_string(), GO_VERIFIER);
        assert_eq!(*key.verifying_key(), VerifyingKey::parse(GO_VERIFIER).unwrap());
        assert_eq!(key.verifying_key().id(), 0xc74f_20a3);
    }

    #[test]
    fn a_new_key_is_the_one_of_its_text_and_shows_no_secret() {
        let (key, text) = SigningKey::generate("portcullis/gate-1").unwrap();
        let again = SigningKey::parse(&text).unwrap();
        assert_eq!(again.verifying_key(), key.verifying_key());
        assert!(again.verifying_key().has_signed(b"m", &key.sign_bytes(b"m")));
        let secret = text.splitn(5, '+').last().unwrap();
        let shown = format!("{key:?} {:?} {}", key.verifying_key(), key.verifying_key());
        assert!(!shown.contains(secret) && shown.starts_with("SigningKey(portcullis/gate-1+"), "{shown}");
        let (other, _) = SigningKey::generate("portcullis/gate-1").unwrap();
        assert_ne!(other.verifying_key(), key.verifying_key());
    }

    #[test]
    fn what_is_no_key_is_told_why() {
        use KeyError::*;
        let cases = [
            ("", Form),
            ("PeterNeumann", Form),
            ("PeterNeumann+c74f20a3", Form),
            ("PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", Form),
            ("PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", Id),
            ("PeterNeumanm+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", Id),
            ("PeterNeumann+c74f20a3+AhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", Kind),
            ("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10Q=", Form),
            ("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n", Form),
            ("Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", Name),
            ("+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", Name),
        ];
        for (text, why) in cases {
            assert_eq!(VerifyingKey::parse(text).unwrap_err(), why, "{text}");
        }
        // a public key is none to sign with, nor the other way round
        assert_eq!(SigningKey::parse(GO_VERIFIER).unwrap_err(), Form);
        assert!(VerifyingKey::parse(GO_SIGNER).is_err());
        for name in ["a b", "a+b", "", "a\u{2003}b", "a\nb", &"x".repeat(256)] {
            assert_eq!(SigningKey::generate(name).unwrap_err(), Name, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_key_has_one_form(text in "(PRIVATE\\+KEY\\+)?[a-z]{1,5}\\+[0-9a-f]{8}\\+A[A-Za-z0-9+/]{43}", noise in ".{0,80}") {
            for text in [text, noise] {
                if let Ok(key) = VerifyingKey::parse(&text) {
                    prop_assert_eq!(key.to_string(), text.clone());
                }
                let _ = SigningKey::parse(&text);
            }
        }
    }
}
