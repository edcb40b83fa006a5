//! Carries a running session: movements side by side, none of which waits for another.
//!
//! ```text
//!  inbox data ───────▶ input.write                  waits while the command does not read
//!  inbox control ────▶ input.resize, input.signal   waits for nothing above
//!  output.next ──────▶ channel data, stderr         waits while the client does not read
//!  what will end it ─▶ a line ahead of it           on a terminal
//! ```
//!
//! The end of the output is the end of the session; the client's hanging up is one, too. How the command ended is told when
//! that is known, and not only when what it left running has closed its output: as sshd does, whoever waits for it.

use std::time::Duration;

use tokio::time::Instant;

use super::client_channel::{ClientChannel, FAILED, NOT_RECORDED};
use super::foretell;
use super::inbox::Control;
use crate::model::Exit;
use crate::session::{InputError, Out, Outcome, RunningSession, SessionEnd, SessionInput, SessionOutput};

/// Runs a session to its end, tells the client, and closes it. `terminal`: it is one at a terminal, where somebody is told of its end so
/// long before it.
pub(super) async fn run(session: RunningSession, terminal: Option<&[Duration]>, client: &ClientChannel) {
    let (input, output, end, coming) = session.split();
    let pty = terminal.is_some();
    let ended = tokio::select! {
        ended = from_node(output, pty, client) => ended,
        error = to_node(&input, client) => Ended::Broken(error),
        // never, while the session lives
        () = control(&input, client) => Ended::ClientGone,
        () = foretell::tell(coming, terminal.unwrap_or_default(), client) => Ended::ClientGone,
        // whoever has closed the channel wants no more of it
        () = client.inbox.gone() => Ended::ClientGone,
        // beside the movements: a client that takes nothing must not keep its session alive
        reason = end.killed() => Ended::Killed(reason),
    };
    let outcome = match ended {
        Ended::Exit { exit, told } => match end.exit(&exit).await {
            Ok(()) => match if told { client.finish().await } else { client.end(&exit).await } {
                Ok(()) => Outcome::Finished,
                Err(_) => Outcome::ClientGone,
            },
            Err(error) => broken(client, &error.to_string(), NOT_RECORDED).await,
        },
        Ended::Broken(error) => broken_or_killed(client, &end, &error).await,
        Ended::Killed(reason) => killed(client, reason).await,
        Ended::ClientGone => Outcome::ClientGone,
    };
    end.close(&outcome).await;
}

enum Ended {
    /// `told`: the client knows it already.
    Exit {
        exit: Exit,
        told: bool,
    },
    Broken(String),
    Killed(String),
    ClientGone,
}

/// A session that was ended from outside: its person learns why, if they still read.
pub(super) async fn killed(client: &ClientChannel, reason: String) -> Outcome {
    let told = tokio::time::timeout(LAST_SENTENCE, broken(client, &reason, FAILED)).await;
    if told.is_err() {
        tracing::debug!("the client did not take the reason why its session was ended");
    }
    Outcome::Killed(reason)
}

/// How long a client that stopped reading may hold up the end of a session that is to end.
const LAST_SENTENCE: Duration = Duration::from_secs(5);

/// A session that broke ends with a sentence and a status that no command returns by habit. Where the command's own was told
/// already, this one comes after it: clients keep the last, and an output that was cut is not to pass for a whole one.
pub(super) async fn broken(client: &ClientChannel, error: &str, status: u32) -> Outcome {
    let sentence = format!("portcullis: {error}");
    // the client may have stopped reading for good: then hanging up is all there is to wait for
    tokio::select! {
        sent = client.fail(&sentence, status) => if let Err(error) = sent {
            tracing::debug!(%error, "the client did not take the bad news");
        },
        () = client.inbox.gone() => {}
    }
    Outcome::Failed(error.to_owned())
}

/// The same, of a session that can still be ended from outside: a client that does not read what broke must not keep it.
pub(super) async fn broken_or_killed(client: &ClientChannel, end: &SessionEnd, error: &str) -> Outcome {
    let status = if end.lost().is_some() { NOT_RECORDED } else { FAILED };
    tokio::select! {
        outcome = broken(client, error, status) => outcome,
        reason = end.killed() => Outcome::Killed(reason),
    }
}

async fn from_node(mut output: SessionOutput, pty: bool, client: &ClientChannel) -> Ended {
    let mut exit = None;
    let mut told = false;
    loop {
        let next = match &exit {
            // an output that is over by then is told of with the status, so that nothing that may yet fail comes after it
            Some((status, until)) if !told => match tokio::time::timeout_at(*until, output.next()).await {
                Ok(next) => next,
                // it is in the log: the session's output gives nothing that is not
                Err(_) => {
                    told = true;
                    if client.status(status).await.is_err() {
                        return Ended::ClientGone;
                    }
                    continue;
                }
            },
            _ => output.next().await,
        };
        let sent = match next {
            Some(Ok(Out::Stdout(bytes))) => client.stdout(bytes).await,
            Some(Ok(Out::Stderr(bytes))) => client.stderr(bytes).await,
            Some(Ok(Out::Exit(status))) => {
                exit = Some((status, Instant::now() + TOGETHER));
                Ok(())
            }
            // a terminal is the program's, which draws on it: there a person sees that it stands still
            Some(Ok(Out::Notice(_))) if pty => Ok(()),
            Some(Ok(Out::Notice(sentence))) => client.tell(&format!("portcullis: {sentence}")).await,
            Some(Err(error)) => return Ended::Broken(error.to_string()),
            None => break,
        };
        if sent.is_err() {
            return Ended::ClientGone;
        }
    }
    // an end without a status is never taken for success
    match exit {
        Some((exit, _)) => Ended::Exit { exit, told },
        None => Ended::Broken("the session ended without saying how".to_owned()),
    }
}

/// How long the end of the output may come after the command's before the two are told apart.
const TOGETHER: Duration = Duration::from_millis(100);

/// A sentence on a line of its own, below the one that stands at the prompt.
async fn tell_below(client: &ClientChannel, sentence: &str) -> Result<(), russh::Error> {
    client.stderr(client.newline.into()).await?;
    client.tell(&format!("portcullis: {sentence}")).await
}

/// Comes back only with an error; the end of the input is no end of the session.
async fn to_node(input: &SessionInput, client: &ClientChannel) -> String {
    while let Some(bytes) = client.inbox.next().await {
        match input.write(bytes).await {
            Ok(()) => {}
            Err(InputError::Evidence(error)) => return error.to_string(),
            // the shell's new prompt comes behind it
            Err(InputError::Held(sentence)) => {
                // boxed: it is rare, and an idle shell has no room for it
                if let Err(error) = Box::pin(tell_below(client, &sentence)).await {
                    tracing::debug!(%error, "the client did not hear why its line was not run");
                }
            }
            // the command has ended or takes no more: what the client still sends goes nowhere, as into a closed pipe
            Err(InputError::Transport(_)) => while client.inbox.next().await.is_some() {},
        }
    }
    // the transport's own end comes as the output's
    let _ = input.eof().await;
    std::future::pending().await
}

/// Never comes back while the session lives.
async fn control(input: &SessionInput, client: &ClientChannel) {
    loop {
        let sent = match client.inbox.next_control().await {
            Control::Resize(size) => match input.resize(size).await {
                // the next byte of either direction says so
                Err(InputError::Evidence(_) | InputError::Held(_)) | Ok(()) => Ok(()),
                Err(InputError::Transport(error)) => Err(error),
            },
            Control::Signal(name) => input.signal(&name).await,
            Control::CloseOutput => input.close_output().await,
        };
        if sent.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
