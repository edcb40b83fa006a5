//! Lines of `authorized_keys` (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"):
//!
//! ```text
//!  # a comment, or nothing
//!  from="192.0.2.0/24",no-pty ssh-ed25519 AAAAC3Nza… ada@laptop
//!  ────────────┬───────────── ──────────┬──────────────────────
//!           options           the key, as a `.pub` file has it
//! ```

use super::key_options::{KeyOptionError, KeyOptions};
use super::public_key::{ALGORITHMS, wire_form};

/// A key and what its line says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AuthorizedKey {
    pub(super) wire: Vec<u8>,
    pub(super) options: KeyOptions,
}

/// What is wrong with such a line.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyLineError {
    /// The word where the kind of key belongs is something else: an old algorithm, nothing.
    #[error("`{0}` is no key type that may log in")]
    Algorithm(String),
    /// The word behind it is not that algorithm's key.
    #[error("this public key is damaged")]
    Damaged,
    /// An RSA key of another size.
    #[error("an RSA key needs {} to {} bits", super::public_key::RSA_BITS.start(), super::public_key::RSA_BITS.end())]
    Bits,
    /// A certificate in a key's place.
    #[error("this is a certificate, and not a key")]
    Certificate,
    /// What stands in front of the key.
    #[error(transparent)]
    Option(#[from] KeyOptionError),
    /// Longer than anybody's.
    #[error("a line has at most {MOST_BYTES} bytes")]
    TooLong,
    /// Not text.
    #[error("this line is no UTF-8 text")]
    NoText,
    /// Options in front of an authority's key.
    #[error("the key of an authority has no options")]
    OptionsOfAuthority,
    /// Somebody has it already.
    #[error("this key is here twice: it is {0} already")]
    Twice(String),
}

impl KeyLineError {
    /// What to do about it.
    pub fn help(&self) -> String {
        let help = match self {
            Self::Option(error) => return error.help(),
            Self::Algorithm(_) => {
                "a public key as in authorized_keys: ssh-ed25519, ecdsa-sha2-nistp256/384/521 or ssh-rsa of 2048 bits and \
                 more, with options in front of it or none"
            }
            Self::Damaged => "copy the whole line of the .pub file",
            Self::Bits => "make one with: ssh-keygen -t ed25519",
            Self::Certificate => "write the line of the .pub file whose name does not end in -cert.pub",
            Self::OptionsOfAuthority => {
                "write the line of its .pub file; what it may say stands in [[certificate_authorities]]"
            }
            Self::TooLong => "a key has a line of its own",
            Self::NoText => "save the file as UTF-8",
            Self::Twice(_) => "a key proves who somebody is: one person and one line for a key",
        };
        help.to_owned()
    }
}

/// What a line may have; OpenSSH's own `SSH_MAX_PUBKEY_BYTES`.
pub(super) const MOST_BYTES: usize = 16_384;

impl AuthorizedKey {
    /// Reads one line that is neither a comment nor empty.
    pub(super) fn parse(line: &str) -> Result<Self, KeyLineError> {
        if line.len() > MOST_BYTES {
            return Err(KeyLineError::TooLong);
        }
        let line = line.trim();
        let (first, rest) = first_word(line);
        let second = rest.split_ascii_whitespace().next().unwrap_or_default();
        if is_kind(first) || !is_kind(second) {
            return Ok(Self { wire: key(line)?, options: KeyOptions::default() });
        }
        let options = KeyOptions::parse(first)?;
        Ok(Self { wire: key(rest)?, options })
    }
}

/// The key of a line, in its wire form.
pub fn key_of_line(line: &str) -> Result<Vec<u8>, KeyLineError> {
    AuthorizedKey::parse(line).map(|key| key.wire)
}

/// The key of a line that may be an authority's, in its wire form.
pub fn authority_of_line(line: &str) -> Result<Vec<u8>, KeyLineError> {
    let AuthorizedKey { wire, options } = AuthorizedKey::parse(line)?;
    if options == KeyOptions::default() { Ok(wire) } else { Err(KeyLineError::OptionsOfAuthority) }
}

/// The lines of a file that are neither comments nor empty, with their numbers from 1.
pub(super) fn lines(file: &[u8]) -> impl Iterator<Item = (usize, Result<&str, KeyLineError>)> {
    let text = |line| std::str::from_utf8(line).map_err(|_| KeyLineError::NoText);
    let numbered = file.split(|&b| b == b'\n').enumerate().map(move |(index, line)| (index + 1, text(line)));
    numbered.filter(|(_, line)| {
        line.as_ref().map_or(true, |line| {
            let line = line.trim_start();
            !line.trim_end().is_empty() && !line.starts_with('#')
        })
    })
}

fn key(line: &str) -> Result<Vec<u8>, KeyLineError> {
    let kind = line.split_ascii_whitespace().next().unwrap_or_default();
    if kind.ends_with(CERTIFICATE) { Err(KeyLineError::Certificate) } else { wire_form(line) }
}

/// How the name of a kind of certificate ends (OpenSSH's PROTOCOL.certkeys).
const CERTIFICATE: &str = "-cert-v01@openssh.com";

/// Whether a word stands where the kind of key does: one that is taken, or looks like one.
fn is_kind(word: &str) -> bool {
    ALGORITHMS.contains(&word) || word.ends_with(CERTIFICATE) || word == "ssh-dss" || word == "ssh-rsa1"
}

/// Up to the first space that is in no quotes, and what is behind it.
fn first_word(line: &str) -> (&str, &str) {
    let (mut quoted, mut escapes) = (false, false);
    let end = line.find(|char: char| {
        if char == '"' && !escapes {
            quoted = !quoted;
        }
        // as in sshd, what is before a backslash does not matter
        escapes = char == '\\';
        char.is_ascii_whitespace() && !quoted
    });
    let (word, rest) = line.split_at(end.unwrap_or(line.len()));
    (word, rest.trim_start())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn a_line_with_or_without_options_is_its_key() {
        let wire = wire_form(KEY).unwrap();
        for (line, command) in [
            (KEY.to_owned(), None),
            (format!("  {KEY} ada"), None),
            (format!("no-pty {KEY}"), None),
            (format!("command=\"say \\\"a b\\\" # c\",no-pty  {KEY} ada"), Some("say \"a b\" # c")),
        ] {
            let parsed = AuthorizedKey::parse(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!((&parsed.wire, parsed.options.restrictions.command()), (&wire, command), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_of_the_right_word() {
        let algorithm = |word: &str| KeyLineError::Algorithm(word.to_owned());
        for (line, expected) in [
            ("no-pty ssh-dss AAAA".to_owned(), algorithm("ssh-dss")),
            ("no-pty".to_owned(), algorithm("no-pty")),
            ("ssh-dss AAAA".to_owned(), algorithm("ssh-dss")),
            (format!("no-pty, no-user-rc {KEY}"), algorithm("no-pty,")),
            (format!("no-pyt {KEY}"), KeyLineError::Option(KeyOptionError::Unknown("no-pyt".to_owned()))),
            ("ssh-ed25519-cert-v01@openssh.com AAAA".to_owned(), KeyLineError::Certificate),
            ("no-pty ssh-ed25519-cert-v01@openssh.com AAAA".to_owned(), KeyLineError::Certificate),
            (format!("{KEY} {}", "x".repeat(MOST_BYTES)), KeyLineError::TooLong),
        ] {
            assert_eq!(AuthorizedKey::parse(&line), Err(expected), "{line}");
        }
    }

    #[test]
    fn a_file_has_numbered_lines_comments_and_nothing() {
        let file = format!("# keys\n\n  # more\r\n{KEY}\r\n \t\nwrong\n{KEY}");
        let found: Vec<usize> = lines(file.as_bytes()).map(|(number, _)| number).collect();
        assert_eq!(found, [4, 6, 7]);
        let broken = [KEY.as_bytes(), b"\n\xff\xfe\n"].concat();
        assert_eq!(lines(&broken).nth(1), Some((2, Err(KeyLineError::NoText))));
    }

    proptest! {
        #[test]
        fn whatever_the_line_is_it_answers(line in "\\PC{0,100}") {
            let _ = AuthorizedKey::parse(&line);
            let _ = AuthorizedKey::parse(&format!("{line} {KEY}"));
        }

        #[test]
        fn whatever_stands_in_front_of_a_key_no_other_key_comes_out(front in "[a-z\",=\\\\ -]{0,24}") {
            if let Ok(key) = AuthorizedKey::parse(&format!("{front} {KEY}")) {
                prop_assert_eq!(key.wire, wire_form(KEY).unwrap());
            }
        }
    }
}
