//! Faults on request, for tests and demonstrations: cut, pause, drop, delay, repeat, refuse; and a look at what passes.

use std::sync::Arc;

pub use super::end::End;
pub use super::fault::{Call, CallFault, Effect, Failure, Fault, FrameFault, Frames};
use super::nodes::Nodes;
use super::relay::faults::FaultState;
pub use super::relay::faults::Tap;
pub use super::relay::mailbox::Cut;
use super::session::LiveSession;
use super::sessions::Sessions;

/// The handle: take it from [`super::Service::faults`]; clones act on the same service.
#[derive(Clone)]
pub struct Faults {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) state: Arc<FaultState>,
}

impl Faults {
    /// From now on this sees every frame that is to be relayed, before anything happens to it: what a log of the sessions
    /// would hold. The first tap stays; false if there is one already. It is called on the relay's way: it must be quick.
    pub fn tap(&self, tap: Tap) -> bool {
        self.state.set_tap(tap)
    }

    /// The sessions that have not ended.
    pub fn sessions(&self) -> Vec<LiveSession> {
        self.sessions.live().iter().map(|session| session.describe()).collect()
    }

    /// Takes one end's websocket away. False if there is no such socket.
    pub fn cut(&self, session: &str, end: End, how: Cut) -> bool {
        self.sessions.get(session).is_some_and(|session| session.cut(end, how))
    }

    /// Takes both websockets of a session away. False unless there were two.
    pub fn cut_both(&self, session: &str, how: Cut) -> bool {
        let client = self.cut(session, End::Client, how);
        self.cut(session, End::Agent, how) && client
    }

    /// Takes a node's control channel away. False if it has none.
    pub fn cut_control(&self, node: &str) -> bool {
        self.nodes.control(node).is_some_and(|mailbox| mailbox.cut(Cut::Abort))
    }

    /// Tells the agent to pause (or resume) publication. False if its websocket is not there.
    pub fn set_paused(&self, session: &str, paused: bool) -> bool {
        self.sessions.get(session).is_some_and(|session| session.publish(paused))
    }

    /// How often an agent was told to pause because the client's websocket had gone, in all sessions so far.
    pub fn pauses(&self) -> u32 {
        self.state.pauses()
    }

    /// How many websockets of that end have gone while their session went on, in all sessions so far.
    pub fn losses(&self, end: End) -> u32 {
        self.state.losses(end)
    }

    /// Ends a session as an idle limit does, with this text for the client.
    pub fn close(&self, session: &str, output: &str) -> bool {
        self.sessions.get(session).is_some_and(|session| self.nodes.end_session(&session, output))
    }

    /// From now on, that goes wrong: with frames at once, with the rest in sessions and calls that begin after this.
    pub fn add(&self, fault: Fault) {
        self.state.add(fault);
    }

    /// From now on, that happens to frames.
    pub fn inject(&self, fault: FrameFault) {
        self.add(Fault::Frames(fault));
    }

    /// No more faults, except in sessions that have begun with them.
    pub fn clear(&self) {
        self.state.clear();
    }

    /// The next so many `StartSession` calls are answered with `ThrottlingException`.
    pub fn throttle_start_session(&self, times: u32) {
        let (call, failure) = (Call::StartSession, Failure::Throttling);
        self.add(Fault::Call(CallFault { call, failure, done: false, times }));
    }

    /// The next so many websocket upgrades of data channels are answered with an error.
    pub fn refuse_upgrades(&self, upgrades: u32) {
        self.state.refuse(upgrades);
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}
