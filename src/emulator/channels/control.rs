//! A node's control channel: tasks go out, reports of their end come in.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use portcullis_protocol::control::{AgentTaskAcknowledge, AgentTaskComplete};
use portcullis_protocol::{Message, MessageType};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::emulator::relay::frame::from_service;
use crate::emulator::relay::mailbox::{Mailbox, Next};
use crate::emulator::state::Shared;

/// Serves the channel until it ends.
pub(crate) async fn serve<S>(shared: &Shared, node: &str, mut stream: WebSocketStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mailbox = Arc::new(Mailbox::new(shared.most_message));
    let epoch = mailbox.attach();
    shared.nodes.attach(node, mailbox.clone());
    tracing::debug!(node, "the agent is connected");
    loop {
        tokio::select! {
            next = poll_fn(|cx| mailbox.poll_next(cx, epoch)) => match next {
                Next::Frame(frame) => {
                    if stream.send(Frame::Binary(frame)).await.is_err() {
                        break;
                    }
                }
                Next::Finished | Next::Replaced | Next::Cut(_) => break,
            },
            message = stream.next() => match message {
                Some(Ok(Frame::Binary(frame))) => {
                    if let Some(answer) = take(shared, node, frame)
                        && stream.send(Frame::Binary(answer)).await.is_err()
                    {
                        break;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    shared.nodes.detach(node, &mailbox);
    tracing::debug!(node, "the agent is gone");
}

/// Takes a frame from the agent; gives what it is answered with.
fn take(shared: &Shared, node: &str, frame: Bytes) -> Option<Bytes> {
    let message = Message::decode(frame).ok()?;
    if message.kind != MessageType::AgentTaskComplete {
        return None;
    }
    let complete = AgentTaskComplete::decode(&message.payload).ok()?;
    tracing::debug!(
        node,
        session = complete.task_id,
        status = complete.final_task_status,
        output = complete.output,
        "the agent reports the end of a session"
    );
    // A node speaks for its own sessions only. The report is acknowledged whatever it says, or it comes again.
    if let Some(session) = shared.sessions.get(&complete.task_id)
        && session.target() == node
    {
        session.task_complete(complete.final_task_status == "Success", &complete.output);
    }
    let answer = AgentTaskAcknowledge::new(message.id, &complete.task_id);
    Some(from_service(MessageType::AgentTaskAcknowledge, answer.encode()))
}
