//! The client's end of a channel: how the gateway's own words, replies and ends are put on it.
//!
//! ```text
//!  asked for            why nothing runs                          what clients make of it
//!  shell, exec          a line on stderr, status 255              shown; the status is theirs
//!  sftp                 the line on stderr; the version, and to   shown; OpenSSH, libssh2 and curl end at the first answer
//!                       each request "permission denied" and it
//!  scp -t, scp -f       \x02 and the line on stdout, status 255   shown by scp; an error also for libssh2 and curl, which
//!                                                                 look at neither stderr nor the status
//!  another subsystem    a line on stderr, then the failure        shown, and "subsystem request failed"
//! ```

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::server::{Handle, Msg};
use russh::{ChannelId, ChannelWriteHalf, Sig};

use super::channel_stream::ChannelStream;
use super::inbox::Inbox;
use crate::files;
use crate::model::{Exit, plain_text};
use crate::session::RequestKind;

/// The status that says: the gateway, not the command. The same that `ssh` itself uses (ssh(1), EXIT STATUS).
pub(super) const FAILED: u32 = 255;

/// The status that says: it can't be recorded, so it can't be.
pub(super) const NOT_RECORDED: u32 = 254;

/// How long somebody at a terminal may take for an answer. Whoever is not there must not hold a channel for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// How long a client has to show a sentence before the failure that makes it end.
const SHOWN: Duration = Duration::from_millis(50);

/// What a client that is refused may send: some requests.
const REFUSED_WINDOW: u32 = 32 * 1024;

/// `SSH_EXTENDED_DATA_STDERR` (RFC 4254, section 5.2).
const STDERR: u32 = 1;

/// A channel's client as the channel's task has it: bytes in, bytes out.
#[derive(Debug)]
pub(super) struct ClientChannel {
    pub(super) id: ChannelId,
    pub(super) writer: ChannelWriteHalf<Msg>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) handle: Handle,
    /// How a line of the gateway's own ends: a terminal in raw mode needs the carriage return.
    pub(super) newline: &'static str,
    pub(super) dialect: Dialect,
}

/// What the client's program reads, while nothing runs on the channel yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A person's words.
    Plain,
    /// SCP's records, in which an error is one as well.
    Scp,
    /// SFTP's packets.
    Sftp,
}

impl Dialect {
    pub(super) fn of(kind: &RequestKind) -> Self {
        match kind {
            RequestKind::Exec(command) if files::parse_scp_command(command).is_some() => Self::Scp,
            RequestKind::Sftp => Self::Sftp,
            _ => Self::Plain,
        }
    }
}

/// What the gateway says by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) out: String,
    pub(super) err: String,
    pub(super) status: u32,
}

impl ClientChannel {
    /// A line for the person, where a command's errors go.
    pub(super) async fn tell(&self, text: &str) -> Result<(), russh::Error> {
        // a sentence may quote the node or the service, and neither may write on the person's terminal
        let plain = plain_text(text);
        self.unless_gone(self.stderr(format!("{plain}{}", self.newline).into())).await
    }

    /// What the command says on its standard output, or on its terminal.
    pub(super) async fn stdout(&self, bytes: Bytes) -> Result<(), russh::Error> {
        self.writer.data_bytes(bytes).await
    }

    /// Text of the gateway's own on a terminal, which has one stream; nothing, where the client is gone.
    pub(super) async fn show(&self, text: String) -> Option<()> {
        tokio::select! {
            biased;
            shown = self.stdout(text.into()) => shown.ok(),
            () = self.inbox.gone() => None,
        }
    }

    /// The next byte that is typed. One at a time: what is typed behind Enter is the shell's.
    pub(super) async fn typed(&self) -> Option<u8> {
        let bytes = poll_fn(|cx| self.inbox.poll_next(cx, 1)).await?;
        bytes.first().copied()
    }

    /// What it says on its standard error.
    pub(super) async fn stderr(&self, bytes: Bytes) -> Result<(), russh::Error> {
        self.writer.extended_data_bytes(STDERR, bytes).await
    }

    /// Why nothing runs: sentences, and the status that says it was not the command. Only before the first byte of what was
    /// asked for.
    pub(super) async fn refuse(&self, sentences: &[&str]) -> Result<(), russh::Error> {
        self.refuse_with(sentences, FAILED).await
    }

    /// The same, with a status that says more.
    pub(super) async fn refuse_with(&self, sentences: &[&str], status: u32) -> Result<(), russh::Error> {
        match self.dialect {
            Dialect::Plain => self.tell_all(sentences).await?,
            // the person's words, and then the client's own
            Dialect::Sftp => {
                self.tell_all(sentences).await?;
                self.inbox.open_window(REFUSED_WINDOW);
                let sentence = plain_text(&sentences.join("; "));
                tokio::select! {
                    () = files::refuse_sftp(ChannelStream::new(self), &sentence) => {}
                    () = self.inbox.gone() => {}
                }
            }
            // a message is one line (scp.c, `response` and `sink`), and after this one nothing goes on
            Dialect::Scp => {
                let sentence = format!("\x02{}\n", plain_text(&sentences.join("; ")));
                self.unless_gone(self.stdout(sentence.into())).await?;
            }
        }
        self.end(&Exit::Code(status)).await
    }

    async fn tell_all(&self, sentences: &[&str]) -> Result<(), russh::Error> {
        for sentence in sentences {
            self.tell(sentence).await?;
        }
        Ok(())
    }

    /// A sentence, then the answer that nothing is started, then the end: for a request that has not been answered yet.
    pub(super) async fn decline(&self, sentence: &str) -> Result<(), russh::Error> {
        self.tell(sentence).await?;
        // ssh ends at the failure and throws away what it has not shown yet
        tokio::time::sleep(SHOWN).await;
        self.handle.channel_failure(self.id).await.map_err(|()| russh::Error::SendError)?;
        self.writer.eof().await?;
        self.writer.close().await
    }

    /// Words for a client that has hung up wait for nothing: it would hold what it asked for until they are given up.
    async fn unless_gone(&self, sent: impl Future<Output = Result<(), russh::Error>>) -> Result<(), russh::Error> {
        tokio::select! {
            biased;
            sent = sent => sent,
            () = self.inbox.gone() => Err(russh::Error::SendError),
        }
    }

    /// A sentence, then the status that says it was not the command.
    pub(super) async fn fail(&self, text: &str, status: u32) -> Result<(), russh::Error> {
        self.tell(text).await?;
        self.end(&Exit::Code(status)).await
    }

    /// A reply of the gateway's own, and its end.
    pub(super) async fn reply(&self, reply: &Reply) -> Result<(), russh::Error> {
        if self.dialect != Dialect::Plain {
            return self.refuse_with(&[&reply.err], reply.status).await;
        }
        let out: String = reply.out.lines().map(|line| format!("{line}{}", self.newline)).collect();
        self.unless_gone(self.stdout(out.into())).await?;
        if !reply.err.is_empty() {
            self.tell(&reply.err).await?;
        }
        self.end(&Exit::Code(reply.status)).await
    }

    /// Status, EOF, close (RFC 4254, sections 6.10 and 5.3), in the order that every client understands.
    pub(super) async fn end(&self, exit: &Exit) -> Result<(), russh::Error> {
        self.status(exit).await?;
        self.finish().await
    }

    /// How the command ended; output of what it left running may follow.
    pub(super) async fn status(&self, exit: &Exit) -> Result<(), russh::Error> {
        match exit {
            Exit::Code(code) => self.writer.exit_status(*code).await?,
            Exit::Signal { name, core_dumped } => {
                let gone = |()| russh::Error::SendError;
                // the library's own names for them are the same letters
                let signal = Sig::Custom(name.clone());
                let sent = self.handle.exit_signal_request(self.id, signal, *core_dumped, String::new(), String::new());
                sent.await.map_err(gone)?;
            }
            // `ssh -v` was told when the shell started
            Exit::Unknown => self.writer.exit_status(0).await?,
        }
        Ok(())
    }

    /// No more output, and the end of the channel.
    pub(super) async fn finish(&self) -> Result<(), russh::Error> {
        self.writer.eof().await?;
        self.writer.close().await
    }
}
