//! The way to a port of the node: a port session without a multiplexer, as a stream. It has no half-close: the end of one direction is
//! that of both.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::SshdError;
use crate::backend::lanes::{Lane, SessionRequest};
use crate::data_channel::{ChannelEvent, ChannelReader, ChannelWriter};
use crate::transport::lane_opener::LaneOpener;

/// AWS's document of such sessions.
const DOCUMENT: &str = "AWS-StartSSHSession";

/// An SSH server speaks first. One that does not within this is not there: the agent does not say so itself.
const SPEAKS: Duration = Duration::from_secs(10);

/// What waits in each direction.
const BUFFER: usize = 64 * 1024;

/// Why it is over, where that is known.
pub(super) type Why = Arc<OnceLock<String>>;

/// Opens it. When this returns the node's sshd has said something.
pub(super) async fn open(opener: &LaneOpener, port: u16, payload: usize) -> Result<(DuplexStream, Why), SshdError> {
    let parameters = [("portNumber".to_owned(), vec![port.to_string()])].into();
    let request = SessionRequest { parameters, payload, ..SessionRequest::new(DOCUMENT) };
    let lane = opener.open(request).await?;
    let (near, far) = tokio::io::duplex(BUFFER);
    let (why, spoken) = (Why::default(), oneshot::channel());
    tokio::spawn(carry(lane, far, why.clone(), spoken.0));
    let node = opener.grant().node_name().to_string();
    match timeout(SPEAKS, spoken.1).await {
        Ok(Ok(())) => Ok((near, why)),
        Ok(Err(_)) => match why.get() {
            Some(why) => Err(SshdError::Handshake { node, why: why.clone() }),
            None => Err(SshdError::Silent { node, port }),
        },
        // the stream is dropped, which ends the session
        Err(_) => Err(SshdError::Silent { node, port }),
    }
}

/// Until one end has no more to say.
async fn carry(mut lane: Lane, far: DuplexStream, why: Why, spoken: oneshot::Sender<()>) {
    let Lane { writer, reader, lapse, .. } = &mut lane;
    let (from_us, to_us) = tokio::io::split(far);
    let ended = tokio::select! {
        ended = from_node(reader, to_us, spoken) => ended,
        () = to_node(writer, from_us) => None,
        ended = lapse.told() => Some(ended.to_string()),
    };
    if let Some(ended) = ended.filter(|ended| !ended.is_empty()) {
        let _ = why.set(ended);
    }
    lane.close().await;
}

/// Nothing more is taken from the session than there is room for. Why it has ended, if it was not us.
async fn from_node(
    reader: &mut ChannelReader,
    mut to_us: WriteHalf<DuplexStream>,
    spoken: oneshot::Sender<()>,
) -> Option<String> {
    let mut spoken = Some(spoken);
    loop {
        match reader.next().await {
            Some(ChannelEvent::Output(bytes)) => {
                if to_us.write_all(&bytes).await.is_err() {
                    return None;
                }
                if let Some(spoken) = spoken.take() {
                    let _ = spoken.send(());
                }
            }
            // the agent's own words, of which nobody makes anything
            Some(ChannelEvent::Closed(_)) | None => {
                return Some("Session Manager, or the node's agent, has ended the session that carries it".to_owned());
            }
            Some(ChannelEvent::Lost(why)) => return Some(why),
            Some(_) => {}
        }
    }
}

async fn to_node(writer: &ChannelWriter, mut from_us: ReadHalf<DuplexStream>) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(BUFFER);
        match from_us.read_buf(&mut buffer).await {
            Ok(1..) if writer.send(buffer.split().freeze()).await.is_ok() => {}
            _ => return,
        }
    }
}
