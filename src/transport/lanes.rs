//! The lanes of one channel: opens Session Manager sessions as they are needed, joins them to the [`Link`], and replaces
//! the ones that a reconnection may have damaged.
//!
//! ```text
//!   client ◀─ deliveries ◀─┐           ┌◀─ out lane ◀─┐
//!                          ├─ Link ────┤              ├─ helper on the node
//!   client ─▶ data, control┘           └─▶ in lane ──▶┘
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::channel::{Control, Delivery, InputData, Out, TransportError};
use super::helper::link::{Event, Link};
use super::helper::program::IN_DOCUMENT;
use super::helper::record::Hello;
use super::inquest::Inquest;
use super::ladder::Rung;
use super::limits::Clock;
use super::plan::{Plan, first_request};
use crate::backend::{BackendError, LaneSession, SessionRequest};
use crate::model::SessionId;
use crate::session_manager::ChannelEvent;

/// The client's side of a channel.
#[derive(Debug)]
pub(super) struct Client {
    pub data: mpsc::Receiver<InputData>,
    pub control: mpsc::Receiver<Control>,
    pub deliveries: mpsc::Sender<Delivery>,
}

/// Runs a channel to its end. `first` is the session that starts the helper.
pub(super) async fn run(mut plan: Plan, first: LaneSession, link: Link, client: Client) {
    let mut lanes = Lanes::new(plan.clone(), first, link, client);
    loop {
        let Err(error) = lanes.drive().await else { break lanes.close().await };
        let next = plan.ladder.below(plan.rung).filter(|_| lanes.rung_is_to_blame());
        let Some(rung) = next else { break lanes.fail(error).await };
        tracing::warn!(node = %plan.node, rung = ?plan.rung, error, "the node did not answer on this rung; trying the next");
        plan.rung = rung;
        plan.options = plan.options.elsewhere();
        // the first one is ended before the next begins: a slow node must not run the command twice
        let (link, client) = lanes.give_up().await;
        match plan.backend.open(first_request(&plan)).await {
            Ok(first) => lanes = Lanes::new(plan.clone(), first, link, client),
            Err(error) => {
                let error = TransportError::Failed(error.to_string());
                // the receiver may be gone already: then nobody wants to know
                let _ = client.deliveries.send(Delivery::Failed(error)).await;
                break;
            }
        }
    }
}

struct Lanes {
    plan: Plan,
    link: Link,
    client: Client,
    out: Option<LaneSession>,
    inward: Option<LaneSession>,
    opening_out: Option<Opening>,
    opening_in: Option<Opening>,
    hello: Option<Hello>,
    /// Whether the out lane has carried anything at all.
    heard: bool,
    /// New lanes that the evidence has not been told of: before anything that came over them. Waiting for it here would
    /// let the lease run out while the client takes nothing.
    untold: VecDeque<SessionId>,
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
    /// When to look for a helper whose first word may have been lost.
    doubt: Option<Instant>,
    /// A lane that may be dead: what was asked to find out, and when the answer must be there.
    verify: Option<(u32, Instant)>,
    attempts: u32,
    pending: Option<Bytes>,
}

type Opening = JoinHandle<Result<LaneSession, BackendError>>;

/// What the loop woke up for.
enum Wake {
    Out(Option<ChannelEvent>),
    In(Option<ChannelEvent>),
    OpenedOut(Result<LaneSession, String>),
    OpenedIn(Result<LaneSession, String>),
    Inquest(bool),
    Data(Option<InputData>),
    Control(Option<Control>),
    Permit(bool),
    Sent(bool),
    Timer,
}

impl Lanes {
    fn new(plan: Plan, first: LaneSession, mut link: Link, client: Client) -> Self {
        link.handle_out_attached();
        let now = Instant::now();
        let mut clock = plan.clock;
        clock.touch(now);
        Self {
            plan,
            link,
            client,
            out: Some(first),
            inward: None,
            opening_out: None,
            opening_in: None,
            hello: None,
            heard: false,
            untold: VecDeque::new(),
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
            pending: None,
        }
    }

    async fn drive(&mut self) -> Result<(), String> {
        self.untold.extend(self.out.as_ref().map(|lane| lane.id.clone()));
        loop {
            let now = Instant::now();
            if self.link.is_done() && !self.link.has_event() && self.untold.is_empty() {
                return self.say_goodbye(now).await;
            }
            self.check_time(now)?;
            self.open_what_is_needed(now)?;
            if self.pending.is_none() {
                self.pending = self.link.poll_transmit(now);
            }
            match self.wait(now).await {
                Wake::Out(event) => self.handle_out(event)?,
                Wake::In(event) => self.handle_in(event),
                Wake::OpenedOut(lane) => self.opened_out(lane?),
                Wake::OpenedIn(lane) => self.opened_in(lane?),
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
                Wake::Permit(false) => return self.hang_up(now).await,
                Wake::Sent(true) => self.pending = None,
                // the lane's own event says why
                Wake::Sent(false) => self.pending = None,
            }
        }
    }

    /// Waits for the next thing to happen; delivers at most one event of the link on the way.
    async fn wait(&mut self, now: Instant) -> Wake {
        let until = self.next_deadline(now);
        let one_lane = self.plan.rung == Rung::OneLane;
        let Self { link, client, out, inward, opening_out, opening_in, inquest, pending, clock, untold, .. } = self;
        let (out_lane, in_lane) = (out.as_mut(), inward.as_mut());
        let writer = if one_lane { out_lane.as_ref() } else { in_lane.as_ref() }.map(|lane| lane.writer.clone());
        let sending = pending.clone().zip(writer);
        tokio::select! {
            biased;
            permit = client.deliveries.reserve(), if link.has_event() || !untold.is_empty() => {
                let Ok(permit) = permit else { return Wake::Permit(false) };
                if let Some(session) = untold.pop_front() {
                    permit.send(Delivery::Lane(session));
                    return Wake::Permit(true);
                }
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
            sent = async {
                match sending {
                    Some((bytes, writer)) => writer.send(bytes).await.is_ok(),
                    None => std::future::pending().await,
                }
            } => Wake::Sent(sent),
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
            () = tokio::time::sleep_until(until.into()) => Wake::Timer,
        }
    }

    fn next_deadline(&self, now: Instant) -> Instant {
        let mut until = self.link.poll_timeout().max(now + Duration::from_millis(1));
        if self.hello.is_none() {
            until = until.min(self.started + HELLO_WAIT);
        }
        if let Some(at) = self.clock.deadline() {
            until = until.min(at);
        }
        if let Some(at) = self.doubt {
            until = until.min(at);
        }
        if let Some((at, _)) = &self.in_gone {
            until = until.min(*at + LAST_WORD);
        }
        if let Some((_, at)) = self.verify {
            until = until.min(at);
        }
        if self.inward.is_some() && !self.link.in_lane_ready() {
            until = until.min(self.in_opened + HELLO_WAIT);
        }
        until
    }

    fn check_time(&mut self, now: Instant) -> Result<(), String> {
        if self.hello.is_none() && now >= self.started + HELLO_WAIT {
            return Err(format!(
                "the node did not start the command within {} seconds{}",
                HELLO_WAIT.as_secs(),
                self.said()
            ));
        }
        if let Some(why) = self.clock.over(now) {
            return Err(why);
        }
        if self.doubt.is_some_and(|at| now >= at) {
            self.doubt = None;
            if self.hello.is_none() {
                self.reattach_out()?;
            }
        }
        if self.link.is_deaf(now) {
            return Err("the node no longer answers; the command is being ended".to_owned());
        }
        if let Some((at, text)) = &self.in_gone
            && now >= *at + LAST_WORD
            && !self.link.is_done()
        {
            return Err(format!("the way in to the command was ended{}", self.said_or(text)));
        }
        if let Some((asked, until)) = self.verify {
            if self.link.has_answered(asked) {
                self.verify = None;
            } else if now >= until && !self.link.is_done() {
                return Err(CANT_RESUME.to_owned());
            }
        }
        let silent = self.inward.is_some() && !self.link.in_lane_ready();
        if silent && now >= self.in_opened + HELLO_WAIT && !self.link.is_done() {
            return Err("the node did not take the way in; the command is being ended".to_owned());
        }
        Ok(())
    }

    // --- lanes come

    fn open_what_is_needed(&mut self, now: Instant) -> Result<(), String> {
        let Some(hello) = self.hello.clone() else { return Ok(()) };
        if self.plan.rung == Rung::OneLane {
            return Ok(());
        }
        let wanted = self.in_gone.is_none() && (self.link.needs_in_lane(now) || self.plan.eager);
        if wanted && self.inward.is_none() && self.opening_in.is_none() && !self.link.is_done() {
            let options = self.plan.options.attach("in", Some(&hello.directory), 0);
            self.opening_in = Some(self.open(IN_DOCUMENT, options, true));
        }
        Ok(())
    }

    fn open(&self, document: &str, options: String, silent: bool) -> Opening {
        let request = SessionRequest {
            target: self.plan.node.clone(),
            document: document.to_owned(),
            parameters: [("options", options), ("command", "lane:".to_owned())]
                .into_iter()
                .map(|(key, value)| (key.to_owned(), vec![value]))
                .collect(),
            reason: self.plan.reason.clone(),
            silent,
            payload: self.plan.payload,
        };
        let backend = self.plan.backend.clone();
        tokio::spawn(async move { backend.open(request).await })
    }

    fn opened_out(&mut self, lane: LaneSession) {
        self.link.handle_out_attached();
        self.untold.push_back(lane.id.clone());
        self.exit_code = None;
        // the old session ends by itself, and nobody waits for that
        self.out = Some(lane);
    }

    fn opened_in(&mut self, lane: LaneSession) {
        self.in_opened = Instant::now();
        self.untold.push_back(lane.id.clone());
        self.inward = Some(lane);
    }

    // --- lanes speak

    fn handle_out(&mut self, event: Option<ChannelEvent>) -> Result<(), String> {
        match event {
            Some(ChannelEvent::Output(bytes)) => {
                self.heard = true;
                self.link.handle_output(&bytes).map_err(|error| format!("{error}{}", self.said()))?;
                if self.hello.is_none() {
                    self.take_hello();
                }
                Ok(())
            }
            Some(ChannelEvent::StdErr(bytes)) => {
                let room = STRAY.saturating_sub(self.stray.len());
                self.stray.extend_from_slice(&bytes[..bytes.len().min(room)]);
                Ok(())
            }
            Some(ChannelEvent::ExitCode(code)) => {
                self.exit_code = Some(code);
                Ok(())
            }
            Some(ChannelEvent::Reconnected) => self.out_doubtful(),
            Some(ChannelEvent::Established | ChannelEvent::ConnectFailed) => Ok(()),
            Some(ChannelEvent::Closed(text) | ChannelEvent::Lost(text)) => self.out_ended(&text),
            None => self.out_ended(""),
        }
    }

    fn take_hello(&mut self) {
        // the hello is the first thing a lane says
        if let Some(Event::Hello(hello)) = self.link.poll_event() {
            tracing::debug!(helper = hello.helper, uid = hello.uid, "the helper has started");
            self.plan.ladder.stands(&self.plan.node, self.plan.rung);
            self.hello = Some(hello);
        }
    }

    /// The service may have paused the lane while the gateway was away, and a pause kills this kind of lane without a
    /// word. A new one costs little and is certain.
    fn out_doubtful(&mut self) -> Result<(), String> {
        let now = Instant::now();
        self.resumed = Some(now);
        if self.plan.rung == Rung::OneLane || self.link.is_done() {
            return Ok(());
        }
        if self.hello.is_none() {
            // the helper may be about to start: a lane that comes before it would find nothing
            self.doubt = Some(now + STARTING);
            return Ok(());
        }
        if self.hello.as_ref().is_some_and(|hello| !hello.resumable) {
            // a lane that the pause has killed does not answer
            self.verify = Some((self.link.ask(now), now + ANSWER_WAIT));
            return Ok(());
        }
        self.reattach_out()
    }

    fn reattach_out(&mut self) -> Result<(), String> {
        if self.hello.as_ref().is_some_and(|hello| !hello.resumable) {
            return Err(CANT_RESUME.to_owned());
        }
        if self.opening_out.is_none() {
            self.attempts += 1;
            if self.attempts > MOST_ATTEMPTS {
                return Err("the connection to Session Manager breaks again and again".to_owned());
            }
            let directory = self.hello.as_ref().map(|hello| hello.directory.as_str());
            let options = self.plan.options.attach("out", directory, self.link.received());
            self.opening_out = Some(self.open(self.plan.out_document(), options, false));
        }
        Ok(())
    }

    /// An end that nobody here asked for. It is final if somebody ended the session, or a limit did; whether that is so
    /// matters only where there is a way to go on, and then the service knows.
    fn out_ended(&mut self, text: &str) -> Result<(), String> {
        let Some(lane) = self.out.take() else { return Ok(()) };
        if self.link.is_done() {
            return Ok(());
        }
        if self.is_replaced() && self.exit_code == Some(LET_GO) {
            // the helper has let go of it, as it does of a lane that broke
            return Ok(());
        }
        let lower = self.rung_is_to_blame() && self.plan.ladder.below(self.plan.rung).is_some();
        let resumed = self.resumed.is_some_and(|at| at.elapsed() < AFTER_RESUME);
        let resumable = self.plan.rung == Rung::TwoLanes && self.hello.as_ref().is_none_or(|hello| hello.resumable);
        if self.inquest.is_none() && (lower || (resumed && resumable)) {
            self.inquest = Some(Inquest::of(lane.id, text, self.plan.backend.clone()));
            return Ok(());
        }
        Err(self.why_ended(text))
    }

    /// The service has said whether the out lane broke.
    fn judge(&mut self, failed: bool) -> Result<(), String> {
        let Some(Inquest { text, .. }) = self.inquest.take() else { return Ok(()) };
        if self.link.is_done() || (failed && self.is_replaced()) {
            return Ok(());
        }
        self.killed = !failed;
        if self.killed || self.hello.is_none() {
            return Err(self.why_ended(&text));
        }
        self.reattach_out()
    }

    /// Whether another out lane has come in this one's place, or is about to.
    fn is_replaced(&self) -> bool {
        self.out.is_some() || self.opening_out.is_some() || self.doubt.is_some()
    }

    fn why_ended(&self, text: &str) -> String {
        let silently = self.killed && self.said().is_empty();
        match (self.hello.is_none(), silently, text.is_empty()) {
            (true, true, true) => "the session was ended before the node started the command".to_owned(),
            (true, ..) => format!("the command could not be started on the node{}", self.said_or(text)),
            (false, _, true) => format!("the session was ended{}", self.said()),
            (false, _, false) => format!("{text}{}", self.said()),
        }
    }

    fn handle_in(&mut self, event: Option<ChannelEvent>) {
        match event {
            // the in lane is silent; what a shell there prints before the helper's end runs is a reason for its failure
            Some(ChannelEvent::Output(bytes) | ChannelEvent::StdErr(bytes)) => {
                let room = STRAY.saturating_sub(self.stray.len());
                self.stray.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Some(ChannelEvent::Closed(text) | ChannelEvent::Lost(text)) => self.in_ended(&text),
            None => self.in_ended(""),
            Some(_) => {}
        }
    }

    /// No pause ends this kind of lane, so its end is final whenever it comes. The helper ends both lanes at once, and which of them is heard first is chance: the out lane gets a moment to say
    /// that all is well.
    fn in_ended(&mut self, text: &str) {
        self.in_lost();
        if !self.link.is_done() {
            self.in_gone = Some((Instant::now(), text.to_owned()));
        }
    }

    fn in_lost(&mut self) {
        self.inward = None;
        self.pending = None;
        self.link.handle_in_lost();
    }

    // --- the end

    /// Everything has arrived: tell the helper so, that it need not linger.
    async fn say_goodbye(&mut self, now: Instant) -> Result<(), String> {
        self.parting = self.flush_in(now).await;
        self.parting |= self.inward.is_none();
        Ok(())
    }

    /// The client has gone: the command is hung up as sshd would.
    async fn hang_up(&mut self, now: Instant) -> Result<(), String> {
        self.link.hang_up();
        self.parting = self.flush_in(now).await;
        Ok(())
    }

    /// Whether this kind of lane may be the reason that no helper answered: it said nothing at all, not even why. Where
    /// something was heard, the command may be running, and another rung would run it a second time; and what somebody
    /// ended stays ended.
    fn rung_is_to_blame(&self) -> bool {
        !self.heard
            && self.hello.is_none()
            && self.stray.is_empty()
            && self.exit_code.is_none()
            && self.resumed.is_none()
            && !self.killed
    }

    /// Ends these lanes, for the same channel to begin again on others. Nothing was sent yet, so nothing is lost.
    async fn give_up(mut self) -> (Link, Client) {
        let link = std::mem::replace(&mut self.link, Link::new(Instant::now(), false));
        let (_, data) = mpsc::channel(1);
        let (_, control) = mpsc::channel(1);
        let unused = Client { data, control, deliveries: self.client.deliveries.clone() };
        let client = std::mem::replace(&mut self.client, unused);
        self.close().await;
        (link, client)
    }

    async fn fail(mut self, error: String) {
        // a client that takes nothing must not keep what is to end
        let deliveries = self.client.deliveries.clone();
        let tell = deliveries.send(Delivery::Failed(TransportError::Failed(error)));
        let end = async {
            let _ = self.hang_up(Instant::now()).await;
            self.close().await;
        };
        // an error means that nobody listens
        let _ = tokio::join!(tell, end);
    }

    /// Sends what the link still has to say; whether there was a way.
    async fn flush_in(&mut self, now: Instant) -> bool {
        let lane = if self.plan.rung == Rung::OneLane { self.out.as_ref() } else { self.inward.as_ref() };
        let Some(lane) = lane.filter(|_| self.link.in_lane_ready()) else { return false };
        let link = &mut self.link;
        let pending = self.pending.take();
        let flush = async {
            if let Some(bytes) = pending {
                lane.writer.send(bytes).await.ok()?;
            }
            while let Some(bytes) = link.poll_transmit(now) {
                lane.writer.send(bytes).await.ok()?;
            }
            Some(())
        };
        matches!(tokio::time::timeout(GOODBYE, flush).await, Ok(Some(())))
    }

    /// Ends the sessions that are left. The helper ends its lanes by itself, which is kinder to the node than the
    /// service's kill, so it gets a moment.
    async fn close(self) {
        // the client has its end now and does not wait for the lanes'
        let Self { client, mut out, mut inward, opening_out, opening_in, parting, .. } = self;
        drop(client);
        for opening in [opening_out, opening_in].into_iter().flatten() {
            if let Ok(Ok(lane)) = opening.await {
                lane.close().await;
            }
        }
        let grace = if parting { GOODBYE } else { Duration::ZERO };
        let _ = tokio::time::timeout(grace, async {
            while let Some(lane) = out.as_mut() {
                if matches!(lane.reader.next().await, None | Some(ChannelEvent::Closed(_) | ChannelEvent::Lost(_))) {
                    break;
                }
            }
            while let Some(lane) = inward.as_mut() {
                if matches!(lane.reader.next().await, None | Some(ChannelEvent::Closed(_) | ChannelEvent::Lost(_))) {
                    break;
                }
            }
        })
        .await;
        for lane in [out, inward].into_iter().flatten() {
            lane.close().await;
        }
    }

    /// What the node said beside the records, as the tail of a sentence.
    fn said(&self) -> String {
        self.said_or("")
    }

    fn said_or(&self, text: &str) -> String {
        let stray = String::from_utf8_lossy(&self.stray);
        let words: String = stray.split_whitespace().collect::<Vec<_>>().join(" ");
        let clean: String = words.chars().filter(|c| !c.is_control()).take(300).collect();
        match (clean.is_empty(), text.is_empty(), self.exit_code) {
            (false, ..) => format!(": {clean}"),
            (true, false, _) => format!(": {text}"),
            (true, true, Some(code)) => format!(": its exit code was {code}"),
            (true, true, None) => String::new(),
        }
    }
}

async fn next_event(lane: Option<&mut LaneSession>) -> Option<ChannelEvent> {
    match lane {
        Some(lane) => lane.reader.next().await,
        None => std::future::pending().await,
    }
}

async fn opened(opening: &mut Option<Opening>) -> Result<LaneSession, String> {
    let Some(handle) = opening else { return std::future::pending().await };
    let done = handle.await;
    *opening = None;
    match done {
        Ok(Ok(lane)) => Ok(lane),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the gateway failed while it opened a session; its log says more".to_owned()),
    }
}

/// How long a node may take from the start of a session to the helper's first word.
const HELLO_WAIT: Duration = Duration::from_secs(20);
/// How long after a reconnection the failure of a session is taken for its consequence.
const AFTER_RESUME: Duration = Duration::from_secs(30);
/// The exit code of a lane process that the helper has let go of: another lane has its place, or it broke.
const LET_GO: i32 = 75;
/// How long the out lane may take to say that all is well after the in lane has ended.
const LAST_WORD: Duration = Duration::from_secs(2);
/// How long a lane in doubt has to answer; opening an in lane is in it.
const ANSWER_WAIT: Duration = Duration::from_secs(15);
const CANT_RESUME: &str = "the connection to Session Manager broke, and output may be lost: the helper for sh can't go on \
     from there. With python3 on the node it could";
/// How long the last words may take.
const GOODBYE: Duration = Duration::from_secs(3);
/// How long a helper may take to start after a reconnection.
const STARTING: Duration = Duration::from_secs(2);
const MOST_ATTEMPTS: u32 = 100;
/// How much of what a lane says beside the records is kept for an error.
const STRAY: usize = 2048;
