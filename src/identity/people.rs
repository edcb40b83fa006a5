//! The people of the configuration and their keys.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::acting::RealmRoles;
use super::authenticated::{First, Proof};
use super::authority::Trust;
use super::authorized_key::{AuthorizedKey, KeyLineError, lines};
use super::certified::{Asks, Purpose};
use super::enough::{Enough, Proved};
use super::key_options::KeyOptions;
use super::passwords::{PasswordFault, Passwords};
use super::proof::{KeyFingerprint, VerifiedKey};
use super::revocations::{Revocation, Revocations};
use super::sign_in::SignIns;
use super::unproved::Unproved;
use super::user_keys::HeldBy;
use super::{Identity, Login};

/// Everybody who may log in, by key.
#[derive(Clone, Debug, Default)]
pub struct People {
    keys: HashMap<KeyFingerprint, Known>,
    /// Who may say by certificates who somebody is, by their keys.
    pub(super) authorities: HashMap<KeyFingerprint, Trust>,
    /// Everybody whom the configuration names.
    pub(super) listed: BTreeSet<String>,
    pub(super) groups: HashMap<String, Vec<String>>,
    /// What is revoked, whosever it was.
    pub(super) revoked: Revocations,
    /// Who is who in AWS.
    pub(super) roles: RealmRoles,
    /// What of all this is enough for whom.
    pub(super) enough: Enough,
    /// Who has a password, and from where it counts.
    pub(super) passwords: Passwords,
    /// Whose sign-ins at a provider are taken, where some are.
    pub(super) sign_ins: Option<SignIns>,
}

/// Whose a key is, and what its line says.
#[derive(Clone, Debug)]
pub(super) struct Known {
    person: String,
    wire: Vec<u8>,
    options: Arc<KeyOptions>,
    /// Who holds it in IAM, where it comes from there.
    held: Option<HeldBy>,
}

impl Known {
    fn of_line(person: &str, key: AuthorizedKey) -> Self {
        let AuthorizedKey { wire, options } = key;
        Self { person: person.to_owned(), wire, options: Arc::new(options), held: None }
    }

    /// One that an IAM user holds, which has no options.
    pub(super) fn held(person: &str, wire: Vec<u8>, held: HeldBy) -> Self {
        Self { person: person.to_owned(), wire, options: Arc::default(), held: Some(held) }
    }

    pub(super) fn person(&self) -> &str {
        &self.person
    }

    pub(super) fn held_by(&self) -> Option<&HeldBy> {
        self.held.as_ref()
    }

    /// Whether it counts from there and now.
    fn counts(&self, source: IpAddr, now: SystemTime) -> Result<(), Unproved> {
        match &self.held {
            Some(held) if !held.counts => Err(Unproved::IamUnanswered(held.user.clone())),
            _ => self.options.count(source, now),
        }
    }
}

/// What is wrong with a line of a file of keys.
#[derive(Debug, PartialEq, Eq)]
pub struct LineFault {
    /// Which line, from 1.
    pub line: usize,
    /// What.
    pub why: KeyLineError,
}

/// What is wrong with the configured people.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PeopleError {
    /// A name that a login could not carry.
    #[error("person {0:?}: a name is 1 to 64 letters, digits, '.', '-', '_' or '@'")]
    Name(String),
    /// Not a line of `authorized_keys`.
    #[error("person {person:?}, key {number}: {why}; {}", why.help())]
    Key {
        /// Whose.
        person: String,
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        why: KeyLineError,
    },
    /// Not a password that can be used.
    #[error("person {person:?}, password: {why}")]
    Password {
        /// Whose.
        person: String,
        /// What is wrong with it.
        why: PasswordFault,
    },
    /// Not a key that may sign certificates.
    #[error("authority {authority:?}, key {number}: {why}; {}", why.help())]
    Authority {
        /// Whose.
        authority: String,
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        why: KeyLineError,
    },
    /// One key can't stand for two people.
    #[error("the key {fingerprint} is listed for \"{first}\" and for \"{second}\"; a key stands for one person")]
    Shared {
        /// The key.
        fingerprint: KeyFingerprint,
        /// Who had it first.
        first: String,
        /// Who has it too.
        second: String,
    },
}

impl People {
    /// Everybody by name, with their keys as lines of `authorized_keys`.
    pub fn new<'a>(people: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Result<Self, PeopleError> {
        let mut everybody = Self::default();
        for (name, keys) in people {
            name_is_usable(name)?;
            everybody.listed.insert(name.to_owned());
            for (index, line) in keys.iter().enumerate() {
                let wrong = |why| PeopleError::Key { person: name.to_owned(), number: index + 1, why };
                let key = AuthorizedKey::parse(line).map_err(wrong)?;
                if key.options.authority.is_some() {
                    everybody.add_authority_line(name, key).map_err(wrong)?;
                    continue;
                }
                let fingerprint = KeyFingerprint::of(&key.wire);
                let before = everybody.keys.insert(fingerprint.clone(), Known::of_line(name, key));
                if let Some(first) = before.map(|before| before.person).filter(|first| first != name) {
                    return Err(PeopleError::Shared { fingerprint, first, second: name.to_owned() });
                }
            }
        }
        Ok(everybody)
    }

    /// Adds the keys of a file of somebody's, in the form of `authorized_keys`. A line that is wrong proves nothing, and the others
    /// do; so does one whose key somebody has already, since which of the two is meant nobody knows.
    pub fn add_file(&mut self, person: &str, file: &[u8]) -> Vec<LineFault> {
        let mut faults = Vec::new();
        for (line, text) in lines(file) {
            if let Err(why) = text.and_then(AuthorizedKey::parse).and_then(|key| self.add(person, key)) {
                faults.push(LineFault { line, why });
            }
        }
        faults
    }

    fn add(&mut self, person: &str, key: AuthorizedKey) -> Result<(), KeyLineError> {
        if key.options.authority.is_some() {
            return self.add_authority_line(person, key);
        }
        let fingerprint = KeyFingerprint::of(&key.wire);
        if let Some(known) = self.keys.get(&fingerprint) {
            return Err(KeyLineError::Twice(format!("{}'s", known.person)));
        }
        self.keys.insert(fingerprint, Known::of_line(person, key));
        Ok(())
    }

    /// Whose a key is.
    pub(super) fn owner(&self, key: &KeyFingerprint) -> Option<&str> {
        self.keys.get(key).map(Known::person)
    }

    /// Adds a key that nobody has.
    pub(super) fn insert(&mut self, key: KeyFingerprint, known: Known) {
        self.keys.insert(key, known);
    }

    /// The same, without what these lists revoke.
    #[must_use]
    pub fn but(mut self, revoked: Revocations) -> Self {
        self.revoked = revoked;
        self
    }

    /// The same, some of them in groups.
    #[must_use]
    pub fn in_groups<'a>(mut self, groups: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Self {
        for (person, groups) in groups {
            let theirs: BTreeSet<&String> = groups.iter().collect();
            self.groups.insert(person.to_owned(), theirs.into_iter().cloned().collect());
        }
        self
    }

    /// The same, with these roles in AWS.
    #[must_use]
    pub fn in_roles(self, roles: RealmRoles) -> Self {
        Self { roles, ..self }
    }

    /// Whether a signature by this key is worth asking for, from this address and now. Proves nothing.
    pub fn would_prove(&self, wire: &[u8], source: IpAddr, now: SystemTime) -> Result<(), Unproved> {
        let known = self.keys.get(&KeyFingerprint::of(wire)).ok_or(Unproved::Unknown)?;
        self.not_revoked(wire)?;
        known.counts(source, now)
    }

    fn not_revoked(&self, wire: &[u8]) -> Result<(), Unproved> {
        match self.revoked.of_key(wire) {
            None => Ok(()),
            Some(Revocation::Revoked) => Err(Unproved::Revoked(KeyFingerprint::of(wire))),
            Some(Revocation::Unknown) => Err(Unproved::RevocationsUnreadable),
        }
    }

    /// Who that is, from this address and now, where that is enough for them. A login that names a person (`ada/web-1`) must name the
    /// key's owner.
    pub fn identify(
        &self,
        key: &VerifiedKey,
        login: Option<&Login>,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<Proved, Unproved> {
        let fingerprint = KeyFingerprint::of(key.wire());
        let known = self.keys.get(&fingerprint).ok_or(Unproved::Unknown)?;
        if let Some(named) = login.and_then(Login::person).filter(|named| *named != known.person) {
            return Err(Unproved::OfAnother { owner: known.person.clone(), named: named.to_owned() });
        }
        self.is_enough(self.proved(known, fingerprint, key.user_verified(), source, now)?)
    }

    /// Somebody who proved who they are a while ago, as they are now; or why that is no proof any more.
    pub fn renew(&self, identity: &Identity, now: SystemTime, purpose: Purpose) -> Result<Identity, Unproved> {
        let Proof { first, second, user_verified, source, .. } = &identity.proof;
        let renewed = match first {
            First::SignIn(signed_in) => self.signed_in(signed_in, *source, now)?,
            First::Password(password) => self.with_password(&identity.person, password, *source)?,
            First::Certificate(_, certified) => {
                let asks = Asks { named: Some(&identity.person), source: *source, now, purpose };
                self.certified(&certified.certificate, *user_verified, asks)?
            }
            First::Key(key) => {
                let known = self.keys.get(key).ok_or(Unproved::Unknown)?;
                if known.person != identity.person {
                    return Err(Unproved::Changed(key.clone()));
                }
                self.proved(known, key.clone(), *user_verified, *source, now)?
            }
        };
        self.is_still_enough(renewed, second.as_ref(), now)
    }

    /// Somebody by a proof that says further groups of theirs: in these, and in those that the configuration has them in.
    pub(super) fn in_further_groups(
        &self,
        person: String,
        further: impl IntoIterator<Item = String>,
        proof: Proof,
    ) -> Identity {
        let known = self.groups.get(&person).into_iter().flatten().cloned();
        let groups: BTreeSet<String> = known.chain(further).collect();
        let groups: Vec<String> = groups.into_iter().collect();
        let acts_as = self.roles.of(&person, &groups);
        Identity { person, groups, proof, acts_as }
    }

    fn proved(
        &self,
        known: &Known,
        key: KeyFingerprint,
        user_verified: bool,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<Identity, Unproved> {
        let options = &known.options;
        self.not_revoked(&known.wire)?;
        known.counts(source, now)?;
        if options.verify_required && !user_verified {
            return Err(Unproved::NotVerified);
        }
        let text = match &known.held {
            Some(HeldBy { user, id, .. }) => format!("publickey {key}: IAM user {user}, {id}"),
            None => format!("publickey {key}"),
        };
        let (ends, restrictions) = (options.expires, options.restrictions.clone());
        let groups = self.groups.get(&known.person).cloned().unwrap_or_default();
        let first = First::Key(key);
        let proof = Proof { first, second: None, user_verified, source, ends, restrictions, text };
        let acts_as = self.roles.of(&known.person, &groups);
        Ok(Identity { person: known.person.clone(), groups, proof, acts_as })
    }
}

impl KeyOptions {
    /// Whether the key counts from there and now.
    pub(super) fn count(&self, source: IpAddr, now: SystemTime) -> Result<(), Unproved> {
        if self.expires.is_some_and(|end| now >= end) {
            return Err(Unproved::Expired);
        }
        match &self.from {
            Some(list) if !list.has(source) => Err(Unproved::Source(source)),
            _ => Ok(()),
        }
    }
}

/// Whether somebody may be called so: a login name may say who it is.
pub fn name_is_usable(name: &str) -> Result<(), PeopleError> {
    if super::login::is_person(name) { Ok(()) } else { Err(PeopleError::Name(name.to_owned())) }
}

/// Keys that no configuration may have, for tests of what a login makes of them.
#[cfg(test)]
impl People {
    pub(crate) fn with_any_key(mut self, person: &str, wire: &[u8]) -> Self {
        let known = Known::of_line(person, AuthorizedKey { wire: wire.to_vec(), options: KeyOptions::default() });
        self.keys.insert(KeyFingerprint::of(wire), known);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Roster;
    use super::super::authorized_key::key_of_line;
    use super::super::key_options::KeyOptionError;
    use super::*;

    const ADA: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ada@laptop";
    const OTHER: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEpO0zQeokg94WBU53OHHvVvv0+PdhB4HAahfFu85pNftmKOYgJ0Cj+1ckEt93rrrBy4lfEOp/JeSvsPQu3CN/A=";
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn people(of: &[(&str, &str)]) -> Result<People, PeopleError> {
        let owned: Vec<_> = of.iter().map(|(name, key)| (*name, vec![(*key).to_owned()])).collect();
        People::new(owned.iter().map(|(name, keys)| (*name, keys.as_slice())))
    }

    fn key(line: &str) -> VerifiedKey {
        VerifiedKey::signature_checked(key_of_line(line).unwrap(), false)
    }

    fn enough(proved: Proved) -> Identity {
        match proved {
            Proved::Enough(identity) => identity,
            Proved::Half(half) => panic!("{half:?}"),
        }
    }

    fn identify(people: &People, line: &str, login: Option<&str>) -> Result<Identity, Unproved> {
        let login = login.map(|text| Login::parse(text).unwrap());
        people.identify(&key(line), login.as_ref(), HERE, SystemTime::now()).map(enough)
    }

    #[test]
    fn a_key_stands_for_its_owner_only() {
        let people = people(&[("ada", ADA)]).unwrap();
        assert_eq!(people.would_prove(&key_of_line(ADA).unwrap(), HERE, SystemTime::now()), Ok(()));
        let identity = identify(&people, ADA, Some("web-1")).unwrap();
        assert_eq!(identity.person(), "ada");
        assert!(identity.proof().starts_with("publickey SHA256:"));
        assert!(identify(&people, ADA, Some("ada/web-1")).is_ok());
        assert_eq!(identify(&people, ADA, Some("bob/web-1")).unwrap_err().code().name(), "key-of-another");
        assert_eq!(identify(&people, OTHER, None), Err(Unproved::Unknown));
    }

    #[test]
    fn somebody_is_in_their_groups_and_in_no_others() {
        let groups = ["ops", "dev", "ops"].map(str::to_owned);
        let people = people(&[("ada", ADA)]).unwrap().in_groups([("ada", &groups[..]), ("bob", &groups[..1])]);
        let identity = identify(&people, ADA, None).unwrap();
        assert_eq!((identity.groups(), identity.method()), (&["dev", "ops"].map(str::to_owned)[..], "publickey"));
    }

    #[test]
    fn who_logged_in_is_renewed_as_they_are_now_and_not_without_their_key() {
        let ops = ["ops".to_owned()];
        let before = people(&[("ada", ADA)]).unwrap();
        let ada = identify(&before, ADA, None).unwrap();
        let roster = Roster::from(before);
        let renewed = || roster.current().renew(&ada, SystemTime::now(), Purpose::GoOn);
        assert_eq!(renewed(), Ok(ada.clone()));
        roster.replace(people(&[("ada", ADA)]).unwrap().in_groups([("ada", &ops[..])]));
        assert_eq!(renewed().unwrap().groups(), ops);
        // the key is another's, or nobody's, or counts from elsewhere
        for (others, code) in [
            (&[("bob", ADA)][..], "key-of-another"),
            (&[], "key-unknown"),
            (&[("ada", &format!("from=\"203.0.113.0/24\" {ADA}")[..])], "source-not-allowed"),
            (&[("ada", &format!("verify-required {ADA}"))], "user-not-verified"),
        ] {
            roster.replace(people(others).unwrap());
            assert_eq!(renewed().unwrap_err().code().name(), code);
        }
    }

    #[test]
    fn au7_what_a_line_says_of_its_key_holds_at_the_offer_at_the_login_and_later() {
        let end = std::time::UNIX_EPOCH + Duration::from_secs(1_801_353_600);
        let line = format!("from=\"192.0.2.0/24,!192.0.2.8\",expiry-time=\"20270131Z\",no-pty,command=\"id\" {ADA}");
        let people = people(&[("ada", &line)]).unwrap();
        let elsewhere: IpAddr = "192.0.2.8".parse().unwrap();
        let before = end - Duration::from_secs(1);
        for (source, now, expected) in [
            (HERE, before, Ok(())),
            (HERE, end, Err(Unproved::Expired)),
            (elsewhere, before, Err(Unproved::Source(elsewhere))),
        ] {
            assert_eq!(people.would_prove(&key_of_line(ADA).unwrap(), source, now), expected);
            let identity = people.identify(&key(ADA), None, source, now).map(enough);
            assert_eq!(identity.as_ref().map(|_| ()).map_err(Clone::clone), expected);
            let Ok(identity) = identity else { continue };
            assert_eq!((identity.ends(), identity.restrictions().command()), (Some(end), Some("id")));
            assert!(!identity.restrictions().lets_have_terminal() && identity.restrictions().lets_forward());
            assert_eq!(people.renew(&identity, before, Purpose::GoOn), Ok(identity.clone()));
            assert_eq!(people.renew(&identity, end, Purpose::Open), Err(Unproved::Expired));
        }
    }

    #[test]
    fn a_key_that_must_be_verified_is_none_when_it_was_only_touched() {
        let people = people(&[("ada", &format!("verify-required {ADA}"))]).unwrap();
        assert_eq!(identify(&people, ADA, None), Err(Unproved::NotVerified));
        let verified = VerifiedKey::signature_checked(key_of_line(ADA).unwrap(), true);
        assert!(people.identify(&verified, None, HERE, SystemTime::now()).is_ok());
    }

    #[test]
    fn a_file_adds_its_keys_and_each_wrong_line_proves_nothing() {
        let mut people = people(&[("ada", ADA)]).unwrap();
        let file = format!("# bob's\nno-pyt {OTHER}\n\n{ADA}\nno-pty {OTHER}\n{OTHER} again\n");
        let faults = people.add_file("bob", file.as_bytes());
        let twice = |whose: &str| KeyLineError::Twice(whose.to_owned());
        let option = KeyLineError::Option(KeyOptionError::Unknown("no-pyt".to_owned()));
        let expected = [(2, option), (4, twice("ada's")), (6, twice("bob's"))];
        assert_eq!(faults, expected.map(|(line, why)| LineFault { line, why }));
        assert_eq!(identify(&people, ADA, None).unwrap().person(), "ada");
        let bob = identify(&people, OTHER, None).unwrap();
        assert!(bob.person() == "bob" && !bob.restrictions().lets_have_terminal());
    }

    #[test]
    fn mistakes_in_the_configuration_are_sentences() {
        let shared = people(&[("ada", ADA), ("bob", ADA)]).unwrap_err().to_string();
        assert!(shared.contains("\"ada\" and for \"bob\""), "{shared}");
        let damaged = people(&[("ada", "ssh-ed25519 !!!")]).unwrap_err();
        assert!(
            damaged.to_string().starts_with("person \"ada\", key 1: this public key is damaged; copy"),
            "{damaged}"
        );
        assert_eq!(people(&[("a b", ADA)]).unwrap_err(), PeopleError::Name("a b".to_owned()));
    }
}
