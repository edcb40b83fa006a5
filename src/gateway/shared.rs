//! What all connections of a gateway share.

use std::sync::Arc;

use super::auth::questions::Questions;
use super::balanced::Balanced;
use super::environment::Allowed;
use super::guesses::Guesses;
use super::host_ca::NodeHosts;
use super::prompts::Prompts;
use super::settings::Settings;
use super::shares::Shares;
use crate::identity::{Roster, SecondFactors};
use crate::session::SessionOpener;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    /// What the gateway shows itself by, itself and in the place of nodes.
    pub(super) hosts: NodeHosts,
    pub(super) people: Roster,
    /// What is remembered of second factors.
    pub(super) factors: SecondFactors,
    /// Who is being asked for one.
    pub(super) questions: Questions,
    /// Balancers' connections of which it is not known yet whose they are.
    pub(super) balanced: Balanced,
    /// How often passwords were wrong.
    pub(super) guesses: Guesses,
    /// Who is asked for something on a terminal.
    pub(super) prompts: Prompts,
    pub(super) sessions: Arc<SessionOpener>,
    pub(super) settings: Settings,
    pub(super) shares: Arc<Shares>,
    pub(super) environment: Allowed,
}
