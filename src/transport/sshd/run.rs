//! The task behind a shell or a command that a node's sshd runs: between its channel there and its client.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use russh::{ChannelWriteHalf, Sig};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connect::NodeChannel;
use super::error::SshdError;
use super::inbox::{Stream, Word};
use crate::policy::Grant;
use crate::transport::channel::{Client, Control, Delivery, InputData, Out, send_final};
use crate::transport::error::TransportError;
use crate::transport::limits::{Clock, Limits, sleep_until};

/// Something that has begun.
pub(super) struct Run {
    pub(super) channel: NodeChannel,
    pub(super) clock: Clock,
    pub(super) grant: Arc<Grant>,
    /// What the client has not taken yet.
    pub(super) waiting: Option<Out>,
    /// The client has closed its input already.
    pub(super) stdin_closed: bool,
}

/// Something on its way to the node. It is not begun anew where something else comes first.
type Sending = Option<BoxFuture<'static, Result<(), russh::Error>>>;

/// How it comes to its end.
enum End {
    /// The node has said everything, and the client has taken it.
    Complete,
    /// Nobody listens any more.
    ClientGone,
    Failed(TransportError),
}

/// Carries it to its end. What is left behind there is hung up, as sshd does when its client goes.
pub(super) async fn run(mut run: Run, mut client: Client) {
    match run.drive(&mut client).await {
        End::Complete | End::ClientGone => {}
        End::Failed(error) => send_final(client.deliveries.clone(), vec![Delivery::Failed(error)]),
    }
}

impl Run {
    async fn drive(&mut self, client: &mut Client) -> End {
        let (mut input, mut control): (Sending, Sending) = (None, None);
        let mut has_exited = false;
        let writer = self.channel.writer.clone();
        if self.stdin_closed {
            input = Some(giving(writer.clone(), InputData::Eof));
        }
        loop {
            self.clock.keep_to(Limits::of(&self.grant));
            if let Some(limit) = self.clock.over(Instant::now()) {
                return End::Failed(limit.into());
            }
            let is_taken = self.waiting.is_none();
            let Self { channel, clock, waiting, .. } = self;
            tokio::select! {
                // what is here goes out before more comes in
                biased;
                permit = client.deliveries.reserve(), if !is_taken => {
                    let Ok(permit) = permit else { return End::ClientGone };
                    if let Some(out) = waiting.take() {
                        clock.touch(Instant::now());
                        if let Out::Stdout(bytes) | Out::Stderr(bytes) = &out {
                            channel.take(bytes.len());
                        }
                        permit.send(Delivery::Out(out));
                    }
                }
                sent = done(&mut control), if control.is_some() => {
                    control = None;
                    if let Err(error) = sent { return End::Failed(lost(channel, &error)) }
                }
                // before data: a signal or a size is for now, however much input waits
                asked = client.control.recv(), if control.is_none() && is_open(&client.control) => match asked {
                    Some(Control::CloseOutput) => channel.close_output(),
                    Some(asked) => control = Some(telling(writer.clone(), asked)),
                    None => {}
                },
                sent = done(&mut input), if input.is_some() => {
                    input = None;
                    // the command has closed its input, or is about to end: the end says which
                    drop(sent);
                }
                data = client.data.recv(), if input.is_none() && is_open(&client.data) => {
                    clock.touch(Instant::now());
                    input = data.map(|data| giving(writer.clone(), data));
                }
                word = channel.next(), if is_taken => match word {
                    Word::Data(Stream::Stdout, bytes) => *waiting = kept(bytes, Out::Stdout),
                    Word::Data(Stream::Stderr, bytes) => *waiting = kept(bytes, Out::Stderr),
                    Word::Exit(exit) => {
                        has_exited = true;
                        *waiting = Some(Out::Exit(exit));
                    }
                    Word::Reply(_) => {}
                    Word::Closed if has_exited => return End::Complete,
                    Word::Closed => return End::Failed(SshdError::NoExit.into()),
                    Word::Lost(why) => return End::Failed(SshdError::Lost(why).into()),
                },
                () = client.deliveries.closed(), if is_taken => return End::ClientGone,
                () = sleep_until(clock.deadline()) => {}
            }
        }
    }
}

fn kept(bytes: Bytes, out: fn(Bytes) -> Out) -> Option<Out> {
    (!bytes.is_empty()).then(|| out(bytes))
}

fn is_open<T>(receiver: &mpsc::Receiver<T>) -> bool {
    !receiver.is_closed() || !receiver.is_empty()
}

async fn done(sending: &mut Sending) -> Result<(), russh::Error> {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

fn lost(channel: &NodeChannel, error: &russh::Error) -> TransportError {
    SshdError::Lost(channel.ended().unwrap_or_else(|| error.to_string())).into()
}

fn giving(
    writer: Arc<ChannelWriteHalf<russh::client::Msg>>,
    data: InputData,
) -> BoxFuture<'static, Result<(), russh::Error>> {
    Box::pin(async move {
        match data {
            InputData::Bytes(bytes) => writer.data_bytes(bytes).await,
            InputData::Eof => writer.eof().await,
        }
    })
}

fn telling(
    writer: Arc<ChannelWriteHalf<russh::client::Msg>>,
    asked: Control,
) -> BoxFuture<'static, Result<(), russh::Error>> {
    Box::pin(async move {
        match asked {
            Control::Resize(size) => {
                let [cols, rows, x, y] = [size.cols, size.rows, size.x_pixels, size.y_pixels].map(u32::from);
                writer.window_change(cols, rows, x, y).await
            }
            Control::Signal(name) => writer.signal(Sig::Custom(name)).await,
            Control::CloseOutput => Ok(()),
        }
    })
}
