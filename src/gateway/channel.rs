//! One channel's life, from what was asked for to its close; its own task.
//!
//! ```text
//!  asked ─▶ gateway's own command?  ─yes─▶ commands ─┐
//!             no, or a node was picked from a list     │
//!             ▼                                        ▼
//!           session opened ─▶ pump (or files) ─▶ exit-status ─▶ EOF ─▶ close
//!             │ refused                                ▲
//!             └──▶ the sentence on stderr, status 255 ─┘
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::channel_stream::ChannelStream;
use super::client_channel::{ClientChannel, FAILED, NOT_RECORDED, Reply};
use super::commands;
use super::home;
use super::picker;
use super::pump;
use super::reason_prompt::ReasonPrompt;
use super::review;
use super::shared::Shared;
use crate::files::{self, FileLedger, FilesError, ScpCommand};
use crate::identity::LoginError;
use crate::model::{Exit, NodeName, RefusalCode};
use crate::session::{
    AsksWhy, AttachedFiles, Caller, ChannelRequest, Destination, Lookup, Outcome, Refused, RequestKind,
};
use crate::transport::{Herald, News};

/// How long a channel may take to wind up after its client has gone.
const WIND_UP: Duration = Duration::from_secs(30);

/// Serves the channel to its end.
pub(super) async fn run(
    shared: Arc<Shared>,
    caller: Result<Caller, LoginError>,
    request: ChannelRequest,
    lookup: Option<Lookup>,
    notices: Vec<&'static str>,
    client: ClientChannel,
) {
    let served = async {
        for notice in notices {
            client.tell(notice).await?;
        }
        let caller = match caller {
            Ok(caller) => caller,
            Err(wrong) => return client.refuse(&[&format!("portcullis: {wrong}")]).await,
        };
        match caller.login.node_for(caller.identity.person()).map(|name| shared.sessions.asked(name)) {
            None if picker::is_wanted(&request) => match picker::pick(&shared, &caller, &request, &client).await {
                Ok(node) => {
                    commands::note(&shared, &caller, &request.kind, &Reply::default());
                    serve(&shared, &caller, Destination { node, lookup: None }, request, &client).await
                }
                Err(reply) => {
                    commands::note(&shared, &caller, &request.kind, &reply);
                    client.reply(&reply).await
                }
            },
            None => {
                let reply = match request.kind.command_line() {
                    // boxed: who looks at evidence takes more than a shell has
                    Some(line) if review::is_asked(line) => {
                        let size = request.setup.pty.as_ref().map(|pty| pty.size);
                        Box::pin(review::answer(&shared, &caller, line, size, &client)).await
                    }
                    _ => commands::answer(&shared, &caller, &request.kind).await,
                };
                commands::note(&shared, &caller, &request.kind, &reply);
                client.reply(&reply).await
            }
            Some(node) => serve(&shared, &caller, Destination { node, lookup }, request, &client).await,
        }
    };
    // a client that is gone takes nothing any more, and has nobody to tell it to
    tokio::select! {
        served = served => if let Err(error) = served {
            tracing::debug!(%error, "the channel ended while it was served");
        },
        () = client.inbox.gone_for(WIND_UP) => {}
    }
    client.inbox.finish();
}

async fn serve(
    shared: &Shared,
    caller: &Caller,
    to: Destination,
    mut request: ChannelRequest,
    client: &ClientChannel,
) -> Result<(), russh::Error> {
    match &request.kind {
        // files take twice of what a shell does: boxed, so that shells don't have it as well
        RequestKind::Sftp => return Box::pin(serve_files(shared, caller, to, request, None, client)).await,
        RequestKind::Exec(command) => {
            // what an older scp starts by exec is the gateway's to answer, like sftp
            if let Some(scp) = files::parse_scp_command(command) {
                return Box::pin(serve_files(shared, caller, to, request, Some(scp), client)).await;
            }
            if let Some(command) = home::asked_for(command, &caller.login) {
                request.kind = RequestKind::Exec(command);
            }
        }
        RequestKind::Shell => {}
    }
    let pty = request.setup.pty.is_some();
    let stdin_closed = async {
        // beside the node's being looked up: by then the client has mostly said whether it has input
        !pty && {
            let grace = tokio::time::timeout(shared.settings.eof_grace, client.inbox.starts_with_eof());
            grace.await.unwrap_or(false)
        }
    };
    let (herald, news) = Herald::new();
    let prompt = ReasonPrompt { shared, identity: &caller.identity, source: caller.source.ip(), client };
    // a command may be a script's, whatever terminal it has
    let asks = (pty && request.kind == RequestKind::Shell).then_some(&prompt as &dyn AsksWhy);
    let opening = shared.sessions.open(caller, to, request, stdin_closed, asks, herald);
    // now, and not when there is a way: the client's first bytes are here by then. A terminal's need no wide window.
    let allowed = || match pty {
        true => client.inbox.let_window_grow(shared.settings.window),
        false => client.inbox.open_window(shared.settings.window),
    };
    match with_news(Box::pin(opening), news, allowed, client).await {
        Ok(session) => {
            if pty && shared.settings.notice && session.is_recorded() {
                client.tell(&format!("portcullis: this session is recorded; its number is {}", session.id())).await?;
            }
            pump::run(session, pty.then_some(&shared.settings.foretold[..]), client).await;
            Ok(())
        }
        Err(refused) => refuse(client, caller, &refused).await,
    }
}

/// Waits for a session, and has the client hear what there is to hear meanwhile; `allowed` is what is done when the session
/// has been allowed. Opening takes more memory than all that follows: it is the caller's box, which goes with it. Once the client
/// has gone nobody hears it, by which whoever opens the session knows not to start anything.
async fn with_news<T>(
    mut opening: Pin<Box<impl Future<Output = T>>>,
    mut news: mpsc::Receiver<News>,
    allowed: impl Fn(),
    client: &ClientChannel,
) -> T {
    let opened = loop {
        tokio::select! {
            biased;
            Some(news) = news.recv() => match news {
                News::Allowed => allowed(),
                // a client that takes nothing may miss it, but not hold up its own session
                News::Waits(sentence) => tokio::select! {
                    opened = &mut opening => break opened,
                    told = client.tell(&sentence) => if let Err(error) = told {
                        tracing::debug!(%error, "the client did not hear that it waits");
                    },
                },
            },
            () = client.inbox.gone(), if !news.is_closed() => news.close(),
            opened = &mut opening => break opened,
        }
    };
    // where there was nothing to wait for
    while let Ok(news) = news.try_recv() {
        if news == News::Allowed {
            allowed();
        }
    }
    opened
}

/// The sftp subsystem, or an `scp` of the older kind.
async fn serve_files(
    shared: &Shared,
    caller: &Caller,
    to: Destination,
    request: ChannelRequest,
    scp: Option<ScpCommand>,
    client: &ClientChannel,
) -> Result<(), russh::Error> {
    let (herald, news) = Herald::new();
    let opening = shared.sessions.open_files(caller, to, request, herald);
    let allowed = || client.inbox.open_window(shared.settings.window);
    let session = match with_news(Box::pin(opening), news, allowed, client).await {
        Ok(session) => session,
        Err(refused) => return refuse(client, caller, &refused).await,
    };
    let AttachedFiles { stream, service, record, end } = session.attach(ChannelStream::new(client));
    let (service, record) = (service.for_login(&caller.login), FileLedger::new(record));
    let served = async {
        match scp {
            None => files::serve_sftp(stream, service, record).await.map(|()| 0),
            Some(command) => files::serve_scp(stream, command, service, record).await,
        }
    };
    let served = tokio::select! {
        served = served => served,
        // beside it: a client that takes nothing must not keep its session alive
        reason = end.killed() => {
            let outcome = pump::killed(client, reason).await;
            end.close(&outcome).await;
            return Ok(());
        }
    };
    let served = match (served, end.lost()) {
        // the stream's error is that it can't be recorded
        (Err(FilesError::Client(_)), Some(lost)) => Err(FilesError::Evidence(lost.to_string())),
        (served, _) => served,
    };
    let (outcome, told) = match served {
        // an end of the stream is the client's goodbye in SFTP, whether or not it stays for the status
        Ok(status) => {
            let exit = Exit::Code(status.cast_unsigned());
            match end.exit(&exit).await {
                Ok(()) => (Outcome::Finished, client.end(&exit).await),
                Err(error) => (pump::broken(client, &error.to_string(), NOT_RECORDED).await, Ok(())),
            }
        }
        Err(FilesError::Client(_)) => (Outcome::ClientGone, Ok(())),
        Err(error) => (pump::broken_or_killed(client, &end, &error.to_string()).await, Ok(())),
    };
    end.close(&outcome).await;
    told
}

/// Why there is no session. A plain name that is no node's may be meant for the gateway: `ssh gate` sends the local
/// user's.
async fn refuse(client: &ClientChannel, caller: &Caller, refused: &Refused) -> Result<(), russh::Error> {
    let why = format!("portcullis: {refused}");
    let mut sentences = vec![&why[..]];
    // a client sends a name inside a hop whether or not its person has said one
    let unmeant = format!(
        "portcullis: before the '@' of a hop goes a user of the node; if you meant none: ssh -J <gateway> {}@{}",
        caller.identity.person(),
        caller.login.node().map(NodeName::as_str).unwrap_or_default()
    );
    if caller.hop.is_some() && refused.code() == RefusalCode::OsUserNotListed {
        sentences.push(&unmeant);
    }
    if matches!(refused, Refused::NoSuchNode(_) | Refused::NotConcerned(_)) && caller.login.is_plain() {
        sentences.push("portcullis: before the '@' of ssh goes the node: ssh <node>@<gateway>");
    }
    client.refuse_with(&sentences, status_of(refused)).await
}

/// What a script makes of it.
fn status_of(refused: &Refused) -> u32 {
    if matches!(refused, Refused::Evidence(_)) { NOT_RECORDED } else { FAILED }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A future has room for the largest of what it ever waits for, from its beginning to its end.
    #[test]
    fn what_an_idle_channel_holds_has_no_room_for_what_opened_it() {
        fn size<A, B, C, D, E, F, R>(_: fn(A, B, C, D, E, F) -> R) -> usize {
            size_of::<R>()
        }
        assert!(size(run) <= 10 * 1024, "{} bytes for each shell; opening one belongs into a box", size(run));
    }
}
