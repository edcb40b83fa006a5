//! The agent's own shell session (`Standard_Stream`), for accounts whose preferences or policy ask for it: agent-side
//! logging, shell profile, Run-As. Its prompt takes a second, it carries about 1 MB/s, and it has no exit status.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::channel::{Client, Control, Delivery, InputData, Out, say_last};
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
    let Lane { writer, reader, .. } = &mut lane;
    let mut established = false;
    let (mut outward, mut inward): (Option<Bytes>, VecDeque<Bytes>) = (None, VecDeque::new());
    let ended = loop {
        if let Some(why) = clock.over(Instant::now()) {
            break Some(Err(why));
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
                    let room = SIGNALS - inward.len().min(SIGNALS);
                    inward.extend(character(&name).map(Bytes::from_static).into_iter().take(room));
                }
                None => {}
            },
            permit = deliveries.reserve(), if outward.is_some() => {
                let (Ok(permit), Some(bytes)) = (permit, outward.take()) else { break None };
                clock.touch(Instant::now());
                permit.send(Delivery::Out(Out::Stdout(bytes)));
            }
            sent = send(writer, inward.front()) => {
                inward.pop_front();
                if !sent {
                    break Some(Err("the session's data channel ended".to_owned()));
                }
            }
            event = reader.next(), if outward.is_none() => match event {
                Some(ChannelEvent::Output(bytes) | ChannelEvent::StdErr(bytes)) => {
                    if !std::mem::replace(&mut established, true) {
                        // what was sent before the agent listened may have been dropped although acknowledged
                        resize(writer, size).await;
                    }
                    outward = Some(bytes);
                }
                Some(ChannelEvent::Closed(text)) => break Some(Ok(text)),
                Some(ChannelEvent::Lost(text)) => break Some(Err(text)),
                None => break Some(Ok(String::new())),
                Some(_) => {}
            },
            data = client.data.recv(), if established && inward.is_empty() && open(&client.data) => match data {
                Some(InputData::Bytes(bytes)) => {
                    clock.touch(Instant::now());
                    inward.push_back(bytes);
                }
                Some(InputData::Eof) | None => {}
            },
            () = deliveries.closed() => break None,
            () = sleep_until(clock.deadline()) => {}
        }
    };
    let words = match ended {
        Some(Ok(text)) => {
            let text = text.trim();
            let told = (!text.is_empty()).then(|| Delivery::Out(Out::Stdout(format!("\r\n{text}\r\n").into())));
            told.into_iter().chain([Delivery::Out(Out::Exit(Exit::Unknown))]).collect()
        }
        Some(Err(why)) => vec![Delivery::failed(why)],
        // whoever does not listen any more needs none
        None => Vec::new(),
    };
    say_last(deliveries, words);
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
