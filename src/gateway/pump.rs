//! Carries a running session: three movements side by side, none of which waits for another.
//!
//! ```text
//!  inbox data ───────▶ record ─▶ input.write        waits while the command does not read
//!  inbox control ────▶ input.resize, input.signal   waits for nothing above
//!  output.next ──────▶ channel data, stderr         waits while the client does not read
//! ```
//!
//! The end of the output is the end of the session; the client's hanging up is one, too.

use super::client_channel::{ClientChannel, FAILED, STDERR};
use super::inbox::Control;
use crate::evidence::{Ledger, Outcome};
use crate::model::Exit;
use crate::transport::{Input, OpenChannel, Out, Output};

/// Runs a session to its end, tells the client, and says how it ended.
pub(super) async fn run(channel: OpenChannel, ledger: &Ledger, client: &ClientChannel) -> Outcome {
    let OpenChannel { input, output } = channel;
    let ended = tokio::select! {
        ended = from_node(output, client) => ended,
        error = to_node(&input, ledger, client) => Ended::Broken(error),
        () = control(&input, client) => Ended::ClientGone,
        () = client.inbox.gone() => Ended::ClientGone,
    };
    match ended {
        Ended::Exit(exit) => {
            let recorded = ledger.exit(&exit);
            if let Err(error) = recorded {
                return broken(client, &error.to_string()).await;
            }
            match client.end(&exit).await {
                Ok(()) => Outcome::Finished,
                Err(_) => Outcome::ClientGone,
            }
        }
        Ended::Broken(error) => broken(client, &error).await,
        Ended::ClientGone => Outcome::ClientGone,
    }
}

enum Ended {
    Exit(Exit),
    Broken(String),
    ClientGone,
}

/// A session that broke ends with a sentence and a status that no command returns by habit.
async fn broken(client: &ClientChannel, error: &str) -> Outcome {
    // the client may have stopped reading for good: then hanging up is all there is to wait for
    tokio::select! {
        sent = async {
            client.tell(&format!("portcullis: {error}")).await?;
            client.end(&Exit::Code(FAILED)).await
        } => if let Err(error) = sent { tracing::debug!(%error, "the client did not take the bad news"); },
        () = client.inbox.gone() => {}
    }
    Outcome::Failed(error.to_owned())
}

async fn from_node(mut output: Output, client: &ClientChannel) -> Ended {
    let mut exit = None;
    loop {
        let sent = match output.next().await {
            Some(Ok(Out::Stdout(bytes))) => client.writer.data_bytes(bytes).await,
            Some(Ok(Out::Stderr(bytes))) => client.writer.extended_data_bytes(STDERR, bytes).await,
            Some(Ok(Out::Exit(status))) => {
                exit = Some(status);
                Ok(())
            }
            Some(Err(error)) => return Ended::Broken(error.to_string()),
            None => break,
        };
        if sent.is_err() {
            return Ended::ClientGone;
        }
    }
    // an end without a status is never taken for success
    exit.map_or_else(|| Ended::Broken("the session ended without saying how".to_owned()), Ended::Exit)
}

/// Comes back only with an error; the end of the input is no end of the session.
async fn to_node(input: &Input, ledger: &Ledger, client: &ClientChannel) -> String {
    while let Some(bytes) = client.inbox.next().await {
        if let Err(error) = ledger.input(&bytes) {
            return error.to_string();
        }
        if input.write(bytes).await.is_err() {
            // the command has ended or takes no more: what the client still sends goes nowhere, as into a closed pipe
            while client.inbox.next().await.is_some() {}
        }
    }
    // the transport's own end comes as the output's
    let _ = input.eof().await;
    std::future::pending().await
}

/// Never comes back while the session lives.
async fn control(input: &Input, client: &ClientChannel) {
    loop {
        let sent = match client.inbox.next_control().await {
            Control::Resize(size) => input.resize(size).await,
            Control::Signal(name) => input.signal(&name).await,
        };
        if sent.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
