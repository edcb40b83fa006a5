//! A forward's channel, from what was asked for to its close: `-L`, `-D`, and whatever else opens `direct-tcpip` or
//! `direct-streamlocal` through the node that the login names.
//!
//! ```text
//!  asked ─▶ a target that may be? ─▶ session opened, node connects ─▶ CHANNEL_OPEN_CONFIRMATION ─▶ both directions ─▶ EOF ─▶ close
//!             │ no                       │ refused, not reached
//!             └──────────────────────────┴──▶ CHANNEL_OPEN_FAILURE with a sentence (RFC 4254, section 5.1)
//! ```
//!
//! The channel is confirmed when the node has connected, as sshd does it: a client that is told earlier tells its own peer of a
//! connection that there is none of.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use russh::server::{ChannelOpenHandle, Handle, Msg};
use russh::{Channel, ChannelId, ChannelOpenFailure, ChannelWriteHalf};

use super::inbox::Inbox;
use super::shared::Shared;
use super::shares::ChannelPlace;
use crate::identity::LoginError;
use crate::model::{ForwardTarget, RefusalCode, TargetError, plain_text, socket_path};
use crate::policy::{Action, Denial};
use crate::session::{
    Caller, Destination, Dialer, ForwardError, ForwardInput, ForwardOutput, Outcome, Refused, RunningForward,
};
use crate::transport::Herald;

/// `SSH_OPEN_ADMINISTRATIVELY_PROHIBITED`, `SSH_OPEN_CONNECT_FAILED` and `SSH_OPEN_RESOURCE_SHORTAGE` (RFC 4254, section 5.1).
pub(super) const PROHIBITED: u32 = 1;
pub(super) const CONNECT_FAILED: u32 = 2;
pub(super) const RESOURCE_SHORTAGE: u32 = 4;

/// How long a channel may take to wind up after its client has gone.
const WIND_UP: Duration = Duration::from_secs(30);

/// What a client wants to reach through the node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// `direct-tcpip` (RFC 4254, section 7.2).
    Port { host: &'a str, port: u32 },
    /// `direct-streamlocal@openssh.com` (OpenSSH's PROTOCOL, section 2.4).
    Socket(&'a str),
}

/// The forwards of one connection, which are counted apart from its other channels.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    /// Asked for, or open.
    open: HashMap<ChannelId, Arc<Inbox>>,
    /// Closed by the client, and winding up.
    closing: Vec<Arc<Inbox>>,
    dialer: Option<Arc<dyn Dialer>>,
}

/// A connection has as many forwards as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this connection has {0} forwards already, which is the limit")]
pub(super) struct TooManyForwards(usize);

/// Why a forward is refused without asking anybody.
#[derive(Debug)]
pub(super) struct NoForward {
    pub(super) code: RefusalCode,
    pub(super) ssh_code: u32,
    pub(super) why: String,
    /// What policy said, where it is policy.
    pub(super) denial: Option<Box<Denial>>,
}

impl NoForward {
    /// Nobody is led there.
    pub(super) fn to(why: &TargetError) -> Self {
        let (code, why) = (RefusalCode::TargetForbidden, format!("nobody is led there: {why}"));
        Self { code, ssh_code: PROHIBITED, why, denial: None }
    }

    pub(super) fn by(wrong: &LoginError) -> Self {
        let (code, why) = (RefusalCode::LoginUnreadable, wrong.to_string());
        Self { code, ssh_code: PROHIBITED, why, denial: None }
    }

    pub(super) fn full(full: &impl std::fmt::Display) -> Self {
        let (code, why) = (RefusalCode::TooManyForwards, full.to_string());
        Self { code, ssh_code: RESOURCE_SHORTAGE, why, denial: None }
    }

    pub(super) fn denied(denial: Denial) -> Self {
        Self { code: denial.code, ssh_code: PROHIBITED, why: denial.text.clone(), denial: Some(Box::new(denial)) }
    }
}

/// A client that waits for an answer to its opening.
pub(super) struct Opening {
    pub(super) id: ChannelId,
    pub(super) writer: ChannelWriteHalf<Msg>,
    pub(super) reply: ChannelOpenHandle,
    pub(super) inbox: Arc<Inbox>,
    /// None where whoever hands it over has it.
    pub(super) place: Option<ChannelPlace>,
}

impl Wanted<'_> {
    /// What policy is asked about, unless nobody is led there.
    pub(super) fn action(self) -> Result<Action, TargetError> {
        Ok(match self {
            Self::Port { host, port } => {
                let ForwardTarget { host, port } = ForwardTarget::parse(host, port)?;
                Action::Forward { host: host.to_string(), port: port.into() }
            }
            Self::Socket(path) => Action::ForwardSocket { path: socket_path(path)? },
        })
    }
}

impl std::fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Port { host, port } => write!(f, "forwarding to {host}:{port}"),
            Self::Socket(path) => write!(f, "forwarding to {path}"),
        }
    }
}

impl Forwards {
    /// Whether there is room for one more of at most so many.
    pub(super) fn have_room(&mut self, most: usize) -> Result<(), TooManyForwards> {
        self.open.retain(|_, inbox| !inbox.is_done());
        self.closing.retain(|inbox| !inbox.is_done());
        if self.open.len().saturating_add(self.closing.len()) >= most { Err(TooManyForwards(most)) } else { Ok(()) }
    }

    /// Takes one in, before it is known whether it will open.
    pub(super) fn admit(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        handle: Handle,
        place: ChannelPlace,
    ) -> Opening {
        let id = channel.id();
        // the reading half is dropped: what comes in goes through the callbacks into the inbox, which never blocks
        let (_, writer) = channel.split();
        let inbox = Arc::new(Inbox::new(id, handle, place.held()));
        self.open.insert(id, inbox.clone());
        Opening { id, writer, reply, inbox, place: Some(place) }
    }

    /// What dials for the connection.
    pub(super) fn dialer(&mut self, shared: &Shared) -> Arc<dyn Dialer> {
        self.dialer.get_or_insert_with(|| shared.sessions.dialer()).clone()
    }

    pub(super) fn inbox(&self, id: ChannelId) -> Option<&Arc<Inbox>> {
        self.open.get(&id)
    }

    /// The client has closed one.
    pub(super) fn close(&mut self, id: ChannelId) {
        if let Some(inbox) = self.open.remove(&id) {
            inbox.hang_up();
            if !inbox.is_done() {
                self.closing.push(inbox);
            }
        }
    }

    /// The connection has ended.
    pub(super) fn hang_up(&self) {
        self.open.values().for_each(|inbox| inbox.hang_up());
    }
}

/// Refuses a channel before it is open.
pub(super) async fn refuse(reply: ChannelOpenHandle, code: u32, sentence: &str) {
    // it stands on the client's terminal, and may quote what the client or the node has said
    let reason = plain_text(sentence);
    reply.reject(ChannelOpenFailure::Other { code, reason }).await;
}

/// Serves a forward to its end.
pub(super) async fn run(
    shared: Arc<Shared>,
    caller: Caller,
    to: Destination,
    action: Action,
    dialer: Arc<dyn Dialer>,
    opening: Opening,
) {
    let Opening { id, writer, reply, inbox, place } = opening;
    let (herald, mut news) = Herald::new();
    let opened = {
        let opened = shared.sessions.open_forward(&caller, to, action, &*dialer, herald);
        tokio::pin!(opened);
        loop {
            tokio::select! {
                biased;
                opened = &mut opened => break opened,
                // nobody is there to hear that it waits
                Some(_) = news.recv() => {}
                // by this whoever opens it knows not to go on
                () = inbox.gone(), if !news.is_closed() => news.close(),
            }
        }
    };
    match opened {
        Err(refused) => refuse(reply, code_of(&refused), &refused.to_string()).await,
        Ok(session) => {
            tracing::debug!(channel = %id, session = %session.id(), "a forward is open");
            reply.accept().await;
            // behind the confirmation, by the same queue
            inbox.open_window(shared.settings.window);
            tokio::select! {
                () = carry(session, &writer, &inbox) => {}
                () = inbox.gone_for(WIND_UP) => {}
            }
        }
    }
    inbox.finish();
    drop(place);
}

/// What the client makes of it: by this `curl` and browsers tell a closed port from a closed door.
fn code_of(refused: &Refused) -> u32 {
    match refused {
        Refused::Dial(error) if error.is_full() => RESOURCE_SHORTAGE,
        Refused::Dial(error) if !error.is_prohibited() => CONNECT_FAILED,
        Refused::Node(_) => CONNECT_FAILED,
        _ => PROHIBITED,
    }
}

enum Ended {
    /// Both sides have said that they are done.
    Finished,
    ClientGone,
    Broken(ForwardError),
    Killed(String),
}

/// Both directions, side by side, until one ends the other or something ends both.
async fn carry(session: RunningForward, writer: &ChannelWriteHalf<Msg>, inbox: &Inbox) {
    let RunningForward { mut input, mut output, limits, end } = session;
    // whether the target had said all before the client went
    let target_first = AtomicBool::new(false);
    let ended = tokio::select! {
        biased;
        ended = both(&mut input, &mut output, writer, inbox, &target_first) => ended,
        () = inbox.gone() => Ended::ClientGone,
        reason = end.killed() => Ended::Killed(reason),
        why = limits.reached() => Ended::Killed(why.to_string()),
    };
    // the way to the target goes first: what the client is told is that it is over
    drop((input, output));
    let outcome = match ended {
        // who closes after the target did has not gone from it: the target's end is the forward's
        Ended::Finished | Ended::ClientGone if target_first.load(Ordering::Relaxed) => Outcome::Finished,
        Ended::Finished | Ended::ClientGone => Outcome::ClientGone,
        Ended::Broken(error) => Outcome::Failed(error.to_string()),
        Ended::Killed(reason) => Outcome::Killed(reason),
    };
    tokio::join!(end.close(&outcome), async {
        // a client that takes nothing must not keep it
        let _ = tokio::time::timeout(LAST_WORD, writer.close()).await;
    });
}

/// How long a client may hold up the end of a forward.
const LAST_WORD: Duration = Duration::from_secs(5);

async fn both(
    input: &mut ForwardInput,
    output: &mut ForwardOutput,
    writer: &ChannelWriteHalf<Msg>,
    inbox: &Inbox,
    target_first: &AtomicBool,
) -> Ended {
    let half_closes = output.half_closes();
    let from_target = async {
        loop {
            let bytes = match output.next().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(error) => return Err(Ended::Broken(error)),
            };
            if send(writer, bytes).await.is_err() {
                return Err(Ended::ClientGone);
            }
            output.taken();
        }
        // before the client can answer it, and only where it has not gone yet
        target_first.store(!inbox.is_gone(), Ordering::Relaxed);
        if writer.eof().await.is_err() {
            return Err(Ended::ClientGone);
        }
        // by a way that has no half-close the target has closed both
        if half_closes { Ok(()) } else { Err(Ended::Finished) }
    };
    let to_target = async {
        while let Some(bytes) = inbox.next().await {
            match input.write(bytes).await {
                Ok(()) => {}
                Err(error @ ForwardError::Evidence(_)) => return Err(Ended::Broken(error)),
                // it takes no more, which is no end of what it says: what the client still sends goes nowhere
                Err(ForwardError::Way(_)) => while inbox.next().await.is_some() {},
            }
        }
        match input.finish().await {
            Err(error @ ForwardError::Evidence(_)) => Err(Ended::Broken(error)),
            Ok(()) | Err(ForwardError::Way(_)) => Ok(()),
        }
    };
    match tokio::try_join!(from_target, to_target) {
        Ok(((), ())) => Ended::Finished,
        Err(ended) => ended,
    }
}

async fn send(writer: &ChannelWriteHalf<Msg>, bytes: Bytes) -> Result<(), russh::Error> {
    writer.data_bytes(bytes).await
}
