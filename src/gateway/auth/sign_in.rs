//! Signing in at an OpenID provider, in keyboard-interactive (RFC 4256): alone, or after a key or a certificate that is not enough.
//!
//! ```text
//!  keyboard-interactive ▶ (empty questions until the provider has given a code) ▶ address and code, "Press Enter …"
//!       ▶ (empty questions until they have signed in) ▶ verified, and somebody here for whom that is enough: in
//! ```
//!
//! It is this connection's own: what comes of it goes to nobody else, it is begun once, and it ends with the connection. As with codes
//! nothing here waits long.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use russh::server::Auth;

use super::keyboard::{Pending, question, refuse};
use crate::gateway::connection::Connection;
use crate::gateway::preauth_stream::Reached;
use crate::identity::{Login, Proved, SignedIn, Unproved};
use crate::model::{RefusalCode, counted};
use crate::oidc::{Progress, Prompt, SignIn, SignInError};

/// A connection's sign-in, from its beginning to the end of the connection or the login. Its place is held as long, so that nobody gets
/// another place by letting one come to nothing.
#[derive(Debug)]
pub(in crate::gateway) struct SigningIn {
    what: Result<SignIn, SignInError>,
    /// The person has been shown where to go.
    shown: bool,
    /// They were told why nothing comes of it.
    told: bool,
}

/// How long one empty question waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the person answers to; whatever they type is not looked at.
const PROMPT: &str = "Press Enter when you have signed in: ";

/// What somebody learns who has signed in and is nobody here, or not enough.
const NOBODY: &str = "You have signed in, and may not log in here by that. The gateway's log says why.";

impl Connection {
    /// The client asks to be asked, or answers, where a code is not what is missing.
    pub(super) async fn ask_to_sign_in(
        &mut self,
        user: &str,
        pending: Option<Pending>,
        answers: Option<Vec<String>>,
    ) -> Auth {
        let may = pending.is_some() || self.shared.people.current().sign_in_may_come_first();
        self.pending = pending;
        let Some(provider) = self.shared.settings.provider.clone().filter(|_| may) else {
            // who was refused after a sign-in, and whose client asks again, was refused for that
            if self.signing_in.is_none() {
                let why = "only a public key proves here who somebody is, and a code only besides one";
                self.attempts.refuse(RefusalCode::MethodNotTaken, why);
            }
            return refuse();
        };
        let mut signing_in = match self.signing_in.take() {
            Some(signing_in) => signing_in,
            None => {
                let patience = Duration::from_secs(u64::from(self.shared.settings.limits.answer_seconds));
                let what = provider.begin(self.source.ip(), patience);
                if what.is_ok() {
                    self.reached(Reached::HalfWay);
                    let why = "the person was asked to sign in at the provider, and has not yet";
                    self.attempts.refuse(RefusalCode::SignInFailed, why);
                }
                SigningIn { what, shown: false, told: false }
            }
        };
        let auth = self.further(user, &mut signing_in, answers.is_none()).await;
        // who is in has no use for its place
        if !matches!(auth, Auth::Accept) {
            self.signing_in = Some(signing_in);
        }
        auth
    }

    /// The next step; `anew` where the client begins from the beginning.
    async fn further(&mut self, user: &str, signing_in: &mut SigningIn, anew: bool) -> Auth {
        let progress = match &mut signing_in.what {
            Err(error) => Progress::Failed(error.clone()),
            Ok(sign_in) => match sign_in.progress() {
                Progress::Begins => sign_in.moves(PATIENCE).await,
                Progress::Asks(_) if signing_in.shown && !anew => sign_in.moves(PATIENCE).await,
                far => far,
            },
        };
        match progress {
            Progress::Begins => question("", None),
            Progress::Asks(_) if signing_in.shown && !anew => question("", None),
            Progress::Asks(prompt) => {
                signing_in.shown = true;
                question(&shown(&prompt), Some(PROMPT))
            }
            // whoever has shown a key since may be somebody now
            Progress::Done(_) if signing_in.told && self.pending.is_none() => refuse(),
            Progress::Done(signed_in) => match self.judge_sign_in(user, &signed_in) {
                Ok(auth) => auth,
                Err(why) => {
                    self.attempts.refuse(why.code(), why.to_string());
                    signing_in.tell(NOBODY)
                }
            },
            Progress::Failed(_) if signing_in.told => refuse(),
            Progress::Failed(error) => {
                self.attempts.refuse(error.code(), error.to_string());
                signing_in.tell(error.told())
            }
        }
    }

    /// They have signed in, and that is verified: who it is here.
    fn judge_sign_in(&mut self, user: &str, signed_in: &Arc<SignedIn>) -> Result<Auth, Unproved> {
        let (people, source, now) = (self.shared.people.current(), self.source.ip(), SystemTime::now());
        let login = Login::parse(user);
        let proved = match self.pending.take() {
            Some(pending) => Proved::Enough(pending.half.signed_in(&people, signed_in, now)?),
            None => people.identify_signed_in(signed_in, login.as_ref().ok(), source, now)?,
        };
        Ok(match self.ask_besides(proved, login.as_ref().ok()) {
            Proved::Half(half) => self.half_way(user, login, half),
            Proved::Enough(identity) => {
                self.logged_in(identity, login);
                Auth::Accept
            }
        })
    }
}

impl SigningIn {
    /// Says why it comes to nothing; the answer to that is refused.
    fn tell(&mut self, why: &str) -> Auth {
        self.told = true;
        question(why, None)
    }
}

/// What the person reads.
fn shown(prompt: &Prompt) -> String {
    let Prompt { uri, uri_complete, code, lasts } = prompt;
    let minutes = counted(lasts.as_secs().div_ceil(60), "minute");
    let mut text = format!("Sign in with a browser within {minutes}: open\n\n    {uri}\n\nand enter the code {code}.");
    if let Some(complete) = uri_complete {
        // writing to a string can't fail
        let _ = write!(text, " Or open this, and see that it shows that code:\n\n    {complete}");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_person_reads_where_to_go_what_to_type_and_how_long_that_is_good() {
        let mut prompt = Prompt {
            uri: "https://id.example.com/device".to_owned(),
            uri_complete: None,
            code: "WDJB-MJHT".to_owned(),
            lasts: Duration::from_secs(61),
        };
        let text = shown(&prompt);
        assert!(text.contains("within 2 minutes") && text.contains("    https://id.example.com/device\n"), "{text}");
        assert!(text.contains("the code WDJB-MJHT.") && !text.contains("Or open"), "{text}");
        prompt.uri_complete = Some("https://id.example.com/device?user_code=WDJB-MJHT".to_owned());
        assert!(shown(&prompt).contains("    https://id.example.com/device?user_code=WDJB-MJHT\n"));
    }
}
