//! Which proofs are enough, and for whom. Somebody is somebody only when all of a combination has been verified: until then there
//! is no [`Identity`], only a [`HalfProved`] that gives out none.
//!
//! ```text
//!  a key, a certificate or a sign-in, ──▶ by the rules that is enough ───────────────────────────▶ Identity
//!  verified                            └▶ a code or a sign-in as well ──▶ HalfProved ──that, or ──▶ Identity
//!                                                              a code that is remembered for a time
//! ```

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Identity;
use super::authenticated::{First, SecondFactorFacts};
use super::people::People;
use super::second_factors::{SecondFactors, WrongCode};
use super::sign_in::SignedIn;
use super::totp::{TotpError, TotpSecret, line};
use super::unproved::Unproved;

/// What proves first who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstProof {
    /// A key.
    Key,
    /// A certificate.
    Certificate,
    /// A password.
    Password,
    /// A sign-in at the provider.
    SignIn,
}

/// What comes as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondProof {
    /// A code.
    Totp,
    /// A sign-in at the provider.
    SignIn,
}

/// Proofs that are enough together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Combination {
    /// What comes first.
    pub first: FirstProof,
    /// What comes as well.
    pub second: Option<SecondProof>,
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
pub(super) enum Second {
    /// A code.
    Code {
        secret: Arc<TotpSecret>,
        /// When the person was asked for it.
        at: SystemTime,
    },
    /// A sign-in.
    SignIn(Arc<SignedIn>),
}

impl Second {
    pub(super) fn facts(&self) -> SecondFactorFacts {
        match self {
            Self::Code { at, .. } => SecondFactorFacts { kind: "totp", at: *at },
            Self::SignIn(signed_in) => SecondFactorFacts { kind: "oidc", at: signed_in.token().facts().at },
        }
    }

    /// In words, for evidence.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Code { .. } => "totp".to_owned(),
            Self::SignIn(signed_in) => signed_in.text(),
        }
    }

    fn kind(&self) -> SecondProof {
        match self {
            Self::Code { .. } => SecondProof::Totp,
            Self::SignIn(_) => SecondProof::SignIn,
        }
    }
}

/// What a proof comes to.
#[derive(Debug)]
pub enum Proved {
    /// It is enough.
    Enough(Identity),
    /// Something has to come as well.
    Half(HalfProved),
}

/// Somebody who has proved the first half of who they are.
#[derive(Debug)]
pub struct HalfProved {
    /// Who that is, once the rest is verified; until then nobody gets it.
    identity: Identity,
    missing: Missing,
}

/// What has to come as well.
#[derive(Debug)]
enum Missing {
    Code { secret: Arc<TotpSecret>, remembered: Duration },
    SignIn,
}

/// Who is asked for a second factor. What one answer is good for is all the same in these.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asker {
    /// The person.
    pub(super) person: String,
    /// What came first: the key that they have signed with, or whom the provider says that they are.
    pub(super) by: String,
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
            Some(rule) => rule.enough.iter().any(|combination| {
                let signs_in =
                    combination.first == FirstProof::SignIn || combination.second == Some(SecondProof::SignIn);
                (combination.first != FirstProof::Password || self.has_password(person))
                    && (has_secret || combination.second != Some(SecondProof::Totp))
                    && (self.sign_ins.is_some() || !signs_in)
            }),
            None => self.enough.rules.is_empty(),
        }
    }

    /// Whether a sign-in, before any other proof, is enough for anybody or begins what is.
    pub fn sign_in_may_come_first(&self) -> bool {
        let mut combinations = self.enough.rules.iter().flat_map(|rule| &rule.enough);
        self.sign_ins.is_some() && combinations.any(|combination| combination.first == FirstProof::SignIn)
    }

    /// What a first proof comes to.
    pub(super) fn is_enough(&self, identity: Identity) -> Result<Proved, Unproved> {
        match self.needs(&identity)? {
            None => Ok(Proved::Enough(identity)),
            Some(missing) => Ok(Proved::Half(HalfProved { identity, missing })),
        }
    }

    /// Somebody whose proof is enough, and who is asked for a second factor all the same, where they have one.
    pub fn ask_besides(&self, identity: Identity) -> Proved {
        match self.code_of(&identity) {
            Some(missing) if identity.second_factor().is_none() => Proved::Half(HalfProved { identity, missing }),
            _ => Proved::Enough(identity),
        }
    }

    /// Whether what somebody has proved is enough still, with their second factor of then.
    pub(super) fn is_still_enough(
        &self,
        identity: Identity,
        second: Option<&Second>,
        now: SystemTime,
    ) -> Result<Identity, Unproved> {
        let combinations = self.enough.begun(&identity)?;
        let alone = combinations.iter().any(|combination| combination.second.is_none());
        let wanted = |second: &Second| combinations.iter().any(|one| one.second == Some(second.kind()));
        match second {
            // a secret that was taken away has verified nothing, whoever knew it
            Some(Second::Code { secret, .. }) if self.enough.secrets.get(identity.person()) != Some(secret) => {
                if alone { Ok(identity) } else { Err(Unproved::SecondFactorGone) }
            }
            Some(second) if alone || wanted(second) => match second {
                Second::Code { .. } => Ok(identity.with(second.clone())),
                Second::SignIn(signed_in) => {
                    let identity = self.signed_in_besides(identity, signed_in, now)?;
                    Ok(identity.with(second.clone()))
                }
            },
            None if alone => Ok(identity),
            _ => Err(Unproved::SecondFactorGone),
        }
    }

    /// What must come as well; nothing where what there is is enough. The first that is possible is what is asked for.
    fn needs(&self, identity: &Identity) -> Result<Option<Missing>, Unproved> {
        let combinations = self.enough.begun(identity)?;
        if combinations.iter().any(|combination| combination.second.is_none()) {
            return Ok(None);
        }
        let possible = combinations.iter().find_map(|combination| match combination.second? {
            SecondProof::Totp => self.code_of(identity),
            SecondProof::SignIn => self.sign_ins.as_ref().map(|_| Missing::SignIn),
        });
        let code_is_wanted = combinations.iter().any(|combination| combination.second == Some(SecondProof::Totp));
        let why = if code_is_wanted { Unproved::NoSecret } else { Unproved::NoProvider };
        possible.map(Some).ok_or(why)
    }

    fn code_of(&self, identity: &Identity) -> Option<Missing> {
        let secret = self.enough.secrets.get(identity.person())?.clone();
        Some(Missing::Code { secret, remembered: self.enough.remembered })
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

    /// The combinations that begin with what somebody has proved, at least one.
    fn begun(&self, identity: &Identity) -> Result<Vec<Combination>, Unproved> {
        let first = match &identity.proof.first {
            First::Key(_) => FirstProof::Key,
            First::Certificate(..) => FirstProof::Certificate,
            First::Password(_) => FirstProof::Password,
            First::SignIn(_) => FirstProof::SignIn,
        };
        if self.rules.is_empty() {
            // whoever wants sign-ins says for whom they are enough
            let alone = Combination { first, second: None };
            return if first == FirstProof::SignIn {
                Err(Unproved::NotEnough { rule: false })
            } else {
                Ok(vec![alone])
            };
        }
        let rule = self.rule(identity.person(), identity.groups()).ok_or(Unproved::NotEnough { rule: false })?;
        let begun: Vec<_> = rule.enough.iter().filter(|combination| combination.first == first).copied().collect();
        if begun.is_empty() { Err(Unproved::NotEnough { rule: true }) } else { Ok(begun) }
    }
}

impl HalfProved {
    /// What has to come as well.
    pub fn wants(&self) -> SecondProof {
        match self.missing {
            Missing::Code { .. } => SecondProof::Totp,
            Missing::SignIn => SecondProof::SignIn,
        }
    }

    /// Who is asked.
    pub fn asker(&self) -> Asker {
        let Identity { person, proof, .. } = &self.identity;
        let by = match &proof.first {
            First::Key(key) | First::Certificate(key, _) => key.to_string(),
            First::Password(_) => proof.text.clone(),
            First::SignIn(signed_in) => signed_in.text(),
        };
        Asker { person: person.clone(), by, source: proof.source }
    }

    /// Who that is, where they have answered a while ago. A sign-in is never remembered.
    pub fn recall(&self, factors: &SecondFactors, now: SystemTime) -> Option<Identity> {
        let Missing::Code { secret, remembered } = &self.missing else { return None };
        let at = factors.recall(&self.asker(), secret, *remembered, now)?;
        Some(self.identity.clone().with(Second::Code { secret: secret.clone(), at }))
    }

    /// Who that is, where this is a code of theirs that nobody has used.
    pub fn answer(&self, factors: &SecondFactors, code: &str, now: SystemTime) -> Result<Identity, WrongCode> {
        let Missing::Code { secret, remembered } = &self.missing else { return Err(WrongCode::Wrong) };
        factors.verify(&self.asker(), secret, code, now)?;
        if *remembered > Duration::ZERO {
            factors.remember(self.asker(), secret.clone(), now);
        }
        Ok(self.identity.clone().with(Second::Code { secret: secret.clone(), at: now }))
    }

    /// Who that is, where it is they who have signed in.
    pub fn signed_in(&self, people: &People, signed_in: &Arc<SignedIn>, now: SystemTime) -> Result<Identity, Unproved> {
        if self.wants() != SecondProof::SignIn {
            return Err(Unproved::SecondFactorGone);
        }
        let identity = people.signed_in_besides(self.identity.clone(), signed_in, now)?;
        Ok(identity.with(Second::SignIn(signed_in.clone())))
    }
}

impl Identity {
    fn with(mut self, second: Second) -> Self {
        self.proof.add(Some(second));
        self
    }
}

#[cfg(test)]
impl Asker {
    /// Somebody at this machine.
    pub(crate) fn for_test(person: &str) -> Self {
        let source = std::net::Ipv4Addr::LOCALHOST.into();
        Self { person: person.to_owned(), by: "key".to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::super::totp::TotpSecret;
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;
    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn rule(people: &[&str], groups: &[&str], enough: &[(FirstProof, Option<SecondProof>)]) -> EnoughFor {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let enough = enough.iter().map(|&(first, second)| Combination { first, second }).collect();
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
        use SecondProof::Totp;
        let secrets = format!("# of two\nada {SECRET}\n\nbob {SECRET}\n");
        let ops = || Identity::for_test_in("ada", &["ops"]);
        for (rules, expected) in [
            (&[][..], "enough"),
            (&[rule(&["*"], &[], &[(Key, None)])], "enough"),
            (&[rule(&[], &["ops"], &[(Key, Some(Totp))])], "half"),
            (&[rule(&[], &["ops"], &[(Key, Some(Totp)), (Key, None)])], "enough"),
            (&[rule(&[], &["ops"], &[(Certificate, None)])], "proof-not-enough"),
            (&[rule(&[], &["ops"], &[])], "proof-not-enough"),
            // whom no rule names nothing is enough for
            (&[rule(&["bob"], &["dev"], &[(Key, None)])], "proof-not-enough"),
            (&[rule(&["bob"], &[], &[(Key, None)]), rule(&["*"], &[], &[(Key, Some(Totp))])], "half"),
            (&[rule(&[], &["ops"], &[(Key, Some(Totp))]), rule(&["*"], &[], &[(Key, None)])], "half"),
        ] {
            assert_eq!(comes_to(&people(rules, &secrets), ops()), expected, "{rules:?}");
        }
        let all = [rule(&["*"], &[], &[(Key, Some(Totp))])];
        assert_eq!(comes_to(&people(&all, ""), ops()), "proof-not-enough", "nobody has a secret");
        assert!(!people(&all, "").could_be_enough("ada", &[]) && people(&all, &secrets).could_be_enough("ada", &[]));
    }

    #[test]
    fn there_is_nobody_before_the_code_and_a_secret_that_is_gone_has_proved_nothing() {
        let all = [rule(&["*"], &[], &[(FirstProof::Key, Some(SecondProof::Totp))])];
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
        let still = |people: &People| {
            people.is_still_enough(Identity::for_test("ada"), second, NOW).map(|ada| ada.proof.second)
        };
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
