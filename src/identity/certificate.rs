//! OpenSSH's user certificates (its PROTOCOL.certkeys), taken apart. Nothing is verified here: that the authority has signed this
//! and its holder this connection, the gateway's verifier says by making a [`VerifiedCertificate`](super::VerifiedCertificate).
//!
//! ```text
//!  kind · nonce · the key's own fields · serial · type · key id · principals · valid after · valid before
//!       · critical options · extensions · reserved · the authority's key · its signature
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::proof::KeyFingerprint;
use super::public_key::{self, Fields};
use super::source_list::{SourceList, SourceListError};

/// A certificate as its holder sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The holder's key in its wire form.
    pub(super) key: Vec<u8>,
    pub(super) serial: u64,
    kind: u32,
    pub(super) key_id: String,
    pub(super) principals: Vec<String>,
    valid_after: u64,
    valid_before: u64,
    pub(super) critical: CriticalOptions,
    extensions: Vec<String>,
    /// The authority's key in its wire form.
    pub(super) authority: Vec<u8>,
    /// The algorithm of the authority's signature.
    signature: String,
}

/// What a certificate says that must be understood by whoever takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CriticalOptions {
    /// `force-command`
    pub(super) command: Option<String>,
    /// `source-address`
    pub(super) sources: Option<SourceList>,
    /// `verify-required`
    pub(super) verify_required: bool,
}

/// Why something is no certificate that could be taken, whoever has signed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It ends early, has something behind its end, or says one thing in two ways.
    #[error("the certificate is damaged")]
    Damaged,
    /// The key in it is of a kind that may not log in.
    #[error("the certificate is of a key that may not log in: {0}")]
    Key(String),
    /// Its authority is none that could be trusted: another certificate, or a weak key.
    #[error("the certificate is signed by something else than a key that may sign: {0}")]
    Authority(String),
    /// The authority's signature uses an old algorithm.
    #[error("the authority's signature is made with `{0}`, which proves nothing")]
    Signature(String),
    /// It is for a server.
    #[error("the certificate is a server's, not a person's")]
    NotForPeople,
    /// It has an option that nobody here understands, and that must be understood.
    #[error("the certificate has the critical option `{0}`, which is not known here")]
    CriticalOption(String),
    /// An option's value.
    #[error("the certificate's source-address: {0}")]
    Sources(#[from] SourceListError),
}

/// The type of a user's certificate; a host's is 2.
const OF_A_USER: u32 = 1;

/// `valid before` of one that never ends.
const FOREVER: u64 = u64::MAX;

/// More than OpenSSH's own `SSHKEY_CERT_MAX_PRINCIPALS`.
const MOST_PRINCIPALS: usize = 256;

/// What an authority may sign with: no SHA-1.
const SIGNATURES: [&str; 8] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-256",
    "rsa-sha2-512",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

impl Certificate {
    /// Takes one apart, to its last byte.
    pub fn parse(wire: &[u8]) -> Result<Self, CertificateError> {
        let certificate = Self::read(wire)?;
        if certificate.kind != OF_A_USER {
            return Err(CertificateError::NotForPeople);
        }
        if !SIGNATURES.contains(&certificate.signature.as_str()) {
            return Err(CertificateError::Signature(certificate.signature));
        }
        Ok(certificate)
    }

    fn read(wire: &[u8]) -> Result<Self, CertificateError> {
        use CertificateError::Damaged;
        let mut fields = Fields::of(wire);
        let kind = text(&mut fields)?;
        let algorithm = plain_algorithm(&kind).ok_or_else(|| CertificateError::Key(format!("`{kind}`")))?;
        let _nonce = fields.next().ok_or(Damaged)?;
        let mut key = string(algorithm.as_bytes());
        for _ in 0..fields_of(algorithm) {
            key.extend(string(fields.next().ok_or(Damaged)?));
        }
        public_key::check(algorithm, &key).map_err(|why| CertificateError::Key(why.to_string()))?;
        let serial = fields.next_u64().ok_or(Damaged)?;
        let kind = fields.next_u32().ok_or(Damaged)?;
        let key_id = text(&mut fields)?;
        let principals = texts(fields.next().ok_or(Damaged)?)?;
        let (valid_after, valid_before) = (fields.next_u64().ok_or(Damaged)?, fields.next_u64().ok_or(Damaged)?);
        let critical = critical(&options(fields.next().ok_or(Damaged)?)?)?;
        let extensions = options(fields.next().ok_or(Damaged)?)?.into_iter().map(|(name, _)| name).collect();
        let _reserved = fields.next().ok_or(Damaged)?;
        let authority = fields.next().ok_or(Damaged)?.to_vec();
        check_authority(&authority)?;
        let mut signature = Fields::of(fields.next().ok_or(Damaged)?);
        let signature = text(&mut signature)?;
        if !fields.is_empty() {
            return Err(Damaged);
        }
        Ok(Self {
            key,
            serial,
            kind,
            key_id,
            principals,
            valid_after,
            valid_before,
            critical,
            extensions,
            authority,
            signature,
        })
    }

    /// The holder's key.
    pub fn fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint::of(&self.key)
    }

    pub(super) fn authority_fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint::of(&self.authority)
    }

    /// From when on; a time that is none ever comes never.
    pub(super) fn begins(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.valid_after))
    }

    /// The first moment at which it counts no more; none of one that never ends.
    pub(super) fn ends(&self) -> Option<SystemTime> {
        if self.valid_before == FOREVER { None } else { UNIX_EPOCH.checked_add(Duration::from_secs(self.valid_before)) }
    }

    /// For how long it is; none of one that never ends, or ends before it begins.
    pub(super) fn lasts(&self) -> Option<Duration> {
        let seconds = self.valid_before.checked_sub(self.valid_after);
        seconds.filter(|_| self.valid_before != FOREVER).map(Duration::from_secs)
    }

    /// Whether it gives its holder this; one that says nothing of it does not.
    pub(super) fn permits(&self, extension: &str) -> bool {
        self.extensions.iter().any(|name| name == extension)
    }

    /// Its number, name and principals, for a comparison with another reader.
    #[cfg(test)]
    pub(crate) fn told(&self) -> (u64, &str, &[String]) {
        (self.serial, &self.key_id, &self.principals)
    }

    /// In the log: which one it is.
    pub(super) fn named(&self) -> String {
        let (id, serial) = (crate::model::plain_text_up_to(LONGEST_SHOWN, &self.key_id), self.serial);
        format!("\"{id}\" (serial {serial}) of {}", self.authority_fingerprint())
    }
}

/// How much of a key id is shown in a sentence.
const LONGEST_SHOWN: usize = 96;

/// The authority's key is a plain one of those that may log in: a certificate in its place would be a chain, which there is none of.
fn check_authority(wire: &[u8]) -> Result<(), CertificateError> {
    let algorithm = text(&mut Fields::of(wire))?;
    public_key::check(&algorithm, wire).map_err(|why| CertificateError::Authority(why.to_string()))
}

fn plain_algorithm(kind: &str) -> Option<&'static str> {
    let kinds = public_key::ALGORITHMS.into_iter();
    kinds.zip(KINDS).find(|(_, of)| *of == kind).map(|(algorithm, _)| algorithm)
}

/// The kinds of certificates, each of the key at its place in [`public_key::ALGORITHMS`].
const KINDS: [&str; 7] = [
    "ssh-ed25519-cert-v01@openssh.com",
    "ssh-rsa-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
];

/// How many fields a key has behind its algorithm.
fn fields_of(algorithm: &str) -> usize {
    match algorithm {
        "ssh-ed25519" => 1,
        "sk-ecdsa-sha2-nistp256@openssh.com" => 3,
        _ => 2,
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    // what is read out of a packet is shorter than one
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

fn text(fields: &mut Fields<'_>) -> Result<String, CertificateError> {
    let bytes = fields.next().ok_or(CertificateError::Damaged)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| CertificateError::Damaged)
}

fn texts(packed: &[u8]) -> Result<Vec<String>, CertificateError> {
    let (mut fields, mut texts) = (Fields::of(packed), Vec::new());
    while !fields.is_empty() {
        if texts.len() == MOST_PRINCIPALS {
            return Err(CertificateError::Damaged);
        }
        texts.push(text(&mut fields)?);
    }
    Ok(texts)
}

/// Names and values, in the order of the names, each once: so says the format, and what is in another order might be read in another
/// way by somebody else.
fn options(packed: &[u8]) -> Result<Vec<(String, &[u8])>, CertificateError> {
    let (mut fields, mut options) = (Fields::of(packed), Vec::<(String, &[u8])>::new());
    while !fields.is_empty() {
        let name = text(&mut fields)?;
        let value = fields.next().ok_or(CertificateError::Damaged)?;
        if options.last().is_some_and(|(last, _)| *last >= name) {
            return Err(CertificateError::Damaged);
        }
        options.push((name, value));
    }
    Ok(options)
}

fn critical(options: &[(String, &[u8])]) -> Result<CriticalOptions, CertificateError> {
    // a value is a string within the value's string
    let text_of = |value: &[u8]| {
        let mut fields = Fields::of(value);
        let found = text(&mut fields)?;
        if fields.is_empty() { Ok(found) } else { Err(CertificateError::Damaged) }
    };
    let mut critical = CriticalOptions::default();
    for (name, value) in options {
        match name.as_str() {
            FORCE_COMMAND => critical.command = Some(text_of(value)?),
            SOURCE_ADDRESS => critical.sources = Some(SourceList::networks(&text_of(value)?)?),
            VERIFY_REQUIRED if value.is_empty() => critical.verify_required = true,
            VERIFY_REQUIRED => return Err(CertificateError::Damaged),
            unknown => {
                let shown = crate::model::plain_text_up_to(LONGEST_SHOWN, unknown);
                return Err(CertificateError::CriticalOption(shown));
            }
        }
    }
    Ok(critical)
}

pub(super) const FORCE_COMMAND: &str = "force-command";
pub(super) const SOURCE_ADDRESS: &str = "source-address";
pub(super) const VERIFY_REQUIRED: &str = "verify-required";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a certificate says, to be written down.
    #[derive(Clone, Debug)]
    struct Said {
        serial: u64,
        kind: u32,
        key_id: String,
        principals: Vec<String>,
        valid: (u64, u64),
        critical: Vec<(String, Vec<u8>)>,
        extensions: Vec<(String, Vec<u8>)>,
        signature: &'static str,
    }

    /// A key of anybody's; whose does not matter where nothing is verified.
    fn key(byte: u8) -> Vec<u8> {
        [string(b"ssh-ed25519"), string(&[byte; 32])].concat()
    }

    impl Said {
        fn plain() -> Self {
            Self {
                serial: 7,
                kind: OF_A_USER,
                key_id: "ada".to_owned(),
                principals: vec!["ada".to_owned()],
                valid: (0, FOREVER),
                critical: Vec::new(),
                extensions: Vec::new(),
                signature: "ssh-ed25519",
            }
        }

        fn written(&self, authority: &[u8]) -> Vec<u8> {
            let packed = |options: &[(String, Vec<u8>)]| {
                string(
                    &options
                        .iter()
                        .flat_map(|(name, value)| [string(name.as_bytes()), string(value)].concat())
                        .collect::<Vec<_>>(),
                )
            };
            let principals: Vec<u8> = self.principals.iter().flat_map(|name| string(name.as_bytes())).collect();
            let signature = [string(self.signature.as_bytes()), string(&[0; 64])].concat();
            [
                string(b"ssh-ed25519-cert-v01@openssh.com"),
                string(b"nonce"),
                string(&[1; 32]),
                self.serial.to_be_bytes().to_vec(),
                self.kind.to_be_bytes().to_vec(),
                string(self.key_id.as_bytes()),
                string(&principals),
                self.valid.0.to_be_bytes().to_vec(),
                self.valid.1.to_be_bytes().to_vec(),
                packed(&self.critical),
                packed(&self.extensions),
                string(b""),
                string(authority),
                string(&signature),
            ]
            .concat()
        }

        fn parsed(&self) -> Result<Certificate, CertificateError> {
            Certificate::parse(&self.written(&key(2)))
        }
    }

    fn option(name: &str, value: &str) -> (String, Vec<u8>) {
        (name.to_owned(), string(value.as_bytes()))
    }

    #[test]
    fn what_must_be_understood_is_or_refuses() {
        use CertificateError as E;
        let with =
            |critical: Vec<(String, Vec<u8>)>| Said { critical, ..Said::plain() }.parsed().map(|read| read.critical);
        let all = with(vec![
            option(FORCE_COMMAND, "id"),
            option(SOURCE_ADDRESS, "192.0.2.0/24"),
            (VERIFY_REQUIRED.to_owned(), Vec::new()),
        ]);
        let all = all.unwrap();
        assert!(all.command.as_deref() == Some("id") && all.sources.is_some() && all.verify_required);
        assert_eq!(with(vec![option("x@example.com", "")]), Err(E::CriticalOption("x@example.com".to_owned())));
        // in another order, twice, with something behind the value, or a value where there is none
        for damaged in [
            vec![option(SOURCE_ADDRESS, "192.0.2.1"), option(FORCE_COMMAND, "id")],
            vec![option(FORCE_COMMAND, "id"), option(FORCE_COMMAND, "id")],
            vec![(FORCE_COMMAND.to_owned(), [string(b"id"), vec![0]].concat())],
            vec![option(VERIFY_REQUIRED, "")],
        ] {
            assert_eq!(with(damaged.clone()), Err(E::Damaged), "{damaged:?}");
        }
        assert!(matches!(with(vec![option(SOURCE_ADDRESS, "*")]), Err(E::Sources(_))));
        assert_eq!(Said { kind: 2, ..Said::plain() }.parsed(), Err(E::NotForPeople));
        let sha1 = Said { signature: "ssh-rsa", ..Said::plain() };
        assert_eq!(sha1.parsed(), Err(E::Signature("ssh-rsa".to_owned())));
        let nested = Said::plain().written(&Said::plain().written(&key(2)));
        assert!(matches!(Certificate::parse(&nested), Err(E::Authority(_))));
        let many = Said { principals: vec!["x".to_owned(); MOST_PRINCIPALS + 1], ..Said::plain() };
        assert_eq!(many.parsed(), Err(E::Damaged));
    }

    #[test]
    fn its_time_is_what_it_says_and_a_time_without_an_end_has_none() {
        let of = |after, before| Said { valid: (after, before), ..Said::plain() }.parsed().unwrap();
        let at = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        assert_eq!(
            (of(5, 9).begins(), of(5, 9).ends(), of(5, 9).lasts()),
            (at(5), at(9), Some(Duration::from_secs(4)))
        );
        assert_eq!((of(0, FOREVER).ends(), of(0, FOREVER).lasts()), (None, None));
        assert_eq!((of(9, 5).lasts(), of(FOREVER, FOREVER).begins()), (None, None));
    }

    prop_compose! {
        fn said()(
            serial: u64,
            key_id in "\\PC{0,20}",
            principals in proptest::collection::vec("\\PC{0,10}", 0..5),
            valid: (u64, u64),
            command in proptest::option::of("\\PC{0,10}"),
            extensions in proptest::collection::btree_map("[a-z-]{1,10}", any::<Vec<u8>>(), 0..4),
        ) -> Said {
            let critical = command.iter().map(|command| option(FORCE_COMMAND, command)).collect();
            let extensions = extensions.into_iter().collect();
            Said { serial, key_id, principals, valid, critical, extensions, ..Said::plain() }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_whole_and_in_no_other_length(said in said(), cut: prop::sample::Index) {
            let wire = said.written(&key(2));
            let read = Certificate::parse(&wire).unwrap();
            prop_assert_eq!(read.told(), (said.serial, said.key_id.as_str(), said.principals.as_slice()));
            prop_assert_eq!((read.valid_after, read.valid_before), said.valid);
            prop_assert_eq!(&read.extensions, &said.extensions.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
            prop_assert_eq!((&read.key, &read.authority), (&key(1), &key(2)));
            prop_assert!(Certificate::parse(&wire[..cut.index(wire.len())]).is_err());
            prop_assert!(Certificate::parse(&[&wire[..], &[0]].concat()).is_err());
        }

        #[test]
        fn whatever_the_bytes_are_it_answers(bytes: Vec<u8>, said in said(), at: prop::sample::Index, to: u8) {
            let _ = Certificate::parse(&bytes);
            let mut wire = said.written(&key(2));
            let at = at.index(wire.len());
            wire[at] = to;
            let _ = Certificate::parse(&wire);
        }
    }
}
