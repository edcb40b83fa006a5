//! Why the lanes of a channel ended before its command did.

use super::out_lane::{HELLO_WAIT, START_WAIT};
use crate::backend::BackendError;
use crate::transport::helper::link::LinkError;

/// Why lanes ended. `said` is the tail of the sentence: what the node itself said about it, if anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaneError {
    /// Somebody or a limit ended the session too early.
    #[error("the session was ended before the node started the command")]
    EndedBeforeStart,
    /// The session ended by itself before the helper's first word.
    #[error("the command could not be started on the node{said}")]
    NotStarted {
        /// The node's words.
        said: String,
    },
    /// The helper's first word did not come.
    #[error("the node did not start the command within {} seconds{said}", HELLO_WAIT.as_secs())]
    NoHello {
        /// The node's words.
        said: String,
    },
    /// No worker came for the first session.
    #[error(
        "the node's agent did not begin the session within {} seconds; the node may be overloaded{said}",
        START_WAIT.as_secs()
    )]
    NoWorker {
        /// The node's words.
        said: String,
    },
    /// The out lane is gone, and the helper was not reached by another.
    #[error("the node was not reached again within {} seconds; it may be overloaded, or gone", START_WAIT.as_secs())]
    NotRejoined,
    /// The node has no agent any more that would open a lane.
    #[error("the connection to the node was lost: {0}")]
    NodeGone(String),
    /// The helper is not there any more, and it had not said how the command ended.
    #[error("the command's helper on the node is gone, and with it the end of the output{said}")]
    HelperGone {
        /// The node's words.
        said: String,
    },
    /// The helper has hung up the command by itself.
    #[error(
        "the node did not hear from this gateway for so long that the command was hung up there; the way to the node may \
         be interrupted, or the node overloaded"
    )]
    LeaseOver,
    /// The same, before its first word.
    #[error(
        "nothing was heard of the command for so long that it was hung up on the node; the way to the node may be \
         interrupted, or the node overloaded"
    )]
    LeaseOverUnheard,
    /// The out lane ended, and that is final.
    #[error("{}{said}", if .text.is_empty() { "the session was ended" } else { .text })]
    Ended {
        /// The service's words.
        text: String,
        /// The node's words.
        said: String,
    },
    /// The in lane ended, and the out lane did not say that all is well.
    #[error("the way in to the command was ended{said}")]
    InLaneEnded {
        /// The node's words.
        said: String,
    },
    /// The in lane was opened, and the helper did not take it.
    #[error(
        "the node did not begin a session for the command's input within {} seconds; the command is being ended",
        START_WAIT.as_secs()
    )]
    InLaneNotTaken,
    /// Renewals go out and nothing comes back.
    #[error("the node no longer answers; the command is being ended")]
    Deaf,
    /// The helper for `sh` keeps nothing for another lane.
    #[error(
        "the connection to Session Manager broke, and output may be lost: the helper for sh can't go on from there. With \
         python3 on the node it could"
    )]
    CantResume,
    /// Lanes break as fast as they come.
    #[error("the connection to Session Manager breaks again and again")]
    Unsteady,
    /// Another lane can't be opened.
    #[error(transparent)]
    CantOpen(BackendError),
    /// What arrived is not what a helper says, or not all of it.
    #[error("{error}{said}")]
    Helper {
        /// What is wrong.
        error: LinkError,
        /// The node's words.
        said: String,
    },
}

impl LaneError {
    /// Whether the node has no program of that name: a shell or an interpreter that the helper is for.
    pub fn is_no_program(&self) -> bool {
        // the agent's own words, which are those of Go's os/exec
        matches!(self, Self::NotStarted { said } if said.contains("executable file not found"))
    }
}
