//! Lanes come: the out lane that takes another's place, and the in lane when there is something to say.

use std::time::Instant;

use tokio::task::JoinHandle;

use super::Lanes;
use super::time::CANT_RESUME;
use crate::backend::{BackendError, LaneSession};
use crate::transport::helper::program::IN_DOCUMENT;
use crate::transport::ladder::Rung;

/// A lane on its way. It goes on by itself: a lane that nobody waits for any more is noted, and ended when it is dropped.
pub(super) type Opening = JoinHandle<Result<LaneSession, BackendError>>;

impl Lanes {
    pub(super) fn open_what_is_needed(&mut self, now: Instant) {
        let Some(hello) = self.hello.as_ref().filter(|_| self.may_open_in()) else { return };
        if self.link.needs_in_lane(now) || self.plan.eager {
            let options = self.plan.options.attach("in", Some(&hello.directory), 0);
            self.opening_in = Some(self.open(IN_DOCUMENT, options, true));
        }
    }

    /// Whether an in lane may be opened if one is needed. Not while the service is asked how the out lane ended: what
    /// somebody ended stays ended.
    pub(super) fn may_open_in(&self) -> bool {
        self.hello.is_some()
            && self.plan.rung == Rung::TwoLanes
            && self.inward.is_none()
            && self.opening_in.is_none()
            && self.in_gone.is_none()
            && self.inquest.is_none()
            && !self.link.is_done()
    }

    /// Opens an out lane in the place of the one there was.
    pub(super) fn reattach_out(&mut self) -> Result<(), String> {
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

    fn open(&self, document: &str, options: String, silent: bool) -> Opening {
        let parameters = [("options", options), ("command", "lane:".to_owned())];
        let request = self.plan.request(document, parameters, silent);
        let starter = self.plan.starter.clone();
        tokio::spawn(async move { starter.start(request).await })
    }

    pub(super) fn opened_out(&mut self, lane: LaneSession) {
        self.link.handle_out_attached();
        self.exit_code = None;
        // the old session ends by itself, and nobody waits for that
        self.out = Some(lane);
    }

    pub(super) fn opened_in(&mut self, lane: LaneSession) {
        self.in_opened = Instant::now();
        self.inward = Some(lane);
    }
}

/// The lane that is on its way, when it is there or can't be.
pub(super) async fn opened(opening: &mut Option<Opening>) -> Result<LaneSession, String> {
    let Some(handle) = opening else { return std::future::pending().await };
    let done = handle.await;
    *opening = None;
    match done {
        Ok(Ok(lane)) => Ok(lane),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the gateway failed while it opened a session; its log says more".to_owned()),
    }
}

const MOST_ATTEMPTS: u32 = 100;
