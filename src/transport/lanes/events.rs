//! Lanes speak: what they carry, what a reconnection puts in doubt, and what it means that one has ended.

use std::time::{Duration, Instant};

use super::Lanes;
use super::time::{ANSWER_WAIT, STARTING};
use crate::config::Rung;
use crate::data_channel::ChannelEvent;
use crate::transport::helper::link::Event;
use crate::transport::inquest::Inquest;

impl Lanes {
    pub(super) fn handle_out(&mut self, event: Option<ChannelEvent>) -> Result<(), String> {
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
                self.overhear(&bytes);
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
            self.context.ladder.stands(self.context.node(), self.context.rung, Instant::now());
            self.hello = Some(hello);
            self.doubt = None;
        }
    }

    /// The service may have paused the lane while the gateway was away, and a pause kills this kind of lane without a
    /// word. A new one costs little and is certain.
    fn out_doubtful(&mut self) -> Result<(), String> {
        let now = Instant::now();
        self.resumed = Some(now);
        if self.context.rung == Rung::OneLane || self.link.is_done() {
            return Ok(());
        }
        if self.hello.as_ref().is_some_and(|hello| !hello.resumable) {
            // a lane that the pause has killed does not answer
            self.verify = Some((self.link.ask(now), now + ANSWER_WAIT));
            return Ok(());
        }
        if self.hello.is_none() || self.inquest.is_some() {
            // the helper may be about to start: a lane that comes before it would find nothing; and how the lane before
            // this one ended must be known first
            self.doubt = Some(now + STARTING);
            return Ok(());
        }
        self.reattach_out()
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
        let lower = self.rung_is_to_blame(Instant::now()) && self.context.ladder.below(self.context.rung).is_some();
        let resumed = self.resumed.is_some_and(|at| at.elapsed() < AFTER_RESUME);
        let resumable = self.context.rung == Rung::TwoLanes && self.hello.as_ref().is_none_or(|hello| hello.resumable);
        if self.inquest.is_none() && (lower || (resumed && resumable)) {
            self.inquest = Some(Inquest::of(lane.id, text, self.context.opener.clone()));
            return Ok(());
        }
        Err(self.why_ended(text))
    }

    /// The service has said whether the out lane broke.
    pub(super) fn judge(&mut self, failed: bool) -> Result<(), String> {
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

    pub(super) fn handle_in(&mut self, event: Option<ChannelEvent>) {
        match event {
            // the in lane is silent; what a shell there prints before the helper's end runs is a reason for its failure
            Some(ChannelEvent::Output(bytes) | ChannelEvent::StdErr(bytes)) => self.overhear(&bytes),
            Some(ChannelEvent::Closed(text) | ChannelEvent::Lost(text)) => self.in_ended(&text),
            None => self.in_ended(""),
            Some(_) => {}
        }
    }

    /// No pause ends this kind of lane, so its end is final whenever it comes. The helper ends both lanes at once, and which
    /// of them is heard first is chance: the out lane gets a moment to say that all is well.
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

    fn overhear(&mut self, bytes: &[u8]) {
        let room = STRAY.saturating_sub(self.stray.len());
        self.stray.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// How long after a reconnection the failure of a session is taken for its consequence.
const AFTER_RESUME: Duration = Duration::from_secs(30);
/// The exit code of a lane process that the helper has let go of: another lane has its place, or it broke.
const LET_GO: i32 = 75;
/// How much of what a lane says beside the records is kept for an error.
const STRAY: usize = 2048;
