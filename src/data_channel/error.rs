//! Why a websocket could not be opened.

/// Why a websocket could not be opened, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// No connection, or it broke before the upgrade.
    #[error("{0}")]
    Network(String),
    /// The service's certificate is not one we trust, or TLS failed.
    #[error("{0}")]
    Tls(String),
    /// The proxy is set wrongly or refused.
    #[error("{0}")]
    Proxy(String),
    /// The service answered the upgrade with this HTTP status.
    #[error("{host} refused the data channel's websocket with HTTP status {status}")]
    Refused {
        /// Who.
        host: String,
        /// The status.
        status: u16,
    },
}
