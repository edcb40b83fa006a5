//! What all connections of a gateway share.

use std::sync::Arc;

use super::environment::Allowed;
use super::settings::Settings;
use super::shares::Shares;
use crate::identity::Roster;
use crate::session::SessionOpener;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) people: Roster,
    pub(super) sessions: Arc<SessionOpener>,
    pub(super) settings: Settings,
    pub(super) shares: Arc<Shares>,
    pub(super) environment: Allowed,
}
