//! The device flow as a machine without a network and a clock: what the provider answered goes in, and what to do next comes out.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::endpoint::Endpoint;
use super::error::SignInError;

/// What the person is shown (RFC 8628, section 3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Where to go.
    pub uri: String,
    /// The same with the code in it.
    pub uri_complete: Option<String>,
    /// What to type there.
    pub code: String,
    /// How long that is good.
    pub lasts: Duration,
}

/// A sign-in that goes on.
pub(super) struct Flow {
    device_code: Zeroizing<String>,
    interval: Duration,
    next: Instant,
    end: Instant,
}

/// What comes of an answer.
#[derive(Debug)]
pub(super) enum Step {
    /// To ask again, at [`Flow::next`].
    Wait,
    /// The person has signed in.
    Tokens(Tokens),
}

/// What the provider gives then, as far as it is of use.
pub(super) struct Tokens {
    pub(super) id: Zeroizing<String>,
    /// What to ask it by whether it still stands to that.
    pub(super) refresh: Option<Zeroizing<String>>,
}

/// The longest `user_code` that somebody types.
const LONGEST_CODE: usize = 64;

/// Section 3.2: the interval that is meant where none is said; and what `slow_down` adds (section 3.5).
const INTERVAL: Duration = Duration::from_secs(5);

/// No provider is asked more seldom, whatever it says: the person would wait for nothing.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// The longest time for a sign-in.
const LONGEST_FLOW: Duration = Duration::from_secs(1800);

#[derive(Deserialize)]
struct Begun {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

#[derive(Deserialize)]
struct Given {
    id_token: Option<String>,
    refresh_token: Option<String>,
}

impl Flow {
    /// What the provider's first answer begins, for at most so long.
    pub(super) fn begin(
        status: u16,
        body: &[u8],
        patience: Duration,
        now: Instant,
    ) -> Result<(Self, Prompt), SignInError> {
        let unusable = |why: &str| SignInError::Unusable(why.to_owned());
        if status != 200 {
            return Err(refused("the request for a code", status, body));
        }
        let begun: Begun =
            serde_json::from_slice(body).map_err(|_| unusable("what should begin a sign-in does not"))?;
        let Begun { device_code, user_code, verification_uri, verification_uri_complete, expires_in, interval } = begun;
        let device_code = Zeroizing::new(device_code);
        let plain = user_code.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if !plain || user_code.is_empty() || user_code.len() > LONGEST_CODE {
            return Err(unusable("the code for the person can't be shown"));
        }
        // both are shown on a terminal, and people are to open them
        for uri in [Some(&verification_uri), verification_uri_complete.as_ref()].into_iter().flatten() {
            Endpoint::parse(uri).map_err(|_| unusable("the address for the person is not https"))?;
        }
        let lasts = Duration::from_secs(expires_in).min(LONGEST_FLOW).min(patience);
        let interval = interval.map_or(INTERVAL, Duration::from_secs);
        let interval = interval.clamp(Duration::from_secs(1), LONGEST_INTERVAL);
        let prompt = Prompt { uri: verification_uri, uri_complete: verification_uri_complete, code: user_code, lasts };
        Ok((Self { device_code, interval, next: now + interval, end: now + lasts }, prompt))
    }

    /// By what the provider is asked for the outcome.
    pub(super) fn device_code(&self) -> &str {
        &self.device_code
    }

    /// When; none once the time is over before that.
    pub(super) fn next(&self) -> Option<Instant> {
        (self.next < self.end).then_some(self.next)
    }

    /// When it is over.
    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// The provider has answered (section 3.5).
    pub(super) fn answered(&mut self, status: u16, body: &[u8], now: Instant) -> Result<Step, SignInError> {
        if status == 200 {
            return Ok(Step::Tokens(Tokens::parse(body)?));
        }
        match error_of(body).as_deref() {
            Some("authorization_pending") => {}
            Some("slow_down") => self.slow_down(INTERVAL),
            Some("access_denied") => return Err(SignInError::Denied),
            Some("expired_token") => return Err(SignInError::Expired),
            // it has trouble of its own, which may pass
            _ if status == 429 || status >= 500 => self.slow_down(self.interval),
            _ => return Err(refused("the request for the outcome", status, body)),
        }
        self.next = now + self.interval;
        Ok(Step::Wait)
    }

    /// It has not answered at all. Section 3.5: it is asked more seldom then.
    pub(super) fn unanswered(&mut self, now: Instant) {
        self.slow_down(self.interval);
        self.next = now + self.interval;
    }

    fn slow_down(&mut self, by: Duration) {
        self.interval = (self.interval + by).min(LONGEST_INTERVAL);
    }
}

impl Tokens {
    /// Of what comes with them nothing is read.
    pub(super) fn parse(body: &[u8]) -> Result<Self, SignInError> {
        let unusable = |why: &str| SignInError::Unusable(why.to_owned());
        let given: Given = serde_json::from_slice(body).map_err(|_| unusable("the tokens can't be read"))?;
        let refresh = given.refresh_token.map(Zeroizing::new);
        let id = given.id_token.map(Zeroizing::new);
        let id = id.ok_or_else(|| unusable("there is no ID token (is `openid` among oidc.scopes?)"))?;
        Ok(Self { id, refresh })
    }

    /// The same of a renewal, which need not come with an ID token (OpenID Connect Core, section 12.2).
    pub(super) fn parse_renewed(body: &[u8]) -> Result<Renewed, SignInError> {
        let unusable = |_| SignInError::Unusable("the renewed tokens can't be read".to_owned());
        let Given { id_token, refresh_token } = serde_json::from_slice(body).map_err(unusable)?;
        Ok(Renewed { id: id_token.map(Zeroizing::new), refresh: refresh_token.map(Zeroizing::new) })
    }
}

/// What a renewal gives.
pub(super) struct Renewed {
    pub(super) id: Option<Zeroizing<String>>,
    pub(super) refresh: Option<Zeroizing<String>>,
}

/// The word by which a provider says what is wrong (RFC 6749, section 5.2).
pub(super) fn error_of(body: &[u8]) -> Option<String> {
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    let plain = refusal.error.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    (plain && (1..=64).contains(&refusal.error.len())).then_some(refusal.error)
}

/// Something that the provider does not do for us.
pub(super) fn refused(what: &str, status: u16, body: &[u8]) -> SignInError {
    let word = error_of(body).map(|word| format!(" and `{word}`")).unwrap_or_default();
    SignInError::Unusable(format!("{what} was answered with HTTP status {status}{word}"))
}

/// Nothing of what they are.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn begun(more: &str) -> String {
        format!(
            "{{\"device_code\":\"d\",\"user_code\":\"WDJB-MJHT\",\"verification_uri\":\"https://id.example.com/device\"{more}}}"
        )
    }

    fn begin(more: &str, patience: u32) -> Result<(Flow, Prompt), SignInError> {
        Flow::begin(200, begun(more).as_bytes(), patience * SECOND, Instant::now())
    }

    #[test]
    fn it_asks_as_often_as_it_may_and_until_it_is_over() {
        let start = Instant::now();
        let (mut flow, prompt) =
            Flow::begin(200, begun(",\"expires_in\":60,\"interval\":2").as_bytes(), SECOND * 600, start).unwrap();
        assert_eq!((prompt.code.as_str(), prompt.lasts), ("WDJB-MJHT", 60 * SECOND));
        assert_eq!(flow.next(), Some(start + 2 * SECOND));
        let answer = |flow: &mut Flow, status: u16, error: &str, at: u32| {
            let body = format!("{{\"error\":\"{error}\"}}");
            flow.answered(status, body.as_bytes(), start + at * SECOND).map(|_| flow.next().map(|next| next - start))
        };
        assert_eq!(answer(&mut flow, 400, "authorization_pending", 2), Ok(Some(4 * SECOND)));
        assert_eq!(answer(&mut flow, 400, "slow_down", 4), Ok(Some(11 * SECOND)));
        assert_eq!(answer(&mut flow, 503, "", 11), Ok(Some(25 * SECOND)));
        flow.unanswered(start + 25 * SECOND);
        assert_eq!(flow.next().map(|next| next - start), Some(53 * SECOND));
        assert_eq!(answer(&mut flow, 400, "authorization_pending", 53), Ok(None), "no time is left");
        for (error, expected) in [("access_denied", SignInError::Denied), ("expired_token", SignInError::Expired)] {
            assert_eq!(answer(&mut flow, 400, error, 54), Err(expected));
        }
        let refused = answer(&mut flow, 400, "invalid_grant", 54).unwrap_err().to_string();
        assert!(refused.contains("HTTP status 400 and `invalid_grant`"), "{refused}");
    }

    #[test]
    fn its_time_is_the_provider_s_and_no_longer_than_anybody_waits() {
        let lasts = |more, patience| begin(more, patience).unwrap().1.lasts.as_secs();
        assert_eq!(lasts(",\"expires_in\":600", 120), 120);
        assert_eq!(lasts(",\"expires_in\":60", 120), 60);
        assert_eq!(lasts(",\"expires_in\":18446744073709551615", 86_400), 1800);
        let (flow, _) = begin(",\"expires_in\":0", 120).unwrap();
        assert_eq!(flow.next(), None);
        let (flow, _) = begin(",\"expires_in\":600,\"interval\":0", 600).unwrap();
        assert!(flow.interval >= SECOND);
    }

    #[test]
    fn what_can_t_be_shown_is_not() {
        for wrong in [
            begun(",\"expires_in\":60").replace("WDJB-MJHT", "\\u001b[2J"),
            begun(",\"expires_in\":60").replace("WDJB-MJHT", ""),
            begun(",\"expires_in\":60").replace("https:", "http:"),
            begun(",\"expires_in\":60,\"verification_uri_complete\":\"javascript:alert(1)\""),
            begun(""),
            "{}".to_owned(),
        ] {
            assert!(Flow::begin(200, wrong.as_bytes(), 60 * SECOND, Instant::now()).is_err(), "{wrong}");
        }
        let error = Flow::begin(401, b"{\"error\":\"invalid_client\"}", SECOND, Instant::now()).err().unwrap();
        assert!(error.to_string().contains("HTTP status 401 and `invalid_client`"), "{error}");
    }

    #[test]
    fn no_token_is_in_a_debug_text() {
        let tokens = Tokens::parse(b"{\"id_token\":\"a.b.c\",\"refresh_token\":\"r\",\"access_token\":\"x\"}").unwrap();
        assert_eq!((tokens.id.as_str(), tokens.refresh.as_ref().map(|token| token.as_str())), ("a.b.c", Some("r")));
        assert_eq!(format!("{tokens:?}"), "Tokens(hidden)");
        assert!(Tokens::parse(b"{\"access_token\":\"x\"}").unwrap_err().to_string().contains("no ID token"));
    }

    proptest! {
        /// Whatever a provider says: it is asked no more often than once a second, and never after its time.
        #[test]
        fn it_never_asks_too_often_nor_after_the_end(
            answers in proptest::collection::vec((0_u16..600, "authorization_pending|slow_down|[a-z_]{0,8}|\\PC{0,12}"), 0..40),
            lasts in 0_u64..2000,
            interval in 0_u64..100,
        ) {
            let start = Instant::now();
            let body = begun(&format!(",\"expires_in\":{lasts},\"interval\":{interval}"));
            let (mut flow, _) = Flow::begin(200, body.as_bytes(), SECOND * 600, start).unwrap();
            let mut last = start;
            for (status, error) in answers {
                let Some(next) = flow.next() else { break };
                prop_assert!(next >= last + SECOND && next < start + SECOND * u32::try_from(lasts.min(600)).unwrap());
                last = next;
                if flow.answered(status, serde_json::json!({ "error": error }).to_string().as_bytes(), next).is_err() {
                    break;
                }
            }
        }
    }
}
