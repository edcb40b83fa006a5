//! The lanes of one channel: opens Session Manager sessions as they are needed, joins them to the [`Link`], and replaces
//! the ones that a reconnection may have damaged.
//!
//! ```text
//!   client ◀─ deliveries ◀─┐           ┌◀─ out lane ◀─┐
//!                          ├─ Link ────┤              ├─ helper on the node
//!   client ─▶ data, control┘           └─▶ in lane ──▶┘
//! ```

mod ending;
mod events;
mod opening;
mod time;

use std::time::Instant;

use bytes::Bytes;

use self::opening::{Opening, Retry, opened};
use super::channel::{Client, Control, Delivery, InputData, Out, say_last};
use super::context::{ChannelContext, first_request};
use super::helper::link::{Event, Link};
use super::helper::record::Hello;
use super::inquest::Inquest;
use super::limits::{Clock, sleep_until};
use crate::backend::BackendError;
use crate::backend::lanes::Lane;
use crate::config::Rung;
use crate::data_channel::ChannelEvent;

/// Runs a channel to its end. `first` is the session that starts the helper.
pub(super) async fn run(mut context: ChannelContext, first: Lane, link: Link, client: Client) {
    let mut lanes = Lanes::new(context.clone(), first, link, client);
    loop {
        let Err(error) = lanes.drive().await else { break lanes.end(None).await };
        let next = context.ladder.below(context.rung).filter(|_| lanes.rung_is_to_blame(Instant::now()));
        let Some(rung) = next else { break lanes.end(Some(error)).await };
        tracing::warn!(node = %context.node(), rung = ?context.rung, error, "the node did not answer on this rung; trying the next");
        context.rung = rung;
        context.options = context.options.elsewhere();
        // the first one is ended before the next begins: a slow node must not run the command twice
        let (link, client) = lanes.give_up().await;
        if client.deliveries.is_closed() {
            break;
        }
        match context.opener.open(first_request(&context)).await {
            Ok(first) => lanes = Lanes::new(context.clone(), first, link, client),
            Err(error) => break say_last(client.deliveries, vec![Delivery::failed(error.to_string())]),
        }
    }
}

struct Lanes {
    context: ChannelContext,
    link: Link,
    client: Client,
    out: Option<Lane>,
    inward: Option<Lane>,
    opening_out: Option<Opening>,
    opening_in: Option<Opening>,
    hello: Option<Hello>,
    /// Whether the out lane has carried anything at all.
    heard: bool,
    /// What the out lane said before the helper did, or beside it: the reason if it fails.
    stray: Vec<u8>,
    exit_code: Option<i32>,
    /// Whether the helper knows that this is the end, and will close its lanes by itself.
    parting: bool,
    started: Instant,
    clock: Clock,
    in_opened: Instant,
    /// When the in lane ended unasked, and what was said about it.
    in_gone: Option<(Instant, String)>,
    resumed: Option<Instant>,
    /// The out lane ended unasked, and the service is being asked whether it broke.
    inquest: Option<Inquest>,
    /// Somebody, or a limit, ended the out lane: that is final.
    killed: bool,
    /// When to open a new out lane, unless the helper's first word, which may have been lost, comes before.
    doubt: Option<Instant>,
    /// A lane that may be dead: what was asked to find out, and when the answer must be there.
    verify: Option<(u32, Instant)>,
    attempts: u32,
    /// When the out lane began, in whatever place it has.
    attached: Instant,
    /// A lane could not be opened: since when that is so, and when the next is tried.
    out_failed: Option<Retry>,
    in_failed: Option<Retry>,
    pending: Option<Bytes>,
}

/// What the loop woke up for.
enum Wake {
    Out(Option<ChannelEvent>),
    In(Option<ChannelEvent>),
    OpenedOut(Result<Lane, BackendError>),
    OpenedIn(Result<Lane, BackendError>),
    Inquest(bool),
    Data(Option<InputData>),
    Control(Option<Control>),
    Permit(bool),
    Sent,
    Timer,
}

impl Lanes {
    fn new(context: ChannelContext, first: Lane, mut link: Link, client: Client) -> Self {
        link.handle_out_attached();
        let now = Instant::now();
        let mut clock = context.clock;
        clock.touch(now);
        Self {
            context,
            link,
            client,
            out: Some(first),
            inward: None,
            opening_out: None,
            opening_in: None,
            hello: None,
            heard: false,
            stray: Vec::new(),
            exit_code: None,
            parting: false,
            started: now,
            clock,
            in_opened: now,
            in_gone: None,
            resumed: None,
            inquest: None,
            killed: false,
            doubt: None,
            verify: None,
            attempts: 0,
            attached: now,
            out_failed: None,
            in_failed: None,
            pending: None,
        }
    }

    async fn drive(&mut self) -> Result<(), String> {
        loop {
            let now = Instant::now();
            if self.link.is_done() && !self.link.has_event() {
                self.say_goodbye().await;
                return Ok(());
            }
            self.check_time(now)?;
            self.open_what_is_needed(now);
            if self.pending.is_none() {
                self.pending = self.link.poll_transmit(now);
            }
            match self.wait().await {
                Wake::Out(event) => self.handle_out(event)?,
                Wake::In(event) => self.handle_in(event),
                // what it was for is here already
                Wake::OpenedOut(Err(_)) | Wake::OpenedIn(Err(_)) if self.link.is_done() => {}
                Wake::OpenedOut(lane) => self.opened_out(lane)?,
                Wake::OpenedIn(lane) => self.opened_in(lane)?,
                Wake::Inquest(failed) => self.judge(failed)?,
                Wake::Data(Some(InputData::Bytes(bytes))) => {
                    self.clock.touch(Instant::now());
                    self.link.write(bytes);
                }
                Wake::Data(Some(InputData::Eof)) => self.link.finish(),
                Wake::Control(Some(Control::Resize(size))) => self.link.resize(size),
                Wake::Control(Some(Control::Signal(name))) => self.link.signal(name),
                Wake::Permit(true) | Wake::Timer | Wake::Data(None) | Wake::Control(None) => {}
                // nobody listens any more
                Wake::Permit(false) => {
                    self.hang_up().await;
                    return Ok(());
                }
                // if it could not be sent, the lane's own event says why
                Wake::Sent => self.pending = None,
            }
        }
    }

    /// Waits for the next thing to happen; delivers at most one event of the link on the way.
    async fn wait(&mut self) -> Wake {
        let until = self.next_deadline();
        let one_lane = self.context.rung == Rung::OneLane;
        let Self { link, client, out, inward, opening_out, opening_in, inquest, pending, clock, .. } = self;
        let (out_lane, in_lane) = (out.as_mut(), inward.as_mut());
        let writer = if one_lane { out_lane.as_ref() } else { in_lane.as_ref() }.map(|lane| lane.writer.clone());
        let sending = pending.clone().zip(writer);
        tokio::select! {
            biased;
            permit = client.deliveries.reserve(), if link.has_event() => {
                let Ok(permit) = permit else { return Wake::Permit(false) };
                let out = match link.poll_event() {
                    Some(Event::Stdout(bytes)) => {
                        link.consumed(bytes.len());
                        Out::Stdout(bytes)
                    }
                    Some(Event::Stderr(bytes)) => {
                        link.consumed(bytes.len());
                        Out::Stderr(bytes)
                    }
                    Some(Event::Exit(exit)) => Out::Exit(exit),
                    Some(Event::Hello(_) | Event::Done) | None => return Wake::Permit(true),
                };
                clock.touch(Instant::now());
                permit.send(Delivery::Out(out));
                Wake::Permit(true)
            }
            control = client.control.recv(), if !client.control.is_closed() || !client.control.is_empty() =>
                Wake::Control(control),
            _ = async {
                match sending {
                    Some((bytes, writer)) => writer.send(bytes).await,
                    None => std::future::pending().await,
                }
            } => Wake::Sent,
            event = next_event(out_lane) => Wake::Out(event),
            event = next_event(in_lane) => Wake::In(event),
            lane = opened(opening_out) => Wake::OpenedOut(lane),
            lane = opened(opening_in) => Wake::OpenedIn(lane),
            failed = async {
                match inquest {
                    Some(inquest) => inquest.has_failed().await,
                    None => std::future::pending().await,
                }
            } => Wake::Inquest(failed),
            data = client.data.recv(), if link.takes_input() && (!client.data.is_closed() || !client.data.is_empty()) =>
                Wake::Data(data),
            () = client.deliveries.closed(), if !link.has_event() => Wake::Permit(false),
            () = sleep_until(until) => Wake::Timer,
        }
    }
}

async fn next_event(lane: Option<&mut Lane>) -> Option<ChannelEvent> {
    match lane {
        Some(lane) => lane.reader.next().await,
        None => std::future::pending().await,
    }
}
