//! Passwords, for tools that know nothing else: hashes by argon2id (RFC 9106) in the configuration, each with the networks that it
//! counts from.
//!
//! ```text
//!  a name, an address ─▶ PasswordAttempt ─ check (dear; elsewhere) ─▶ VerifiedPassword ─▶ Identity
//!                         nobody of that name: the same work, and nobody
//! ```
//!
//! A password itself is in no value that is kept here, and a hash is in no log.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use argon2::{ARGON2ID_IDENT, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};

use super::authenticated::{First, Proof};
use super::enough::Proved;
use super::people::People;
use super::source_list::{SourceList, SourceListError};
use super::unproved::Unproved;
use super::{Identity, Login, Restrictions};

/// The hash of a password, as `$argon2id$v=19$…`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    hash: argon2::PasswordHash,
    /// What a check costs: KiB, and how often they are gone through.
    cost: u64,
}

/// What is wrong with a password of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// It is no hash, or one that is too cheap or too dear.
    #[error("this is no hash of a password that is taken here; make one with: portcullis password")]
    Hash,
    /// It is for everywhere.
    #[error("a password counts only from networks that are named; write from = [\"192.0.2.0/24\"] beside its hash")]
    NoNetwork,
    /// The same, said in another way.
    #[error("a network of no bits is everywhere; name the networks that the password counts from")]
    Everywhere,
    /// One of them is none.
    #[error(transparent)]
    Network(#[from] SourceListError),
}

/// Why a text makes no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It can be guessed.
    #[error("a password has at least {LEAST} characters here; four words, or what a password manager makes")]
    Short,
    /// It is longer than clients send.
    #[error("a password has at most {MOST_BYTES} bytes")]
    Long,
    /// The machine gives no random numbers, or not the memory.
    #[error("the hash could not be made; try again")]
    NotMade,
}

/// Whose passwords there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Passwords(HashMap<String, Arc<PasswordOf>>);

/// A password that is somebody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PasswordOf {
    hash: PasswordHash,
    from: SourceList,
}

/// A password that is to be looked at, with what it has to be.
#[derive(Clone, Debug)]
pub struct PasswordAttempt {
    /// Of somebody, or of nobody where there is nobody of that name.
    password: Arc<PasswordOf>,
    who: Result<String, Unproved>,
}

/// Somebody's password, which was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPassword {
    person: String,
    password: Arc<PasswordOf>,
}

/// RFC 9106, section 4: the second of the two that it recommends, with one lane, since a gateway has better uses for its threads.
const KIB: u32 = 64 * 1024;
const ITERATIONS: u32 = 3;

/// OWASP's least (Password Storage Cheat Sheet), and no more than a login can wait for.
const KIBS: std::ops::RangeInclusive<u32> = 19 * 1024..=256 * 1024;
const MOST_ITERATIONS: u32 = 10;
const MOST_LANES: u32 = 8;
const LEAST_COST: u64 = 2 * 19 * 1024;

/// In characters: what is shorter is found where its hash gets out.
const LEAST: usize = 12;

const MOST_BYTES: usize = 1024;

impl PasswordHash {
    /// Reads a hash.
    pub fn parse(text: &str) -> Result<Self, PasswordFault> {
        let hash = argon2::PasswordHash::new(text).map_err(|_| PasswordFault::Hash)?;
        let params = Params::try_from(&hash).map_err(|_| PasswordFault::Hash)?;
        let cost = u64::from(params.m_cost()) * u64::from(params.t_cost());
        let fine = hash.algorithm == ARGON2ID_IDENT
            && hash.version == Some(Version::V0x13.into())
            && KIBS.contains(&params.m_cost())
            && params.t_cost() <= MOST_ITERATIONS
            && params.p_cost() <= MOST_LANES
            && cost >= LEAST_COST
            && hash.salt.as_ref().is_some_and(|salt| salt.len() >= 16)
            && hash.hash.as_ref().is_some_and(|output| output.len() >= 32);
        if fine { Ok(Self { hash, cost }) } else { Err(PasswordFault::Hash) }
    }

    /// The line for the configuration that stands for a password.
    pub fn line_of(password: &str) -> Result<String, PasswordError> {
        if password.chars().count() < LEAST {
            return Err(PasswordError::Short);
        }
        if password.len() > MOST_BYTES {
            return Err(PasswordError::Long);
        }
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|_| PasswordError::NotMade)?;
        let params = Params::new(KIB, ITERATIONS, 1, None).map_err(|_| PasswordError::NotMade)?;
        let hash = Argon2::from(params).hash_password_with_salt(password.as_bytes(), &salt);
        hash.map(|hash| hash.to_string()).map_err(|_| PasswordError::NotMade)
    }

    fn fits(&self, password: &[u8]) -> bool {
        password.len() <= MOST_BYTES && Argon2::default().verify_password(password, &self.hash).is_ok()
    }
}

/// Whoever reads a log must have nothing to try passwords on.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// A password as the configuration has it, read.
fn password_of(hash: &str, from: &[String]) -> Result<PasswordOf, PasswordFault> {
    if from.is_empty() {
        return Err(PasswordFault::NoNetwork);
    }
    let from = SourceList::of_networks(from)?;
    if from.is_everywhere() {
        return Err(PasswordFault::Everywhere);
    }
    Ok(PasswordOf { hash: PasswordHash::parse(hash)?, from })
}

/// Whether a password of the configuration can be used.
pub fn password_is_usable(hash: &str, from: &[String]) -> Result<(), PasswordFault> {
    password_of(hash, from).map(drop)
}

impl People {
    /// Gives somebody a password that counts from these networks.
    pub fn add_password(&mut self, person: &str, hash: &str, from: &[String]) -> Result<(), PasswordFault> {
        let password = password_of(hash, from)?;
        self.passwords.0.insert(person.to_owned(), Arc::new(password));
        Ok(())
    }

    pub(super) fn has_password(&self, person: &str) -> bool {
        self.passwords.0.contains_key(person)
    }

    /// Whether anybody's password counts from there.
    pub fn takes_passwords_from(&self, source: IpAddr) -> bool {
        self.passwords.0.values().any(|password| password.from.has(source))
    }

    /// A password that is to be looked at, of whom the login names (`ada/web-1`, or `ada` for the gateway itself). It is as much
    /// work, and comes out in the same way, whether there is somebody of that name or not; nothing where no password counts from
    /// there, which whoever asks may know.
    pub fn password_attempt(&self, login: Option<&Login>, source: IpAddr) -> Option<PasswordAttempt> {
        if !self.takes_passwords_from(source) {
            return None;
        }
        let named = login.and_then(Login::named);
        let theirs = named.and_then(|name| Some((name, self.passwords.0.get(name)?)));
        let who = match theirs {
            None => Err(Unproved::NoPassword),
            Some((_, password)) if !password.from.has(source) => Err(Unproved::PasswordSource(source)),
            Some((name, _)) => Ok(name.to_owned()),
        };
        // in the time that the dearest of them takes, whosever it is
        let dearest = || self.passwords.0.values().max_by_key(|password| password.hash.cost);
        let password = theirs.map(|(_, password)| password).or_else(dearest)?.clone();
        Some(PasswordAttempt { password, who })
    }

    /// Who that is, where that is enough for them.
    pub fn identify_by_password(&self, verified: &VerifiedPassword, source: IpAddr) -> Result<Proved, Unproved> {
        self.is_enough(self.with_password(&verified.person, &verified.password, source)?)
    }

    /// The same of somebody whose password was right a while ago; or why it is none any more.
    pub(super) fn with_password(
        &self,
        person: &str,
        password: &Arc<PasswordOf>,
        source: IpAddr,
    ) -> Result<Identity, Unproved> {
        if self.passwords.0.get(person) != Some(password) {
            return Err(Unproved::PasswordGone);
        }
        if !password.from.has(source) {
            return Err(Unproved::PasswordSource(source));
        }
        let proof = Proof {
            first: First::Password(password.clone()),
            second: None,
            user_verified: false,
            source,
            ends: None,
            restrictions: Restrictions::default(),
            text: "password".to_owned(),
        };
        Ok(self.in_further_groups(person.to_owned(), [], proof))
    }
}

impl PasswordAttempt {
    /// Whether it is right. This takes a tenth of a second and as many MiB as the hash says.
    pub fn check(self, password: &[u8]) -> Result<VerifiedPassword, Unproved> {
        let Self { password: is, who } = self;
        let fits = is.hash.fits(password);
        let person = who?;
        if fits { Ok(VerifiedPassword { person, password: is }) } else { Err(Unproved::PasswordWrong) }
    }
}

/// The cheapest that is taken, for tests of what comes of a password.
#[cfg(test)]
impl PasswordHash {
    pub(crate) fn cheap_line_of(password: &str) -> String {
        let params = Params::new(19 * 1024, 2, 1, None).unwrap();
        Argon2::from(params).hash_password_with_salt(password.as_bytes(), &[7; 16]).unwrap().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::super::{EnoughFor, FirstProof, Purpose, SecondProof};
    use super::*;

    fn hash(password: &str) -> String {
        PasswordHash::cheap_line_of(password)
    }

    const RIGHT: &str = "correct horse battery";
    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn people() -> People {
        let mut people = People::new([("ada", &[][..]), ("bob", &[][..])]).unwrap();
        people.add_password("ada", &hash(RIGHT), &["192.0.2.0/24".to_owned()]).unwrap();
        people
    }

    fn tried(people: &People, login: &str, source: &str, password: &str) -> Result<VerifiedPassword, Unproved> {
        let login = Login::parse(login).unwrap();
        people.password_attempt(Some(&login), ip(source)).unwrap().check(password.as_bytes())
    }

    #[test]
    fn a_password_is_its_owner_s_from_where_it_counts_and_only_while_it_is_the_same() {
        let before = people();
        let verified = tried(&before, "ada/web-1", "192.0.2.7", RIGHT).unwrap();
        let Ok(Proved::Enough(ada)) = before.identify_by_password(&verified, ip("192.0.2.7")) else { panic!() };
        assert_eq!((ada.person(), ada.method(), ada.proof(), ada.key()), ("ada", "password", "password", None));
        assert_eq!(tried(&before, "ada", "192.0.2.7", RIGHT).as_ref(), Ok(&verified), "the gateway itself");
        assert_eq!(tried(&before, "ada/web-1", "192.0.2.7", "wrong"), Err(Unproved::PasswordWrong));
        assert_eq!(tried(&before, "ada/web-1", "192.0.2.7", ""), Err(Unproved::PasswordWrong), "AU4");
        for nobody in ["bob/web-1", "eve/web-1", "web-1"] {
            assert_eq!(tried(&before, nobody, "192.0.2.7", RIGHT), Err(Unproved::NoPassword), "{nobody}");
        }
        assert!(before.password_attempt(None, ip("198.51.100.7")).is_none(), "no password counts from there");
        let mut both = people();
        both.add_password("bob", &hash("another one, of bob's"), &["198.51.100.0/24".to_owned()]).unwrap();
        let elsewhere = ip("198.51.100.7");
        assert_eq!(tried(&both, "ada/web-1", "198.51.100.7", RIGHT), Err(Unproved::PasswordSource(elsewhere)));
        // later
        let renewed = |people: &People| people.renew(&ada, NOW, Purpose::GoOn).map(|ada| ada.person().to_owned());
        assert_eq!(renewed(&before), Ok("ada".to_owned()));
        let mut changed = people();
        changed.add_password("ada", &hash("a new one of ada's"), &["192.0.2.0/24".to_owned()]).unwrap();
        assert_eq!(renewed(&changed), Err(Unproved::PasswordGone));
        assert_eq!(renewed(&People::new([("ada", &[][..])]).unwrap()), Err(Unproved::PasswordGone));
    }

    #[test]
    fn rules_say_what_a_password_is_enough_for() {
        let rule = |second| EnoughFor {
            people: vec!["*".to_owned()],
            groups: Vec::new(),
            enough: vec![super::super::Combination { first: FirstProof::Password, second }],
        };
        let verified = tried(&people(), "ada/web-1", "192.0.2.7", RIGHT).unwrap();
        let comes_to = |people: &People| people.identify_by_password(&verified, ip("192.0.2.7"));
        let remembered = std::time::Duration::ZERO;
        let mut with_code = people().with_enough(vec![rule(Some(SecondProof::Totp))], remembered);
        assert!(comes_to(&with_code).is_err(), "and there is no secret");
        assert_eq!(with_code.add_secrets(b"ada GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"), []);
        assert!(matches!(comes_to(&with_code), Ok(Proved::Half(_))));
        assert!(matches!(comes_to(&people().with_enough(vec![rule(None)], remembered)), Ok(Proved::Enough(_))));
        let mut by_key = rule(None);
        by_key.enough[0].first = FirstProof::Key;
        assert!(comes_to(&people().with_enough(vec![by_key], remembered)).is_err());
    }

    #[test]
    fn a_hash_is_one_of_argon2id_and_neither_cheap_nor_dear_and_its_networks_are_some() {
        let good = hash(RIGHT);
        let some = ["192.0.2.0/24".to_owned()];
        assert_eq!(password_is_usable(&good, &some), Ok(()));
        for (bad, why) in [
            (good.replace("argon2id", "argon2i"), "another algorithm"),
            (good.replace("m=19456", "m=1024"), "cheap"),
            (good.replace("m=19456", "m=4000000"), "dear"),
            (good.replace("t=2", "t=1"), "cheap"),
            (good.replace("t=2", "t=4000000"), "dear"),
            (good.replace("v=19", "v=16"), "old"),
            ("hunter2".to_owned(), "the password itself"),
            ("$2b$12$abcdefghijklmnopqrstuv".to_owned(), "bcrypt"),
            (String::new(), "nothing"),
        ] {
            assert_eq!(password_is_usable(&bad, &some), Err(PasswordFault::Hash), "{why}: {bad}");
        }
        assert_eq!(password_is_usable(&good, &[]), Err(PasswordFault::NoNetwork));
        for everywhere in ["0.0.0.0/0", "::/0"] {
            assert_eq!(password_is_usable(&good, &[everywhere.to_owned()]), Err(PasswordFault::Everywhere));
        }
        assert!(!format!("{:?}", people()).contains("argon2id$"), "no hash in a log");
        assert_eq!(PasswordHash::line_of("short"), Err(PasswordError::Short));
        assert_eq!(PasswordHash::line_of(&"x".repeat(2000)), Err(PasswordError::Long));
    }

    proptest! {
        /// A hash comes from a file that somebody has typed.
        #[test]
        fn no_text_is_a_hash_by_accident(text in "\\PC{0,120}|\\$argon2id\\$v=19\\$[a-z0-9=,$+/]{0,120}") {
            let _ = PasswordHash::parse(&text);
        }
    }
}
