//! What every transport gives the pump: bytes in, bytes out, an exit, a size, a signal.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::error::TransportError;
use super::limits::Lifetime;
use crate::evidence::{Recorded, Unrecorded};
use crate::model::{Exit, WindowSize};

/// A terminal asked for with `pty-req` (RFC 4254, section 6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PtyRequest {
    /// `TERM`.
    pub term: String,
    /// The size before the first byte.
    pub size: WindowSize,
    /// Encoded terminal modes, opcode and value (RFC 4254, section 8).
    pub modes: Vec<(u8, u32)>,
}

/// The two ends of the client's connection, for `SSH_CONNECTION` and `SSH_CLIENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// As the gateway sees them.
    Known {
        /// The client's.
        client: SocketAddr,
        /// The gateway's own.
        gateway: SocketAddr,
    },
    /// The node is not to know.
    Hidden,
}

/// How a shell or a command is to be started. Which one, and as whom, is the grant's to say and nowhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelSetup {
    /// With a terminal, or with pipes.
    pub pty: Option<PtyRequest>,
    /// Variables that the allow-list let through. A name is an identifier; a value may be any bytes but NUL.
    pub env: Vec<(String, Vec<u8>)>,
    /// Where the connection comes from and goes to: what makes a session one of SSH on the node.
    pub addresses: Option<Addresses>,
    /// The client has already closed its input (`ssh -n`): the command gets `/dev/null` and no second session is opened.
    pub stdin_closed: bool,
}

/// A channel on its way: what the client says goes into `input`, what the node says comes out of `output`. Dropping both
/// hangs up.
#[derive(Debug)]
pub struct OpenChannel {
    /// Towards the node.
    pub input: Input,
    /// From the node.
    pub output: Output,
}

/// Towards the node.
#[derive(Debug)]
pub struct Input {
    pub(super) data: mpsc::Sender<InputData>,
    pub(super) control: mpsc::Sender<Control>,
}

/// From the node. What comes out here can't be read before it is recorded.
#[derive(Debug)]
pub struct Output {
    pub(super) deliveries: mpsc::Receiver<Delivery>,
    pub(super) lifetime: Lifetime,
}

/// One thing the node says, which nobody has recorded yet.
#[derive(Debug)]
pub enum Said {
    /// Standard output, or the terminal.
    Stdout(Unrecorded),
    /// Standard error.
    Stderr(Unrecorded),
    /// The command has ended. Output may still follow, from what it left running.
    Exit(Exit),
    /// No word of the node's: a sentence about the way to it.
    Notice(&'static str),
}

/// One thing the node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Out {
    /// Standard output, or the terminal.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// The command has ended. Output may still follow, from what it left running.
    Exit(Exit),
    /// No word of the node's: a sentence about the way to it.
    Notice(&'static str),
}

/// The client's side of a channel, for whoever carries it.
#[derive(Debug)]
pub(super) struct Client {
    pub data: mpsc::Receiver<InputData>,
    pub control: mpsc::Receiver<Control>,
    pub deliveries: mpsc::Sender<Delivery>,
}

/// What is handed to the client.
#[derive(Debug)]
pub(super) enum Delivery {
    Out(Out),
    Failed(TransportError),
}

/// The two sides of a channel: the pump's and the lanes'.
pub(super) fn ends() -> (Input, Client, mpsc::Receiver<Delivery>) {
    let (data, data_receiver) = mpsc::channel(4);
    let (control, control_receiver) = mpsc::channel(16);
    let (deliveries, receiver) = mpsc::channel(4);
    (Input { data, control }, Client { data: data_receiver, control: control_receiver, deliveries }, receiver)
}

/// Tells the client how the channel ended. By itself: a client that takes nothing must keep neither what is to end nor its
/// share of the node.
pub(super) fn send_final(deliveries: mpsc::Sender<Delivery>, words: Vec<Delivery>) {
    tokio::spawn(async move {
        for word in words {
            if deliveries.send(word).await.is_err() {
                // nobody listens any more
                break;
            }
        }
    });
}

#[derive(Debug)]
pub(crate) enum InputData {
    Bytes(Bytes),
    Eof,
}

#[derive(Debug)]
pub(crate) enum Control {
    Resize(WindowSize),
    Signal(String),
    CloseOutput,
}

impl Input {
    /// Hands bytes on, once they are recorded; waits while the command does not read.
    pub async fn write(&self, bytes: Recorded) -> Result<(), TransportError> {
        self.send(bytes.into_bytes()).await
    }

    /// Hands on bytes that no client has sent.
    pub(super) async fn send(&self, bytes: Bytes) -> Result<(), TransportError> {
        self.data.send(InputData::Bytes(bytes)).await.map_err(|_| TransportError::Gone)
    }

    /// The client has closed its input.
    pub async fn eof(&self) -> Result<(), TransportError> {
        self.data.send(InputData::Eof).await.map_err(|_| TransportError::Gone)
    }

    /// The client's window has changed. Never waits behind data.
    pub async fn resize(&self, size: WindowSize) -> Result<(), TransportError> {
        self.control.send(Control::Resize(size)).await.map_err(|_| TransportError::Gone)
    }

    /// The client sends a signal, named as in RFC 4254, section 6.9. Never waits behind data.
    pub async fn signal(&self, name: &str) -> Result<(), TransportError> {
        self.control.send(Control::Signal(name.to_owned())).await.map_err(|_| TransportError::Gone)
    }

    /// Nobody reads the standard output any more: the command is to learn that as from a broken pipe. Never waits behind
    /// data.
    pub async fn close_output(&self) -> Result<(), TransportError> {
        self.control.send(Control::CloseOutput).await.map_err(|_| TransportError::Gone)
    }
}

impl Output {
    /// When it ends at the latest.
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime.clone()
    }

    /// The next thing the node says; `None` after the end of all output.
    pub async fn next(&mut self) -> Option<Result<Said, TransportError>> {
        Some(self.deliver().await?.map(|out| match out {
            Out::Stdout(bytes) => Said::Stdout(Unrecorded::new(bytes)),
            Out::Stderr(bytes) => Said::Stderr(Unrecorded::new(bytes)),
            Out::Exit(exit) => Said::Exit(exit),
            Out::Notice(sentence) => Said::Notice(sentence),
        }))
    }

    /// The next thing the node says, for whoever shows it to no client.
    pub(super) async fn deliver(&mut self) -> Option<Result<Out, TransportError>> {
        match self.deliveries.recv().await? {
            Delivery::Failed(error) => Some(Err(error)),
            Delivery::Out(out) => Some(Ok(out)),
        }
    }
}
