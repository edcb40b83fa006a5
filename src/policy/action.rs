//! What somebody may want to do on a node: the one vocabulary of policies, decisions, events and messages. The names are the
//! actions of `config/portcullis.cedarschema`.

use super::command_line::Command;

/// What somebody wants to do on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// An interactive or piped login shell.
    Shell,
    /// One command line, as the client sent it.
    Exec {
        /// The bytes of the command; not always UTF-8.
        command: Vec<u8>,
    },
    /// One command of such a line: asked besides.
    Command {
        /// All of the line.
        line: Vec<u8>,
        /// The command; none where the line was not taken apart.
        command: Option<Box<Command>>,
    },
    /// Setting a variable for what runs.
    SetVariable {
        /// Its name.
        name: String,
        /// Its value; not always UTF-8.
        value: Vec<u8>,
    },
    /// Being an operating-system user of the node: asked besides, where the login names one.
    RunAs,
    /// Reaching a port through the node.
    Forward {
        /// The host, as the node sees it: an address in its one spelling (`model::TargetHost`), a name in small letters.
        host: String,
        /// Its port.
        port: u32,
    },
    /// Reaching a Unix socket on the node.
    ForwardSocket {
        /// Its path, as the client wrote it.
        path: Vec<u8>,
    },
    /// Reaching the node by way of the gateway, which answers in its place.
    Hop,
    /// Reaching the node's own sshd, end to end: nobody sees what is done by it.
    Tunnel {
        /// Its port, on the node itself.
        port: u32,
    },
    /// Looking at a session that was recorded on the node, or runs there: in a list, read, played, followed, exported.
    Review {
        /// Whose session it is.
        of: String,
    },
    /// Ending such a session.
    EndSession {
        /// Whose session it is.
        of: String,
    },
    /// A session of file operations (the sftp subsystem, `scp` in both its modes). Each operation in it is judged by
    /// itself, as [`Action::File`].
    Files,
    /// One operation on one file.
    File {
        /// Which.
        action: FileAction,
        /// Bytes of the node: absolute and with links resolved where the judgement depends on it.
        path: Vec<u8>,
    },
}

/// What is done to a file, in the words of policies and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum FileAction {
    Download,
    Upload,
    List,
    /// Looks at size, mode, owner, times.
    Stat,
    /// Changes size, mode, owner, times.
    Change,
    Remove,
    MakeDirectory,
    RemoveDirectory,
    Rename,
    /// Copies from one open file to another, on the node.
    Copy,
    Link,
    Symlink,
    ReadLink,
    /// Asks for a path's real name.
    Resolve,
    /// Asks for a file system's figures.
    FileSystem,
    /// Asks for what was written to reach the disk.
    Sync,
}

impl Action {
    /// The names of all that are no operations on files.
    pub(crate) const NAMES: [&str; 12] = [
        "Shell",
        "Exec",
        "Command",
        "SetVariable",
        "RunAs",
        "Forward",
        "ForwardSocket",
        "Hop",
        "Tunnel",
        "Review",
        "EndSession",
        "Files",
    ];

    /// The action's name in policies, events and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shell => "Shell",
            Self::Exec { .. } => "Exec",
            Self::Command { .. } => "Command",
            Self::SetVariable { .. } => "SetVariable",
            Self::RunAs => "RunAs",
            Self::Forward { .. } => "Forward",
            Self::ForwardSocket { .. } => "ForwardSocket",
            Self::Hop => "Hop",
            Self::Tunnel { .. } => "Tunnel",
            Self::Review { .. } => "Review",
            Self::EndSession { .. } => "EndSession",
            Self::Files => "Files",
            Self::File { action, .. } => action.name(),
        }
    }
}

impl FileAction {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Download,
        Self::Upload,
        Self::List,
        Self::Stat,
        Self::Change,
        Self::Remove,
        Self::MakeDirectory,
        Self::RemoveDirectory,
        Self::Rename,
        Self::Copy,
        Self::Link,
        Self::Symlink,
        Self::ReadLink,
        Self::Resolve,
        Self::FileSystem,
        Self::Sync,
    ];

    /// The action's name in policies, events and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Download => "Download",
            Self::Upload => "Upload",
            Self::List => "List",
            Self::Stat => "Stat",
            Self::Change => "Change",
            Self::Remove => "Remove",
            Self::MakeDirectory => "MakeDirectory",
            Self::RemoveDirectory => "RemoveDirectory",
            Self::Rename => "Rename",
            Self::Copy => "Copy",
            Self::Link => "Link",
            Self::Symlink => "Symlink",
            Self::ReadLink => "ReadLink",
            Self::Resolve => "Resolve",
            Self::FileSystem => "FileSystem",
            Self::Sync => "Sync",
        }
    }
}
