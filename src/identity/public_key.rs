//! A public key as the configuration writes it: one line of `authorized_keys`, without options.
//!
//! ```text
//!  ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA… ada@laptop
//!  ─────┬───── ────────────┬──────────── ─────┬────
//!    algorithm   the wire form, which names   a comment
//!                the same algorithm inside
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The algorithms of a person's key: RFC 8709 (Ed25519), RFC 4253, section 6.6 (RSA; its signatures are those of RFC 8332),
/// RFC 5656, section 6.2 (ECDSA on the curves that section 10.1 requires), and OpenSSH's PROTOCOL.u2f (`sk-`, on hardware).
const ALGORITHMS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// The algorithm whose keys come in sizes.
const RSA: &str = "ssh-rsa";

/// The sizes of an RSA modulus that are taken: NIST disallows less (SP 800-131A), and verifying more takes the gateway's
/// time before any login.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// What is wrong with such a line.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyLineError {
    /// The first word is something else: options, an old algorithm, nothing.
    #[error("`{0}` is no key type that may log in")]
    Algorithm(String),
    /// The second word is not that algorithm's key.
    #[error("this public key is damaged")]
    Damaged,
    /// An RSA key of another size.
    #[error("an RSA key needs {} to {} bits", RSA_BITS.start(), RSA_BITS.end())]
    Bits,
}

impl KeyLineError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Algorithm(_) => {
                "a public key as in authorized_keys, without options: ssh-ed25519, ecdsa-sha2-nistp256/384/521 or ssh-rsa \
                 of 2048 bits and more"
            }
            Self::Damaged => "copy the whole line of the .pub file",
            Self::Bits => "make one with: ssh-keygen -t ed25519",
        }
    }
}

/// The key's wire form. Whether an RSA exponent is sane is seen at the login, where the key is parsed anyway.
pub fn wire_form(line: &str) -> Result<Vec<u8>, KeyLineError> {
    let mut words = line.split_ascii_whitespace();
    let (algorithm, base64) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !ALGORITHMS.contains(&algorithm) {
        return Err(KeyLineError::Algorithm(algorithm.to_owned()));
    }
    let wire = STANDARD.decode(base64).map_err(|_| KeyLineError::Damaged)?;
    let (inside, rest) = ssh_string(&wire).ok_or(KeyLineError::Damaged)?;
    if inside != algorithm.as_bytes() {
        return Err(KeyLineError::Damaged);
    }
    if algorithm == RSA {
        let (_exponent, rest) = ssh_string(rest).ok_or(KeyLineError::Damaged)?;
        let (modulus, _) = ssh_string(rest).ok_or(KeyLineError::Damaged)?;
        // an mpint has a zero byte in front where its first bit is set (RFC 4251, section 5)
        let bits = modulus.len().saturating_sub(usize::from(modulus.first() == Some(&0))) * 8;
        if !RSA_BITS.contains(&bits) {
            return Err(KeyLineError::Bits);
        }
    }
    Ok(wire)
}

/// A `string` of RFC 4251, section 5: a length, then so many bytes.
fn ssh_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn rsa(bits: usize) -> String {
        let mut wire = Vec::new();
        for part in [&b"ssh-rsa"[..], &[1, 0, 1], &[&[0][..], &vec![0xff; bits / 8]].concat()] {
            wire.extend((part.len() as u32).to_be_bytes());
            wire.extend(part);
        }
        format!("ssh-rsa {}", STANDARD.encode(wire))
    }

    #[test]
    fn a_line_with_or_without_a_comment_is_its_key() {
        let wire = STANDARD.decode(ED25519).unwrap();
        for line in [format!("ssh-ed25519 {ED25519}"), format!(" ssh-ed25519\t{ED25519} ada lovelace")] {
            assert_eq!(wire_form(&line), Ok(wire.clone()), "{line}");
        }
        assert!(wire_form(&rsa(2048)).is_ok() && wire_form(&rsa(8192)).is_ok());
    }

    #[test]
    fn every_mistake_has_its_sentence() {
        let algorithm = |word: &str| KeyLineError::Algorithm(word.to_owned());
        for (line, expected) in [
            (String::new(), algorithm("")),
            (format!("ssh-dss {ED25519}"), algorithm("ssh-dss")),
            (format!("no-pty ssh-ed25519 {ED25519}"), algorithm("no-pty")),
            ("ssh-ed25519".to_owned(), KeyLineError::Damaged),
            ("ssh-ed25519 !!!".to_owned(), KeyLineError::Damaged),
            (format!("ssh-rsa {ED25519}"), KeyLineError::Damaged),
            (format!("ssh-ed25519 {}", &ED25519[..8]), KeyLineError::Damaged),
            (rsa(1024), KeyLineError::Bits),
            (rsa(16_384), KeyLineError::Bits),
        ] {
            assert_eq!(wire_form(&line), Err(expected), "{line}");
        }
    }
}
