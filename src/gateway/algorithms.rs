//! Which algorithms are spoken, all of them by name: a new release of the library must not bring one in by itself.
//!
//! Not here, on purpose: `ssh-rsa` (SHA-1), DSA, CBC (and with it what Terrapin needs besides chacha20: strict key
//! exchange closes that), 3DES, HMAC-SHA1, groups under 2048 bits (weak) or over (34 ms of our time for a packet of theirs
//! at 4096 bits, 4 ms at 2048; who wants more strength has a curve), group exchange (a client's sizes are not ours to
//! serve), compression before the login.
//!
//! By default there are no curves of NIST's, no finite field and no MAC before the encryption, either: who has to serve older
//! clients says so (`algorithms = "compatible"`).

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, compression, kex, mac};

use crate::config::Algorithms;

/// Ours, in the order of preference; the client's order decides.
pub(super) fn preferred(algorithms: Algorithms) -> Preferred {
    let (kex, mac) = match algorithms {
        Algorithms::Modern => (KEX, MACS),
        Algorithms::Compatible => (COMPATIBLE_KEX, COMPATIBLE_MACS),
    };
    Preferred {
        kex: Cow::Borrowed(kex),
        host_key_certificates: Cow::Borrowed(&[]),
        key: Cow::Borrowed(KEYS),
        cipher: Cow::Borrowed(CIPHERS),
        mac: Cow::Borrowed(mac),
        compression: Cow::Borrowed(COMPRESSION),
    }
}

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

const COMPATIBLE_KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    // the one finite field that RFC 9142 says a server must have
    kex::DH_G14_SHA256,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// Host keys and, through `server-sig-algs`, user keys.
const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEd25519,
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

const CIPHERS: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

/// With the counter mode; the other ciphers bring their own. The message is authenticated as it was encrypted.
const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];

/// libssh2 before 1.11 and JSch know only those of RFC 6668, which authenticate the message before it is encrypted.
const COMPATIBLE_MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

/// For who asks for it (`ssh -C`). It begins behind the login (draft-miller-secsh-compression-delayed), so a stranger costs
/// no memory by it and reaches no decompressor; `zlib` itself (RFC 4253, section 6.2) would begin before.
const COMPRESSION: &[compression::Name] = &[compression::NONE, compression::ZLIB_LEGACY];

#[cfg(test)]
mod tests {
    use super::*;

    fn names<T: AsRef<str>>(list: &[T]) -> Vec<&str> {
        list.iter().map(AsRef::as_ref).collect()
    }

    /// Changing a list is a decision: it has to be made here as well.
    #[test]
    fn the_lists_are_these() {
        let modern = ["mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org"];
        let both = ["ext-info-s", "kex-strict-s-v00@openssh.com"];
        assert_eq!(names(KEX), [&modern[..], &both].concat());
        assert_eq!(
            names(COMPATIBLE_KEX),
            [
                "mlkem768x25519-sha256",
                "curve25519-sha256",
                "curve25519-sha256@libssh.org",
                "ecdh-sha2-nistp256",
                "ecdh-sha2-nistp384",
                "ecdh-sha2-nistp521",
                "diffie-hellman-group14-sha256",
                "ext-info-s",
                "kex-strict-s-v00@openssh.com",
            ]
        );
        let keys: Vec<String> = KEYS.iter().map(ToString::to_string).collect();
        assert_eq!(
            keys,
            [
                "ssh-ed25519",
                "ecdsa-sha2-nistp256",
                "ecdsa-sha2-nistp384",
                "ecdsa-sha2-nistp521",
                "sk-ssh-ed25519@openssh.com",
                "sk-ecdsa-sha2-nistp256@openssh.com",
                "rsa-sha2-512",
                "rsa-sha2-256",
            ]
        );
        assert_eq!(
            names(CIPHERS),
            [
                "chacha20-poly1305@openssh.com",
                "aes256-gcm@openssh.com",
                "aes128-gcm@openssh.com",
                "aes256-ctr",
                "aes192-ctr",
                "aes128-ctr",
            ]
        );
        assert_eq!(names(MACS), ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"]);
        assert_eq!(
            names(COMPATIBLE_MACS),
            ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"]
        );
        for algorithms in [Algorithms::Modern, Algorithms::Compatible] {
            assert_eq!(names(&preferred(algorithms).compression), ["none", "zlib@openssh.com"]);
        }
    }

    #[test]
    fn nothing_weak_is_among_them() {
        let all: Vec<String> = names(COMPATIBLE_KEX)
            .into_iter()
            .chain(names(CIPHERS))
            .chain(names(COMPATIBLE_MACS))
            .map(str::to_owned)
            .chain(KEYS.iter().map(ToString::to_string))
            .collect();
        for weak in ["sha1", "cbc", "3des", "ssh-rsa", "ssh-dss", "group1-", "none", "clear", "group-exchange"] {
            assert!(!all.iter().any(|name| name.contains(weak)), "{weak}");
        }
        // nor anything that is dear to us and cheap to a stranger: the library's exponents are as long as the group
        let fields: Vec<&String> = all.iter().filter(|name| name.contains("diffie-hellman-group")).collect();
        assert_eq!(fields, ["diffie-hellman-group14-sha256"]);
    }
}
