//! Which public keys may prove anything, and the one place where a checked signature becomes a [`VerifiedKey`].
//!
//! The library checks signatures but not algorithms: it would take RSA with SHA-1, and any size of key. So both of its
//! callbacks ask here, before the signature is looked at and after.

use std::ops::RangeInclusive;

use russh::keys::ssh_key::public::{KeyData, RsaPublicKey};
use russh::keys::{Algorithm, PublicKey};
use russh::server::VerifiedPublicKey;

use crate::config::Algorithms;
use crate::identity::VerifiedKey;

/// Why a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::gateway) enum Weak {
    /// RFC 8332 brought the others.
    #[error(
        "signatures with SHA-1 (ssh-rsa) are not taken; the client must offer rsa-sha2-256 or rsa-sha2-512, or be one for whom gateway.algorithms_for says legacy"
    )]
    Sha1,
    #[error("this kind of key is not taken")]
    Kind,
    #[error("RSA keys need 2048 to 8192 bits and a public exponent of at most 32 bits")]
    RsaSize,
}

/// Whether a key, used with an algorithm, is good enough to be looked up.
pub(in crate::gateway) fn strong(key: &PublicKey, algorithm: &Algorithm, algorithms: Algorithms) -> Result<(), Weak> {
    match (algorithm, key.key_data()) {
        // nobody can sign what they like with somebody's key by that, and clients of before 2016 have nothing else
        (Algorithm::Rsa { hash: None }, _) if algorithms != Algorithms::Legacy => Err(Weak::Sha1),
        (Algorithm::Rsa { .. }, KeyData::Rsa(rsa)) => rsa_size(rsa),
        (Algorithm::Ed25519, KeyData::Ed25519(_))
        | (Algorithm::Ecdsa { .. }, KeyData::Ecdsa(_))
        | (Algorithm::SkEd25519, KeyData::SkEd25519(_))
        | (Algorithm::SkEcdsaSha2NistP256, KeyData::SkEcdsaSha2NistP256(_)) => Ok(()),
        _ => Err(Weak::Kind),
    }
}

/// A key's wire form, by which people are found.
pub(in crate::gateway) fn wire_form(key: &PublicKey) -> Option<Vec<u8>> {
    key.to_bytes().ok()
}

/// The proof, out of the value that the library makes only after it has checked the signature.
pub(in crate::gateway) fn verified(key: VerifiedPublicKey<'_>, algorithms: Algorithms) -> Option<VerifiedKey> {
    strong(key.public_key, key.algorithm, algorithms).ok()?;
    Some(VerifiedKey::signature_checked(wire_form(key.public_key)?, key.user_verified))
}

/// NIST SP 800-131A's least; the most keeps the check of a signature short.
const MODULUS_BITS: RangeInclusive<usize> = 2048..=8192;

/// Longer ones buy our time with a key that costs its owner nothing.
const EXPONENT_BITS: RangeInclusive<usize> = 2..=32;

pub(in crate::gateway) fn rsa_size(key: &RsaPublicKey) -> Result<(), Weak> {
    let bits = |bytes: Option<&[u8]>| {
        let bytes = bytes.unwrap_or_default();
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let rest = bytes.get(zeros..).unwrap_or_default();
        rest.first().map_or(0, |first| rest.len() * 8 - first.leading_zeros() as usize)
    };
    let modulus = bits(key.n().as_positive_bytes());
    let exponent = key.e().as_positive_bytes().unwrap_or_default();
    let odd = exponent.last().is_some_and(|last| last & 1 == 1);
    let sized = EXPONENT_BITS.contains(&bits(Some(exponent)));
    if MODULUS_BITS.contains(&modulus) && odd && sized { Ok(()) } else { Err(Weak::RsaSize) }
}

#[cfg(test)]
mod tests {
    use russh::keys::HashAlg;
    use russh::keys::ssh_key::Mpint;

    use super::*;

    fn rsa(bits: usize, exponent: &[u8]) -> PublicKey {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        if !bits.is_multiple_of(8) {
            modulus[0] = 0xff >> (8 - bits % 8);
        }
        let n = Mpint::from_positive_bytes(&modulus);
        let e = Mpint::from_positive_bytes(exponent);
        PublicKey::new(KeyData::Rsa(RsaPublicKey::new(e, n).unwrap()), "")
    }

    const MODERN: Algorithms = Algorithms::Modern;
    const SHA2: Algorithm = Algorithm::Rsa { hash: Some(HashAlg::Sha256) };

    #[test]
    fn rsa_by_size_exponent_and_hash() {
        let e = &[1, 0, 1];
        assert_eq!(strong(&rsa(2048, e), &SHA2, MODERN), Ok(()));
        assert_eq!(strong(&rsa(8192, e), &SHA2, MODERN), Ok(()));
        assert_eq!(strong(&rsa(2047, e), &SHA2, MODERN), Err(Weak::RsaSize));
        assert_eq!(strong(&rsa(8193, e), &SHA2, MODERN), Err(Weak::RsaSize));
        let sha1 = Algorithm::Rsa { hash: None };
        assert_eq!(strong(&rsa(2048, e), &sha1, MODERN), Err(Weak::Sha1));
        assert_eq!(strong(&rsa(2048, e), &sha1, Algorithms::Compatible), Err(Weak::Sha1));
        assert_eq!(strong(&rsa(2048, e), &sha1, Algorithms::Legacy), Ok(()));
        assert_eq!(strong(&rsa(1024, e), &sha1, Algorithms::Legacy), Err(Weak::RsaSize));
        for tricky in [&[1][..], &[2], &[1, 0, 0], &[1, 0, 0, 0, 1], &[0xff; 256]] {
            assert_eq!(strong(&rsa(2048, tricky), &SHA2, MODERN), Err(Weak::RsaSize), "{tricky:?}");
        }
    }

    #[test]
    fn an_algorithm_must_be_the_keys_own() {
        assert_eq!(strong(&rsa(2048, &[1, 0, 1]), &Algorithm::Ed25519, MODERN), Err(Weak::Kind));
        assert_eq!(strong(&rsa(2048, &[1, 0, 1]), &Algorithm::Dsa, MODERN), Err(Weak::Kind));
    }
}
