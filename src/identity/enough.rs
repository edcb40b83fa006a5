//! Which proofs are enough, and for whom. Somebody is somebody only when all of a combination has been verified: until then there
//! is no [`Identity`], only a [`HalfProved`] that gives out none.
//!
//! ```text
//!  a key or a certificate, verified ──▶ by the rules that is enough ─────────────────▶ Identity
//!                                    └▶ a code as well ──▶ HalfProved ──the code, or ─▶ Identity
//!                                                          remembered for a time
//! ```

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Identity;
use super::people::People;
use super::proof::KeyFingerprint;
use super::second_factors::{SecondFactors, WrongCode};
use super::totp::{TotpError, TotpSecret, line};
use super::unproved::Unproved;

/// What proves first who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstProof {
    /// A key.
    Key,
    /// A certificate.
    Certificate,
}

/// Proofs that are enough together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Combination {
    /// What comes first.
    pub first: FirstProof,
    /// A code as well.
    pub totp: bool,
}

/// What is enough for some people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnoughFor {
    /// Whom it is for, by name; `*` is everybody.
    pub people: Vec<String>,
    /// Whom it is for, by group.
    pub groups: Vec<String>,
    /// Any of these is.
    pub enough: Vec<Combination>,
}

/// The rules, the first of which that is for somebody holds; and whose codes are made by what.
#[derive(Clone, Debug, Default)]
pub(super) struct Enough {
    rules: Vec<EnoughFor>,
    secrets: HashMap<String, Arc<TotpSecret>>,
    remembered: Duration,
}

/// A second factor that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Second {
    pub(super) secret: Arc<TotpSecret>,
    /// When the person was asked for it.
    pub(super) at: SystemTime,
}

/// What a proof comes to.
#[derive(Debug)]
pub enum Proved {
    /// It is enough.
    Enough(Identity),
    /// A code has to come as well.
    Half(HalfProved),
}

/// Somebody who has proved the first half of who they are.
#[derive(Debug)]
pub struct HalfProved {
    /// Who that is, once the rest is verified; until then nobody gets it.
    identity: Identity,
    secret: Arc<TotpSecret>,
    remembered: Duration,
}

/// Who is asked for a second factor. What one answer is good for is all the same in these.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asker {
    /// The person.
    pub(super) person: String,
    /// The key that they have signed with.
    pub(super) key: KeyFingerprint,
    /// Where they connect from.
    pub(super) source: IpAddr,
}

/// What is wrong with a line of the file of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TotpFault {
    /// Which line, from 1.
    pub line: usize,
    /// What.
    pub why: TotpError,
}

/// What stands for everybody.
const EVERYBODY: &str = "*";

impl People {
    /// The same people, for whom these are enough, and whose second factors are remembered for so long.
    #[must_use]
    pub fn with_enough(mut self, rules: Vec<EnoughFor>, remembered: Duration) -> Self {
        self.enough = Enough { rules, remembered, ..self.enough };
        self
    }

    /// Adds a file of secrets. Whose line is wrong has none, and the others have theirs.
    pub fn add_secrets(&mut self, file: &[u8]) -> Vec<TotpFault> {
        let mut faults = Vec::new();
        for (index, text) in file.split(|&byte| byte == b'\n').enumerate() {
            let text = std::str::from_utf8(text).unwrap_or("not text").trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let added = line(text).and_then(|(name, secret)| self.enough.add(name, secret));
            faults.extend(added.err().map(|why| TotpFault { line: index + 1, why }));
        }
        faults
    }

    /// Whether somebody of this name and these groups could ever log in; false where their rule wants a code and they have no secret, or
    /// no rule is for them.
    pub fn could_be_enough(&self, person: &str, groups: &[String]) -> bool {
        let has_secret = self.enough.secrets.contains_key(person);
        match self.enough.rule(person, groups) {
            Some(rule) => rule.enough.iter().any(|combination| has_secret || !combination.totp),
            None => self.enough.rules.is_empty(),
        }
    }

    /// What a first proof comes to.
    pub(super) fn is_enough(&self, identity: Identity) -> Result<Proved, Unproved> {
        match self.enough.needs(&identity)? {
            None => Ok(Proved::Enough(identity)),
            Some(secret) => Ok(Proved::Half(self.half(identity, secret))),
        }
    }

    /// Somebody whose proof is enough, and who is asked for a second factor all the same, where they have one.
    pub fn ask_besides(&self, identity: Identity) -> Proved {
        match self.enough.secrets.get(identity.person()).cloned() {
            Some(secret) if identity.second_factor().is_none() => Proved::Half(self.half(identity, secret)),
            _ => Proved::Enough(identity),
        }
    }

    /// Whether what somebody has proved is enough still, with their second factor of then.
    pub(super) fn is_still_enough(
        &self,
        mut identity: Identity,
        second: Option<&Second>,
    ) -> Result<Identity, Unproved> {
        // a secret that was taken away has verified nothing, whoever knew it
        let second = second.filter(|second| self.enough.secrets.get(identity.person()) == Some(&second.secret));
        match (self.enough.needs(&identity)?, second) {
            (Some(_), None) => Err(Unproved::SecondFactorGone),
            (_, second) => {
                identity.proof.add(second.cloned());
                Ok(identity)
            }
        }
    }

    fn half(&self, identity: Identity, secret: Arc<TotpSecret>) -> HalfProved {
        HalfProved { identity, secret, remembered: self.enough.remembered }
    }
}

impl Enough {
    fn add(&mut self, person: &str, secret: TotpSecret) -> Result<(), TotpError> {
        if self.secrets.contains_key(person) {
            return Err(TotpError::Twice);
        }
        self.secrets.insert(person.to_owned(), Arc::new(secret));
        Ok(())
    }

    fn rule(&self, person: &str, groups: &[String]) -> Option<&EnoughFor> {
        self.rules.iter().find(|rule| {
            rule.people.iter().any(|name| name == person || name == EVERYBODY)
                || rule.groups.iter().any(|group| groups.contains(group))
        })
    }

    /// The secret of the code that must come as well; none where what there is is enough.
    fn needs(&self, identity: &Identity) -> Result<Option<Arc<TotpSecret>>, Unproved> {
        if self.rules.is_empty() {
            return Ok(None);
        }
        let first = match identity.certificate() {
            Some(_) => FirstProof::Certificate,
            None => FirstProof::Key,
        };
        let rule = self.rule(identity.person(), identity.groups()).ok_or(Unproved::NotEnough { rule: false })?;
        let mut begun = rule.enough.iter().filter(|combination| combination.first == first).peekable();
        if begun.peek().is_none() {
            return Err(Unproved::NotEnough { rule: true });
        }
        if begun.any(|combination| !combination.totp) {
            return Ok(None);
        }
        self.secrets.get(identity.person()).cloned().map(Some).ok_or(Unproved::NoSecret)
    }
}

impl HalfProved {
    /// Who is asked.
    pub fn asker(&self) -> Asker {
        let Identity { person, proof, .. } = &self.identity;
        Asker { person: person.clone(), key: proof.key.clone(), source: proof.source }
    }

    /// Who that is, where they have answered a while ago.
    pub fn recall(&self, factors: &SecondFactors, now: SystemTime) -> Option<Identity> {
        let at = factors.recall(&self.asker(), &self.secret, self.remembered, now)?;
        Some(self.whole(at))
    }

    /// Who that is, where this is a code of theirs that nobody has used.
    pub fn answer(&self, factors: &SecondFactors, code: &str, now: SystemTime) -> Result<Identity, WrongCode> {
        factors.verify(&self.asker(), &self.secret, code, now)?;
        if self.remembered > Duration::ZERO {
            factors.remember(self.asker(), self.secret.clone(), now);
        }
        Ok(self.whole(now))
    }

    fn whole(&self, at: SystemTime) -> Identity {
        let mut identity = self.identity.clone();
        identity.proof.add(Some(Second { secret: self.secret.clone(), at }));
        identity
    }
}

#[cfg(test)]
impl Asker {
    /// Somebody at this machine.
    pub(crate) fn for_test(person: &str) -> Self {
        let source = std::net::Ipv4Addr::LOCALHOST.into();
        Self { person: person.to_owned(), key: KeyFingerprint::of(b"key"), source }
    }
}

#[cfg(test)]
mod tests {
    use super::super::totp::TotpSecret;
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;
    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn rule(people: &[&str], groups: &[&str], enough: &[(FirstProof, bool)]) -> EnoughFor {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let enough = enough.iter().map(|&(first, totp)| Combination { first, totp }).collect();
        EnoughFor { people: owned(people), groups: owned(groups), enough }
    }

    fn people(rules: &[EnoughFor], secrets: &str) -> People {
        let mut people = People::default().with_enough(rules.to_vec(), Duration::from_secs(300));
        assert_eq!(people.add_secrets(secrets.as_bytes()), []);
        people
    }

    fn comes_to(people: &People, identity: Identity) -> &'static str {
        match people.is_enough(identity) {
            Ok(Proved::Enough(_)) => "enough",
            Ok(Proved::Half(_)) => "half",
            Err(why) => why.code().name(),
        }
    }

    #[test]
    fn the_first_rule_that_is_for_somebody_says_what_is_enough() {
        use FirstProof::{Certificate, Key};
        let secrets = format!("# of two\nada {SECRET}\n\nbob {SECRET}\n");
        let ops = || Identity::for_test_in("ada", &["ops"]);
        for (rules, expected) in [
            (&[][..], "enough"),
            (&[rule(&["*"], &[], &[(Key, false)])], "enough"),
            (&[rule(&[], &["ops"], &[(Key, true)])], "half"),
            (&[rule(&[], &["ops"], &[(Key, true), (Key, false)])], "enough"),
            (&[rule(&[], &["ops"], &[(Certificate, false)])], "proof-not-enough"),
            (&[rule(&[], &["ops"], &[])], "proof-not-enough"),
            // whom no rule names nothing is enough for
            (&[rule(&["bob"], &["dev"], &[(Key, false)])], "proof-not-enough"),
            (&[rule(&["bob"], &[], &[(Key, false)]), rule(&["*"], &[], &[(Key, true)])], "half"),
            (&[rule(&[], &["ops"], &[(Key, true)]), rule(&["*"], &[], &[(Key, false)])], "half"),
        ] {
            assert_eq!(comes_to(&people(rules, &secrets), ops()), expected, "{rules:?}");
        }
        let all = [rule(&["*"], &[], &[(Key, true)])];
        assert_eq!(comes_to(&people(&all, ""), ops()), "proof-not-enough", "nobody has a secret");
        assert!(!people(&all, "").could_be_enough("ada", &[]) && people(&all, &secrets).could_be_enough("ada", &[]));
    }

    #[test]
    fn there_is_nobody_before_the_code_and_a_secret_that_is_gone_has_proved_nothing() {
        let all = [rule(&["*"], &[], &[(FirstProof::Key, true)])];
        let before = people(&all, &format!("ada {SECRET}"));
        let Ok(Proved::Half(half)) = before.is_enough(Identity::for_test("ada")) else { panic!("half") };
        let factors = SecondFactors::default();
        assert_eq!(half.recall(&factors, NOW), None);
        assert_eq!(half.answer(&factors, "", NOW), Err(WrongCode::Wrong), "AU4");
        let ada = half.answer(&factors, "755224", NOW).unwrap();
        assert_eq!((ada.proof(), ada.second_factor().map(|facts| facts.kind)), ("test and totp", Some("totp")));
        assert_eq!(half.recall(&factors, NOW), Some(ada.clone()));
        // another key, and another address
        let other = Identity::for_test("ada").proved_by("other");
        let Ok(Proved::Half(other)) = before.is_enough(other) else { panic!("half") };
        assert_eq!(other.recall(&factors, NOW), None);
        let second = ada.proof.second.as_ref();
        let still =
            |people: &People| people.is_still_enough(Identity::for_test("ada"), second).map(|ada| ada.proof.second);
        assert_eq!(still(&before), Ok(second.cloned()));
        let renewed = people(&all, "ada JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP");
        assert_eq!(still(&renewed), Err(Unproved::SecondFactorGone));
        let Ok(Proved::Half(half)) = renewed.is_enough(Identity::for_test("ada")) else { panic!("half") };
        assert_eq!(half.recall(&factors, NOW), None, "remembered of another secret");
        // where it is not wanted any more, it goes on without
        assert_eq!(still(&people(&[], "")), Ok(None));
    }

    #[test]
    fn a_line_that_is_wrong_is_nobody_s_secret() {
        let mut people = People::default();
        let file = format!("ada {SECRET}\nada {SECRET}\n\u{e9}ve {SECRET}\nbob\n");
        let faults: Vec<_> = people.add_secrets(file.as_bytes()).iter().map(|fault| (fault.line, fault.why)).collect();
        assert_eq!(faults, [(2, TotpError::Twice), (3, TotpError::Name), (4, TotpError::Line)]);
        let _: &Arc<TotpSecret> = people.enough.secrets.get("ada").unwrap();
    }
}
