//! A folder that is encrypted: what its lines say of their places, which needs no key, and what they say inside, which does.

use uuid::Uuid;
use zeroize::Zeroizing;

use super::checkpoints::Heads;
use super::event_line::Wrong;
use super::fault::{Code, Fault, Faults, shown};
use super::file_check::Checked;
use super::report::EncryptionReport;
use super::source::Files;
use crate::encrypted::{DataKey, Keyring, Parsed, WrappedKey, parse, wrapped_key};
use crate::layout::File;
use crate::lines::{Line, State};

/// How a folder is encrypted.
pub(crate) struct Locks {
    session: Option<Uuid>,
    wrapped: Option<WrappedKey>,
    key: Option<DataKey>,
    /// Why there is no key.
    why: Option<String>,
}

/// The number that a line gives itself, and what it says, where there is a key.
pub(crate) type Said = (u64, Option<Zeroizing<Vec<u8>>>);

impl Locks {
    /// Those of a folder whose `key.json` was read as `checked`; none of a plain one.
    pub(crate) fn of(
        files: &impl Files,
        heads: &Heads,
        checked: Option<&Checked>,
        keyring: &dyn Keyring,
        faults: &mut Faults,
    ) -> Option<Self> {
        let locks = |wrapped, key, why: Option<&str>| {
            Some(Self { session: heads.session, wrapped, key, why: why.map(str::to_owned) })
        };
        let signed = !heads.points(File::Key).is_empty();
        let Some(checked) = checked else {
            // that it is missing is told
            return if signed { locks(None, None, Some("key.json is not there")) } else { None };
        };
        if !signed {
            // a file that nobody signed makes no folder an encrypted one, but where nothing at all is signed
            return if heads.count == 0 { locks(None, None, Some("nothing here is signed")) } else { None };
        }
        // of one that was changed nothing is believed, and nobody is asked for it
        if !checked.is_as_signed() {
            return locks(None, None, Some("key.json is not as it was signed"));
        }
        let mut add = |code, what: String| faults.add(Fault::new(code, what).file(File::Key.name()));
        let bytes = match wrapped_key(files) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) => {
                add(Code::Unreadable, format!("it can't be read: {error}"));
                return locks(None, None, Some("key.json can't be read"));
            }
        };
        let wrapped = match WrappedKey::parse(&bytes, None) {
            Ok(wrapped) => wrapped,
            Err(error) => {
                add(Code::Malformed, error.to_string());
                return locks(None, None, Some("key.json is none"));
            }
        };
        if wrapped.session() != heads.session {
            add(Code::Spliced, "it is the key of another session".to_owned());
            return locks(Some(wrapped), None, Some("key.json is another session's"));
        }
        if let Some(other) = wrapped.foreign_gateway(|name| heads.signers.iter().any(|(key, _)| key.name() == name)) {
            add(Code::Spliced, format!("it is the key of another gateway's session, {}", shown(other)));
        }
        match keyring.unwrap(&wrapped) {
            Ok(key) => locks(Some(wrapped), Some(key), None),
            Err(error) => locks(Some(wrapped), None, Some(&error.0)),
        }
    }

    /// Whether what lines say can be read.
    pub(crate) fn is_open(&self) -> bool {
        self.key.is_some()
    }

    pub(crate) fn key(&self) -> Option<&DataKey> {
        self.key.as_ref()
    }

    pub(crate) fn wrapped(&self) -> Option<&WrappedKey> {
        self.wrapped.as_ref()
    }

    /// What is told of it.
    pub(crate) fn report(&self) -> EncryptionReport {
        EncryptionReport {
            kms_key: self.wrapped.as_ref().map(WrappedKey::shown_key),
            opened: self.is_open(),
            why: self.why.clone(),
        }
    }

    /// The number that a line of a file gives itself, and what it says where there is a key.
    pub(crate) fn line(&self, file: File, line: &[u8]) -> Result<Said, Wrong> {
        let parsed = parse(line).map_err(|error| Wrong::Malformed(error.to_string()))?;
        let Parsed { session, file: belongs, line: number, .. } = parsed;
        if self.session.is_some_and(|own| own != session) {
            return Err(Wrong::Spliced(format!("it is a line of another session, {session}")));
        }
        if belongs != file.name() {
            return Err(Wrong::Spliced(format!("it is line {number} of {belongs}")));
        }
        let Some(key) = &self.key else { return Ok((number, None)) };
        match key.opened(parsed) {
            Ok(plain) => Ok((number, Some(plain))),
            Err(_) => Err(Wrong::Edited("the session's key does not open it: it is not as it was written".to_owned())),
        }
    }
}

/// The lines of a file that are no events.
pub(crate) struct LockedLines<'a> {
    locks: &'a Locks,
    file: File,
    /// The number that the next one should have.
    next: u64,
    faults: Faults,
}

impl<'a> LockedLines<'a> {
    pub(crate) fn new(locks: &'a Locks, file: File) -> Self {
        Self { locks, file, next: 1, faults: Faults::default() }
    }

    /// The next line. One without an end is none: no head has it.
    pub(crate) fn line(&mut self, line: &Line<'_>) {
        let (code, what) = match line.state {
            State::Torn => return,
            State::TooLong => (Code::Malformed, "it is longer than a line can be".to_owned()),
            State::Whole => match self.locks.line(self.file, line.bytes) {
                Ok((number, _)) if number == self.next => {
                    self.next += 1;
                    return;
                }
                Ok((number, _)) if number > self.next => {
                    let before = self.next;
                    self.next = number + 1;
                    (Code::Deleted, format!("it is line {number}, and no line {before} stands before it"))
                }
                Ok((number, _)) => (Code::Reordered, format!("it is line {number}, which had its turn")),
                Err(wrong) => {
                    self.next += 1;
                    match wrong {
                        Wrong::Malformed(what) => (Code::Malformed, what),
                        Wrong::Edited(what) => (Code::Edited, what),
                        Wrong::Spliced(what) => (Code::Spliced, what),
                    }
                }
            },
        };
        self.faults.add(Fault::new(code, what).file(self.file.name()).line(line.number));
    }

    /// What is wrong with them.
    pub(crate) fn tell(self, faults: &mut Faults) {
        faults.extend(self.faults);
    }
}
