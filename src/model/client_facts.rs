//! What is known of the program at the other end of an SSH connection, and of what protects that.

/// A client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFacts {
    /// What it calls itself, as in its first line: `SSH-2.0-OpenSSH_9.2` (RFC 4253, section 4.2). Its own words.
    pub version: Option<String>,
    /// What was negotiated, where that is known.
    pub algorithms: Option<Negotiated>,
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
