//! One channel's life, from what was asked for to its close; its own task.
//!
//! ```text
//!  asked ─▶ gateway's own command?  ─yes─▶ commands ─┐
//!             no                                       │
//!             ▼                                        ▼
//!           session opened ─▶ pump (or files) ─▶ exit-status ─▶ EOF ─▶ close
//!             │ refused                                ▲
//!             └──▶ the sentence on stderr, status 255 ─┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use russh::server::{Handle, Msg};
use russh::{ChannelId, ChannelWriteHalf, Sig};

use super::channel_stream::ChannelStream;
use super::commands;
use super::connection::Shared;
use super::inbox::Inbox;
use super::pump;
use crate::evidence::{Ledger, Outcome};
use crate::files::{self, FileLedger, FilesError, ScpCommand};
use crate::identity::LoginError;
use crate::model::Exit;
use crate::session::{Caller, ChannelRequest, Destination, FileSession, Lookup, Refused, RequestKind};

/// The status that says: the gateway, not the command. The same that `ssh` itself uses.
pub(super) const FAILED: u32 = 255;

/// What `ssh -v` shows beside a status of 0 that nobody knows to be true.
const NO_STATUS: &str = "this kind of session has no exit status; 0 stands for it";

/// How long a channel may take to wind up after its client has gone.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// The channel as this task has it: bytes in, bytes out.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: ChannelId,
    pub(super) writer: ChannelWriteHalf<Msg>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) handle: Handle,
    /// How a line of the gateway's own ends: a terminal in raw mode needs the carriage return.
    pub(super) newline: &'static str,
}

/// Serves the channel to its end.
pub(super) async fn run(
    shared: Arc<Shared>,
    caller: Result<Caller, LoginError>,
    request: ChannelRequest,
    lookup: Option<Lookup>,
    notices: Vec<&'static str>,
    line: Line,
) {
    let served = async {
        for notice in notices {
            line.tell(notice).await?;
        }
        let caller = match caller {
            Ok(caller) => caller,
            Err(wrong) => return line.fail(&format!("portcullis: {wrong}")).await,
        };
        match caller.login.node_for(caller.identity.person()).map(str::to_owned) {
            None => line.say(&commands::answer(&shared, &caller, &request.kind).await).await,
            Some(node) => serve(&shared, &caller, Destination { node, lookup }, request, &line).await,
        }
    };
    // a client that is gone takes nothing any more, and has nobody to tell it to
    tokio::select! {
        served = served => if let Err(error) = served {
            tracing::debug!(%error, "the channel ended while it was served");
        },
        () = line.inbox.gone_for(LAST_WORDS) => {}
    }
    line.inbox.finish();
}

async fn serve(
    shared: &Shared,
    caller: &Caller,
    to: Destination,
    request: ChannelRequest,
    line: &Line,
) -> Result<(), russh::Error> {
    match &request.kind {
        RequestKind::Sftp => return serve_files(shared, caller, to, request, None, line).await,
        RequestKind::Exec(command) => {
            // what an older scp starts by exec is the gateway's to answer, like sftp
            if let Some(scp) = files::parse_scp_command(command) {
                return serve_files(shared, caller, to, request, Some(scp), line).await;
            }
        }
        RequestKind::Shell => {}
    }
    let pty = request.setup.pty.is_some();
    let stdin_closed = async {
        // beside the node's being looked up: by then the client has mostly said whether it has input
        !pty && {
            let grace = tokio::time::timeout(shared.settings.eof_grace, line.inbox.starts_with_eof());
            grace.await.unwrap_or(false)
        }
    };
    match shared.sessions.open(caller, to, request, stdin_closed).await {
        Ok(session) => {
            let outcome = pump::run(session.channel, &session.ledger, line).await;
            close_record(&session.ledger, &outcome);
            Ok(())
        }
        Err(refused) => line.refuse(caller, &refused).await,
    }
}

/// The sftp subsystem, or an `scp` of the older kind.
async fn serve_files(
    shared: &Shared,
    caller: &Caller,
    to: Destination,
    request: ChannelRequest,
    scp: Option<ScpCommand>,
    line: &Line,
) -> Result<(), russh::Error> {
    let FileSession { service, ledger } = match shared.sessions.open_files(caller, to, &request).await {
        Ok(session) => session,
        Err(refused) => return line.refuse(caller, &refused).await,
    };
    let stream = ChannelStream::new(line);
    let record = FileLedger::new(ledger.recorder());
    let served = match scp {
        None => files::serve_sftp(stream, service, record).await.map(|()| 0),
        Some(command) => files::serve_scp(stream, command, service, record).await,
    };
    let (outcome, told) = match served {
        // an end of the stream is the client's goodbye in SFTP, whether or not it stays for the status
        Ok(status) => {
            let exit = Exit::Code(status.cast_unsigned());
            if let Err(error) = ledger.exit(&exit) {
                let told = line.fail(&format!("portcullis: {error}")).await;
                (Outcome::Failed(error.to_string()), told)
            } else {
                (Outcome::Finished, line.end(&exit).await)
            }
        }
        Err(FilesError::Client(_)) => (Outcome::ClientGone, Ok(())),
        Err(error) => (Outcome::Failed(error.to_string()), line.fail(&format!("portcullis: {error}")).await),
    };
    close_record(&ledger, &outcome);
    told
}

/// The end of a record that can't be written is only logged: there is nothing left to stop.
fn close_record(ledger: &Ledger, outcome: &Outcome) {
    if let Err(error) = ledger.close(outcome) {
        tracing::error!(%error, session = %ledger.id(), "the session's end is not in evidence");
    }
}

impl Line {
    /// A line for the person, where a command's errors go.
    pub(super) async fn tell(&self, text: &str) -> Result<(), russh::Error> {
        // a sentence may quote the node or the service, and neither may write on the person's terminal
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.writer.extended_data_bytes(1, format!("{clean}{}", self.newline).into_bytes()).await
    }

    /// A sentence, then the status that says it was not the command.
    pub(super) async fn fail(&self, text: &str) -> Result<(), russh::Error> {
        self.tell(text).await?;
        self.end(&Exit::Code(FAILED)).await
    }

    /// Why there is no session. A plain name that is no node's may be meant for the gateway: `ssh gate` sends the local
    /// user's.
    async fn refuse(&self, caller: &Caller, refused: &Refused) -> Result<(), russh::Error> {
        self.tell(&format!("portcullis: {refused}")).await?;
        if matches!(refused, Refused::NoSuchNode(_) | Refused::NotConcerned(_)) && caller.login.is_plain() {
            self.tell("portcullis: before the '@' of ssh goes the node: ssh <node>@<gateway>").await?;
        }
        self.end(&Exit::Code(FAILED)).await
    }

    /// A reply of the gateway's own, and its end.
    async fn say(&self, reply: &commands::Reply) -> Result<(), russh::Error> {
        let out: String = reply.out.lines().map(|line| format!("{line}{}", self.newline)).collect();
        self.writer.data_bytes(out.into_bytes()).await?;
        if !reply.err.is_empty() {
            self.tell(&reply.err).await?;
        }
        self.end(&Exit::Code(reply.status)).await
    }

    /// Status, EOF, close, in the order that every client understands.
    pub(super) async fn end(&self, exit: &Exit) -> Result<(), russh::Error> {
        match exit {
            Exit::Code(code) => self.writer.exit_status(*code).await?,
            Exit::Signal { name, core_dumped } => {
                let gone = |()| russh::Error::SendError;
                let sent =
                    self.handle.exit_signal_request(self.id, signal(name), *core_dumped, String::new(), String::new());
                sent.await.map_err(gone)?;
            }
            Exit::Unknown => {
                self.handle.debug(NO_STATUS.to_owned()).await?;
                self.writer.exit_status(0).await?;
            }
        }
        self.writer.eof().await?;
        self.writer.close().await
    }
}

fn signal(name: &str) -> Sig {
    match name {
        "ABRT" => Sig::ABRT,
        "ALRM" => Sig::ALRM,
        "FPE" => Sig::FPE,
        "HUP" => Sig::HUP,
        "ILL" => Sig::ILL,
        "INT" => Sig::INT,
        "KILL" => Sig::KILL,
        "PIPE" => Sig::PIPE,
        "QUIT" => Sig::QUIT,
        "SEGV" => Sig::SEGV,
        "TERM" => Sig::TERM,
        "USR1" => Sig::USR1,
        other => Sig::Custom(other.to_owned()),
    }
}
