//! What the lanes of one channel are opened with.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::helper::program::{FILE_DOCUMENT, ONE_LANE_DOCUMENT, OUT_DOCUMENT, Parts, boot};
use super::ladder::{Ladder, Rung};
use super::limits::Clock;
use super::options::Options;
use super::starter::Starter;
use crate::backend::SessionRequest;
use crate::model::{NodeId, ReasonText};

/// Everything a channel's lanes are opened with.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub starter: Starter,
    pub node: NodeId,
    pub reason: Option<ReasonText>,
    pub rung: Rung,
    /// The options of the first lane.
    pub options: Options,
    /// The `command` parameter.
    pub command: String,
    /// What is known of the nodes.
    pub ladder: Ladder,
    /// The share of the node's lanes that this channel holds.
    pub _share: Arc<OwnedSemaphorePermit>,
    /// Bytes of payload in a frame.
    pub payload: usize,
    /// How long the channel may last and be silent, from its start: whatever rungs and lanes it has had.
    pub clock: Clock,
    /// Whether the in lane is opened at once: somebody at a terminal is going to type.
    pub eager: bool,
}

impl Plan {
    /// The request of a session of this channel.
    pub(super) fn request<const N: usize>(
        &self,
        document: &str,
        parameters: [(&str, String); N],
        silent: bool,
    ) -> SessionRequest {
        SessionRequest {
            target: self.node.clone(),
            document: document.to_owned(),
            parameters: parameters.into_iter().map(|(key, value)| (key.to_owned(), vec![value])).collect(),
            reason: self.reason.clone(),
            silent,
            payload: self.payload,
        }
    }

    /// The document of its out lanes.
    pub(super) fn out_document(&self) -> &'static str {
        if self.options.serve_files() { FILE_DOCUMENT } else { OUT_DOCUMENT }
    }
}

/// The request of a channel's first session.
pub(super) fn first_request(plan: &Plan) -> SessionRequest {
    match plan.rung {
        Rung::TwoLanes => {
            let parameters = [("options", plan.options.start("out")), ("command", plan.command.clone())];
            plan.request(plan.out_document(), parameters, false)
        }
        Rung::OneLane => {
            let parts = if plan.options.serve_files() { Parts::ONE_FILES } else { Parts::ONE_COMMAND };
            let line = boot(&plan.options.start("both"), &plan.command, parts);
            plan.request(ONE_LANE_DOCUMENT, [("command", line)], true)
        }
    }
}
