//! Evidence that is encrypted where it is kept: each line of a file is a JWE (RFC 7516) under a key of the session's own, which a service
//! of keys has wrapped.
//!
//! ```text
//!  {"alg":"dir","enc":"A256GCM","kid":"<session>","file":"commands.jsonl","line":3}   ── base64url ──▶ eyJh….…iv.…ciphertext.…tag⏎
//!   └ the additional data of the cipher: a line belongs to one place of one file of one session
//! ```
//!
//! What a line says is some bytes of the plain file; all of them in order are that file. Nothing is buffered, so a file that was cut is
//! as good as a plain one. Trees, hashes and heads are over lines as they stand on the disk: who has no key verifies them all the same.

mod contents;
mod data_key;
mod keyring;
mod line;
mod private;
mod wrapped;

pub use contents::{Contents, ContentsError, Plain};
pub use data_key::{DataKey, EncryptError, NotOpened};
pub use keyring::{Keyring, KeyringError, NoKeyring};
pub use private::Private;
pub use wrapped::{WrappedKey, WrappedKeyError};

pub(crate) use contents::wrapped_key;
#[cfg(feature = "fuzzing")]
pub use line::fuzz;
pub(crate) use line::{MAX_LOCKED_BYTES, Parsed, parse};
