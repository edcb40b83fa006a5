//! The provider: what is kept of it, and sign-ins at it, each on a task of its own that ends with whoever holds it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::budget::{Bounds, Budget};
use super::device::{Flow, Prompt, Step, Tokens};
use super::discovery::{Metadata, location};
use super::error::SignInError;
use super::http_client::{Answer, Client, get, post};
use super::recheck;
use crate::data_channel::{Dialer, ProxyRules};
use crate::identity::{Expected, KeySet, SignedIn, TokenError, TokenRules, VerifiedToken};
use crate::model::Place;

/// How a provider is asked, and what is wanted of it.
pub struct ProviderOptions {
    /// What its tokens must say.
    pub rules: TokenRules,
    /// The client's secret.
    pub secret: Option<Zeroizing<String>>,
    /// What it is asked for.
    pub scopes: Vec<String>,
    /// How long ago it may have asked the person.
    pub max_age: Option<Duration>,
    /// Whether something is sent along that its token must say.
    pub nonce: bool,
    /// How long a sign-in counts, in place of the token's own time.
    pub counts: Option<Duration>,
    /// How often it is asked whether it still stands to one.
    pub recheck: Duration,
    /// The certificate authorities to trust, PEM, in place of the system's.
    pub ca_bundle: Option<Vec<u8>>,
    /// The proxy; else the environment's.
    pub proxy: Option<String>,
    /// Sign-ins at once.
    pub pending: usize,
    /// The same from one address.
    pub pending_per_address: usize,
    /// Sign-ins that begin in a minute.
    pub starts_a_minute: u32,
}

/// A provider at which people sign in. Cheap to clone.
#[derive(Clone)]
pub struct Provider {
    inner: Arc<Inner>,
}

struct Inner {
    options: ProviderOptions,
    dialer: Dialer,
    budget: Budget,
    known: Mutex<Known>,
}

/// What was asked for before. It is held while that is asked for again, so that one does for all who wait.
#[derive(Default)]
struct Known {
    metadata: Option<(Instant, Arc<Metadata>)>,
    keys: Option<(Instant, Arc<KeySet>)>,
    failed: Option<(Instant, SignInError)>,
}

/// A sign-in that somebody is in the middle of; dropping it ends it.
#[derive(Debug)]
pub struct SignIn {
    progress: watch::Receiver<Progress>,
    task: AbortHandle,
    _place: Place,
}

/// How far it is.
#[derive(Clone, Debug)]
pub enum Progress {
    /// The provider is asked for a code.
    Begins,
    /// The person is to sign in.
    Asks(Arc<Prompt>),
    /// They have, and it is verified.
    Done(Arc<SignedIn>),
    /// It has come to nothing.
    Failed(SignInError),
}

/// How long what a provider says of itself, and its keys, are good for.
const KEPT: Duration = Duration::from_secs(3600);

/// How often its keys are asked for at most, where a token names one that is none of them: anybody's token may.
const KEYS_AGAIN: Duration = Duration::from_secs(60);

/// How long after it did not answer it is not asked again: strangers could have it asked on and on.
const ASK_AGAIN: Duration = Duration::from_secs(5);

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

impl Provider {
    /// Nobody is asked for anything yet.
    pub fn new(options: ProviderOptions) -> Result<Self, SignInError> {
        let unusable = |error: crate::data_channel::DialError| SignInError::Unusable(error.to_string());
        let proxies = match &options.proxy {
            Some(url) => ProxyRules::only(url),
            None => ProxyRules::from_env(),
        };
        let dialer = Dialer::new(options.ca_bundle.as_deref(), proxies.map_err(unusable)?).map_err(unusable)?;
        let ProviderOptions { pending, pending_per_address, starts_a_minute: starts, .. } = options;
        let budget = Budget::new(Bounds { pending, pending_per_address, starts }, Instant::now());
        Ok(Self { inner: Arc::new(Inner { options, dialer, budget, known: Mutex::default() }) })
    }

    /// Begins a sign-in for somebody at this address, who waits at most so long.
    pub fn begin(&self, source: IpAddr, patience: Duration) -> Result<SignIn, SignInError> {
        let place = self.inner.budget.take(source, Instant::now()).ok_or(SignInError::TooMany)?;
        let (sender, progress) = watch::channel(Progress::Begins);
        let provider = self.clone();
        let task = tokio::spawn(async move {
            let ended = match provider.sign_in(patience, &sender).await {
                Ok(signed_in) => Progress::Done(signed_in),
                Err(error) => Progress::Failed(error),
            };
            sender.send_replace(ended);
        });
        Ok(SignIn { progress, task: task.abort_handle(), _place: place })
    }

    /// Whether it answers, and has keys; for whoever looks before somebody signs in.
    pub async fn answers(&self) -> Result<(), SignInError> {
        let mut known = self.inner.known.lock().await;
        self.inner.metadata(&mut known).await?;
        self.inner.keys(&mut known, false).await?;
        Ok(())
    }

    async fn sign_in(
        &self,
        patience: Duration,
        progress: &watch::Sender<Progress>,
    ) -> Result<Arc<SignedIn>, SignInError> {
        let options = &self.inner.options;
        let metadata = self.inner.metadata(&mut *self.inner.known.lock().await).await?;
        let nonce = match options.nonce {
            true => Some(nonce()?),
            false => None,
        };
        let scope = options.scopes.join(" ");
        let max_age = options.max_age.map(|age| age.as_secs().to_string());
        let mut fields = vec![("scope", scope.as_str())];
        fields.extend(nonce.as_deref().map(|nonce| ("nonce", nonce)));
        fields.extend(max_age.as_deref().map(|age| ("max_age", age)));
        let since = SystemTime::now();
        let Answer { status, body } = self.inner.post(&metadata, &metadata.device, &fields).await?;
        let (mut flow, prompt) = Flow::begin(status, &body, patience, Instant::now())?;
        progress.send_replace(Progress::Asks(Arc::new(prompt)));
        let Tokens { id, refresh } = self.poll(&metadata, &mut flow).await?;
        let expected = Expected { nonce: nonce.as_deref(), since, max_age: options.max_age };
        let token = self.inner.verify(&id, expected).await?;
        drop(id);
        let longest = options.counts.map(|counts| SystemTime::now() + counts);
        let Some(refresh) = refresh else {
            let until = longest.unwrap_or(token.expires());
            return Ok(Arc::new(SignedIn::new(token, until)));
        };
        // it counts until the provider should have been asked again, and has had time to answer
        let until = recheck::until(options.recheck, longest, SystemTime::now());
        let signed_in = Arc::new(SignedIn::asked_about(token, until, longest));
        let holder = Arc::downgrade(&signed_in);
        tokio::spawn(recheck::run(self.clone(), holder, refresh, longest));
        Ok(signed_in)
    }

    async fn poll(&self, metadata: &Metadata, flow: &mut Flow) -> Result<Tokens, SignInError> {
        while let Some(next) = flow.next() {
            tokio::time::sleep_until(next).await;
            let fields = [("grant_type", DEVICE_CODE), ("device_code", flow.device_code())];
            let asked = self.inner.post(metadata, &metadata.token, &fields);
            match tokio::time::timeout_at(flow.end() + LAST_ANSWER, asked).await {
                Ok(Ok(Answer { status, body })) => {
                    if let Step::Tokens(tokens) = flow.answered(status, &body, Instant::now())? {
                        return Ok(tokens);
                    }
                }
                // RFC 8628, section 3.5: it may be there again before the time is over
                Ok(Err(SignInError::Unreachable(_))) => flow.unanswered(Instant::now()),
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        Err(SignInError::Expired)
    }

    /// Asks whether the provider still stands to a sign-in.
    pub(super) async fn renew(&self, refresh: &str) -> Result<Answer, SignInError> {
        let metadata = self.inner.metadata(&mut *self.inner.known.lock().await).await?;
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
        self.inner.post(&metadata, &metadata.token, &fields).await
    }

    /// Who somebody is by a token that came now.
    pub(super) async fn verify(&self, token: &str, expected: Expected<'_>) -> Result<VerifiedToken, SignInError> {
        self.inner.verify(token, expected).await
    }

    pub(super) fn options(&self) -> &ProviderOptions {
        &self.inner.options
    }
}

/// How long the last answer may take after the time is over.
const LAST_ANSWER: Duration = Duration::from_secs(2);

impl Inner {
    async fn post(
        &self,
        metadata: &Metadata,
        endpoint: &super::endpoint::Endpoint,
        fields: &[(&str, &str)],
    ) -> Result<Answer, SignInError> {
        let client = Client {
            id: &self.options.rules.client_id,
            secret: self.options.secret.as_ref().map(|secret| secret.as_str()),
            secret_in_body: metadata.secret_in_body,
        };
        post(&self.dialer, endpoint, &client, fields).await
    }

    async fn metadata(&self, known: &mut Known) -> Result<Arc<Metadata>, SignInError> {
        if let Some((since, metadata)) = &known.metadata
            && since.elapsed() < KEPT
        {
            return Ok(metadata.clone());
        }
        known.may_ask()?;
        let issuer = &self.options.rules.issuer;
        let asked = async {
            let Answer { status, body } = get(&self.dialer, &location(issuer)?).await?;
            match status {
                200 => Metadata::parse(&body, issuer),
                status => {
                    let why = format!(
                        "its openid-configuration was answered with HTTP status {status} (is oidc.issuer right?)"
                    );
                    Err(SignInError::Unusable(why))
                }
            }
        };
        let metadata = Arc::new(known.note(asked.await)?);
        known.metadata = Some((Instant::now(), metadata.clone()));
        Ok(metadata)
    }

    /// Its keys; newer ones where those that are kept do not do, as far as they may be asked for.
    async fn keys(&self, known: &mut Known, newer: bool) -> Result<Arc<KeySet>, SignInError> {
        let good_for = if newer { KEYS_AGAIN } else { KEPT };
        if let Some((since, keys)) = &known.keys
            && since.elapsed() < good_for
        {
            return Ok(keys.clone());
        }
        let metadata = self.metadata(known).await?;
        known.may_ask()?;
        let asked = async {
            let Answer { status, body } = get(&self.dialer, &metadata.keys).await?;
            match (status, KeySet::parse(&body)) {
                (200, Some(keys)) if !keys.is_empty() => Ok(keys),
                (200, _) => Err(SignInError::Unusable("its jwks_uri has no key that signs".to_owned())),
                (status, _) => {
                    Err(SignInError::Unusable(format!("its jwks_uri was answered with HTTP status {status}")))
                }
            }
        };
        let keys = Arc::new(known.note(asked.await)?);
        known.keys = Some((Instant::now(), keys.clone()));
        Ok(keys)
    }

    async fn verify(&self, token: &str, expected: Expected<'_>) -> Result<VerifiedToken, SignInError> {
        let mut known = self.known.lock().await;
        let keys = self.keys(&mut known, false).await?;
        let verify = |keys: &KeySet| self.options.rules.verify(keys, token, expected, SystemTime::now());
        match verify(&keys) {
            // a provider changes its keys from time to time (OpenID Connect Core, section 10.1.1)
            Err(TokenError::UnknownKey) => {
                let newer = self.keys(&mut known, true).await?;
                Ok(verify(&newer)?)
            }
            verified => Ok(verified?),
        }
    }
}

impl Known {
    fn may_ask(&self) -> Result<(), SignInError> {
        match &self.failed {
            Some((since, error)) if since.elapsed() < ASK_AGAIN => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn note<T>(&mut self, asked: Result<T, SignInError>) -> Result<T, SignInError> {
        self.failed = asked.as_ref().err().map(|error| (Instant::now(), error.clone()));
        asked
    }
}

/// 128 bits of which nobody knows any.
fn nonce() -> Result<String, SignInError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| SignInError::Unusable("the system gives no randomness".to_owned()))?;
    Ok(hex::encode(bytes))
}

impl SignIn {
    /// How far it is now.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Waits until it is further than it was when last asked; not longer than this.
    pub async fn moves(&mut self, within: Duration) -> Progress {
        // its task never goes without a last word, unless it is ended here
        let _ = tokio::time::timeout(within, self.progress.changed()).await;
        self.progress.borrow_and_update().clone()
    }
}

impl Drop for SignIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.inner.options.rules.issuer).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// As if the keys had been asked for so much earlier.
    pub(in crate::oidc) async fn let_keys_age(provider: &Provider, by: Duration) {
        let mut known = provider.inner.known.lock().await;
        if let Some((since, _)) = &mut known.keys {
            *since = since.checked_sub(by).unwrap();
        }
    }
}
