//! The agent's own shell session (`Standard_Stream`), for accounts whose preferences or policy ask for it: agent-side
//! logging, shell profile, Run-As. Its prompt takes a second, it carries about 1 MB/s, and it has no exit status.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::channel::{Client, Control, Delivery, InputData, Out, send_final};
use super::error::TransportError;
use super::limits::{Clock, sleep_until};
use crate::backend::lanes::{Lane, SessionRequest};
use crate::data_channel::{ChannelEvent, ChannelWriter};
use crate::model::{Exit, WindowSize};

/// The account's preferences, which are also the document of its shell sessions.
pub(super) const SHELL_DOCUMENT: &str = "SSM-SessionManagerRunShell";

/// The request of a shell session.
pub(super) fn request(payload: usize) -> SessionRequest {
    SessionRequest { silent: true, payload, ..SessionRequest::new(SHELL_DOCUMENT) }
}

/// Runs a shell session to its end. Neither a client that takes nothing nor a shell that reads nothing may hold up the
/// clock, so nothing is waited for but here.
pub(super) async fn run(mut lane: Lane, mut size: Option<WindowSize>, mut clock: Clock, mut client: Client) {
    let deliveries = client.deliveries.clone();
    resize(&lane.writer, size).await;
    let Lane { writer, reader, lapse, .. } = &mut lane;
    let mut established = false;
    let (mut to_client, mut to_node): (Option<Bytes>, VecDeque<Bytes>) = (None, VecDeque::new());
    let ended = loop {
        if let Some(why) = clock.over(Instant::now()) {
            break Some(Err(why.into()));
        }
        tokio::select! {
            biased;
            control = client.control.recv(), if open(&client.control) => match control {
                Some(Control::Resize(new)) => {
                    size = Some(new);
                    resize(writer, size).await;
                }
                // there is no signal frame; the terminal's own characters do for the ones a terminal has
                // nobody needs more signals than this at once, and the queue must have a bound
                Some(Control::Signal(name)) => {
                    let room = SIGNALS - to_node.len().min(SIGNALS);
                    to_node.extend(character(&name).map(Bytes::from_static).into_iter().take(room));
                }
                // a terminal is not closed, as with sshd
                Some(Control::CloseOutput) | None => {}
            },
            permit = deliveries.reserve(), if to_client.is_some() => {
                let (Ok(permit), Some(bytes)) = (permit, to_client.take()) else { break None };
                clock.touch(Instant::now());
                permit.send(Delivery::Out(Out::Stdout(bytes)));
            }
            sent = send(writer, to_node.front()) => {
                to_node.pop_front();
                if !sent {
                    break Some(Err(TransportError::ShellLost("the session's data channel ended".to_owned())));
                }
            }
            event = reader.next(), if to_client.is_none() => match event {
                Some(ChannelEvent::Output(bytes) | ChannelEvent::StdErr(bytes)) => {
                    if !std::mem::replace(&mut established, true) {
                        // what was sent before the agent listened may have been dropped although acknowledged
                        resize(writer, size).await;
                    }
                    to_client = Some(bytes);
                }
                Some(ChannelEvent::Closed(text)) => break Some(Ok(text)),
                Some(ChannelEvent::Lost(text)) => break Some(Err(TransportError::ShellLost(text))),
                None => break Some(Ok(String::new())),
                Some(_) => {}
            },
            data = client.data.recv(), if established && to_node.is_empty() && open(&client.data) => match data {
                Some(InputData::Bytes(bytes)) => {
                    clock.touch(Instant::now());
                    to_node.push_back(bytes);
                }
                Some(InputData::Eof) | None => {}
            },
            () = deliveries.closed() => break None,
            why = lapse.told() => break Some(Err(why.into())),
            () = sleep_until(clock.deadline()) => {}
        }
    };
    let last = match ended {
        Some(Ok(text)) => {
            let text = text.trim();
            let told = (!text.is_empty()).then(|| Delivery::Out(Out::Stdout(format!("\r\n{text}\r\n").into())));
            told.into_iter().chain([Delivery::Out(Out::Exit(Exit::Unknown))]).collect()
        }
        Some(Err(error)) => vec![Delivery::Failed(error)],
        // whoever does not listen any more needs none
        None => Vec::new(),
    };
    send_final(deliveries, last);
    drop(client);
    lane.close().await;
}

async fn send(writer: &ChannelWriter, bytes: Option<&Bytes>) -> bool {
    match bytes {
        Some(bytes) => writer.send(bytes.clone()).await.is_ok(),
        None => std::future::pending().await,
    }
}

async fn resize(writer: &ChannelWriter, size: Option<WindowSize>) {
    if let Some(size) = size {
        // an error shows as the channel's end
        let _ = writer.resize(size.cols.into(), size.rows.into()).await;
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

/// How many signals may wait for the shell to read.
const SIGNALS: usize = 64;
