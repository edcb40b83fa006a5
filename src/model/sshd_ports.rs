//! The ports at which nodes' own sshds listen.

/// At least one, unless somebody says that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshdPorts(Vec<u16>);

impl SshdPorts {
    /// These.
    pub fn new(ports: Vec<u16>) -> Self {
        Self(ports)
    }

    /// Whether an sshd may listen there.
    pub fn has(&self, port: u32) -> bool {
        self.0.iter().any(|known| u32::from(*known) == port)
    }
}

impl Default for SshdPorts {
    fn default() -> Self {
        Self(vec![22])
    }
}
