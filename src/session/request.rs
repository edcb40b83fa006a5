//! What a client asked for on one channel, once: the session makes the action of the decision and the set-up of the
//! transport from it, so that nothing has to be compared later.

use crate::model::ReasonText;
use crate::policy::Action;
use crate::transport::ChannelSetup;

/// A channel's request, with what the client set before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRequest {
    /// What is to be started.
    pub kind: RequestKind,
    /// What the client asked for, where the proof that was logged in by starts something else.
    pub replaced: Option<RequestKind>,
    /// How: the terminal, the variables.
    pub setup: ChannelSetup,
    /// Why, where the login did not say (an environment variable).
    pub reason: Option<ReasonText>,
}

/// What can be started on a channel (RFC 4254, section 6.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// The user's login shell (`shell`).
    Shell,
    /// One command line, run by the user's shell (`exec`).
    Exec(Vec<u8>),
    /// Files (`subsystem sftp`).
    Sftp,
}

/// The command that stands for the file service, as in sshd_config(5).
const INTERNAL_SFTP: &str = "internal-sftp";

impl RequestKind {
    /// What a forced command starts.
    pub fn forced(command: &str) -> Self {
        match command.split_ascii_whitespace().next() {
            Some(INTERNAL_SFTP) => Self::Sftp,
            _ => Self::Exec(command.as_bytes().to_vec()),
        }
    }

    /// The command line that stands for it in `SSH_ORIGINAL_COMMAND`; a shell has none.
    pub fn command_line(&self) -> Option<&[u8]> {
        match self {
            Self::Shell => None,
            Self::Exec(command) => Some(command),
            Self::Sftp => Some(INTERNAL_SFTP.as_bytes()),
        }
    }

    /// What policy is asked about.
    pub fn action(&self) -> Action {
        match self {
            Self::Shell => Action::Shell,
            Self::Exec(command) => Action::Exec { command: command.clone() },
            Self::Sftp => Action::Files,
        }
    }
}
