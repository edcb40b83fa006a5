//! Why a node's sshd does not carry something. Each is a sentence for the person.

use std::path::PathBuf;

use crate::backend::BackendError;
use crate::model::plain_text_up_to;
use crate::ssh::mint::MintError;

/// Why nothing goes on by a node's sshd.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SshdError {
    /// The gateway is not set up for it.
    #[error(
        "this node is reached by its own sshd, and the gateway has nothing to log in with there: see [sshd] in its configuration"
    )]
    NoCredential,
    /// The login names no user, and there is no default one.
    #[error(
        "this node is reached by its own sshd, which knows no session without a user: write one in front of the node, as in ec2-user%{node}"
    )]
    NoUser {
        /// The node, as the person wrote it.
        node: String,
    },
    /// Nothing is known of its host key, and nothing is taken on trust.
    #[error(
        "the host key of {node} is not known ({fingerprint}), so nothing was sent there: whoever runs the gateway adds its line to a file of \
         sshd.known_hosts"
    )]
    HostKeyUnknown {
        /// The node.
        node: String,
        /// Of what it showed.
        fingerprint: String,
    },
    /// It shows another key than it is known by.
    #[error(
        "{node} shows another host key than it is known by ({shown}, and not {known}): somebody may be in its place, so nothing was sent \
         there. If it was set up anew, whoever runs the gateway takes the line of {name} out of {file}"
    )]
    HostKeyChanged {
        /// The node.
        node: String,
        /// What it shows.
        shown: String,
        /// What it is known by.
        known: String,
        /// Under which name.
        name: String,
        /// Where.
        file: String,
    },
    /// It shows a key that is revoked.
    #[error("the host key that {node} shows ({fingerprint}) is revoked, so nothing was sent there")]
    HostKeyRevoked {
        /// The node.
        node: String,
        /// Of what it showed.
        fingerprint: String,
    },
    /// Its host certificate is none that counts.
    #[error("the host certificate of {node} is none to go by, so nothing was sent there: {why}")]
    HostCertificate {
        /// The node.
        node: String,
        /// Why not.
        why: String,
    },
    /// A file of host keys can't be read.
    #[error("{file}, by which nodes are known, can't be read, so nothing was sent there: {why}")]
    KnownHosts {
        /// Which.
        file: String,
        /// Why.
        why: String,
    },
    /// What was seen of a node can't be written down.
    #[error("the host key of a node can't be noted in {}, so nothing was sent there: {why}", .file.display())]
    NotRemembered {
        /// Where.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// It took no credential.
    #[error("the sshd of {node} does not let {user} in: {hint}")]
    NotLoggedIn {
        /// The node.
        node: String,
        /// As whom.
        user: String,
        /// What to look at.
        hint: &'static str,
    },
    /// It says nothing, or not in time.
    #[error("the sshd of {node} did not answer in time; see that it runs there, on port {port}")]
    Silent {
        /// The node.
        node: String,
        /// Where it was looked for.
        port: u16,
    },
    /// What it says is no SSH of ours.
    #[error("no connection to the sshd of {node} came about: {why}")]
    Handshake {
        /// The node.
        node: String,
        /// Why.
        why: String,
    },
    /// The connection is over.
    #[error("the connection to the node's sshd was lost: {0}")]
    Lost(String),
    /// It opens no channel.
    #[error("the node's sshd opens no session: {0}")]
    NoSession(String),
    /// It gives no terminal.
    #[error("the node's sshd gives no terminal to this user (PermitTTY)")]
    NoTerminal,
    /// It starts nothing.
    #[error("the node's sshd did not start it")]
    NotStarted,
    /// It has no SFTP server.
    #[error(
        "the node's sshd has no sftp subsystem, by which files are carried there; its sshd_config says so: Subsystem sftp internal-sftp"
    )]
    NoFiles,
    /// It did not say how the command ended.
    #[error("the node's sshd ended the session without saying how what ran in it ended")]
    NoExit,
    /// A line that can't be carried.
    #[error("the command line is too long to be run by /bin/sh there, as policy has read it: no more than {0} bytes")]
    TooLong(usize),
    /// A certificate, or a key, could not be made.
    #[error("{0}")]
    NotMinted(String),
    /// AWS, or the way through it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl SshdError {
    /// Whether it is what the node's sshd does not take, and not the way to it.
    pub fn is_the_node_s(&self) -> bool {
        matches!(
            self,
            Self::NoUser { .. }
                | Self::NotLoggedIn { .. }
                | Self::NoSession(_)
                | Self::NoTerminal
                | Self::NotStarted
                | Self::NoFiles
        )
    }

    /// Whether it is about who the node is.
    pub fn is_about_the_host_key(&self) -> bool {
        matches!(
            self,
            Self::HostKeyUnknown { .. }
                | Self::HostKeyChanged { .. }
                | Self::HostKeyRevoked { .. }
                | Self::HostCertificate { .. }
                | Self::KnownHosts { .. }
                | Self::NotRemembered { .. }
        )
    }
}

impl From<MintError> for SshdError {
    fn from(error: MintError) -> Self {
        Self::NotMinted(error.to_string())
    }
}

/// The library's own words, of which some are the node's.
impl From<russh::Error> for SshdError {
    fn from(error: russh::Error) -> Self {
        Self::Lost(plain_text_up_to(LONGEST, &error.to_string()))
    }
}

/// Of what a node says of itself.
pub(super) const LONGEST: usize = 200;
