//! Asking a provider again whether it still stands to a sign-in, for as long as somebody goes on by it: a refresh (OpenID Connect Core,
//! section 12) that it refuses is the end of what the sign-in opened.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use super::device::{Tokens, error_of};
use super::error::SignInError;
use super::http_client::Answer;
use super::provider::Provider;
use crate::identity::{Expected, SignedIn};

/// How long after the time to ask a sign-in counts on, while the provider does not answer.
const GRACE: Duration = Duration::from_secs(120);

/// How soon one is asked again that did not answer.
const AGAIN: Duration = Duration::from_secs(20);

/// How often it is looked whether anybody goes on by the sign-in still; its refresh token is wiped then.
const LOOK: Duration = Duration::from_secs(10);

/// Until when it counts, that the provider has stood to now.
pub(super) fn until(recheck: Duration, longest: Option<SystemTime>, now: SystemTime) -> SystemTime {
    longest.into_iter().fold(now + recheck + GRACE, SystemTime::min)
}

/// Asks until nobody holds the sign-in, or it has ended.
pub(super) async fn run(
    provider: Provider,
    holder: Weak<SignedIn>,
    mut refresh: Zeroizing<String>,
    longest: Option<SystemTime>,
) {
    let recheck = provider.options().recheck;
    let mut pause = recheck;
    while is_held_for(&holder, pause).await {
        let since = SystemTime::now();
        let answer = provider.renew(&refresh).await;
        // whoever has gone meanwhile does not care
        let Some(signed_in) = holder.upgrade() else { return };
        match judge(&provider, &signed_in, answer, since).await {
            Ok(newer) => {
                if let Some(newer) = newer {
                    refresh = newer;
                }
                signed_in.extend(until(recheck, longest, SystemTime::now()));
                pause = recheck;
            }
            // it may have trouble; without a word from it the sign-in ends by itself
            Err(Refused::NotNow(error)) => {
                tracing::warn!(%error, "the provider does not say whether a sign-in still stands");
                pause = AGAIN;
            }
            Err(Refused::Ever(why)) => return signed_in.end(why, SystemTime::now()),
        }
        if longest.is_some_and(|longest| SystemTime::now() >= longest) {
            return;
        }
    }
}

async fn is_held_for(holder: &Weak<SignedIn>, time: Duration) -> bool {
    let end = tokio::time::Instant::now() + time;
    while holder.strong_count() > 0 {
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() {
            return true;
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
    false
}

enum Refused {
    NotNow(SignInError),
    Ever(&'static str),
}

/// What an answer says of the sign-in; gives the refresh token that takes the place of the one that was used.
async fn judge(
    provider: &Provider,
    signed_in: &Arc<SignedIn>,
    answer: Result<Answer, SignInError>,
    since: SystemTime,
) -> Result<Option<Zeroizing<String>>, Refused> {
    const REFUSED: &str = "the provider does not stand to your sign-in any more; sign in again";
    let Answer { status, body } = answer.map_err(Refused::NotNow)?;
    if status != 200 {
        // RFC 6749, section 5.2: all else is about the client, or the provider's own trouble
        return Err(match error_of(&body).as_deref() {
            Some("invalid_grant") => Refused::Ever(REFUSED),
            _ => Refused::NotNow(super::device::refused("whether a sign-in still stands", status, &body)),
        });
    }
    let renewed = Tokens::parse_renewed(&body).map_err(Refused::NotNow)?;
    if let Some(token) = renewed.id {
        let expected = Expected { nonce: None, since, max_age: None };
        match provider.verify(&token, expected).await {
            Ok(token) if token.says_the_same(signed_in.token()) => signed_in.renewed(token),
            Ok(_) => return Err(Refused::Ever("the provider says something else of you than it did; sign in again")),
            Err(error @ (SignInError::Unreachable(_) | SignInError::Unusable(_))) => {
                return Err(Refused::NotNow(error));
            }
            Err(_) => return Err(Refused::Ever(REFUSED)),
        }
    }
    Ok(renewed.refresh)
}
