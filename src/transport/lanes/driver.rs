//! One task for all lanes of a channel: it carries bytes between client, link and sessions, tells the lanes what happens
//! and does what they ask for.

use bytes::Bytes;
use tokio::time::Instant;

use super::end::End;
use super::error::LaneError;
use super::in_lane::InLane;
use super::noise::Noise;
use super::out_lane::{Action, OutLane};
use super::silence::{Silence, Way};
use super::slot::{Slot, next_event, opened};
use crate::backend::BackendError;
use crate::backend::lanes::{Fate, Lane};
use crate::config::Rung;
use crate::data_channel::{ChannelEvent, Stall};
use crate::model::SessionId;
use crate::transport::channel::{Client, Control, Delivery, InputData, Out};
use crate::transport::context::ChannelContext;
use crate::transport::end_cause::{EndCause, answered};
use crate::transport::error::TransportError;
use crate::transport::helper::link::{Event, InGone, Link, LinkError};
use crate::transport::helper::program::IN_DOCUMENT;
use crate::transport::helper::record::{NOBODY, OUT_LOST, RecordError};
use crate::transport::limits::{Clock, Limits, sleep_until};
use crate::transport::options::Job;

/// The lanes of a channel on one rung.
pub(super) struct Driver {
    pub(super) context: ChannelContext,
    pub(super) link: Link,
    pub(super) client: Client,
    pub(super) out_lane: OutLane,
    pub(super) in_lane: InLane,
    pub(super) out_slot: Slot,
    /// What is to take the place of the out lane's session as soon as the helper speaks on it.
    pub(super) coming_slot: Slot,
    pub(super) in_slot: Slot,
    pub(super) noise: Noise,
    /// The same of the session that is coming.
    coming_noise: Noise,
    clock: Clock,
    silence: Silence,
    /// The out lane's session, or the last that it has lost.
    out_session: SessionId,
    /// What became of it; the service is being asked.
    end_cause: Option<EndCause>,
    /// The same of the in lane's.
    in_end_cause: Option<EndCause>,
    /// What the link has said and no lane has taken yet.
    pub(super) pending: Option<Bytes>,
}

/// What the loop woke up for.
enum Wake {
    Out(Option<ChannelEvent>),
    Coming(Option<ChannelEvent>),
    In(Option<ChannelEvent>),
    OutOpened(Result<Lane, BackendError>),
    InOpened(Result<Lane, BackendError>),
    EndCause(Fate),
    InEndCause(Fate),
    Data(Option<InputData>),
    Control(Option<Control>),
    Delivered,
    Sent,
    Lapsed(BackendError),
    Timer,
    ClientGone,
}

impl Driver {
    /// With the session that starts the helper.
    pub(super) fn new(context: ChannelContext, first: Lane, mut link: Link, client: Client) -> Self {
        link.handle_out_attached();
        let now = Instant::now();
        let mut clock = context.clock.clone();
        clock.touch(now);
        Self {
            out_lane: OutLane::new(context.rung, context.ladder.below(context.node(), context.rung).is_some(), now),
            in_lane: InLane::default(),
            out_session: first.id.clone(),
            out_slot: Slot::of(first),
            coming_slot: Slot::default(),
            in_slot: Slot::default(),
            noise: Noise::default(),
            coming_noise: Noise::default(),
            end_cause: None,
            in_end_cause: None,
            pending: None,
            context,
            link,
            client,
            clock,
            silence: Silence::default(),
        }
    }

    /// Whether this kind of lane may be the reason that no helper answered: it said nothing at all, not even why.
    pub(super) fn is_rung_to_blame(&self, now: Instant) -> bool {
        self.out_lane.is_silent() && self.noise.is_empty() && self.clock.over(now).is_none()
    }

    /// Whether the node began a session and no helper came to run in it, on the last rung that needs one, whatever it said of that; or
    /// on any, where it has no shell for one.
    pub(super) fn runs_no_helper(&self, error: &TransportError) -> bool {
        let is_last = self.context.ladder.below(self.context.node(), self.context.rung).is_none();
        let has_no_shell = matches!(error, TransportError::Lane(error) if error.is_no_program());
        (is_last || has_no_shell) && self.out_lane.is_silent() && self.clock.over(Instant::now()).is_none()
    }

    /// Goes on until the channel is at its end, or these lanes are.
    pub(super) async fn drive(&mut self) -> End {
        loop {
            match self.step().await {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(error) => return End::Failed(error),
            }
        }
    }

    async fn step(&mut self) -> Result<Option<End>, TransportError> {
        let now = Instant::now();
        if self.link.is_done() && !self.link.has_event() {
            return Ok(Some(End::Complete));
        }
        // what is done in a session of files may oblige to shorter ones; of a relay each stream keeps to its own
        if self.context.options.job() != Job::Relay {
            self.clock.keep_to(Limits::of(self.context.opener.grant()));
        }
        self.handle_timeout(now)?;
        self.tell_of_silence(now);
        self.act(now);
        if self.pending.is_none() {
            self.pending = self.link.poll_transmit(now);
        }
        match self.wait().await {
            Wake::Out(mut event) => loop {
                let is_output = matches!(event, Some(ChannelEvent::Output(_)));
                self.handle_out(event)?;
                // output that came with it as well: a turn of this loop costs more than a frame. After all else that happened to
                // the lane comes what it asks for
                let Some(lane) = self.out_slot.lane.as_mut().filter(|_| is_output && !self.link.is_done()) else {
                    break;
                };
                event = lane.reader.next_at_hand();
                if event.is_none() {
                    break;
                }
            },
            Wake::Coming(event) => self.handle_coming(event)?,
            Wake::In(event) => self.handle_in(event),
            Wake::OutOpened(Ok(lane)) => {
                self.out_lane.handle_opened(Instant::now());
                self.link.handle_out_coming();
                self.coming_noise = Noise::default();
                self.coming_slot.lane = Some(lane);
            }
            Wake::OutOpened(Err(error)) => self.out_lane.handle_open_failed(error, Instant::now())?,
            Wake::InOpened(lane) => self.handle_in_opened(lane)?,
            Wake::EndCause(fate) => {
                self.end_cause = None;
                self.out_lane.on_end_cause(fate, &self.noise, Instant::now())?;
            }
            Wake::InEndCause(fate) => {
                self.in_end_cause = None;
                self.in_lane.handle_fate(fate, Instant::now());
            }
            Wake::Data(Some(InputData::Bytes(bytes))) => {
                self.clock.touch(Instant::now());
                self.link.write(bytes);
            }
            Wake::Data(Some(InputData::Eof)) => self.link.finish(),
            Wake::Control(Some(Control::Resize(size))) => self.link.resize(size),
            Wake::Control(Some(Control::Signal(name))) => self.link.signal(name),
            Wake::Control(Some(Control::CloseOutput)) => self.link.close_output(),
            // if it could not be sent, the lane's own event says why
            Wake::Sent => self.pending = None,
            Wake::Lapsed(why) => return Ok(Some(End::Lapsed(why))),
            Wake::Delivered | Wake::Timer | Wake::Data(None) | Wake::Control(None) => {}
            Wake::ClientGone => return Ok(Some(End::ClientGone)),
        }
        Ok(None)
    }

    /// Waits for the next thing to happen; delivers at most one event of the link on the way.
    async fn wait(&mut self) -> Wake {
        let until = self.next_timeout(Instant::now());
        let carrier = if self.context.rung == Rung::OneLane { &self.out_slot } else { &self.in_slot };
        let writer = carrier.lane.as_ref().map(|lane| lane.writer.clone());
        let sending = self.pending.clone().zip(writer);
        let mut lapse = self.out_slot.lane.as_ref().map(|lane| lane.lapse.clone()).unwrap_or_default();
        let Self { link, client, out_slot, coming_slot, in_slot, end_cause, in_end_cause, clock, .. } = self;
        tokio::select! {
            // what is here already goes out before anything comes in, or a node that never stops talking would keep the
            // client waiting for what it has said
            biased;
            // a place is reserved first: an event that is taken from the link must not be lost when another arm wins
            permit = client.deliveries.reserve(), if link.has_event() => {
                let Ok(permit) = permit else { return Wake::ClientGone };
                if let Some(out) = next_output(link) {
                    clock.touch(Instant::now());
                    permit.send(Delivery::Out(out));
                }
                Wake::Delivered
            }
            // before data: a signal or a size is for now, however much input waits
            control = client.control.recv(), if !client.control.is_closed() || !client.control.is_empty() =>
                Wake::Control(control),
            // only what was taken from the link is sent, one piece at a time: cancelled, it stays pending
            () = async {
                match sending {
                    // an error shows as the lane's own event
                    Some((bytes, writer)) => drop(writer.send(bytes).await),
                    None => std::future::pending().await,
                }
            } => Wake::Sent,
            // the out lane before the in lane: the helper ends both at once, and the first to be heard should be the one
            // that says whether all is well
            event = next_event(&mut out_slot.lane) => Wake::Out(event),
            event = next_event(&mut in_slot.lane) => Wake::In(event),
            // after the lanes that are there: what the old one still says comes before the new one takes its place
            event = next_event(&mut coming_slot.lane) => Wake::Coming(event),
            lane = opened(&mut coming_slot.opening) => Wake::OutOpened(lane),
            lane = opened(&mut in_slot.opening) => Wake::InOpened(lane),
            // beside everything else: the service may take seconds, and a replacement may be running meanwhile
            fate = answered(end_cause) => Wake::EndCause(fate),
            fate = answered(in_end_cause) => Wake::InEndCause(fate),
            // only while the link takes more: a command that reads nothing holds up its client, not the gateway's memory
            data = client.data.recv(), if link.takes_input() && (!client.data.is_closed() || !client.data.is_empty()) =>
                Wake::Data(data),
            // the first arm notices it where there is something to deliver
            () = client.deliveries.closed(), if !link.has_event() => Wake::ClientGone,
            why = lapse.told() => Wake::Lapsed(why),
            // last: what has happened by now counts before what did not happen in time
            () = sleep_until(until) => Wake::Timer,
        }
    }

    pub(super) fn handle_out(&mut self, event: Option<ChannelEvent>) -> Result<(), LaneError> {
        let now = Instant::now();
        match event {
            Some(ChannelEvent::Output(bytes)) => self.handle_output(bytes),
            Some(ChannelEvent::StdErr(bytes)) => {
                self.noise.handle_bytes(&bytes);
                Ok(())
            }
            Some(ChannelEvent::ExitCode(code)) => {
                self.noise.handle_exit_code(code);
                Ok(())
            }
            Some(ChannelEvent::Reconnected) => self.out_lane.handle_reconnected(now),
            // what was in flight may be lost: the helper's answer shows it, or a gap, and soon
            Some(ChannelEvent::Interrupted) => {
                self.out_lane.handle_interrupted(now);
                self.link.ask(now);
                Ok(())
            }
            Some(ChannelEvent::Stalled(stall)) => {
                tracing::debug!(session = %self.out_session, ?stall, "the out lane is worse than slow");
                match stall {
                    Stall::Gap => self.out_lane.handle_gap(now),
                    Stall::Duplicates | Stall::Unacknowledged => self.out_lane.handle_sign(now),
                }
            }
            Some(ChannelEvent::Established) => {
                if self.context.rung == Rung::TwoLanes {
                    self.out_lane.handle_established(now);
                }
                Ok(())
            }
            Some(ChannelEvent::ConnectFailed) => Ok(()),
            Some(ChannelEvent::Closed(text) | ChannelEvent::Lost(text)) => self.out_ended(&text, now),
            None => self.out_ended("", now),
        }
    }

    fn handle_output(&mut self, bytes: Bytes) -> Result<(), LaneError> {
        self.out_lane.handle_output(bytes.len(), Instant::now());
        let taken = self.link.handle_output(bytes);
        taken.map_err(|error| LaneError::Helper { error, said: self.noise.tail("") })?;
        self.handle_said();
        Ok(())
    }

    /// What the helper has said is in the link.
    fn handle_said(&mut self) {
        self.out_lane.handle_answer(self.link.answered());
        self.in_lane.handle_acknowledged(self.link.acknowledged());
        if let Some(hello) = self.link.take_hello() {
            tracing::debug!(helper = hello.helper, uid = hello.uid, "the helper has started");
            self.context.ladder.stands(self.context.node(), self.context.rung, Instant::now());
            self.out_lane.handle_hello(hello);
        }
        match self.link.take_in_gone() {
            None => {}
            Some(InGone::Broke) => {
                tracing::debug!("the helper has lost the in lane");
                self.in_lane.handle_broken(Instant::now());
            }
            Some(InGone::LetGo) => {
                tracing::debug!("the helper has let go of the in lane");
                if self.in_lane.handle_let_go(Instant::now()) {
                    self.let_go_of_in();
                }
            }
        }
        if self.link.is_done() {
            self.out_lane.handle_done();
            self.in_lane.handle_done();
        }
    }

    /// What comes of the session that is to take the out lane's place.
    pub(super) fn handle_coming(&mut self, event: Option<ChannelEvent>) -> Result<(), LaneError> {
        let now = Instant::now();
        match event {
            Some(ChannelEvent::Output(bytes)) => {
                let hello = match self.link.handle_coming_output(bytes.clone(), self.context.rung == Rung::OneLane) {
                    Ok(None) => return Ok(()),
                    Ok(Some(hello)) => hello,
                    Err(LinkError::Record(RecordError::Foreign(_))) => {
                        self.coming_noise.handle_bytes(&bytes);
                        return Ok(());
                    }
                    Err(error) => return Err(LaneError::Helper { error, said: self.coming_noise.tail("") }),
                };
                tracing::debug!(lost = ?hello.lost, "the helper has taken another lane");
                let joined = self.out_lane.handle_joined(&hello, &self.noise, now);
                if joined.is_ok() {
                    // what is still to be asked is asked of the session before
                    self.act(now);
                }
                self.noise = std::mem::take(&mut self.coming_noise);
                // the session before it is let go of, and nobody waits for its end
                self.out_slot.lane = self.coming_slot.lane.take();
                if let Some(lane) = &self.out_slot.lane {
                    self.out_session = lane.id.clone();
                }
                if self.context.rung == Rung::OneLane {
                    // the link keeps what the helper has not acknowledged
                    self.pending = None;
                }
                self.handle_said();
                joined
            }
            Some(ChannelEvent::StdErr(bytes)) => {
                self.coming_noise.handle_bytes(&bytes);
                Ok(())
            }
            Some(ChannelEvent::ExitCode(code)) => {
                self.coming_noise.handle_exit_code(code);
                Ok(())
            }
            Some(ChannelEvent::Closed(_) | ChannelEvent::Lost(_)) | None => {
                self.coming_slot.lane = None;
                self.out_lane.handle_coming_ended(&self.coming_noise, now)
            }
            Some(ChannelEvent::Reconnected) => self.out_lane.handle_coming_reconnected(now),
            Some(_) => Ok(()),
        }
    }

    fn out_ended(&mut self, text: &str, now: Instant) -> Result<(), LaneError> {
        self.out_slot.lane = None;
        let lower =
            self.is_rung_to_blame(now) && self.context.ladder.below(self.context.node(), self.context.rung).is_some();
        self.out_lane.handle_ended(text, &self.noise, lower, now)
    }

    pub(super) fn handle_in(&mut self, event: Option<ChannelEvent>) {
        let text = match event {
            Some(ChannelEvent::Output(bytes)) if bytes.ends_with(OUT_LOST) => {
                tracing::debug!(session = %self.out_session, "the helper has lost the out lane");
                return self.out_lane.handle_broken(Instant::now());
            }
            // the in lane is silent; what a shell there prints before the helper's end runs is a reason for its failure
            Some(ChannelEvent::Output(bytes) | ChannelEvent::StdErr(bytes)) => {
                self.noise.handle_bytes(&bytes);
                if bytes.windows(NOBODY.len()).any(|words| words == NOBODY) {
                    self.out_lane.handle_gone(&self.noise, Instant::now());
                }
                return;
            }
            Some(ChannelEvent::Closed(text) | ChannelEvent::Lost(text)) => text,
            Some(ChannelEvent::Stalled(stall)) => {
                tracing::debug!(?stall, "the in lane is worse than slow");
                if stall == Stall::Unacknowledged {
                    return self.doubt_in();
                }
                return;
            }
            None => String::new(),
            Some(_) => return,
        };
        let session = self.in_slot.lane.take().map(|lane| lane.id);
        self.let_go_of_in();
        if self.out_lane.is_gone() {
            // nobody has ended it: it found nobody
            self.in_lane.handle_sign(Instant::now());
            return;
        }
        if self.in_lane.handle_ended(&text) {
            self.in_end_cause = session.map(|id| EndCause::of(id, self.context.opener.clone()));
        }
    }

    /// A sign that the in lane is worse than slow. What was asked on it is asked on the next, and at once.
    fn doubt_in(&mut self) {
        let now = Instant::now();
        if self.in_lane.handle_sign(now) {
            self.let_go_of_in();
            self.link.ask(now);
        }
    }

    /// The in lane's session is of no more use; the link keeps what the helper has not acknowledged.
    fn let_go_of_in(&mut self) {
        self.in_slot.lane = None;
        self.pending = None;
        self.link.handle_in_lost();
    }

    /// Does what the lanes ask for.
    pub(super) fn act(&mut self, now: Instant) {
        while let Some(action) = self.out_lane.poll_action() {
            match action {
                Action::Open => {
                    self.coming_slot.lane = None;
                    let request = self.context.rejoin_request(self.out_lane.directory(), self.link.received());
                    self.coming_slot.open(&self.context.opener, request);
                }
                Action::AskCause => {
                    let session = self.out_session.clone();
                    self.end_cause = Some(EndCause::of(session, self.context.opener.clone()));
                }
                Action::AskHelper => self.out_lane.handle_asked(self.link.ask(now), now),
            }
        }
        let is_needed = self.link.needs_in_lane(now) || self.context.eager;
        if is_needed && self.out_lane.allows_in_lane() && self.in_lane.poll_open(now) {
            let number = self.link.handle_in_lost();
            let options = self.context.options.attach("in", self.out_lane.directory(), number);
            let request = self.context.attach_request(IN_DOCUMENT, options, true);
            self.in_slot.open(&self.context.opener, request);
        }
    }

    /// When to wake up if nothing happens: for just what [`Self::handle_timeout`] and [`Self::act`] would do something
    /// about, so that the loop never waits for what is past already.
    fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let ready = self.link.in_lane_ready();
        // what the link has to say must wait while there is no way to say it
        let can_say =
            if ready { self.pending.is_none() } else { self.out_lane.allows_in_lane() && self.in_lane.may_open(now) };
        let is_done = self.link.is_done();
        let due = [
            self.out_lane.poll_timeout(),
            self.in_lane.poll_timeout(ready, now),
            self.link.deaf_at().filter(|_| !is_done),
            self.link.pulse_timeout().filter(|_| !is_done),
            (can_say && !is_done).then(|| self.link.poll_timeout()),
            self.clock.deadline(),
            self.silence.timeout(),
        ];
        due.into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), TransportError> {
        if let Some(limit) = self.clock.over(now) {
            return Err(limit.into());
        }
        self.out_lane.handle_timeout(&self.noise, now)?;
        if !self.link.is_done() && self.link.deaf_at().is_some_and(|at| now >= at) {
            return Err(LaneError::Deaf.into());
        }
        if !self.link.is_done() {
            self.check_pulse(now)?;
        }
        Ok(self.handle_in_timeout(now)?)
    }

    /// Who waits hears whether the node answers; a client that takes nothing may miss it.
    fn tell_of_silence(&mut self, now: Instant) {
        let way = match self.link.misses_answers() {
            _ if self.link.is_done() => Way::Well,
            true => Way::Unanswered,
            false if self.out_lane.is_interrupted() => Way::Interrupted,
            false => Way::Well,
        };
        if let Some(sentence) = self.silence.check(way, now) {
            let _ = self.client.deliveries.try_send(Delivery::Out(Out::Notice(sentence)));
        }
    }

    pub(super) fn handle_in_timeout(&mut self, now: Instant) -> Result<(), LaneError> {
        if self.in_lane.handle_timeout(self.link.in_lane_ready(), &self.noise, now)? {
            self.let_go_of_in();
        }
        Ok(())
    }

    pub(super) fn handle_in_opened(&mut self, lane: Result<Lane, BackendError>) -> Result<(), LaneError> {
        let now = Instant::now();
        match lane {
            Ok(lane) => {
                self.in_lane.handle_opened(now);
                self.in_slot.lane = Some(lane);
                Ok(())
            }
            Err(error) => self.in_lane.handle_open_failed(error, now),
        }
    }

    /// The helper does not answer, although the agents acknowledge: which of the lanes is dead can't be told, so first the
    /// one out is replaced, and the next time the one in.
    fn check_pulse(&mut self, now: Instant) -> Result<(), LaneError> {
        let missed = self.link.check_pulse(now);
        if self.link.is_crawling(now) {
            tracing::debug!(session = %self.out_session, "the out lane crawls");
            self.out_lane.handle_gap(now)?;
        }
        if missed > 0 {
            tracing::debug!(missed, "the helper did not answer in time");
        }
        match missed {
            0 => Ok(()),
            odd if odd % 2 == 1 => self.out_lane.handle_sign(now),
            _ => {
                // the answer may only wait for the way out
                if self.out_lane.is_settled() {
                    self.doubt_in();
                }
                Ok(())
            }
        }
    }
}

/// What the link has for the client; taking it gives the node its credit back.
fn next_output(link: &mut Link) -> Option<Out> {
    match link.poll_event()? {
        Event::Stdout(bytes) => {
            link.consumed(bytes.len());
            Some(Out::Stdout(bytes))
        }
        Event::Stderr(bytes) => {
            link.consumed(bytes.len());
            Some(Out::Stderr(bytes))
        }
        Event::Exit(exit) => Some(Out::Exit(exit)),
        Event::Done => None,
    }
}
