//! The beginning: versions, what the server offers, and whether it resolves links.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::super::sftp::encode::encode;
use super::super::sftp::packet::{LARGEST_DATA, LARGEST_PACKET, Packet, Request, next_frame};
use super::super::sftp::reply::{EXTENSIONS, Limits, PROTOCOL_VERSION, Reply};
use super::super::sftp::reply_decode::decode_reply;
use super::connection::{Connection, Expect};
use super::error::Failure;
use super::opening::is_link;
use crate::model::plain_text_up_to;

/// What the node's server can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offers {
    /// Places in [`EXTENSIONS`].
    offered: [bool; EXTENSIONS.len()],
    /// The longest read that it carries out whole.
    pub(super) read: u32,
    /// The longest write.
    pub(super) write: u32,
    /// How many files can be open, where it says so.
    pub(super) open: Option<u32>,
    /// Whether it stated the longest read: then a read that comes short met the end of the file.
    pub(super) states_limits: bool,
    /// Whether what it calls a real path leads over no link: it was seen to resolve one.
    pub(super) resolves: bool,
}

impl Offers {
    pub(super) fn has(&self, extension: &str) -> bool {
        EXTENSIONS.iter().zip(self.offered).any(|((name, _), offered)| offered && *name == extension.as_bytes())
    }
}

/// Exchanges versions. Gives what is offered, and what has come after that.
pub(super) async fn exchange_versions<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
) -> Result<(Offers, BytesMut), String> {
    let exchange = async {
        let io = |error: std::io::Error| error.to_string();
        stream.write_all(&encode(&Packet::Init { version: PROTOCOL_VERSION })).await.map_err(io)?;
        stream.flush().await.map_err(io)?;
        let mut received = BytesMut::new();
        let frame = loop {
            // whatever is no packet of this length is not read to its end
            let length = received.first_chunk().map(|length| u32::from_be_bytes(*length) as usize);
            if length.is_some_and(|length| length == 0 || length > LARGEST_PACKET) {
                return Err(no_version(&received));
            }
            if let Some(frame) = next_frame(&mut received).map_err(|malformed| malformed.what.to_owned())? {
                break frame;
            }
            if stream.read_buf(&mut received).await.map_err(io)? == 0 {
                return Err(match received.is_empty() {
                    true => "the node's SFTP server has ended before it said anything".to_owned(),
                    false => no_version(&received),
                });
            }
        };
        match decode_reply(frame.clone(), |_| None) {
            Ok((_, Reply::Version { version: PROTOCOL_VERSION, extensions })) => {
                let offered = EXTENSIONS
                    .map(|(known, version)| extensions.iter().any(|(name, value)| name == known && value == version));
                let offers = Offers {
                    offered,
                    read: LEAST_DATA,
                    write: LEAST_DATA,
                    open: None,
                    states_limits: false,
                    resolves: false,
                };
                Ok((offers, received))
            }
            Ok((_, Reply::Version { version, .. })) => {
                Err(format!("the node's SFTP server speaks version {version}, and the gateway version 3"))
            }
            _ => Err(no_version(&frame)),
        }
    };
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(exchanged) => exchanged,
        Err(_) => Err(silent()),
    }
}

/// Asks for limits, and whether links are resolved. The answers make reads longer and opens shorter, no more: a server that
/// refuses to give them is asked carefully.
pub(super) async fn ask_around(connection: &Connection, offers: &mut Offers) -> Result<(), Failure> {
    match tokio::time::timeout(PATIENCE, ask_limits_and_links(connection, offers)).await {
        Ok(asked) => asked,
        Err(_) => Err(Failure::Gone(silent())),
    }
}

async fn ask_limits_and_links(connection: &Connection, offers: &mut Offers) -> Result<(), Failure> {
    let limits = match offers.has("limits@openssh.com") {
        true => Some(connection.ask(Request::Limits, Expect::Limits).await?),
        false => None,
    };
    // Linux has a link there, whoever looks
    let link = || b"/proc/self".to_vec();
    let real = connection.ask(Request::RealPath { path: link() }, Expect::Path).await?;
    let found = connection.ask(Request::Lstat { path: link() }, Expect::Attributes).await?;
    if let Some(limits) = limits {
        match limits.reply().await {
            Ok(Reply::Limits(limits)) => offers.take_limits(limits),
            Err(gone @ Failure::Gone(_)) => return Err(gone),
            _ => {}
        }
    }
    offers.resolves = match (real.reply().await, found.reply().await) {
        (Err(gone @ Failure::Gone(_)), _) | (_, Err(gone @ Failure::Gone(_))) => return Err(gone),
        (Ok(Reply::Names(names)), Ok(Reply::Attributes(found))) => {
            is_link(&found) && names.first().is_some_and(|name| name.name != link())
        }
        _ => false,
    };
    Ok(())
}

impl Offers {
    fn take_limits(&mut self, limits: Limits) {
        let length = |stated: u64| match stated {
            0 => LEAST_DATA,
            stated => u32::try_from(stated).unwrap_or(u32::MAX).clamp(SHORTEST, LARGEST_DATA),
        };
        // a packet has its own head, a handle and an offset besides
        let packet = match limits.packet {
            0 => LEAST_DATA,
            packet => u32::try_from(packet.saturating_sub(1024)).unwrap_or(u32::MAX).clamp(SHORTEST, LARGEST_DATA),
        };
        self.read = length(limits.read).min(packet);
        self.write = length(limits.write).min(packet);
        self.open = u32::try_from(limits.open).ok().filter(|open| *open > 0);
        self.states_limits = limits.read >= u64::from(self.read);
    }
}

fn silent() -> String {
    format!("the node's SFTP server said nothing for {} seconds", PATIENCE.as_secs())
}

/// A login script that prints something is what it mostly is.
fn no_version(received: &[u8]) -> String {
    let said = plain_text_up_to(100, &String::from_utf8_lossy(received.get(..400).unwrap_or(received)));
    format!("the node said something that is not SFTP: \"{said}\"; does a login script there print it?")
}

/// What every server takes (the draft, section 3: packets of 34,000 bytes).
const LEAST_DATA: u32 = 32 * 1024;
/// A server that states less is given this all the same: it may refuse it.
const SHORTEST: u32 = 4 * 1024;
/// How long a server may take to say its version.
const PATIENCE: Duration = Duration::from_secs(30);
