//! Which algorithms are spoken, all of them by name: a new release of the library must not bring one in by itself.
//!
//! Not here, on purpose: DSA, 3DES, RC4, HMAC-MD5, groups under 2048 bits (weak) or over (34 ms of our time for a packet of
//! theirs at 4096 bits, 4 ms at 2048; who wants more strength has a curve), compression before the login.
//!
//! By default there are no curves of NIST's, no finite field and no MAC before the encryption, either: who has to serve older
//! clients says so (`algorithms = "compatible"`).
//!
//! SHA-1, CBC and group exchange (with group 14 whatever sizes a client likes) are for whom the configuration names: `legacy`.
//!
//! A client that knows no strict key exchange and chooses what Terrapin could be used against is refused ([`could_be_robbed`]); the
//! oldest ones choose it by themselves, so `legacy` has no ChaCha20-Poly1305.

use std::borrow::Cow;

use russh::client::GexParams;
use russh::kex::dh::groups::{DH_GROUP14, DhGroup};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Names, Preferred, cipher, compression, kex, mac};

use crate::config::Algorithms;

/// Ours, in the order of preference; the client's order decides.
pub(super) fn preferred(algorithms: Algorithms) -> Preferred {
    let (kex, key, cipher, mac) = match algorithms {
        Algorithms::Modern => (KEX, KEYS, CIPHERS, MACS),
        Algorithms::Compatible => (COMPATIBLE_KEX, KEYS, CIPHERS, COMPATIBLE_MACS),
        Algorithms::Legacy => (LEGACY_KEX, LEGACY_KEYS, LEGACY_CIPHERS, LEGACY_MACS),
    };
    Preferred {
        kex: Cow::Borrowed(kex),
        host_key_certificates: Cow::Borrowed(&[]),
        key: Cow::Borrowed(key),
        cipher: Cow::Borrowed(cipher),
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

/// What clients of before 2014 have: SHA-1 over group 14 (RFC 4253, section 8.2), and groups of the server's choice (RFC 4419).
const LEGACY_KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G14_SHA256,
    kex::DH_GEX_SHA256,
    kex::DH_G14_SHA1,
    kex::DH_GEX_SHA1,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// Host keys and, through `server-sig-algs`, user keys: all of those of legacy but the last.
const KEYS: &[Algorithm] = match LEGACY_KEYS {
    [keys @ .., _with_sha1] => keys,
    [] => &[],
};

/// Besides, RSA with SHA-1, for host keys and for those of people.
const LEGACY_KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEd25519,
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    Algorithm::Rsa { hash: None },
];

const CIPHERS: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

/// Without ChaCha20-Poly1305: an old client that knows no strict key exchange, and would choose it, has one of these as well.
const LEGACY_CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
    cipher::AES_256_CBC,
    cipher::AES_192_CBC,
    cipher::AES_128_CBC,
];

/// With the counter mode; the other ciphers bring their own. The message is authenticated as it was encrypted.
const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];

/// libssh2 before 1.11 and JSch know only those of RFC 6668, which authenticate the message before it is encrypted.
const COMPATIBLE_MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

const LEGACY_MACS: &[mac::Name] = &[
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA256,
    mac::HMAC_SHA512,
    mac::HMAC_SHA1_ETM,
    mac::HMAC_SHA1,
];

/// For who asks for it (`ssh -C`). It begins behind the login (draft-miller-secsh-compression-delayed), so a stranger costs
/// no memory by it and reaches no decompressor; `zlib` itself (RFC 4253, section 6.2) would begin before.
const COMPRESSION: &[compression::Name] = &[compression::NONE, compression::ZLIB_LEGACY];

/// Whether whoever is between could take messages out of what these protect, unnoticed: Terrapin (CVE-2023-48795). A strict key
/// exchange keeps them from it, and a client that knows none has to have another cipher.
pub(super) fn could_be_robbed(names: &Names) -> bool {
    let cbc = [cipher::AES_128_CBC, cipher::AES_192_CBC, cipher::AES_256_CBC].contains(&names.cipher);
    let over_what_is_encrypted = [names.client_mac, names.server_mac].iter().any(|mac| mac.as_ref().contains("-etm@"));
    !names.strict_kex() && (names.cipher == cipher::CHACHA20_POLY1305 || cbc && over_what_is_encrypted)
}

/// The group for a client that lets the server choose one (RFC 4419): there is one size that is neither weak nor dear.
pub(super) fn group(asked: &GexParams) -> Option<DhGroup> {
    let fits = (asked.min_group_size()..=asked.max_group_size()).contains(&DH_GROUP14.bit_size());
    fits.then(|| DH_GROUP14.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<T: AsRef<str>>(list: &'static [T]) -> Vec<&'static str> {
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
        let more = |list: Vec<&'static str>, more: &[&'static str]| [list, more.to_vec()].concat();
        let sha1 = ["diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1"];
        let legacy_kex = more(names(&COMPATIBLE_KEX[..7]), &["diffie-hellman-group-exchange-sha256"]);
        assert_eq!(names(LEGACY_KEX), more(more(legacy_kex, &sha1), &both));
        assert_eq!(LEGACY_KEYS, [KEYS, &[Algorithm::Rsa { hash: None }]].concat());
        let cbc = ["aes256-cbc", "aes192-cbc", "aes128-cbc"];
        assert_eq!(names(LEGACY_CIPHERS), more(names(&CIPHERS[1..]), &cbc));
        assert_eq!(names(LEGACY_MACS), more(names(COMPATIBLE_MACS), &["hmac-sha1-etm@openssh.com", "hmac-sha1"]));
        for algorithms in [Algorithms::Modern, Algorithms::Compatible, Algorithms::Legacy] {
            let compression = preferred(algorithms).compression;
            assert_eq!(compression.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["none", "zlib@openssh.com"]);
        }
    }

    /// Under `legacy` neither: nothing that can be broken today, by anybody.
    #[test]
    fn nothing_broken_is_among_what_is_weak() {
        let all = [names(LEGACY_KEX), names(LEGACY_CIPHERS), names(LEGACY_MACS)].concat();
        for broken in ["3des", "arcfour", "md5", "ssh-dss", "group1-", "-96", "none", "clear", "chacha20"] {
            assert!(!all.iter().any(|name| name.contains(broken)), "{broken}");
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
