//! What all sessions of an account and region share.

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::clients::Clients;
use super::persons::Persons;
use super::targets::Targets;
use super::throttle::Throttle;
use crate::data_channel::ReconnectPolicy;

/// What sessions share; they keep it for as long as they last.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) clients: Clients,
    pub(super) persons: Persons,
    pub(super) targets: Targets,
    pub(super) throttle: Throttle,
    pub(super) reconnect: ReconnectPolicy,
    pub(super) terminations: Semaphore,
    /// Sessions that are not out of the way yet.
    pub(super) sessions: TaskTracker,
}
