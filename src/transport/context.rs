//! What the lanes of one channel are opened with.

use super::account::Terms;
use super::helper::program::{
    FILE_DOCUMENT, IN_DOCUMENT, ONE_LANE_DOCUMENT, OUT_DOCUMENT, Program, RELAY_DOCUMENT, boot,
};
use super::ladder::Ladder;
use super::lane_opener::LaneOpener;
use super::limits::Clock;
use super::node_places::NodePermit;
use super::options::{Job, Options};
use crate::backend::lanes::SessionRequest;
use crate::config::Rung;
use crate::model::NodeRef;

/// Everything a channel's lanes are opened with.
#[derive(Clone, Debug)]
pub(super) struct ChannelContext {
    pub opener: LaneOpener,
    pub rung: Rung,
    /// The options of the first lane.
    pub options: Options,
    /// The `command` parameter.
    pub command: String,
    /// What is known of the nodes.
    pub ladder: Ladder,
    /// The place among the node's channels that this one holds.
    pub _permit: NodePermit,
    /// Bytes of payload in a frame.
    pub payload: usize,
    /// What the account asks of its lanes.
    pub terms: Terms,
    /// How long the channel may last and be silent, from its start: whatever rungs and lanes it has had.
    pub clock: Clock,
    /// Whether the in lane is opened at once: somebody at a terminal is going to type.
    pub eager: bool,
}

impl ChannelContext {
    /// The node.
    pub(super) fn node(&self) -> &NodeRef {
        self.opener.grant().node()
    }

    /// The request of a session that joins the helper.
    pub(super) fn attach_request(&self, document: &str, options: String, silent: bool) -> SessionRequest {
        self.request(document, [("options", options), ("command", "lane:".to_owned())], silent)
    }

    /// The request of a session that takes the out lane's place. `directory`: the helper's own word for where it is;
    /// `received`: the last record that has arrived.
    pub(super) fn rejoin_request(&self, directory: Option<&str>, received: u32) -> SessionRequest {
        match self.rung {
            Rung::TwoLanes => {
                self.attach_request(self.out_document(), self.options.attach("out", directory, received), false)
            }
            Rung::OneLane | Rung::Sshd => {
                self.one_lane_request(&self.options.attach("both", directory, received), "lane:")
            }
        }
    }

    fn one_lane_request(&self, options: &str, command: &str) -> SessionRequest {
        let program = match self.options.job() {
            Job::Command => Program::OneCommand,
            Job::Files => Program::OneFiles,
            Job::Relay => Program::OneRelay,
        };
        self.request(ONE_LANE_DOCUMENT, [("command", boot(options, command, program))], true)
    }

    /// The request of a session of this channel.
    fn request<const N: usize>(&self, document: &str, parameters: [(&str, String); N], silent: bool) -> SessionRequest {
        SessionRequest {
            document: document.to_owned(),
            beside: match self.options.job() {
                Job::Command => &OF_COMMANDS,
                Job::Files => &OF_FILES,
                Job::Relay => &OF_RELAYS,
            },
            parameters: parameters.into_iter().map(|(key, value)| (key.to_owned(), vec![value])).collect(),
            silent,
            payload: self.payload,
        }
    }

    /// The document of its out lanes.
    pub(super) fn out_document(&self) -> &'static str {
        match self.options.job() {
            Job::Command => OUT_DOCUMENT,
            Job::Files => FILE_DOCUMENT,
            Job::Relay => RELAY_DOCUMENT,
        }
    }
}

/// The documents of a command's lanes, on every rung.
const OF_COMMANDS: [&str; 3] = [OUT_DOCUMENT, IN_DOCUMENT, ONE_LANE_DOCUMENT];

/// The same of a file service's.
const OF_FILES: [&str; 3] = [FILE_DOCUMENT, IN_DOCUMENT, ONE_LANE_DOCUMENT];

/// The same of a relay's.
const OF_RELAYS: [&str; 3] = [RELAY_DOCUMENT, IN_DOCUMENT, ONE_LANE_DOCUMENT];

/// The request of a channel's first session.
pub(super) fn first_request(context: &ChannelContext) -> SessionRequest {
    match context.rung {
        Rung::TwoLanes => {
            let parameters = [("options", context.options.start("out")), ("command", context.command.clone())];
            context.request(context.out_document(), parameters, false)
        }
        // the last rung has no lanes, and nobody comes here with it
        Rung::OneLane | Rung::Sshd => context.one_lane_request(&context.options.start("both"), &context.command),
    }
}
