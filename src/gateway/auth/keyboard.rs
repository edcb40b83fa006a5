//! Asking for a code in keyboard-interactive (RFC 4256), after something was proved that is not enough alone.
//!
//! ```text
//!  publickey ▶ partial success ▶ keyboard-interactive ▶ "Verification code: " ▶ right: in
//!                                     │                                        └ wrong: refused, and the client asks again
//!                                     └ another connection asks already: empty questions, which clients answer at once
//!                                       by themselves, until that one is over
//! ```
//!
//! The empty questions are what this waits with: nothing here waits long, because nothing is read from the connection meanwhile, and
//! a client that has gone would hold its place.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use russh::server::Auth;
use russh::{MethodKind, MethodSet};

use super::questions::Turn;
use crate::gateway::connection::Connection;
use crate::gateway::preauth_stream::Reached;
use crate::identity::{HalfProved, Identity, Login, LoginError, Proved, SecondProof, WrongCode};
use crate::model::RefusalCode;

/// Somebody who is half way in.
#[derive(Debug)]
pub(in crate::gateway) struct Pending {
    /// The user name under which the first half was proved; it is of no use under another (RFC 4252, section 5).
    user: String,
    login: Result<Login, LoginError>,
    pub(super) half: HalfProved,
    doing: Doing,
}

/// What is going on with them.
#[derive(Debug)]
enum Doing {
    /// Nothing yet.
    Nothing,
    /// They, or a connection of theirs, are asked.
    Turn(Turn),
    /// They were told why it is of no use to ask.
    Told,
}

/// What a client shows that waits for another one's answer.
const WAITING: &str = "Another connection of yours is waiting for a verification code; this one goes on with it.";

/// How long one empty question waits.
const PATIENCE: Duration = Duration::from_secs(1);

impl Connection {
    /// The first half of somebody was proved: lets them in where the second is remembered, and else has the client ask.
    pub(in crate::gateway) fn half_way(
        &mut self,
        user: &str,
        login: Result<Login, LoginError>,
        half: HalfProved,
    ) -> Auth {
        self.reached(Reached::HalfWay);
        if let Some(identity) = half.recall(&self.shared.factors, SystemTime::now()) {
            self.logged_in(identity, login);
            return Auth::Accept;
        }
        let why = match half.wants() {
            SecondProof::Totp => "what was proved is not enough alone, and the code that has to come as well did not",
            SecondProof::SignIn => "what was proved is not enough alone, and nobody signed in as well",
        };
        self.attempts.refuse(RefusalCode::SecondFactorNeeded, why);
        self.pending = Some(Pending { user: user.to_owned(), login, half, doing: Doing::Nothing });
        let mut methods = MethodSet::empty();
        methods.push(MethodKind::KeyboardInteractive);
        Auth::Reject { proceed_with_methods: Some(methods), partial_success: true }
    }

    /// Whether the first half of somebody was proved under this user name.
    pub(in crate::gateway) fn is_half_way(&self, user: &str) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.user == user)
    }

    /// What was proved, or half of it where it is enough, and a policy about the login's node may want more.
    pub(in crate::gateway) fn ask_besides(&self, proved: Proved, login: Option<&Login>) -> Proved {
        let Proved::Enough(identity) = proved else { return proved };
        let sessions = &self.shared.sessions;
        let node = login.and_then(|login| login.node_for(identity.person())).map(|name| sessions.asked(name));
        match node {
            Some(node) if sessions.policy().may_want_second_factor(&identity, &node) => {
                self.shared.people.current().ask_besides(identity)
            }
            _ => Proved::Enough(identity),
        }
    }

    /// The client asks to be asked, or answers.
    pub(in crate::gateway) async fn ask(&mut self, user: &str, answers: Option<Vec<String>>) -> Auth {
        let mut pending = match self.pending.take().filter(|pending| pending.user == user) {
            Some(pending) if pending.half.wants() == SecondProof::Totp => pending,
            None if self.asks_for_passwords() => return self.ask_for_a_password(user, answers).await,
            other => return self.ask_to_sign_in(user, other, answers).await,
        };
        match self.answered(&mut pending, answers).await {
            Ok(identity) => {
                self.logged_in(identity, pending.login);
                Auth::Accept
            }
            Err(auth) => {
                self.pending = Some(pending);
                auth
            }
        }
    }

    async fn answered(&mut self, pending: &mut Pending, answers: Option<Vec<String>>) -> Next {
        match &mut pending.doing {
            Doing::Turn(Turn::Ask(asks)) => match answers {
                Some(answers) => self.judge(&pending.half, &answers),
                // the last guess was one too many: it is of no use to ask on
                None if self.shared.factors.barred(&pending.half.asker(), SystemTime::now()).is_some() => {
                    self.turn(pending, "")
                }
                None => Err(question("", Some(asks.prompt()))),
            },
            Doing::Turn(Turn::Wait(waiting)) => match waiting.is_over(PATIENCE).await {
                true => self.turn(pending, ""),
                false => Err(question("", None)),
            },
            // they know why, and their program has answered
            Doing::Told if answers.is_some() => Err(refuse()),
            Doing::Nothing | Doing::Told => self.turn(pending, WAITING),
        }
    }

    /// What a connection does that is half way and does nothing: it asks, waits, or is told that neither is of use. Whoever was asked a
    /// moment ago on another connection is in.
    fn turn(&mut self, pending: &mut Pending, waits: &'static str) -> Next {
        let (now, asker) = (SystemTime::now(), pending.half.asker());
        if let Some(identity) = pending.half.recall(&self.shared.factors, now) {
            return Ok(identity);
        }
        if let Some(time) = self.shared.factors.barred(&asker, now) {
            pending.doing = Doing::Told;
            let why = WrongCode::TooMany(time).to_string();
            self.attempts.refuse(RefusalCode::TooManyGuesses, why.clone());
            return Err(question(&why, None));
        }
        let turn = self.shared.questions.turn(asker);
        let said = match &turn {
            Turn::Ask(asks) => question("", Some(asks.prompt())),
            Turn::Wait(_) => question(waits, None),
        };
        pending.doing = Doing::Turn(turn);
        Err(said)
    }

    /// One answer to one question, and not an empty one.
    fn judge(&mut self, half: &HalfProved, answers: &[String]) -> Next {
        let code = match answers {
            [code] => code.as_str(),
            _ => "",
        };
        let wrong = match half.answer(&self.shared.factors, code, SystemTime::now()) {
            Ok(identity) => return Ok(identity),
            Err(wrong) => wrong,
        };
        let code = match wrong {
            WrongCode::Wrong => RefusalCode::SecondFactorWrong,
            WrongCode::TooMany(_) => RefusalCode::TooManyGuesses,
        };
        self.attempts.refuse(code, wrong.to_string());
        Err(refuse())
    }
}

/// Who is in; or what is answered.
type Next = Result<Identity, Auth>;

/// A question, or an empty one, which a client answers without asking anybody.
pub(super) fn question(instructions: &str, prompt: Option<&'static str>) -> Auth {
    let prompts: Vec<(Cow<'static, str>, bool)> = prompt.map(|prompt| (prompt.into(), false)).into_iter().collect();
    Auth::Partial { name: "".into(), instructions: instructions.to_owned().into(), prompts: prompts.into() }
}

pub(in crate::gateway) fn refuse() -> Auth {
    Auth::Reject { proceed_with_methods: None, partial_success: false }
}
