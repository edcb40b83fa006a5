//! The agent's own shell session (`Standard_Stream`), for accounts whose preferences or policy ask for it: agent-side
//! logging, shell profile, Run-As. Its prompt takes a second, it carries about 1 MB/s, and it has no exit status.

use tokio::sync::mpsc;

use super::channel::{Control, Delivery, InputData, Out, TransportError};
use super::lanes::Client;
use crate::backend::{LaneSession, SessionRequest};
use crate::model::{Exit, NodeId, ReasonText, WindowSize};
use crate::session_manager::ChannelEvent;

/// The account's preferences, which are also the document of its shell sessions.
pub(super) const SHELL_DOCUMENT: &str = "SSM-SessionManagerRunShell";

/// The request of a shell session.
pub(super) fn request(node: NodeId, reason: Option<ReasonText>, payload: usize) -> SessionRequest {
    SessionRequest {
        target: node,
        document: SHELL_DOCUMENT.to_owned(),
        parameters: Default::default(),
        reason,
        silent: true,
        payload,
    }
}

/// Runs a shell session to its end.
pub(super) async fn run(mut lane: LaneSession, mut size: Option<WindowSize>, mut client: Client) {
    let session = lane.id.clone();
    let deliveries = client.deliveries.clone();
    let _ = deliveries.send(Delivery::Lane(session)).await;
    resize(&lane, size).await;
    let mut established = false;
    let ended = loop {
        tokio::select! {
            biased;
            control = client.control.recv(), if open(&client.control) => match control {
                Some(Control::Resize(new)) => {
                    size = Some(new);
                    resize(&lane, size).await;
                }
                // there is no signal frame; the terminal's own characters do for the ones a terminal has
                Some(Control::Signal(name)) => if let Some(byte) = character(&name) {
                    let _ = lane.writer.send(bytes::Bytes::from_static(byte)).await;
                },
                None => {}
            },
            event = lane.reader.next() => match event {
                Some(ChannelEvent::Output(bytes) | ChannelEvent::StdErr(bytes)) => {
                    if !std::mem::replace(&mut established, true) {
                        // what was sent before the agent listened may have been dropped although acknowledged
                        resize(&lane, size).await;
                    }
                    if deliveries.send(Delivery::Out(Out::Stdout(bytes))).await.is_err() {
                        break None;
                    }
                }
                Some(ChannelEvent::Closed(text)) => break Some(Ok(text)),
                Some(ChannelEvent::Lost(text)) => break Some(Err(text)),
                None => break Some(Ok(String::new())),
                Some(_) => {}
            },
            data = client.data.recv(), if established && open(&client.data) => match data {
                Some(InputData::Bytes(bytes)) => if lane.writer.send(bytes).await.is_err() {
                    break Some(Err("the session's data channel ended".to_owned()));
                },
                Some(InputData::Eof) | None => {}
            },
            () = deliveries.closed() => break None,
        }
    };
    match ended {
        Some(Ok(text)) => {
            if !text.trim().is_empty() {
                let text = format!("\r\n{}\r\n", text.trim());
                let _ = deliveries.send(Delivery::Out(Out::Stdout(text.into()))).await;
            }
            let _ = deliveries.send(Delivery::Out(Out::Exit(Exit::Unknown))).await;
        }
        Some(Err(text)) => {
            let _ = deliveries.send(Delivery::Failed(TransportError::Failed(text))).await;
        }
        None => {}
    }
    lane.close().await;
}

async fn resize(lane: &LaneSession, size: Option<WindowSize>) {
    if let Some(size) = size {
        // an error shows as the channel's end
        let _ = lane.writer.resize(size.cols.into(), size.rows.into()).await;
    }
}

fn open<T>(receiver: &mpsc::Receiver<T>) -> bool {
    !receiver.is_closed() || !receiver.is_empty()
}

fn character(signal: &str) -> Option<&'static [u8]> {
    match signal {
        "INT" => Some(b"\x03"),
        "QUIT" => Some(b"\x1c"),
        "TSTP" => Some(b"\x1a"),
        _ => None,
    }
}
