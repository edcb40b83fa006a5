//! A connection to a node's sshd, and the channels on it.
//!
//! ```text
//!   AWS-StartSSHSession ─▶ stream ─▶ russh (its task) ──▶ Client ──▶ inbox ──▶ NodeChannel ──▶ the channel's task
//!                                        ▲                                        │
//!                                        └───────────── data, requests ───────────┘
//! ```

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use russh::client::{self, AuthResult, Config, Handle, Msg};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{ChannelWriteHalf, Disconnect, Preferred, SshId, cipher, compression, kex, mac};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::client::{Client, Shared};
use super::credential::{Credential, Proof};
use super::error::SshdError;
use super::host_key::{HostKeyRules, HostNames};
use super::inbox::{Inbox, Word};
use crate::transport::helper::output_window::{NARROWEST_OUTPUT, OutputWindow};
use crate::transport::plain_port::Ended;

/// From the first byte to the login.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// Silence after which the node is asked whether it is still there, and how often before the connection is given up.
const KEEPALIVE: Duration = Duration::from_secs(15);
const UNANSWERED: usize = 3;

/// A window's part that is given back at once (RFC 4254, section 5.2).
const WINDOW_PARTS: u32 = 8;

/// A connection that somebody is logged in on.
pub(super) struct Connection {
    handle: Handle<Client>,
    shared: Arc<Shared>,
    /// That something of the person's does not get there was said.
    told: AtomicBool,
}

/// To whom, and by what they are known.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) rules: Arc<HostKeyRules>,
    pub(super) node: HostNames,
    pub(super) user: String,
    pub(super) port: u16,
}

/// A session channel on a connection. Letting go of it closes it.
pub(super) struct NodeChannel {
    connection: Arc<Connection>,
    pub(super) writer: Arc<ChannelWriteHalf<Msg>>,
    inbox: Arc<Inbox>,
    window: OutputWindow,
    /// What the node may send, or has sent and nobody has taken.
    outstanding: u32,
}

impl Connection {
    /// Knows who is at the other end of a stream, and logs in there.
    pub(super) async fn over<S>(
        stream: S,
        carrier: Ended,
        peer: &Peer,
        credential: &Credential,
        proof: Proof,
    ) -> Result<Arc<Self>, SshdError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let known = peer.rules.known().await?;
        let config = Arc::new(config(known.kinds(&peer.node), known.has_authority(&peer.node)));
        let shared = Arc::new(Shared::over(carrier));
        let client = Client { rules: peer.rules.clone(), known, node: peer.node.clone(), shared: shared.clone() };
        let connected = async {
            let mut handle = client::connect_stream(config, stream, client).await.map_err(|error| match error {
                SshdError::Lost(why) => SshdError::Handshake { node: peer.node.shown.clone(), why },
                other => other,
            })?;
            let user = peer.user.clone();
            match handle.authenticate_openssh_cert(user, proof.key, proof.certificate).await {
                Ok(AuthResult::Success) => Ok(handle),
                Ok(AuthResult::Failure { .. }) => Err(SshdError::NotLoggedIn {
                    node: peer.node.shown.clone(),
                    user: peer.user.clone(),
                    hint: credential.hint(),
                }),
                Err(error) => Err(SshdError::Lost(shared.ended().unwrap_or_else(|| error.to_string()))),
            }
        };
        let silent = |_| SshdError::Silent { node: peer.node.shown.clone(), port: peer.port };
        let handle = timeout(HANDSHAKE, connected).await.map_err(silent)??;
        Ok(Arc::new(Self { handle, shared, told: AtomicBool::new(false) }))
    }

    /// By what the node was known: fingerprints.
    pub(super) fn host_key(&self) -> String {
        self.shared.host_key()
    }

    /// Why it is over, where it is.
    pub(super) fn ended(&self) -> Option<String> {
        self.shared.ended().or_else(|| self.handle.is_closed().then(|| "it has ended".to_owned()))
    }

    /// Opens a session channel. In a task of its own: who stops waiting leaves none behind.
    pub(super) async fn open(self: &Arc<Self>, window: OutputWindow) -> Result<NodeChannel, SshdError> {
        let connection = self.clone();
        let opening = tokio::spawn(async move {
            let opened = connection.handle.channel_open_session().await;
            let (_, writer) = match opened {
                Ok(channel) => channel.split(),
                Err(russh::Error::ChannelOpenFailure(why)) => return Err(SshdError::NoSession(format!("{why:?}"))),
                Err(error) => return Err(connection.lost(&error)),
            };
            let Some(inbox) = connection.shared.inbox(writer.id()) else {
                return Err(connection.lost(&"it was closed"));
            };
            let channel =
                NodeChannel { connection, writer: Arc::new(writer), inbox, window, outstanding: NARROWEST_OUTPUT };
            Ok(channel)
        });
        let mut channel =
            opening.await.unwrap_or_else(|_| Err(SshdError::Lost("opening a session has panicked".to_owned())))?;
        channel.widen();
        Ok(channel)
    }

    /// An error of the library's, or what it came of.
    fn lost(&self, error: &dyn std::fmt::Display) -> SshdError {
        SshdError::Lost(self.ended().unwrap_or_else(|| error.to_string()))
    }

    /// Nobody needs it any more.
    pub(super) async fn hang_up(&self) {
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
    }
}

impl NodeChannel {
    /// The next word. Nothing is lost where somebody stops waiting for it.
    pub(super) async fn next(&mut self) -> Word {
        poll_fn(|cx| match self.inbox.poll_next(cx) {
            Poll::Ready((word, skipped)) => {
                self.take(skipped);
                Poll::Ready(word)
            }
            Poll::Pending => {
                // it is over, and nobody was there to say so
                match self.connection.ended() {
                    Some(why) => Poll::Ready(Word::Lost(why)),
                    None => Poll::Pending,
                }
            }
        })
        .await
    }

    /// So many bytes were taken: the node may send as many more, as far as there is room for them.
    pub(super) fn take(&mut self, bytes: usize) {
        self.outstanding = self.outstanding.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.window.bytes().saturating_sub(self.outstanding) >= self.window.bytes() / WINDOW_PARTS {
            let wide = self.window.fit(u64::from(self.outstanding));
            self.grow_to(wide);
        }
    }

    fn widen(&mut self) {
        let wide = self.window.bytes();
        self.grow_to(wide);
    }

    fn grow_to(&mut self, wide: u32) {
        let more = wide.saturating_sub(self.outstanding);
        if more > 0 {
            self.outstanding += more;
            self.connection.handle.grow_window(self.writer.id(), more);
        }
    }

    /// Why its connection is over, where it is.
    pub(super) fn ended(&self) -> Option<String> {
        self.connection.ended()
    }

    /// Whether the person is to be told now of what does not get there: once for a connection.
    pub(super) fn tells(&self) -> bool {
        !self.connection.told.swap(true, Ordering::Relaxed)
    }

    /// Nobody reads the command's output any more.
    pub(super) fn close_output(&self) {
        self.connection.handle.end_of_write(self.writer.id());
    }
}

impl Drop for NodeChannel {
    fn drop(&mut self) {
        self.connection.shared.forget(self.writer.id());
        let writer = self.writer.clone();
        // one that is closed already has no more to close
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { drop(writer.close().await) });
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for NodeChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeChannel").field("id", &self.writer.id()).finish_non_exhaustive()
    }
}

/// `kinds`: of the keys that the node is known by, which it is asked for first.
fn config(kinds: Vec<Algorithm>, certified: bool) -> Config {
    let mut keys = kinds;
    keys.extend(KEYS.iter().cloned());
    // RSA is known by its key, and asked for by the hash of its signatures
    keys.retain(|kind| KEYS.contains(kind) || matches!(kind, Algorithm::Rsa { .. }));
    let mut wanted: Vec<Algorithm> = Vec::new();
    for kind in keys {
        let named = match kind {
            Algorithm::Rsa { .. } => KEYS.iter().filter(|key| matches!(key, Algorithm::Rsa { .. })).cloned().collect(),
            other => vec![other],
        };
        for kind in named {
            if !wanted.contains(&kind) {
                wanted.push(kind);
            }
        }
    }
    let certificates = if certified { wanted.clone() } else { Vec::new() };
    Config {
        client_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Portcullis")),
        window_size: NARROWEST_OUTPUT,
        window_by_consumption: true,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: UNANSWERED,
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            host_key_certificates: Cow::Owned(certificates),
            key: Cow::Owned(wanted),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        ..Config::default()
    }
}

/// All by name, as for the gateway's own clients; what sshd has had since 2013.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::DH_G14_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

const CIPHERS: &[cipher::Name] =
    &[cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR, cipher::AES_128_CTR];

const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_asked_first_for_the_kind_of_key_that_it_is_known_by() {
        let ecdsa = Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 };
        let keys = |kinds: Vec<Algorithm>| config(kinds, false).preferred.key.into_owned();
        assert_eq!(keys(vec![]), KEYS);
        assert_eq!(keys(vec![ecdsa.clone()])[..2], [ecdsa, Algorithm::Ed25519]);
        let rsa = keys(vec![Algorithm::Rsa { hash: None }, Algorithm::Dsa]);
        assert_eq!(rsa[..2], KEYS[4..]);
        assert_eq!(rsa.len(), KEYS.len(), "no SHA-1, and no DSA");
    }
}
