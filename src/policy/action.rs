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
    /// File operations (the sftp subsystem, `scp` in both its modes).
    Files,
}

/// An action without its particulars: what a rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionKind {
    /// [`Action::Shell`].
    Shell,
    /// [`Action::Exec`].
    Exec,
    /// [`Action::Files`].
    Files,
}

/// A word that names no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no action")]
pub struct UnknownAction(String);

impl Action {
    /// The action without its particulars.
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Shell => ActionKind::Shell,
            Self::Exec { .. } => ActionKind::Exec,
            Self::Files => ActionKind::Files,
        }
    }

    /// The action's name in rules, events and messages.
    pub fn name(&self) -> &'static str {
        self.kind().name()
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
