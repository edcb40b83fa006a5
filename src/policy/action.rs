//! What somebody may want to do on a node: the one vocabulary of rules, decisions, events and messages.

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

/// What a rule names: an action without its particulars, or all that can be done to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionKind {
    /// [`Action::Shell`].
    Shell,
    /// [`Action::Exec`].
    Exec,
    /// [`Action::Files`] and every [`Action::File`].
    Files,
}

/// A word that names no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no action")]
pub struct UnknownAction(String);

impl Action {
    /// What a rule that is about it names.
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Shell => ActionKind::Shell,
            Self::Exec { .. } => ActionKind::Exec,
            Self::Files | Self::File { .. } => ActionKind::Files,
        }
    }

    /// The action's name in events and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::File { action, .. } => action.name(),
            Self::Shell | Self::Exec { .. } | Self::Files => self.kind().name(),
        }
    }
}

impl FileAction {
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

impl ActionKind {
    /// All that a rule may name.
    pub const ALL: [Self; 3] = [Self::Shell, Self::Exec, Self::Files];

    /// The name in rules, events and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shell => "Shell",
            Self::Exec => "Exec",
            Self::Files => "Files",
        }
    }

    /// The action of that name.
    pub fn parse(name: &str) -> Result<Self, UnknownAction> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| UnknownAction(name.to_owned()))
    }
}

impl UnknownAction {
    /// What to write in its place.
    pub fn help(&self) -> String {
        let [others @ .., last] = ActionKind::ALL.map(ActionKind::name);
        format!("the actions are {} and {last}", others.join(", "))
    }
}
