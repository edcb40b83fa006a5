//! Asks why on the session's own terminal, before anything runs on it.
//!
//! ```text
//!  policy: "needs a reason" ─▶ the words of the policy, `reason: ` ─▶ typed, shown ─▶ policy again
//!                                  ▲                                                 │ unsuitable, at most three times
//!                                  └─────────────────────────────────────────────────┘
//! ```
//!
//! Only a shell with a terminal is asked: a command may be anybody's script, and a program that waits for an answer to a question that
//! it can't see hangs. What is typed behind Enter is the shell's.

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use super::client_channel::{ClientChannel, PATIENCE};
use super::prompts::TOO_MANY;
use super::shared::Shared;
use crate::backend::BoxFuture;
use crate::identity::{Identity, Purpose};
use crate::model::{ReasonLine, ReasonText, Typed, plain_text};
use crate::policy::Denial;
use crate::session::{Answered, AsksWhy};

/// A channel's terminal, with somebody before it.
pub(super) struct ReasonPrompt<'a> {
    pub(super) shared: &'a Shared,
    pub(super) identity: &'a Identity,
    pub(super) source: IpAddr,
    pub(super) client: &'a ClientChannel,
}

impl fmt::Debug for ReasonPrompt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReasonPrompt").field("identity", self.identity).finish_non_exhaustive()
    }
}

impl AsksWhy for ReasonPrompt<'_> {
    fn ask<'a>(&'a self, denial: &'a Denial, again: bool) -> BoxFuture<'a, Option<Answered>> {
        Box::pin(async move {
            let words = denial.wanted_reason.as_deref()?;
            let Some(_place) = self.shared.prompts.take(self.source) else {
                // what follows says how to give it without being asked
                self.say(&format!("portcullis: {TOO_MANY}")).await;
                return None;
            };
            let asked = match again {
                false => format!("portcullis: policy \"{}\" wants to know why you are here: {words}", denial.policy),
                true => format!("portcullis: that is not it: policy \"{}\" wants {words}", denial.policy),
            };
            let answer = tokio::time::timeout(PATIENCE, self.answer_to(&asked)).await;
            let reason = answer.inspect_err(|_| tracing::debug!("nobody has answered why")).ok()??;
            // who was somebody when the channel was asked for may be nobody by now, or in other groups
            let people = self.shared.people.current();
            let renewed = people.renew(self.identity, SystemTime::now(), Purpose::Open);
            match renewed {
                Ok(identity) => Some(Answered { reason, identity }),
                Err(why) => {
                    self.say(&format!("portcullis: how you logged in is no proof any more: {why}")).await;
                    None
                }
            }
        })
    }
}

impl ReasonPrompt<'_> {
    /// Why nobody is asked, or not any more. What follows is the refusal, and one that can't be told is none less.
    async fn say(&self, sentence: &str) {
        if let Err(error) = self.client.tell(sentence).await {
            tracing::debug!(%error, "the client did not hear why it is not asked");
        }
    }

    /// Asks, and shows what is typed. The terminal is in raw mode, since it was asked for.
    async fn answer_to(&self, asked: &str) -> Option<ReasonText> {
        let newline = self.client.newline;
        self.client.show(format!("{}{newline}reason: ", plain_text(asked))).await?;
        let mut line = ReasonLine::default();
        loop {
            match line.take(self.client.typed().await?) {
                Typed::Shown(text) if text.is_empty() => {}
                Typed::Shown(text) => self.client.show(text).await?,
                Typed::Line(reason) => {
                    self.client.show(newline.to_owned()).await?;
                    return Some(reason);
                }
                Typed::GivenUp => {
                    self.client.show(newline.to_owned()).await?;
                    return None;
                }
            }
        }
    }
}
