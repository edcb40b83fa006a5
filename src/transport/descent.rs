//! The way down the ladder: a channel begins on the best rung that is known to work, and goes to the next where the account,
//! the node or its silence says no. The only place where a rung is left.

use tokio::time::Instant;

use super::context::{ChannelContext, first_request};
use super::end_cause::fate;
use super::error::TransportError;
use super::ladder::Ladder;
use super::lanes::LaneError;
use crate::backend::BackendError;
use crate::backend::lanes::{Fate, Lane};
use crate::config::Rung;

/// Why a rung is left.
#[derive(Debug)]
pub(super) enum Reason<'a> {
    /// The account does not have its documents.
    Documents(&'a BackendError),
    /// The agent could not do with the session. Nothing has run, since it waits for the gateway's handshake.
    Refused(&'a BackendError),
    /// A session was there, and not a word of the helper's.
    Silent(&'a TransportError),
}

impl ChannelContext {
    /// Opens the first session, on the best rung that takes one.
    pub(super) async fn open_first(&mut self) -> Result<Lane, BackendError> {
        loop {
            let error = match self.open_first_here().await {
                Ok(lane) => return Ok(lane),
                Err(error) => error,
            };
            let reason = match &error {
                BackendError::Document(_) | BackendError::Parameters { .. } => Reason::Documents(&error),
                BackendError::Ended { session, .. }
                    if self.ladder.below(self.node(), self.rung).is_some()
                        && fate(&self.opener, session).await == Fate::Failed =>
                {
                    Reason::Refused(&error)
                }
                _ => return Err(error),
            };
            if !self.descend(reason) {
                return Err(error);
            }
        }
    }

    async fn open_first_here(&self) -> Result<Lane, BackendError> {
        self.terms.allow(self.rung)?;
        self.opener.open(first_request(self)).await
    }

    /// Goes to the next rung, if there is one.
    pub(super) fn descend(&mut self, reason: Reason<'_>) -> bool {
        let Some(below) = self.ladder.below(self.node(), self.rung) else { return false };
        let (node, rung) = (self.node(), self.rung);
        match reason {
            Reason::Documents(error) => {
                tracing::warn!(%node, ?rung, %error, "the lanes' documents can't be used; trying the next rung");
                // that says nothing about the node: once the documents are there, it gets its lanes
                self.ladder = Ladder::new(Some(below));
            }
            Reason::Refused(error) => {
                tracing::warn!(%node, ?rung, %error, "the node refused this rung; trying the next");
            }
            Reason::Silent(error) => {
                tracing::warn!(%node, ?rung, %error, "the node did not answer on this rung; trying the next");
                // the helper may have left its directory
                self.options = self.options.elsewhere();
            }
        }
        self.rung = below;
        true
    }

    /// No lane will do: what is opened on that node from now on goes by its own sshd, where there is something to log in with. Not this
    /// channel itself: it may have been begun on the node, and what it is was not for another user to do.
    pub(super) fn by_sshd_next(&self, error: TransportError) -> TransportError {
        let is_no_helper =
            matches!(error, TransportError::Lane(LaneError::NotStarted { .. } | LaneError::NoHello { .. }));
        let node = self.node();
        if !is_no_helper || !self.ladder.may_try_sshd(node) {
            return error;
        }
        tracing::warn!(%node, %error, "no helper runs on the node; its own sshd is tried from now on");
        self.ladder.stands(node, Rung::Sshd, Instant::now());
        TransportError::BySshdNext(error.to_string())
    }
}
