//! People by their sign-in at an OpenID provider: who it is that a verified token stands for, and for how long.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::authenticated::{First, Proof};
use super::enough::Proved;
use super::id_token::{IdToken, SignInFacts, VerifiedToken};
use super::people::People;
use super::restrictions::Restrictions;
use super::unproved::Unproved;
use super::{Identity, Login};
use crate::model::RefusalCode;

/// A sign-in on one connection, for as long as it counts. What it opened asks it about its end.
#[derive(Debug)]
pub struct SignedIn {
    /// Two sign-ins of one person have two: what is got by one is not the other's.
    number: u64,
    token: VerifiedToken,
    standing: Mutex<Standing>,
}

#[derive(Debug)]
struct Standing {
    until: SystemTime,
    /// Where the provider is asked again: how far that can put its end off at most; none means for ever.
    put_off: Option<Option<SystemTime>>,
    /// Why it counts no more, whatever the time.
    ended: Option<String>,
    /// The newest that the provider has given for it, for as long as it counts.
    own: Option<Arc<IdToken>>,
}

static SIGN_INS: AtomicU64 = AtomicU64::new(0);

/// Whose sign-ins are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignIns {
    /// The provider's.
    pub issuer: String,
    /// Also people whom the configuration does not list, in the groups that the provider says.
    pub unlisted_people: bool,
}

impl SignedIn {
    /// One that was verified just now and counts so long.
    pub fn new(token: VerifiedToken, until: SystemTime) -> Self {
        Self::standing_until(token, until, None)
    }

    /// The same of one about which the provider is asked again and again, until then at most.
    pub fn asked_about(token: VerifiedToken, until: SystemTime, at_most: Option<SystemTime>) -> Self {
        Self::standing_until(token, until, Some(at_most))
    }

    fn standing_until(mut token: VerifiedToken, until: SystemTime, put_off: Option<Option<SystemTime>>) -> Self {
        let standing = Standing { until, put_off, ended: None, own: token.take_text() };
        Self { number: SIGN_INS.fetch_add(1, Ordering::Relaxed), token, standing: Mutex::new(standing) }
    }

    /// What was verified.
    pub fn token(&self) -> &VerifiedToken {
        &self.token
    }

    /// Which of all sign-ins it is, since the gateway began.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The person's own ID token, the newest that there is; none once the sign-in counts no more.
    pub fn id_token(&self, now: SystemTime) -> Option<Arc<IdToken>> {
        let mut standing = self.standing();
        if standing.ended.is_some() || now >= standing.until {
            standing.own = None;
        }
        standing.own.clone()
    }

    /// The provider has given a newer token for it, which says the same.
    pub fn renewed(&self, mut token: VerifiedToken) {
        let mut standing = self.standing();
        if standing.ended.is_none() {
            standing.own = token.take_text();
        }
    }

    /// It counts longer: the provider has said so again.
    pub fn extend(&self, until: SystemTime) {
        self.standing().until = until;
    }

    /// It counts no more; why, as a sentence for its person.
    pub fn end(&self, why: &str, now: SystemTime) {
        let mut standing = self.standing();
        standing.until = standing.until.min(now);
        standing.ended.get_or_insert_with(|| why.to_owned());
        standing.own = None;
    }

    /// When it is over, as far as is known now.
    pub fn ends(&self) -> SystemTime {
        self.standing().until
    }

    /// Whether nothing puts that off any more.
    pub fn ends_for_certain(&self) -> bool {
        let standing = self.standing();
        standing.put_off.is_none_or(|at_most| at_most == Some(standing.until))
    }

    /// Whether it counts.
    pub fn counts(&self, now: SystemTime) -> Result<(), Unproved> {
        let standing = self.standing();
        match &standing.ended {
            Some(why) => Err(Unproved::SignIn { code: RefusalCode::SignInFailed, why: why.clone() }),
            None if now >= standing.until => {
                let why = "the time of the sign-in is over; sign in again".to_owned();
                Err(Unproved::SignIn { code: RefusalCode::ProofExpired, why })
            }
            None => Ok(()),
        }
    }

    /// In words, for evidence.
    pub(super) fn text(&self) -> String {
        let SignInFacts { issuer, subject, .. } = self.token.facts();
        format!("oidc {issuer} {subject}")
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether they are one sign-in's; how long it counts is another question.
impl PartialEq for SignedIn {
    fn eq(&self, other: &Self) -> bool {
        self.token == other.token
    }
}

impl Eq for SignedIn {}

impl People {
    /// The same people, who may sign in there.
    #[must_use]
    pub fn who_sign_in(mut self, sign_ins: SignIns) -> Self {
        self.sign_ins = Some(sign_ins);
        self
    }

    /// Who has signed in, from this address and now, where that is enough for them. A login that names a person must name that one.
    pub fn identify_signed_in(
        &self,
        signed_in: &Arc<SignedIn>,
        login: Option<&Login>,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<Proved, Unproved> {
        let identity = self.signed_in(signed_in, source, now)?;
        if let Some(named) = login.and_then(Login::person).filter(|named| *named != identity.person) {
            let why = format!("{} has signed in, and the login names {named}", identity.person);
            return Err(Unproved::SignIn { code: RefusalCode::SignInOfNobody, why });
        }
        self.is_enough(identity)
    }

    pub(super) fn signed_in(
        &self,
        signed_in: &Arc<SignedIn>,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<Identity, Unproved> {
        let person = self.signs_in(signed_in, now)?.to_owned();
        let (first, text) = (First::SignIn(signed_in.clone()), signed_in.text());
        let restrictions = Restrictions::default();
        let proof = Proof { first, second: None, user_verified: false, source, ends: None, restrictions, text };
        Ok(self.in_further_groups(person, signed_in.token.groups().iter().cloned(), proof))
    }

    /// Who has signed in, where that counts still and they may be somebody here.
    pub(super) fn signs_in<'a>(&self, signed_in: &'a SignedIn, now: SystemTime) -> Result<&'a str, Unproved> {
        signed_in.counts(now)?;
        let nobody = |why: String| Unproved::SignIn { code: RefusalCode::SignInOfNobody, why };
        let (name, facts) = (signed_in.token.name(), signed_in.token.facts());
        let taken = self.sign_ins.as_ref().filter(|sign_ins| sign_ins.issuer == facts.issuer);
        let Some(SignIns { unlisted_people, .. }) = taken else {
            return Err(nobody(format!("nobody signs in at {} here", facts.issuer)));
        };
        if !unlisted_people && !self.listed.contains(name) {
            let why = format!("{name} has signed in, and is none of [[people]] (oidc.unlisted_people takes others)");
            return Err(nobody(why));
        }
        Ok(name)
    }

    /// Somebody with another first proof, who has signed in as well.
    pub(super) fn signed_in_besides(
        &self,
        identity: Identity,
        signed_in: &Arc<SignedIn>,
        now: SystemTime,
    ) -> Result<Identity, Unproved> {
        let person = self.signs_in(signed_in, now)?;
        if person != identity.person {
            let why = format!("{person} has signed in, and the key or certificate is {}'s", identity.person);
            return Err(Unproved::SignIn { code: RefusalCode::SignInOfNobody, why });
        }
        let groups = identity.groups.into_iter().chain(signed_in.token.groups().iter().cloned());
        Ok(self.in_further_groups(identity.person, groups, identity.proof))
    }
}

#[cfg(test)]
#[path = "sign_in_tests.rs"]
pub(crate) mod tests;
