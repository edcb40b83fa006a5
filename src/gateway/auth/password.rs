//! A password (RFC 4252, section 8), or the same asked for in keyboard-interactive, which is all that some clients have.
//!
//! The method is offered, and a password is looked at, only from addresses that somebody's counts from; from anywhere else nothing
//! is done. What is looked at takes the same time for everybody.

use russh::server::Auth;
use russh::{MethodKind, MethodSet};
use zeroize::Zeroizing;

use super::keyboard::question;
use crate::gateway::connection::Connection;
use crate::identity::{Login, Proved, Unproved};
use crate::model::RefusalCode;

/// Programs that fill passwords in know these words.
const PROMPT: &str = "Password: ";

const NOT_FROM_THERE: &str = "no password counts from this address; a public key proves here who somebody is";
const TOO_MANY: &str =
    "there were too many wrong passwords from this address, or too many come at once; this one was not looked at";

impl Connection {
    /// The methods that are of use from where the client is.
    pub(in crate::gateway) fn methods(&self) -> MethodSet {
        let mut methods = MethodSet::empty();
        methods.push(MethodKind::PublicKey);
        if self.takes_passwords() {
            methods.push(MethodKind::Password);
        }
        if self.takes_passwords() || self.shared.settings.provider.is_some() {
            methods.push(MethodKind::KeyboardInteractive);
        }
        methods
    }

    /// Whether keyboard-interactive asks for a password: where people sign in at a provider, that is what it is for.
    pub(super) fn asks_for_passwords(&self) -> bool {
        self.takes_passwords() && !self.shared.people.current().sign_in_may_come_first()
    }

    fn takes_passwords(&self) -> bool {
        self.shared.people.current().takes_passwords_from(self.source.ip())
    }

    /// The client asks to be asked for a password, or has answered.
    pub(super) async fn ask_for_a_password(&mut self, user: &str, answers: Option<Vec<String>>) -> Auth {
        let Some(mut answers) = answers else { return question("", Some(PROMPT)) };
        match answers.pop() {
            Some(password) if answers.is_empty() => self.password(user, Zeroizing::new(password)).await,
            _ => self.refuse_password(),
        }
    }

    /// A password that somebody says is theirs.
    pub(in crate::gateway) async fn password(&mut self, user: &str, password: Zeroizing<String>) -> Auth {
        // what was proved before, or another's half, is over
        self.pending = None;
        let (people, source, login) = (self.shared.people.current(), self.source.ip(), Login::parse(user));
        let Some(attempt) = people.password_attempt(login.as_ref().ok(), source) else {
            self.attempts.refuse(RefusalCode::MethodNotTaken, NOT_FROM_THERE);
            return self.refuse_password();
        };
        let shared = self.shared.clone();
        let Some(may_look) = shared.guesses.may_look(source).await else {
            self.attempts.refuse(RefusalCode::TooManyGuesses, TOO_MANY);
            return self.refuse_password();
        };
        let looked_at = tokio::task::spawn_blocking(move || attempt.check(password.as_bytes())).await;
        drop(may_look);
        let verified = looked_at.unwrap_or(Err(Unproved::PasswordWrong));
        let proved = verified.and_then(|verified| {
            shared.guesses.right(source);
            people.identify_by_password(&verified, source)
        });
        match proved.map(|proved| self.ask_besides(proved, login.as_ref().ok())) {
            Ok(Proved::Half(half)) => self.half_way(user, login, half),
            Ok(Proved::Enough(identity)) => {
                self.logged_in(identity, login);
                Auth::Accept
            }
            Err(why) => {
                self.attempts.refuse(why.code(), why.to_string());
                self.refuse_password()
            }
        }
    }

    /// The client learns nothing but that, and may try again: the number of attempts has an end.
    fn refuse_password(&self) -> Auth {
        Auth::Reject { proceed_with_methods: Some(self.methods()), partial_success: false }
    }
}
