//! Who somebody is, once that is proved.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::acting::{ActsAs, InRealms};
use super::certificate::Certificate;
use super::enough::Second;
use super::id_token::SignInFacts;
use super::passwords::PasswordOf;
use super::proof::KeyFingerprint;
use super::restrictions::Restrictions;
use super::sign_in::SignedIn;
use crate::model::{RealmName, plain_text_up_to};

/// The authenticated person or robot. Only this module makes one, from a proof that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(super) person: String,
    pub(super) groups: Vec<String>,
    pub(super) proof: Proof,
    pub(super) acts_as: InRealms,
}

/// What was proved, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    /// What came first.
    pub(super) first: First,
    /// What had to come besides.
    pub(super) second: Option<Second>,
    /// Whether it is a security key that knew who touched it.
    pub(super) user_verified: bool,
    /// The client's address, for proofs that count from some only.
    pub(super) source: IpAddr,
    /// From when on it is none any more.
    pub(super) ends: Option<SystemTime>,
    pub(super) restrictions: Restrictions,
    /// In words.
    pub(super) text: String,
}

/// What has proved first who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// A key, which has signed.
    Key(KeyFingerprint),
    /// A certificate, whose key has signed.
    Certificate(KeyFingerprint, Arc<Certified>),
    /// A password.
    Password(Arc<PasswordOf>),
    /// A sign-in at the provider; no key of theirs is known.
    SignIn(Arc<SignedIn>),
}

/// What evidence and policies are told of a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondFactorFacts {
    /// Which kind: `totp` or `oidc`.
    pub kind: &'static str,
    /// When the person was asked for it; before the login, where it was remembered.
    pub at: SystemTime,
}

impl Proof {
    /// The same with a second factor.
    pub(super) fn add(&mut self, second: Option<Second>) {
        if let Some(second) = &second {
            self.text = format!("{} and {}", self.text, second.text());
        }
        self.second = second;
    }

    /// The sign-in, first or besides.
    pub(super) fn signed_in(&self) -> Option<&Arc<SignedIn>> {
        match (&self.first, &self.second) {
            (First::SignIn(signed_in), _) | (_, Some(Second::SignIn(signed_in))) => Some(signed_in),
            _ => None,
        }
    }
}

/// A certificate that has proved who somebody is, and what is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certified {
    pub(super) certificate: Certificate,
    facts: CertificateFacts,
}

/// What evidence and policies are told of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// What its authority has called it.
    pub key_id: String,
    /// Its number.
    pub serial: u64,
    /// The authority, as the configuration calls it; none of a person's own (`cert-authority`).
    pub authority: Option<String>,
    /// The authority's key.
    pub authority_key: String,
    /// The principal that stands for the person; none where it has none.
    pub principal: Option<String>,
    /// From when on it counts no more; none of one that never ends.
    pub valid_before: Option<SystemTime>,
}

impl Certified {
    pub(super) fn new(certificate: &Certificate, authority: Option<String>, principal: Option<String>) -> Self {
        let facts = CertificateFacts {
            key_id: plain_text_up_to(LONGEST_KEY_ID, &certificate.key_id),
            serial: certificate.serial,
            authority,
            authority_key: certificate.authority_fingerprint().to_string(),
            principal,
            valid_before: certificate.ends(),
        };
        Self { certificate: certificate.clone(), facts }
    }
}

/// How much of a key id is kept.
const LONGEST_KEY_ID: usize = 256;

impl Identity {
    /// The person's name, as configured.
    pub fn person(&self) -> &str {
        &self.person
    }

    /// The groups they are in, each once.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The kind of proof, for policies: `publickey`, `certificate`, `password`, `oidc`.
    pub fn method(&self) -> &str {
        self.proof().split(' ').next().unwrap_or_default()
    }

    /// How they proved it, for evidence: `publickey SHA256:…`, with `: IAM user …` where one holds it, `certificate SHA256:…: …`,
    /// `password`, `oidc <issuer> <subject>`, with ` and totp` or ` and oidc …` behind it where that was.
    pub fn proof(&self) -> &str {
        &self.proof.text
    }

    /// The fingerprint of the key that has signed, `SHA256:…`, where one has.
    pub fn key(&self) -> Option<&KeyFingerprint> {
        match &self.proof.first {
            First::Key(key) | First::Certificate(key, _) => Some(key),
            First::Password(_) | First::SignIn(_) => None,
        }
    }

    /// Whether it is a security key that knew who touched it.
    pub fn user_verified(&self) -> bool {
        self.proof.user_verified
    }

    /// The second factor, where there was one.
    pub fn second_factor(&self) -> Option<SecondFactorFacts> {
        self.proof.second.as_ref().map(Second::facts)
    }

    /// The certificate, where it was one.
    pub fn certificate(&self) -> Option<&CertificateFacts> {
        match &self.proof.first {
            First::Certificate(_, certified) => Some(&certified.facts),
            First::Key(_) | First::Password(_) | First::SignIn(_) => None,
        }
    }

    /// Their sign-in at the provider, where there was one.
    pub fn sign_in(&self) -> Option<&SignInFacts> {
        self.proof.signed_in().map(|signed_in| signed_in.token().facts())
    }

    /// The same, where it can be asked for what it has and how it stands.
    pub fn signed_in(&self) -> Option<&Arc<SignedIn>> {
        self.proof.signed_in()
    }

    /// From when on that is no proof any more.
    pub fn ends(&self) -> Option<SystemTime> {
        let signed_in = self.proof.signed_in().map(|signed_in| signed_in.ends());
        self.proof.ends.into_iter().chain(signed_in).min()
    }

    /// Whether nothing puts that off: a provider that is asked again about a sign-in does.
    pub fn ends_for_certain(&self) -> bool {
        let signed_in = self.proof.signed_in();
        signed_in.is_none_or(|signed_in| {
            signed_in.ends_for_certain() || self.proof.ends.is_some_and(|end| end <= signed_in.ends())
        })
    }

    /// What the proof takes from them, whatever policy gives.
    pub fn restrictions(&self) -> &Restrictions {
        &self.proof.restrictions
    }

    /// As whom AWS sees them in a realm.
    pub fn acts_as(&self, realm: &RealmName) -> &ActsAs {
        self.by_what_they_have(self.acts_as.within(realm))
    }

    /// The same in each realm.
    pub fn in_realms(&self) -> impl Iterator<Item = (&RealmName, &ActsAs)> {
        self.acts_as.each().map(|(realm, acts_as)| (realm, self.by_what_they_have(acts_as)))
    }

    /// A role that is got by a token of theirs is nobody's who has none; nor is another one in its place.
    fn by_what_they_have<'a>(&self, acts_as: &'a ActsAs) -> &'a ActsAs {
        match acts_as {
            ActsAs::Role(role) if role.web_identity.is_some() && self.signed_in().is_none() => &ActsAs::NotSignedIn,
            acts_as => acts_as,
        }
    }

    /// An identity out of nothing, for tests of what comes after it.
    #[cfg(test)]
    pub(crate) fn for_test(person: &str) -> Self {
        Self::for_test_in(person, &[])
    }

    /// The same of somebody in groups.
    #[cfg(test)]
    pub(crate) fn for_test_in(person: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        let proof = Proof {
            first: First::Key(KeyFingerprint::of(b"test")),
            second: None,
            user_verified: false,
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            ends: None,
            restrictions: Restrictions::default(),
            text: "test".to_owned(),
        };
        Self {
            person: person.to_owned(),
            groups,
            proof,
            acts_as: InRealms::one(RealmName::for_test(), ActsAs::Gateway),
        }
    }

    /// The same of somebody with this role.
    #[cfg(test)]
    pub(crate) fn in_role(self, role: Arc<super::Role>) -> Self {
        Self { acts_as: InRealms::one(RealmName::for_test(), ActsAs::Role(role)), ..self }
    }

    /// The same of somebody with what these roles are for them.
    #[cfg(test)]
    pub(crate) fn in_roles(self, roles: &super::RealmRoles) -> Self {
        Self { acts_as: roles.of(&self.person, &self.groups), ..self }
    }

    /// The same with another proof.
    #[cfg(test)]
    pub(crate) fn proved_by(self, proof: &str) -> Self {
        let first = First::Key(KeyFingerprint::of(proof.as_bytes()));
        Self { proof: Proof { first, text: proof.to_owned(), ..self.proof }, ..self }
    }

    /// The same by a sign-in.
    #[cfg(test)]
    pub(crate) fn by_sign_in(self, signed_in: &Arc<SignedIn>) -> Self {
        let (first, text) = (First::SignIn(signed_in.clone()), signed_in.text());
        Self { proof: Proof { first, text, ..self.proof }, ..self }
    }

    /// The same with a second factor.
    #[cfg(test)]
    pub(crate) fn with_a_second_factor(mut self) -> Self {
        let secret =
            super::totp::TotpSecret::parse("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap_or_else(|_| unreachable!());
        self.proof.add(Some(Second::Code { secret: Arc::new(secret), at: SystemTime::UNIX_EPOCH }));
        self
    }

    /// The same of somebody with none.
    #[cfg(test)]
    pub(crate) fn without_a_role(self) -> Self {
        Self { acts_as: InRealms::default(), ..self }
    }
}
