//! What a proof takes from whoever logs in by it, whatever policy lets them do.

/// The restrictions of a key's line or of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// Whatever is asked for, this is run in its place; policy judges it like any command.
    pub(super) command: Option<String>,
    /// No terminal.
    pub(super) no_pty: bool,
    /// No ports are forwarded.
    pub(super) no_forwarding: bool,
}

impl Restrictions {
    /// The command that is run in the place of whatever is asked for.
    pub fn command(&self) -> Option<&str> {
        self.command.as_deref()
    }

    /// Whether a terminal may be asked for.
    pub fn lets_have_terminal(&self) -> bool {
        !self.no_pty
    }

    /// Whether a port may be asked for.
    pub fn lets_forward(&self) -> bool {
        !self.no_forwarding
    }
}
