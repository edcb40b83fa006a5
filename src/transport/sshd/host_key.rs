//! Whether a node is who it should be: by files of `known_hosts` lines that somebody wrote, and by what was seen of it before.
//!
//! A node is known by its id, `<id>.<realm>` and what AWS calls it; never by what a person typed. What was seen first is written down
//! under `<id>.<realm>`, and another key after that is refused.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::known_hosts::{HostPatterns, KnownHosts, Marker};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::ssh_key::{Certificate, HashAlg, PublicKey};
use russh::keys::{Algorithm, PublicKeyOrCertificate};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

use super::error::SshdError;
use crate::model::wildcard::fits;
use crate::model::{NodeFacts, plain_text_up_to};

/// By what nodes are known.
#[derive(Debug)]
pub struct HostKeyRules {
    /// Files of lines that somebody wrote.
    files: Vec<PathBuf>,
    /// Where it is noted what was seen first; nothing is taken on trust without it.
    remembered: Option<PathBuf>,
    noting: Mutex<()>,
}

/// What a node is called, as lines of `known_hosts` name it.
#[derive(Clone, Debug)]
pub(super) struct HostNames {
    /// `<id>.<realm>`, first: what is remembered stands under that.
    names: Vec<String>,
    /// For sentences.
    pub(super) shown: String,
}

/// What is known, as it was read just now.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Vec<Line>);

#[derive(Clone, Debug)]
struct Line {
    file: String,
    marker: Option<Marker>,
    patterns: Vec<String>,
    key: PublicKey,
}

/// What was shown, and stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// It is known.
    Known,
    /// Nothing is known of that node.
    First,
}

impl HostKeyRules {
    /// By these files, and by what is noted here.
    pub fn new(files: Vec<PathBuf>, remembered: Option<PathBuf>) -> Self {
        Self { files, remembered, noting: Mutex::default() }
    }

    /// What is known now: the files are read each time, and one that can't be ends it.
    pub(super) async fn known(&self) -> Result<Known, SshdError> {
        let mut known = Known::default();
        for file in &self.files {
            let text = tokio::fs::read_to_string(file).await;
            let wrong = |why: String| SshdError::KnownHosts { file: file.display().to_string(), why };
            let text = text.map_err(|error| wrong(error.to_string()))?;
            known.add(&file.display().to_string(), &text).map_err(wrong)?;
        }
        if let Some(file) = &self.remembered {
            let wrong = |why: String| SshdError::KnownHosts { file: file.display().to_string(), why };
            match tokio::fs::read_to_string(file).await {
                Ok(text) => known.add(&file.display().to_string(), &text).map_err(wrong)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(wrong(error.to_string())),
            }
        }
        Ok(known)
    }

    /// Whether a node is who it should be, and says by what that is known. One of which nothing is known is noted, or refused.
    pub(super) async fn judge(
        &self,
        known: &Known,
        node: &HostNames,
        shown: &PublicKeyOrCertificate,
    ) -> Result<(), SshdError> {
        let key = match shown {
            PublicKeyOrCertificate::Certificate(certificate) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                return known.judge_certificate(node, certificate, now);
            }
            PublicKeyOrCertificate::PublicKey { key, .. } => key,
        };
        if known.judge_key(node, key)? == Stands::Known {
            return Ok(());
        }
        let Some(file) = &self.remembered else {
            return Err(SshdError::HostKeyUnknown {
                node: node.shown.clone(),
                fingerprint: fingerprint(key.key_data()),
            });
        };
        let _one = self.noting.lock().await;
        // another connection may have noted it meanwhile
        let known = self.known().await?;
        if known.judge_key(node, key)? == Stands::Known {
            return Ok(());
        }
        let line = PublicKey::from(key.key_data().clone()).to_openssh().unwrap_or_default();
        let line = format!("{} {line}\n", node.names.first().map_or("", String::as_str));
        let noted = async {
            let mut options = tokio::fs::OpenOptions::new();
            let mut open = options.append(true).create(true).mode(0o600).open(file).await?;
            open.write_all(line.as_bytes()).await?;
            open.sync_all().await
        };
        noted.await.map_err(|error| SshdError::NotRemembered { file: file.clone(), why: error.to_string() })?;
        tracing::warn!(node = node.shown, host_key = fingerprint(key.key_data()), file = %file.display(), "a node's sshd was seen for the first time, and is known by this host key from now on");
        Ok(())
    }
}

impl HostNames {
    pub(super) fn of(facts: &NodeFacts, written: &str) -> Self {
        let (id, realm) = (&facts.node.id.0, facts.node.realm.as_str());
        let names = [format!("{id}.{realm}"), id.clone()].into_iter().chain(facts.called.clone());
        Self { names: names.map(|name| name.to_ascii_lowercase()).collect(), shown: written.to_owned() }
    }
}

impl Known {
    fn add(&mut self, file: &str, text: &str) -> Result<(), String> {
        for (number, entry) in KnownHosts::new(text).enumerate() {
            let entry = entry.map_err(|_| format!("what is entry {} of it is no line of known_hosts", number + 1))?;
            let HostPatterns::Patterns(patterns) = entry.host_patterns() else {
                return Err(format!(
                    "entry {} of it has a hashed name, which is not read here: write the node's id",
                    number + 1
                ));
            };
            let patterns = patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
            let (marker, key) = (entry.marker().copied(), entry.public_key().clone());
            self.0.push(Line { file: file.to_owned(), marker, patterns, key });
        }
        Ok(())
    }

    /// The lines about a node.
    fn about<'a>(&'a self, node: &'a HostNames) -> impl Iterator<Item = &'a Line> {
        self.0.iter().filter(|line| line.is_about(node))
    }

    /// Whether an authority is known that may speak for it.
    pub(super) fn has_authority(&self, node: &HostNames) -> bool {
        self.about(node).any(|line| line.marker == Some(Marker::CertAuthority))
    }

    /// The kinds of the keys that it is known by: it is asked for those first.
    pub(super) fn kinds(&self, node: &HostNames) -> Vec<Algorithm> {
        self.about(node).filter(|line| line.marker.is_none()).map(|line| line.key.algorithm()).collect()
    }

    fn is_revoked(&self, key: &KeyData) -> bool {
        self.0.iter().any(|line| line.marker == Some(Marker::Revoked) && line.key.key_data() == key)
    }

    fn judge_key(&self, node: &HostNames, key: &PublicKey) -> Result<Stands, SshdError> {
        let data = key.key_data();
        if self.is_revoked(data) {
            return Err(SshdError::HostKeyRevoked { node: node.shown.clone(), fingerprint: fingerprint(data) });
        }
        let mut other = None;
        for line in self.about(node).filter(|line| line.marker.is_none()) {
            if line.key.key_data() == data {
                return Ok(Stands::Known);
            }
            other = other.or(Some(line));
        }
        match other {
            // whoever has put themselves in its place has no certificate either
            None if self.has_authority(node) => {
                let why = "it shows none, and an authority is known for it".to_owned();
                Err(SshdError::HostCertificate { node: node.shown.clone(), why })
            }
            None => Ok(Stands::First),
            Some(line) => Err(SshdError::HostKeyChanged {
                node: node.shown.clone(),
                shown: fingerprint(data),
                known: fingerprint(line.key.key_data()),
                name: line.patterns.join(","),
                file: line.file.clone(),
            }),
        }
    }

    /// As OpenSSH's client takes one, but that it has to name the node.
    fn judge_certificate(&self, node: &HostNames, certificate: &Certificate, now: u64) -> Result<(), SshdError> {
        let wrong = |why: &str| Err(SshdError::HostCertificate { node: node.shown.clone(), why: why.to_owned() });
        let authority = certificate.signature_key();
        for key in [authority, certificate.public_key()] {
            if self.is_revoked(key) {
                return Err(SshdError::HostKeyRevoked { node: node.shown.clone(), fingerprint: fingerprint(key) });
            }
        }
        let speaks = |line: &Line| line.marker == Some(Marker::CertAuthority) && line.key.key_data() == authority;
        if !self.about(node).any(speaks) {
            return wrong("its authority is none that is known for it");
        }
        if certificate.cert_type() != CertType::Host || certificate.verify_signature().is_err() {
            return wrong("it is no host's, or not its authority's");
        }
        if now < certificate.valid_after() || now >= certificate.valid_before() {
            return wrong("its time is over, or has not begun");
        }
        if !certificate.critical_options().is_empty() {
            return wrong("it has options that a host's has not");
        }
        let named = |name: &String| {
            let principal = name.to_ascii_lowercase();
            node.names.iter().any(|known| pattern_fits(&principal, known))
        };
        if !certificate.valid_principals().iter().any(named) {
            let names = certificate.valid_principals().join(", ");
            let names = plain_text_up_to(super::error::LONGEST, &names);
            return wrong(&format!("it is for {names}, and the node is {}", node.names.join(", ")));
        }
        Ok(())
    }
}

impl Line {
    /// As sshd(8) has it: one of the patterns, and none of those with a `!` in front.
    fn is_about(&self, node: &HostNames) -> bool {
        let fit = |pattern: &str| node.names.iter().any(|name| pattern_fits(pattern, name));
        let denied = self.patterns.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(fit);
        !denied && self.patterns.iter().any(|pattern| !pattern.starts_with('!') && fit(pattern))
    }
}

fn pattern_fits(pattern: &str, name: &str) -> bool {
    let takes = |part: &u8, letter: &u8| *part == b'?' || part == letter;
    fits(pattern.as_bytes(), name.as_bytes(), |part| *part == b'*', takes)
}

/// As OpenSSH shows it.
pub(super) fn fingerprint(key: &KeyData) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// By what a node was known: the fingerprint of its key, and of the authority that has certified it.
pub(super) fn known_by(shown: &PublicKeyOrCertificate) -> String {
    match shown {
        PublicKeyOrCertificate::PublicKey { key, .. } => fingerprint(key.key_data()),
        PublicKeyOrCertificate::Certificate(certificate) => {
            format!(
                "{} (authority {})",
                fingerprint(certificate.public_key()),
                fingerprint(certificate.signature_key())
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::ssh::mint::KeyPair;

    fn names() -> HostNames {
        HostNames::of(&NodeFacts::named("i-0abc", "Web-1"), "web-1")
    }

    fn key() -> PublicKey {
        PublicKey::from_openssh(&KeyPair::new("host").unwrap().public().unwrap()).unwrap()
    }

    fn line(marker: &str, names: &str, key: &PublicKey) -> String {
        format!("{marker}{names} {}\n", key.to_openssh().unwrap())
    }

    fn known(text: &str) -> Known {
        let mut known = Known::default();
        known.add("file", text).unwrap();
        known
    }

    #[test]
    fn a_key_is_known_by_the_node_s_own_names_and_no_other_key_is() {
        let (key, other, node) = (key(), key(), names());
        for (patterns, about) in
            [("i-0abc", true), ("web-1", true), ("i-0*", true), ("i-0*,!i-0abc", false), ("i-0ab", false), ("*", true)]
        {
            let known = known(&line("", patterns, &key));
            let expected = if about { Stands::Known } else { Stands::First };
            assert_eq!(known.judge_key(&node, &key).unwrap(), expected, "{patterns}");
            assert_eq!(known.judge_key(&node, &other).is_err(), about, "{patterns}");
        }
        let text = known(&line("", "i-0abc", &key)).judge_key(&node, &other).unwrap_err().to_string();
        assert!(text.contains("another host key") && text.contains("i-0abc out of file"), "{text}");
        let certified = known(&line("@cert-authority ", "*", &other)).judge_key(&node, &key).unwrap_err().to_string();
        assert!(certified.contains("an authority is known for it"), "{certified}");
        let revoked = known(&(line("", "i-0abc", &key) + &line("@revoked ", "*", &key)));
        assert!(revoked.judge_key(&node, &key).unwrap_err().to_string().contains("revoked"));
    }

    #[test]
    fn a_certificate_is_its_authority_s_for_the_node_and_for_now() {
        let (ca, host, node) = (KeyPair::new("ca").unwrap(), KeyPair::new("host").unwrap(), names());
        let line = |names: &str| format!("@cert-authority {names} {}\n", ca.public().unwrap());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let certificate = |principals: &[&str]| {
            Certificate::from_openssh(&ca.certify_host(&host, principals, Duration::from_secs(60)).unwrap()).unwrap()
        };
        let (good, known_ca) = (certificate(&["i-0abc"]), known(&line("*")));
        assert!(known_ca.has_authority(&node));
        known_ca.judge_certificate(&node, &good, now).unwrap();
        known_ca.judge_certificate(&node, &certificate(&["web-1"]), now).unwrap();
        for (known, certificate, now) in [
            (known(&line("db-*")), &good, now),
            (known(""), &good, now),
            (known_ca.clone(), &certificate(&["i-0abd"]), now),
            (known_ca.clone(), &good, now + 60),
            (known_ca.clone(), &good, now - 3600),
            (known(&(line("*") + &line("*").replace("@cert-authority", "@revoked"))), &good, now),
        ] {
            assert!(known.judge_certificate(&node, certificate, now).is_err());
        }
    }

    #[tokio::test]
    async fn what_was_seen_first_is_what_it_is_known_by() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("seen");
        let rules = HostKeyRules::new(Vec::new(), Some(file.clone()));
        let (first, other) = (key(), key());
        let judge = async |rules: &HostKeyRules, key: &PublicKey, node: &HostNames| {
            let known = rules.known().await?;
            rules.judge(&known, node, &key.clone().into()).await
        };
        judge(&rules, &first, &names()).await.unwrap();
        judge(&rules, &first, &names()).await.unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("i-0abc.test ssh-ed25519 ") && text.lines().count() == 1, "{text}");
        let changed = judge(&rules, &other, &names()).await.unwrap_err();
        assert!(matches!(changed, SshdError::HostKeyChanged { .. }), "{changed}");
        // another node, and one of the same id elsewhere, are others
        let elsewhere = HostNames::of(&NodeFacts::named("i-0abc", "web-1").within("dev"), "web-1");
        judge(&rules, &other, &elsewhere).await.unwrap();
        // nothing is taken on trust where that is not said
        let strict = HostKeyRules::new(vec![file.clone()], None);
        judge(&strict, &first, &names()).await.unwrap();
        let third = HostNames::of(&NodeFacts::named("i-0def", "web-3"), "web-3");
        assert!(matches!(judge(&strict, &first, &third).await, Err(SshdError::HostKeyUnknown { .. })));
        std::fs::write(&file, "i-0abc ssh-ed25519 nonsense\n").unwrap();
        assert!(matches!(judge(&rules, &first, &names()).await, Err(SshdError::KnownHosts { .. })));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(@revoked |@cert-authority )?[a-z*!,|=0-9 \n]{0,40}(ssh-ed25519)? ?[A-Za-z0-9+/=]{0,70}") {
            let mut known = Known::default();
            let _ = known.add("file", &text);
            let _ = known.judge_key(&names(), &key());
        }
    }
}
