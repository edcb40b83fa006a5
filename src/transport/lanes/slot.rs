//! The session that a lane has just now, and the one on its way.

use crate::backend::BackendError;
use crate::backend::lanes::{Lane, SessionRequest};
use crate::data_channel::ChannelEvent;
use crate::transport::lane_opener::{LaneOpener, Opening};

/// Where the session of a lane is kept. What it means that there is one, or none, is the lane's own business.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) lane: Option<Lane>,
    pub(super) opening: Option<Opening>,
}

impl Slot {
    /// With this session.
    pub(super) fn of(lane: Lane) -> Self {
        Self { lane: Some(lane), opening: None }
    }

    /// Begins to open a session for it.
    pub(super) fn open(&mut self, opener: &LaneOpener, request: SessionRequest) {
        self.opening = Some(opener.begin(request));
    }
}

/// What the session says next; `None` at its end. Never, where there is none.
pub(super) async fn next_event(lane: &mut Option<Lane>) -> Option<ChannelEvent> {
    match lane {
        Some(lane) => lane.reader.next().await,
        None => std::future::pending().await,
    }
}

/// The session that is on its way, when it is there or can't be. Never, where none is.
pub(super) async fn opened(opening: &mut Option<Opening>) -> Result<Lane, BackendError> {
    let Some(coming) = opening else { return std::future::pending().await };
    let done = coming.done().await;
    *opening = None;
    done
}
