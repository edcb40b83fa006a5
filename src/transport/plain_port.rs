//! A port of the node as a stream: a port session without a multiplexer, of which the other end speaks first, as an SSH server does. It
//! has no half-close: the end of one direction is that of both.
//!
//! ```text
//!  DuplexStream ⇄ carry ⇄ AWS-StartSSHSession ⇄ agent ⇄ localhost:<port>
//! ```
//!
//! A port that refuses makes the agent's worker die, which Session Manager tells a minute later. So whoever says nothing for a moment,
//! once the session is there, is taken for nobody.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::timeout;

use super::lane_opener::LaneOpener;
use crate::backend::BackendError;
use crate::backend::lanes::{Lane, SessionRequest};
use crate::data_channel::{ChannelEvent, ChannelReader, ChannelWriter};

/// AWS's document of such sessions.
const DOCUMENT: &str = "AWS-StartSSHSession";

/// How long the agent may take to begin.
const BEGINS: Duration = Duration::from_secs(10);

/// How long the last bytes may take to get there.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// What waits in each direction.
const BUFFER: usize = 64 * 1024;

/// Why it is over, once it is, where it was not one of the two ends that had no more to say.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended(Arc<OnceLock<String>>);

/// Why there is none.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// Nobody has said anything there.
    Silent,
    /// The session has ended; the text is a sentence.
    Ended(String),
    Backend(BackendError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Opening,
    Established,
    Spoken,
}

impl Ended {
    /// What broke it.
    pub(super) fn lost(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    fn by(&self, why: String) {
        let _ = self.0.set(why);
    }
}

/// Opens it. When this returns the port has said something, for which it has so long once the session is there. `held` is let go of when it
/// is over.
pub(super) async fn open(
    opener: &LaneOpener,
    port: u16,
    payload: usize,
    speaks: Duration,
    held: impl Send + 'static,
) -> Result<(DuplexStream, Ended), NotOpened> {
    let parameters = [("portNumber".to_owned(), vec![port.to_string()])].into();
    let request = SessionRequest { parameters, payload, ..SessionRequest::new(DOCUMENT) };
    let lane = opener.open(request).await.map_err(NotOpened::Backend)?;
    let (near, far) = tokio::io::duplex(BUFFER);
    let (ended, (stage, mut stages)) = (Ended::default(), watch::channel(Stage::Opening));
    let carried = carry(lane, far, ended.clone(), stage);
    tokio::spawn(async move {
        carried.await;
        drop(held);
    });
    for (wanted, patience) in [(Stage::Established, BEGINS), (Stage::Spoken, speaks)] {
        // whoever gives up drops the stream, which ends the session
        match timeout(patience, stages.wait_for(|stage| *stage >= wanted)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err(ended.lost().map_or(NotOpened::Silent, |why| NotOpened::Ended(why.to_owned()))),
            Err(_) => return Err(NotOpened::Silent),
        }
    }
    Ok((near, ended))
}

/// Until one end has no more to say.
async fn carry(mut lane: Lane, far: DuplexStream, ended: Ended, stage: watch::Sender<Stage>) {
    let Lane { writer, reader, lapse, .. } = &mut lane;
    let (from_us, to_us) = tokio::io::split(far);
    tokio::select! {
        () = from_node(reader, to_us, &ended, stage) => {}
        () = to_node(writer, from_us) => {}
        () = async { ended.by(lapse.told().await.to_string()) } => {}
    }
    lane.close().await;
}

/// Nothing more is taken from the session than there is room for.
async fn from_node(
    reader: &mut ChannelReader,
    mut to_us: WriteHalf<DuplexStream>,
    ended: &Ended,
    stage: watch::Sender<Stage>,
) {
    loop {
        match reader.next().await {
            Some(ChannelEvent::Established) => {
                stage.send_if_modified(|stage| std::mem::replace(stage, Stage::Established.max(*stage)) != *stage);
            }
            Some(ChannelEvent::Output(bytes)) => {
                if to_us.write_all(&bytes).await.is_err() {
                    return;
                }
                stage.send_if_modified(|stage| std::mem::replace(stage, Stage::Spoken) != Stage::Spoken);
            }
            // the port has closed; the text is the agent's own words
            Some(ChannelEvent::Closed(_)) | None => return,
            Some(ChannelEvent::Lost(why)) => return ended.by(why),
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
            _ => break,
        }
    }
    let _ = timeout(LAST_BYTES, writer.drain()).await;
}
