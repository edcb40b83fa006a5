//! As whom the calls for a session are made: as the gateway, or as a person, in the role that is theirs.
//!
//! ```text
//!   Grant ──▶ Caller ──credentials──▶ StartSession, ResumeSession, TerminateSession, the signed upgrade
//!               │
//!               └─ a person: a role of theirs (`assume`), kept by (proof, sign-in, person, role, node, documents)
//!                  and renewed before they end, by one at a time
//! ```
//!
//! Nobody's credentials are ever another's: what they are kept by has the proof and the person in it, and what they may do
//! is one node. They are in memory only, and wiped there when the last who holds them has let go. What is got by a person's own ID token
//! is their sign-in's, so that connection's alone: it is not kept past it.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_ssm as ssm;
use tokio::sync::watch;
use tokio::time::Instant;

use super::assume::{self, Given};
use super::clients::Clients;
use super::error::{CallContext, TOKEN_IS_OVER};
use super::session_policy::session_policy;
use crate::backend::BackendError;
use crate::backend::lanes::SessionRequest;
use crate::identity::{Acting, ActsAs, IdToken, SignedIn};
use crate::policy::Grant;

/// As whom calls are made.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    Gateway,
    Person(Arc<Person>),
}

/// Everybody whose role was assumed lately.
#[derive(Debug, Default)]
pub(super) struct Persons(Mutex<HashMap<Key, Arc<Person>>>);

/// For whom, and for what, credentials are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    proof: String,
    /// Where the role is got by the token of one.
    sign_in: Option<u64>,
    person: String,
    role: String,
    node: String,
    documents: BTreeSet<String>,
}

/// A person on one node.
pub(super) struct Person {
    acting: Acting,
    policy: String,
    /// Whose token the role is got by. It is the connection's, and held here no longer than that goes on.
    sign_in: Option<Weak<SignedIn>>,
    /// Held while they are renewed: whoever needs them meanwhile waits for the same answer.
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    issued: Option<Issued>,
    failed: Option<(Instant, BackendError)>,
}

#[derive(Clone)]
struct Issued {
    credentials: Credentials,
    times: Times,
    /// The call that they were got by, as AWS's records have it.
    request_id: Option<String>,
}

/// When credentials are renewed, and when nothing is begun with them any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    renew: SystemTime,
    over: SystemTime,
}

/// The most that are kept; each is some 3 KiB.
const MOST: usize = 4096;

/// They are renewed this long before they end, or in the last quarter of a shorter life.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// Sessions end this long before their credentials, so that they can still be terminated.
const END_BEFORE: Duration = Duration::from_secs(30);

/// STS is asked again this long after it failed, or refused.
const ASK_AGAIN: Duration = Duration::from_secs(5);

impl Persons {
    /// As whom the sessions of a grant are opened.
    pub(super) fn caller(
        &self,
        clients: &Clients,
        grant: &Grant,
        request: &SessionRequest,
    ) -> Result<Caller, BackendError> {
        let identity = grant.identity();
        let acting = match identity.acts_as(&grant.node().realm) {
            ActsAs::Gateway => return Ok(Caller::Gateway),
            ActsAs::Role(_) => Acting::of(identity, &grant.node().realm, Some(&grant.node().id)),
            ActsAs::NotSignedIn | ActsAs::Nobody => None,
        };
        let Some(acting) = acting else {
            return Err(BackendError::Refused("nobody can be this person in AWS: they have no role there".to_owned()));
        };
        let documents: BTreeSet<String> =
            request.beside.iter().map(|&name| name.to_owned()).chain([request.document.clone()]).collect();
        let sign_in = identity.signed_in().filter(|_| acting.role.web_identity.is_some());
        let key = Key {
            proof: identity.proof().to_owned(),
            sign_in: sign_in.map(|sign_in| sign_in.number()),
            person: identity.person().to_owned(),
            role: acting.role.arn.to_string(),
            node: grant.node().id.0.clone(),
            documents,
        };
        let policy = session_policy(&acting, &clients.region, &grant.node().id, &key.documents);
        let sign_in = sign_in.map(Arc::downgrade);
        let mut kept = self.kept();
        kept.retain(|_, person| person.could_be_renewed());
        // the same name may stand for other groups, or another external id, after the people have changed
        if let Some(known) = kept.get(&key).filter(|known| known.acting == acting) {
            return Ok(Caller::Person(known.clone()));
        }
        if kept.len() >= MOST {
            let now = SystemTime::now();
            kept.retain(|_, person| !person.is_over(now));
        }
        if kept.len() >= MOST
            && let Some(some) = kept.keys().next().cloned()
        {
            kept.remove(&some);
        }
        let person = Arc::new(Person { acting, policy, sign_in, state: tokio::sync::Mutex::default() });
        kept.insert(key, person.clone());
        Ok(Caller::Person(person))
    }

    /// Lets go of all that are kept. Sessions that run keep their own.
    pub(super) fn forget(&self) {
        self.kept().clear();
    }

    /// How many are kept.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.kept().len()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Person>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caller {
    /// What a request is signed with.
    pub(super) async fn credentials(&self, clients: &Clients) -> Result<Credentials, BackendError> {
        match self {
            Self::Gateway => clients.credentials.current(&clients.refusals).await,
            Self::Person(person) => Ok(person.current(clients).await?.credentials),
        }
    }

    /// What a call to Systems Manager has instead of the gateway's own configuration; and the id of the call that got its credentials.
    pub(super) async fn config(
        &self,
        clients: &Clients,
    ) -> Result<(ssm::config::Builder, Option<String>), BackendError> {
        let config = ssm::config::Builder::new();
        match self {
            Self::Gateway => Ok((config, None)),
            Self::Person(person) => {
                let Issued { credentials, request_id, .. } = person.current(clients).await?;
                Ok((config.credentials_provider(credentials), request_id))
            }
        }
    }

    /// The service did not accept the credentials: others are got before the next call.
    pub(super) async fn forget(&self, clients: &Clients) {
        match self {
            Self::Gateway => clients.credentials.forget(),
            Self::Person(person) => person.state.lock().await.issued = None,
        }
    }

    /// What is being done, should it fail.
    pub(super) fn call<'a>(&'a self, clients: &'a Clients, call: &'static str, on: &'a str) -> CallContext<'a> {
        let context = clients.call(call, on);
        match self {
            Self::Gateway => context,
            Self::Person(person) => CallContext { role: Some(person.acting.role.arn.as_str()), ..context },
        }
    }

    /// Whose permissions they are, for whoever grants them.
    pub(super) fn whose(&self) -> String {
        match self {
            Self::Gateway => "the gateway's role".to_owned(),
            Self::Person(person) => format!("the role {}", person.acting.role.arn),
        }
    }

    /// Keeps the credentials renewed for as long as it is waited for, and tells when that can't be done any more.
    pub(super) async fn keep(&self, clients: &Clients, lapse: watch::Sender<Option<BackendError>>) {
        match self {
            Self::Gateway => std::future::pending().await,
            Self::Person(person) => {
                let why = person.keep(clients).await;
                lapse.send_replace(Some(why));
                std::future::pending().await
            }
        }
    }
}

impl Person {
    /// Credentials that are good for a while yet.
    async fn current(&self, clients: &Clients) -> Result<Issued, BackendError> {
        let mut state = self.state.lock().await;
        let now = SystemTime::now();
        let good = state.issued.clone().filter(|issued| now < issued.times.over);
        if let Some(issued) = &state.issued
            && now < issued.times.renew
        {
            return Ok(issued.clone());
        }
        if let Some((at, error)) = &state.failed
            && at.elapsed() < ASK_AGAIN
        {
            return good.ok_or_else(|| error.clone());
        }
        match self.assume(clients).await {
            Ok(issued) => {
                *state = State { issued: Some(issued.clone()), failed: None };
                Ok(issued)
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                good.ok_or(error)
            }
        }
    }

    /// Renews them in time, again and again; why that can't be done, when they are over.
    async fn keep(&self, clients: &Clients) -> BackendError {
        let mut over = SystemTime::now();
        loop {
            let times = self.state.lock().await.issued.as_ref().map(|issued| issued.times);
            let now = SystemTime::now();
            let wait = match times {
                // they were not accepted any more, and others are asked for
                None => ASK_AGAIN,
                Some(times) => {
                    over = times.over;
                    if now < times.renew { until(now, times.renew) } else { until(now, over).min(ASK_AGAIN) }
                }
            };
            tokio::time::sleep(wait).await;
            if let Err(why) = self.current(clients).await
                && SystemTime::now() >= over
            {
                return self.lapsed(&why);
            }
        }
    }

    fn lapsed(&self, why: &BackendError) -> BackendError {
        tracing::warn!(role = %self.acting.role.arn, session_name = self.acting.session_name, why = why.for_operator(), "a person's credentials have ended, and with them their sessions");
        BackendError::Refused(format!(
            "the session ends, because what you are in AWS has ended and could not be renewed: {why}"
        ))
    }

    fn is_over(&self, now: SystemTime) -> bool {
        // one that is being renewed is in use
        self.state.try_lock().is_ok_and(|state| state.issued.as_ref().is_none_or(|issued| issued.times.over <= now))
    }

    /// Whether there is somebody yet whose token it would take.
    fn could_be_renewed(&self) -> bool {
        self.sign_in.as_ref().is_none_or(|sign_in| sign_in.strong_count() > 0)
    }

    /// The token of the sign-in by which the role is got, where it is got so.
    fn id_token(&self) -> Result<Option<Arc<IdToken>>, BackendError> {
        let Some(sign_in) = &self.sign_in else { return Ok(None) };
        let now = SystemTime::now();
        let token = sign_in.upgrade().and_then(|sign_in| sign_in.id_token(now));
        let good = token.filter(|token| now < token.expires());
        good.map(Some).ok_or_else(|| BackendError::Refused(TOKEN_IS_OVER.to_owned()))
    }

    async fn assume(&self, clients: &Clients) -> Result<Issued, BackendError> {
        let token = self.id_token()?;
        let asked_at = SystemTime::now();
        let Given { credentials, ends, request_id } =
            assume::role(clients, &self.acting, &self.policy, token.as_deref()).await?;
        Ok(Issued { credentials, times: Times::of(asked_at, ends), request_id })
    }
}

impl Times {
    fn of(asked: SystemTime, ends: SystemTime) -> Self {
        let life = ends.duration_since(asked).unwrap_or_default();
        let before = |long: Duration, part: u32| ends.checked_sub(long.min(life / part)).unwrap_or(ends);
        Self { renew: before(RENEW_BEFORE, 4), over: before(END_BEFORE, 20) }
    }
}

fn until(now: SystemTime, then: SystemTime) -> Duration {
    then.duration_since(now).unwrap_or_default()
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Person").field("acting", &self.acting).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_renewed_before_they_end_however_short_they_live() {
        let asked = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (life, renew, over) in [(3600, 3300, 3570), (900, 675, 870), (60, 45, 57), (0, 0, 0)] {
            let at = |seconds: u64| asked + Duration::from_secs(seconds);
            assert_eq!(Times::of(asked, at(life)), Times { renew: at(renew), over: at(over) }, "{life}");
        }
        // a clock that is wrong by hours makes none of them seem good
        let times = Times::of(asked, asked - Duration::from_secs(3600));
        assert!(times.renew < asked && times.over < asked);
    }
}
