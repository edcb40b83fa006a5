//! A public key as a `.pub` file has it: one line of `authorized_keys`, without options.
//!
//! ```text
//!  ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA… ada@laptop
//!  ─────┬───── ────────────┬──────────── ─────┬────
//!    algorithm   the wire form, which names   a comment
//!                the same algorithm inside
//! ```

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ParsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::authorized_key::KeyLineError;

/// The algorithms of a person's key: RFC 8709 (Ed25519), RFC 4253, section 6.6 (RSA; its signatures are those of RFC 8332),
/// RFC 5656, section 6.2 (ECDSA on the curves that section 10.1 requires), and OpenSSH's PROTOCOL.u2f (`sk-`, on hardware).
pub(super) const ALGORITHMS: [&str; 7] = [
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
pub(super) const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The key's wire form, read to its end: a line that was cut is no key that nobody has, it is a mistake.
pub(super) fn wire_form(line: &str) -> Result<Vec<u8>, KeyLineError> {
    let mut words = line.split_ascii_whitespace();
    let (algorithm, base64) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !ALGORITHMS.contains(&algorithm) {
        return Err(KeyLineError::Algorithm(algorithm.to_owned()));
    }
    let wire = STANDARD.decode(base64).map_err(|_| KeyLineError::Damaged)?;
    check(algorithm, &wire)?;
    Ok(wire)
}

/// Whether this is the wire form of such a key, to its end.
pub(super) fn check(algorithm: &str, wire: &[u8]) -> Result<(), KeyLineError> {
    if !ALGORITHMS.contains(&algorithm) {
        return Err(KeyLineError::Algorithm(algorithm.to_owned()));
    }
    let mut fields = Fields(wire);
    if fields.next() != Some(algorithm.as_bytes()) {
        return Err(KeyLineError::Damaged);
    }
    let whole = match algorithm {
        RSA => {
            let (exponent, modulus) = (fields.next(), fields.next());
            let (Some(exponent), Some(modulus)) = (exponent.and_then(positive), modulus.and_then(positive)) else {
                return Err(KeyLineError::Damaged);
            };
            if !RSA_BITS.contains(&bits(modulus)) {
                return Err(KeyLineError::Bits);
            }
            // an even exponent is none, and OpenSSH has no other than this and 3
            exponent.last().is_some_and(|last| last & 1 == 1) && bits(exponent) >= 2
        }
        "ssh-ed25519" => fields.next().is_some_and(|key| key.len() == ED25519_BYTES),
        "sk-ssh-ed25519@openssh.com" => {
            fields.next().is_some_and(|key| key.len() == ED25519_BYTES) && fields.next().is_some()
        }
        "sk-ecdsa-sha2-nistp256@openssh.com" => point(&mut fields, "nistp256") && fields.next().is_some(),
        other => other.strip_prefix("ecdsa-sha2-").is_some_and(|curve| point(&mut fields, curve)),
    };
    if whole && fields.0.is_empty() { Ok(()) } else { Err(KeyLineError::Damaged) }
}

/// RFC 8032, section 5.1.5.
const ED25519_BYTES: usize = 32;

/// The name of a curve, and a point of it (RFC 5656, section 3.1), uncompressed as everybody writes it.
fn point(fields: &mut Fields<'_>, curve: &str) -> bool {
    let algorithm: &dyn VerificationAlgorithm = match curve {
        "nistp256" => &ECDSA_P256_SHA256_FIXED,
        "nistp384" => &ECDSA_P384_SHA384_FIXED,
        "nistp521" => &ECDSA_P521_SHA512_FIXED,
        _ => return false,
    };
    let named = fields.next() == Some(curve.as_bytes());
    let point = fields.next().filter(|point| point.first() == Some(&UNCOMPRESSED));
    named && point.is_some_and(|point| ParsedPublicKey::new(algorithm, point).is_ok())
}

/// The first byte of a point that is not compressed (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// An mpint's magnitude, if it is positive and in its one form: a zero byte in front only where its first bit is set (RFC
/// 4251, section 5).
fn positive(mpint: &[u8]) -> Option<&[u8]> {
    match mpint {
        [0, rest @ ..] if rest.first().is_some_and(|first| first & 0x80 != 0) => Some(rest),
        [first, ..] if (1..0x80).contains(first) => Some(mpint),
        _ => None,
    }
}

fn bits(magnitude: &[u8]) -> usize {
    let first = magnitude.first().copied().unwrap_or_default();
    (magnitude.len() * 8).saturating_sub(first.leading_zeros() as usize)
}

/// The `string`s of RFC 4251, section 5: a length, then so many bytes.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn of(wire: &'a [u8]) -> Self {
        Self(wire)
    }

    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        let length = self.next_u32()?;
        let (field, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(field)
    }

    pub(super) fn next_u8(&mut self) -> Option<u8> {
        self.chunk().map(u8::from_be_bytes)
    }

    pub(super) fn next_u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_be_bytes)
    }

    pub(super) fn next_u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_be_bytes)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*chunk)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
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

    /// Made by ssh-keygen, one of each kind but RSA.
    const WHOLE: [&str; 4] = [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEpO0zQeokg94WBU53OHHvVvv0+PdhB4HAahfFu85pNftmKOYgJ0Cj+1ckEt93rrrBy4lfEOp/JeSvsPQu3CN/A=",
        "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBGHHKVIknA7lSUTfUyWR0r4RDB7qo9AEnGMGPrXu2aq2CbHDZOCxt9EWf+l/P7cnpy8H4WMv+1A16AGtJVW2xsJjJkoFifJ8pOl5nMCvjOo/ctwFpi6jNwXA1HsPHu5+LQ==",
        "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBACnTqBJHVOJCOK1G7jSbvEKJafnhSBvcRy3427HYwC8Zgh3pmiClQyaOfBLy6M9VXH3qPXSz1mFCbZtT66kj8T/JgHrHedR1/3sxVeTpDKHNNim8yrvZ80Nx49cUnt3l+ormSL5vN7kHWr9lvDdCfdcwNW60uZbCKEAfLqk6MiUBtcdtA==",
    ];

    #[test]
    fn a_key_that_was_cut_or_has_something_behind_it_is_damaged() {
        let rsa = rsa(2048);
        for line in WHOLE.into_iter().chain([rsa.as_str()]) {
            let (algorithm, base64) = line.split_once(' ').unwrap();
            let wire = STANDARD.decode(base64).unwrap();
            assert_eq!(wire_form(line).as_ref(), Ok(&wire), "{line}");
            let said = |wire: &[u8]| wire_form(&format!("{algorithm} {}", STANDARD.encode(wire)));
            for length in 0..wire.len() {
                assert_eq!(said(&wire[..length]), Err(KeyLineError::Damaged), "{algorithm}, {length} bytes");
            }
            assert_eq!(said(&[&wire[..], &[0]].concat()), Err(KeyLineError::Damaged), "{algorithm}");
        }
    }

    #[test]
    fn a_point_that_is_on_no_curve_is_damaged() {
        let (algorithm, base64) = WHOLE[1].split_once(' ').unwrap();
        let mut wire = STANDARD.decode(base64).unwrap();
        *wire.last_mut().unwrap() ^= 1;
        assert_eq!(wire_form(&format!("{algorithm} {}", STANDARD.encode(wire))), Err(KeyLineError::Damaged));
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_bytes_are_it_answers(algorithm in 0..ALGORITHMS.len(), bytes: Vec<u8>) {
            let name = ALGORITHMS[algorithm];
            let wire = [&(name.len() as u32).to_be_bytes(), name.as_bytes(), &bytes].concat();
            let _ = wire_form(&format!("{name} {}", STANDARD.encode(wire)));
        }
    }
}
