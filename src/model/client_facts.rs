//! What is known of the program at the other end of an SSH connection, and of what protects that.

/// A client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFacts {
    /// What it calls itself, as in its first line: `SSH-2.0-OpenSSH_9.2` (RFC 4253, section 4.2). Its own words.
    pub version: Option<String>,
    /// What was negotiated, where that is known.
    pub algorithms: Option<Negotiated>,
}

impl ClientFacts {
    /// Whether it is of a kind that promises to ask for nothing more where its connection is for one thing only: OpenSSH's, which
    /// does so wherever it is not to serve others as a control master.
    pub fn says_when_it_asks_no_more(&self) -> bool {
        self.version.as_deref().is_some_and(|version| version.starts_with("SSH-2.0-OpenSSH_"))
    }
}

/// What protects an SSH connection, by the names of its protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// Among which of our algorithms it was (`modern`, `compatible`, `legacy`).
    pub profile: &'static str,
    /// The key exchange.
    pub kex: String,
    /// The host key's algorithm.
    pub host_key: String,
    /// The cipher, from the client.
    pub cipher: String,
    /// The MAC, from the client; empty where the cipher has its own.
    pub mac: String,
}
