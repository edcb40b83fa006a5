//! Lanes come: the out lane that takes another's place, and the in lane when there is something to say.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Lanes;
use super::time::CANT_RESUME;
use crate::backend::BackendError;
use crate::backend::lanes::Lane;
use crate::config::Rung;
use crate::transport::helper::program::IN_DOCUMENT;

/// A lane on its way. It goes on by itself: a lane that nobody waits for any more is noted, and ended when it is dropped.
pub(super) type Opening = JoinHandle<Result<Lane, BackendError>>;

impl Lanes {
    pub(super) fn open_what_is_needed(&mut self, now: Instant) {
        let Some(hello) = self.hello.as_ref().filter(|_| self.may_open_in(now)) else { return };
        if self.link.needs_in_lane(now) || self.context.eager {
            let options = self.context.options.attach("in", Some(&hello.directory), 0);
            self.opening_in = Some(self.open(IN_DOCUMENT, options, true));
        }
    }

    /// Whether an in lane may be opened if one is needed. Not while the service is asked how the out lane ended: what
    /// somebody ended stays ended.
    pub(super) fn may_open_in(&self, now: Instant) -> bool {
        self.hello.is_some()
            && self.context.rung == Rung::TwoLanes
            && self.inward.is_none()
            && self.opening_in.is_none()
            && self.in_gone.is_none()
            && self.inquest.is_none()
            && self.in_failed.is_none_or(|failed| now >= failed.at)
            && !self.link.is_done()
    }

    /// Opens an out lane in the place of the one there was.
    pub(super) fn reattach_out(&mut self) -> Result<(), String> {
        if self.hello.as_ref().is_some_and(|hello| !hello.resumable) {
            return Err(CANT_RESUME.to_owned());
        }
        if self.opening_out.is_none() {
            // one a day is no trouble, however many days there are
            self.attempts = if self.attached.elapsed() > STEADY { 1 } else { self.attempts + 1 };
            if self.attempts > MOST_ATTEMPTS {
                return Err("the connection to Session Manager breaks again and again".to_owned());
            }
            let directory = self.hello.as_ref().map(|hello| hello.directory.as_str());
            let options = self.context.options.attach("out", directory, self.link.received());
            self.opening_out = Some(self.open(self.context.out_document(), options, false));
        }
        Ok(())
    }

    fn open(&self, document: &str, options: String, silent: bool) -> Opening {
        let parameters = [("options", options), ("command", "lane:".to_owned())];
        let request = self.context.request(document, parameters, silent);
        let opener = self.context.opener.clone();
        tokio::spawn(async move { opener.open(request).await })
    }

    pub(super) fn opened_out(&mut self, lane: Result<Lane, BackendError>) -> Result<(), String> {
        let now = Instant::now();
        match lane {
            Ok(lane) => {
                self.link.handle_out_attached();
                self.exit_code = None;
                // the old session ends by itself, and nobody waits for that
                self.out = Some(lane);
                self.attached = now;
                self.out_failed = None;
            }
            Err(error) => {
                let failed = Retry::after(self.out_failed, &error, now)?;
                self.doubt = Some(failed.at);
                self.out_failed = Some(failed);
            }
        }
        Ok(())
    }

    pub(super) fn opened_in(&mut self, lane: Result<Lane, BackendError>) -> Result<(), String> {
        let now = Instant::now();
        match lane {
            Ok(lane) => {
                self.in_opened = now;
                self.inward = Some(lane);
                self.in_failed = None;
            }
            Err(error) => self.in_failed = Some(Retry::after(self.in_failed, &error, now)?),
        }
        Ok(())
    }
}

/// A lane that could not be opened is tried again for a while: the command is well, and only the way to it is missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    since: Instant,
    /// When to try next.
    pub at: Instant,
    pause: Duration,
}

impl Retry {
    /// The error stands if it would come again, or has come for too long.
    fn after(before: Option<Self>, error: &BackendError, now: Instant) -> Result<Self, String> {
        let (since, pause) = before.map_or((now, FIRST_PAUSE), |before| (before.since, before.pause * 2));
        match error {
            BackendError::Unreachable(_) | BackendError::Target(_) if now < since + RETRIES => {
                tracing::debug!(%error, "a lane is tried again");
                Ok(Self { since, at: now + pause.min(LONGEST_PAUSE), pause })
            }
            error => Err(error.to_string()),
        }
    }
}

/// The lane that is on its way, when it is there or can't be.
pub(super) async fn opened(opening: &mut Option<Opening>) -> Result<Lane, BackendError> {
    let Some(handle) = opening else { return std::future::pending().await };
    let done = handle.await;
    *opening = None;
    let failed = "the gateway failed while it opened a session; its log says more";
    done.unwrap_or_else(|_| Err(BackendError::Refused(failed.to_owned())))
}

const MOST_ATTEMPTS: u32 = 100;
/// A lane that has lasted this long was no trouble.
const STEADY: Duration = Duration::from_secs(60);
/// How long a lane is tried for: no longer than a helper's lease, which ends what nobody reaches.
const RETRIES: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
