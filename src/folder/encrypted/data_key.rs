//! The key of one session: 256 bits that only this process has, as long as the session runs.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use uuid::Uuid;
use zeroize::{Zeroize as _, Zeroizing};

use super::line::{self, IV, MAX_PLAIN_BYTES, Parsed, TAG};
use crate::layout::File;

/// A session's key. It is wiped when this is dropped: AWS-LC wipes what it frees, and nothing else has a copy.
pub struct DataKey {
    key: LessSafeKey,
    session: Uuid,
}

/// Why something was not encrypted. It is not written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    /// More than a line may have.
    #[error("{0} bytes are more than one encrypted line takes")]
    TooLong(usize),
    /// More lines than one key may have encrypted.
    #[error("the session's key has encrypted as many lines as one may; another session has another key")]
    TooMany,
    /// There is no randomness, or no cipher.
    #[error("the cipher failed")]
    Cipher,
}

/// A line that this key does not open: it was changed, belongs elsewhere, or to another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session's key does not open it")]
pub struct NotOpened;

/// So many lines a file may have. There are nine places of lines, and a key may encrypt 2^32 texts under random IVs (NIST SP 800-38D, 8.3).
const MAX_LINES: u64 = 1 << 28;

/// How long a key is.
const KEY: usize = 32;

impl DataKey {
    /// The key of a session, of its 32 bytes.
    pub fn new(session: Uuid, bytes: &Zeroizing<Vec<u8>>) -> Option<Self> {
        let bytes: &[u8; KEY] = bytes.as_slice().try_into().ok()?;
        let key = UnboundKey::new(&AES_256_GCM, bytes).ok()?;
        Some(Self { key: LessSafeKey::new(key), session })
    }

    /// Whose it is.
    pub fn session(&self) -> Uuid {
        self.session
    }

    /// Encrypts what stands next in a file: the line, with its newline, for the place `line` (from 1).
    ///
    /// # Errors
    /// Why it can't be encrypted.
    pub fn line(&self, file: File, line: u64, plain: &[u8]) -> Result<Vec<u8>, EncryptError> {
        self.encrypt(file.name(), line, plain)
    }

    /// What a file says on this line, which stands there without its newline.
    ///
    /// # Errors
    /// [`NotOpened`] of everything else than that line of that file as it was written.
    pub fn open(&self, file: File, number: u64, line: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotOpened> {
        self.decrypt(file.name(), number, line)
    }

    pub(super) fn encrypt(&self, file: &str, line: u64, plain: &[u8]) -> Result<Vec<u8>, EncryptError> {
        if plain.len() > MAX_PLAIN_BYTES {
            return Err(EncryptError::TooLong(plain.len()));
        }
        if line > MAX_LINES {
            return Err(EncryptError::TooMany);
        }
        let mut iv = [0; IV];
        rand::fill(&mut iv).map_err(|_| EncryptError::Cipher)?;
        let header = line::header(self.session, file, line);
        let mut text = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key(iv);
        // on an error what it had begun is gone: nothing of it is plain, or anywhere else
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(header.as_bytes()), &mut text);
        let Ok(tag) = tag else {
            text.zeroize();
            return Err(EncryptError::Cipher);
        };
        Ok(line::write(&header, &iv, &text, tag.as_ref()))
    }

    pub(super) fn decrypt(&self, file: &str, number: u64, line: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotOpened> {
        let parsed = line::parse(line).map_err(|_| NotOpened)?;
        if (parsed.session, parsed.file, parsed.line) != (self.session, file, number) {
            return Err(NotOpened);
        }
        self.opened(parsed)
    }

    /// What a line says that was taken apart, whatever its place.
    pub(crate) fn opened(&self, parsed: Parsed<'_>) -> Result<Zeroizing<Vec<u8>>, NotOpened> {
        let nonce = Nonce::assume_unique_for_key(parsed.iv);
        let mut text = Zeroizing::new(parsed.sealed);
        let length = text.len().checked_sub(TAG).ok_or(NotOpened)?;
        self.key.open_in_place(nonce, Aad::from(parsed.aad), &mut text).map_err(|_| NotOpened)?;
        text.truncate(length);
        Ok(text)
    }
}

impl std::fmt::Debug for DataKey {
    /// Says whose it is, and nothing of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataKey").field("session", &self.session).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
    use proptest::prelude::*;

    use super::*;

    const SESSION: Uuid = Uuid::from_u128(7);

    fn key(byte: u8) -> DataKey {
        DataKey::new(SESSION, &Zeroizing::new(vec![byte; KEY])).unwrap()
    }

    fn stands(line: &[u8]) -> &[u8] {
        line.strip_suffix(b"\n").unwrap()
    }

    #[test]
    fn a_line_is_opened_in_its_place_by_its_key_and_nowhere_else() {
        let line = key(1).line(File::Commands, 3, b"{\"command\":\"id\"}\n").unwrap();
        let line = stands(&line);
        assert_eq!(key(1).open(File::Commands, 3, line).unwrap().as_slice(), b"{\"command\":\"id\"}\n");
        assert_eq!(key(1).open(File::Commands, 4, line), Err(NotOpened));
        assert_eq!(key(1).open(File::Files, 3, line), Err(NotOpened));
        assert_eq!(key(2).open(File::Commands, 3, line), Err(NotOpened));
        let other = DataKey::new(Uuid::from_u128(8), &Zeroizing::new(vec![1; KEY])).unwrap();
        assert_eq!(other.open(File::Commands, 3, line), Err(NotOpened));
        // one that says it is elsewhere is opened nowhere: what it says is part of what the tag is over
        let text = String::from_utf8(line.to_vec()).unwrap();
        let (_, rest) = text.split_once('.').unwrap();
        let moved = format!("{}.{rest}", line::header(SESSION, "commands.jsonl", 4));
        assert_eq!(key(1).open(File::Commands, 4, moved.as_bytes()), Err(NotOpened));
    }

    #[test]
    fn the_same_text_is_another_line_each_time() {
        let once = key(1).line(File::Events, 1, b"same").unwrap();
        assert_ne!(once, key(1).line(File::Events, 1, b"same").unwrap());
    }

    #[test]
    fn what_is_too_much_is_refused_and_no_key_is_made_of_something_else() {
        assert!(
            key(1).line(File::Terminal, MAX_LINES, &vec![0; MAX_PLAIN_BYTES]).unwrap().len()
                <= line::MAX_LOCKED_BYTES + 1
        );
        let long = vec![0; MAX_PLAIN_BYTES + 1];
        assert_eq!(key(1).line(File::Terminal, 1, &long), Err(EncryptError::TooLong(long.len())));
        assert_eq!(key(1).line(File::Terminal, MAX_LINES + 1, b""), Err(EncryptError::TooMany));
        for length in [0, 16, 31, 33] {
            assert!(DataKey::new(SESSION, &Zeroizing::new(vec![1; length])).is_none());
        }
        assert!(!format!("{:?}", key(0xab)).to_lowercase().contains("ab,"));
    }

    /// RFC 7516, appendix A.1: its key, IV, additional data, ciphertext and tag.
    #[test]
    fn the_cipher_is_that_of_the_rfc() {
        let cek = [
            177, 161, 244, 128, 84, 143, 225, 115, 63, 180, 3, 255, 107, 154, 212, 246, 138, 7, 110, 91, 112, 46, 34,
            105, 47, 130, 203, 46, 122, 234, 64, 252,
        ];
        let iv = [227, 197, 117, 252, 2, 219, 233, 68, 180, 225, 77, 219];
        let key = DataKey::new(SESSION, &Zeroizing::new(cek.to_vec())).unwrap();
        let ciphertext = "5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6jiSdiwkIr3ajwQzaBtQD_A";
        let sealed = [ciphertext, "XFBoMYUZodetZdvTiFvSkQ"].map(|part| BASE64URL.decode(part).unwrap()).concat();
        let aad = b"eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ";
        let parsed = Parsed { session: SESSION, file: "journal", line: 1, aad, iv, sealed };
        let said = key.opened(parsed).unwrap();
        assert_eq!(said.as_slice(), b"The true sign of intelligence is not knowledge but imagination.");
    }

    proptest! {
        #[test]
        fn every_byte_that_is_changed_is_found(plain in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, with: u8) {
            let key = key(1);
            let line = key.line(File::StdoutHead, 5, &plain).unwrap();
            let mut line = stands(&line).to_vec();
            let opened = key.open(File::StdoutHead, 5, &line).unwrap();
            prop_assert_eq!(opened.as_slice(), plain.as_slice());
            let at = at.index(line.len());
            prop_assume!(line[at] != with);
            line[at] = with;
            prop_assert_eq!(key.open(File::StdoutHead, 5, &line), Err(NotOpened));
        }
    }
}
