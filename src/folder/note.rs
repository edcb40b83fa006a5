//! Signed notes, <https://c2sp.org/signed-note>: a text, an empty line, and a line for each signature.
//!
//! ```text
//! The text, whose last line
//! ends as well.
//!
//! — portcullis/gate-1 Az3g…=        an em dash, the key's name, base64 of the key's id (4 bytes) and the signature
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hash::Hash;
use crate::key::{SigningKey, VerifyingKey, is_key_name};

/// A note as it was read. Nothing of it is to be believed before [`Note::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
    hash: Hash,
}

/// One signature of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key.
    pub name: String,
    /// The key's id.
    pub id: u32,
    /// The signature itself.
    pub signature: Vec<u8>,
}

/// What is wrong with a note.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is none.
    #[error("this is no signed note: {0}")]
    Malformed(&'static str),
    /// It has no signature by a key that was given.
    #[error("none of the keys that were given has signed it; it is signed by {0}")]
    UnknownKey(String),
    /// A key that was given has not signed this text: the text or the signature was changed.
    #[error("the signature by {0} is not one of this text")]
    WrongSignature(String),
}

impl Note {
    /// Reads a note. It is taken in no other form than that which [`sign`] writes: one text, one note.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] of anything else, and of a note longer than [`MAX_NOTE_BYTES`] or with more than
    /// [`MAX_SIGNATURES`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Malformed("it is too long"));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("it is not UTF-8"))?;
        let end = note.rfind(EMPTY_LINE).ok_or(NoteError::Malformed("there is no empty line before signatures"))?;
        // the text has its last newline, and the empty line the second
        let (text, rest) = note.split_at(end + 1);
        is_text(text)?;
        let block = rest.strip_prefix('\n').unwrap_or(rest);
        let lines = block.strip_suffix('\n').ok_or(NoteError::Malformed("its last line doesn't end"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == MAX_SIGNATURES {
                return Err(NoteError::Malformed("it has too many signatures"));
            }
            signatures.push(NoteSignature::parse(line).ok_or(NoteError::Malformed("a line is no signature"))?);
        }
        let first = block.find('\n').map_or(block.len(), |end| end + 1);
        let (vouched, _) = note.split_at(note.len() - block.len() + first);
        Ok(Self { text: text.to_owned(), signatures, hash: Hash::of(vouched.as_bytes()) })
    }

    /// What is signed, its last newline included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The SHA-256 of it up to the end of its first signature, which is that of whoever wrote it: who signs besides does not change it.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Its signatures, whosesoever they are.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Whether its one signature says that it is this key's. That is no proof that it is.
    pub(crate) fn is_by_alone(&self, key: &VerifyingKey) -> bool {
        matches!(self.signatures.as_slice(), [one] if one.id == key.id() && one.name == key.name())
    }

    /// The keys among these that have signed it, at least one. Signatures by others are passed over.
    ///
    /// # Errors
    /// [`NoteError::WrongSignature`] where one of these keys should have signed and has not, whatever else did;
    /// [`NoteError::UnknownKey`] where none has.
    pub fn verify<'a>(&self, keys: &'a [VerifyingKey]) -> Result<Vec<&'a VerifyingKey>, NoteError> {
        let mut signed: Vec<&VerifyingKey> = Vec::new();
        for NoteSignature { name, id, signature } in &self.signatures {
            // ids are short: another key may have the same
            let mut of_that_id = keys.iter().filter(|key| key.id() == *id && key.name() == name).peekable();
            if of_that_id.peek().is_none() {
                continue;
            }
            let Some(key) = of_that_id.find(|key| key.has_signed(self.text.as_bytes(), signature)) else {
                return Err(NoteError::WrongSignature(format!("{name}+{id:08x}")));
            };
            if !signed.contains(&key) {
                signed.push(key);
            }
        }
        if signed.is_empty() {
            let by = |one: &NoteSignature| format!("{}+{:08x}", one.name, one.id);
            return Err(NoteError::UnknownKey(self.signatures.iter().map(by).collect::<Vec<_>>().join(", ")));
        }
        Ok(signed)
    }
}

impl NoteSignature {
    fn parse(line: &str) -> Option<Self> {
        let (name, base64) = line.strip_prefix(DASH)?.split_once(' ')?;
        let bytes = STANDARD.decode(base64).ok()?;
        let (id, signature) = bytes.split_first_chunk::<4>()?;
        let whole = is_key_name(name) && !signature.is_empty();
        whole.then(|| Self { name: name.to_owned(), id: u32::from_be_bytes(*id), signature: signature.to_vec() })
    }
}

/// The note of this text, signed by each of these keys.
///
/// # Errors
/// [`NoteError::Malformed`] where the text can't be one: no newline at its end, a control character, or no key.
pub fn sign(text: &str, keys: &[&SigningKey]) -> Result<String, NoteError> {
    is_text(text)?;
    if keys.is_empty() || keys.len() > MAX_SIGNATURES {
        return Err(NoteError::Malformed("it needs a key, and not too many"));
    }
    let note = signed(text, keys);
    if note.len() > MAX_NOTE_BYTES {
        return Err(NoteError::Malformed("it is too long"));
    }
    Ok(note)
}

/// The note of a text that is known to be one that notes can have.
pub(crate) fn signed(text: &str, keys: &[&SigningKey]) -> String {
    let mut note = format!("{text}\n");
    for key in keys {
        let mut bytes = key.verifying_key().id().to_be_bytes().to_vec();
        bytes.extend_from_slice(&key.sign_bytes(text.as_bytes()));
        note.push_str(&format!("{DASH}{} {}\n", key.verifying_key().name(), STANDARD.encode(bytes)));
    }
    note
}

fn is_text(text: &str) -> Result<(), NoteError> {
    if !text.ends_with('\n') {
        return Err(NoteError::Malformed("its text doesn't end with a newline"));
    }
    if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(NoteError::Malformed("its text has a control character"));
    }
    Ok(())
}

/// The most that a note may take. One of ours takes less than 2 KiB.
pub const MAX_NOTE_BYTES: usize = 64 << 10;

/// The most signatures that a note may have: whoever writes a note must not decide how long it takes to read.
pub const MAX_SIGNATURES: usize = 16;

const EMPTY_LINE: &str = "\n\n";

/// U+2014 and a space.
const DASH: &str = "— ";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of <https://pkg.go.dev/golang.org/x/mod/sumdb/note>.
    const GO_VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn key(seed: u8, name: &str) -> SigningKey {
        SigningKey::from_seed(name, &[seed; 32]).unwrap()
    }

    #[test]
    fn a_note_of_gos_own_package_is_verified() {
        let note = Note::parse(GO_NOTE.as_bytes()).unwrap();
        let peter = VerifyingKey::parse(GO_VERIFIER).unwrap();
        assert_eq!(note.verify(std::slice::from_ref(&peter)).unwrap(), [&peter]);
        let changed = Note::parse(GO_NOTE.replace("answer", "Answer").as_bytes()).unwrap();
        assert_eq!(changed.verify(&[peter]), Err(NoteError::WrongSignature("PeterNeumann+c74f20a3".to_owned())));
    }

    #[test]
    fn others_signatures_are_passed_over_and_wrong_ones_of_known_keys_are_not() {
        let (one, two, stranger) = (key(1, "one"), key(2, "two"), key(3, "three"));
        let note = sign("text\n", &[&one, &stranger, &two]).unwrap();
        let keys = [one.verifying_key().clone(), two.verifying_key().clone()];
        let parsed = Note::parse(note.as_bytes()).unwrap();
        assert_eq!(parsed.verify(&keys).unwrap(), [&keys[0], &keys[1]]);
        assert_eq!(parsed.verify(&keys[1..]).unwrap(), [&keys[1]]);
        let by_none = parsed.verify(&[]).unwrap_err();
        assert!(
            matches!(&by_none, NoteError::UnknownKey(by) if by.contains("one+") && by.contains("three+")),
            "{by_none}"
        );
        // the same name with another key is another signer
        let namesake = [key(9, "one").verifying_key().clone()];
        assert!(matches!(parsed.verify(&namesake), Err(NoteError::UnknownKey(_))));
        // a signature of another text by a known key spoils the note, although another has signed it
        let other = sign("other\n", &[&one]).unwrap();
        let line = other.lines().last().unwrap();
        let mixed = format!("{}{line}\n", sign("text\n", &[&two]).unwrap());
        let mixed = Note::parse(mixed.as_bytes()).unwrap();
        assert!(matches!(mixed.verify(&keys), Err(NoteError::WrongSignature(_))));
        assert!(mixed.verify(&keys[1..]).is_ok());
        // twice by the same is once
        let twice = sign("text\n", &[&one, &one]).unwrap();
        assert_eq!(Note::parse(twice.as_bytes()).unwrap().verify(&keys).unwrap(), [&keys[0]]);
    }

    #[test]
    fn a_note_may_have_empty_lines_and_its_signatures_follow_the_last() {
        let note = sign("a\n\n— b AAAA\n", &[&key(1, "one")]).unwrap();
        let parsed = Note::parse(note.as_bytes()).unwrap();
        assert_eq!(parsed.text(), "a\n\n— b AAAA\n");
        assert_eq!(parsed.signatures().len(), 1);
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let good = sign("text\n", &[&key(1, "one")]).unwrap();
        let bad = [
            String::new(),
            "text\n".to_owned(),
            "text\n\n".to_owned(),
            good.trim_end().to_owned(),
            good.replace("text\n", "te\rxt\n"),
            good.replace("text\n", "te\0xt\n"),
            good.replace("— ", "- "),
            good.replace("— one", "— o+e"),
            good.replace("— one", "— o\u{a0}e"),
            good.replace("— one ", "— one  "),
            good.replace("— one ", "—  "),
            good.trim_end_matches("=\n").to_owned() + "\n",
            format!("{good}\n"),
            format!("{good}— one AAAAAA==\n"),
            good.replacen("\n\n", "\n", 1),
            format!("{}{good}", "x".repeat(MAX_NOTE_BYTES)),
            format!("{good}{}", format!("{}\n", good.lines().last().unwrap()).repeat(MAX_SIGNATURES)),
        ];
        for note in bad {
            assert!(Note::parse(note.as_bytes()).is_err(), "{note:?}");
        }
        assert!(Note::parse(b"\xff\n\n").is_err());
        assert!(sign("text", &[&key(1, "one")]).is_err());
        assert!(sign("te\txt\n", &[&key(1, "one")]).is_err());
        assert!(sign("text\n", &[]).is_err());
    }

    proptest! {
        #[test]
        fn what_parses_is_written_in_no_other_way(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[a-z\n—+ ]{0,40}\n") {
            let _ = Note::parse(&bytes);
            let key = key(1, "one");
            let note = sign(&text, &[&key]).unwrap();
            let parsed = Note::parse(note.as_bytes()).unwrap();
            prop_assert_eq!(parsed.text(), &text);
            prop_assert!(parsed.verify(std::slice::from_ref(key.verifying_key())).is_ok());
        }

        #[test]
        fn a_changed_byte_is_no_note_or_not_verified(at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let key = key(1, "one");
            let mut note = sign("text\nmore\n", &[&key]).unwrap().into_bytes();
            let at = at.index(note.len());
            prop_assume!(note[at] != to);
            note[at] = to;
            if let Ok(parsed) = Note::parse(&note) {
                prop_assert!(parsed.verify(std::slice::from_ref(key.verifying_key())).is_err());
            }
        }
    }
}
