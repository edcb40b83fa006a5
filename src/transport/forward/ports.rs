//! One SSH connection's ways to ports: what is open is used again, and of many who want the same at once one opens it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::error::DialError;
use super::lane::{self, PortLane};
use super::relayed::Relays;
use super::stream::{ForwardLimits, ForwardStream};
use super::tunnel;
use crate::backend::{BackendError, BoxFuture};
use crate::config::{ForwardTransport, Rung};
use crate::evidence::LaneRecord;
use crate::model::{ForwardTarget, TargetHost};
use crate::policy::{Action, Grant};
use crate::transport::error::TransportError;
use crate::transport::herald::Herald;
use crate::transport::lane_opener::LaneOpener;
use crate::transport::limits::Limits;
use crate::transport::node_places::NodePermit;
use crate::transport::open::{Transport, wanted};
use crate::transport::sharing::Sharing;

/// What one SSH connection's forwards are carried by. Its end is theirs.
#[derive(Debug)]
pub struct Ports {
    transport: Arc<Transport>,
    slots: Mutex<HashMap<Key, Vec<Slot>>>,
    relays: Relays,
    _open: DropGuard,
    let_go: CancellationToken,
}

/// Who may use a session again, and to where.
type Key = (Sharing, ForwardTarget);

/// A session that is there, or on its way.
#[derive(Clone)]
struct Slot {
    number: u64,
    opened: Shared<BoxFuture<'static, Result<Arc<PortLane>, NotOpened>>>,
}

/// Why a session did not open, for all who wanted it.
#[derive(Clone, Debug)]
enum NotOpened {
    Full(String),
    Backend(BackendError),
}

/// How long a forward waits for its session's place on a node, which nobody hears of meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Sessions to one place at once: a further one where those that are there stand still.
const MOST_SESSIONS: usize = 4;

impl Ports {
    /// None open yet.
    pub fn new(transport: Arc<Transport>) -> Self {
        let let_go = CancellationToken::new();
        let _open = let_go.clone().drop_guard();
        Self { transport, slots: Mutex::default(), relays: Relays::default(), _open, let_go }
    }

    /// Connects to where the grant leads; when this returns, the evidence has the sessions that carry it.
    pub async fn dial(&self, grant: Grant, evidence: LaneRecord, herald: Herald) -> Result<ForwardStream, DialError> {
        let grant = Arc::new(grant);
        let target = match grant.action() {
            Action::Tunnel { port } => {
                return tunnel::dial(&self.transport, grant.clone(), evidence, *port, &herald).await;
            }
            Action::Forward { host, port } => Some(ForwardTarget::parse(host, *port)?),
            Action::ForwardSocket { .. } => None,
            _ => return Err(TransportError::NothingToRun.into()),
        };
        if let Some(target) = &target
            && self.is_own_sshd(&grant, target)
        {
            return Err(DialError::OwnSshd(target.host.to_string()));
        }
        if self.transport.options.forward == ForwardTransport::Helper {
            let dialled = tokio::select! {
                biased;
                () = herald.unheard() => return Err(TransportError::GivenUp.into()),
                dialled = self.relays.dial(&self.transport, &grant, &evidence, &self.let_go) => dialled?,
            };
            if let Some(stream) = dialled {
                return Ok(stream);
            }
        }
        let target = target.ok_or(DialError::SocketsNotServed)?;
        if let TargetHost::Name(name) = &target.host {
            if !self.transport.options.agent_looks_names_up {
                return Err(DialError::NamesNotServed);
            }
            if self.transport.options.sshd_ports.has(target.port.into()) {
                return Err(DialError::MayBeOwnSshd { name: name.clone(), port: target.port });
            }
        }
        self.dial_by_agent(grant, evidence, target, &herald).await
    }

    /// Whether a forward leads where only a tunnel does: a grant for one is none for the other.
    fn is_own_sshd(&self, grant: &Grant, target: &ForwardTarget) -> bool {
        let is_node = match &target.host {
            TargetHost::Localhost => true,
            TargetHost::Address(address) => grant.node_facts().is_at(*address),
            TargetHost::Name(_) => false,
        };
        is_node && self.transport.options.sshd_ports.has(target.port.into())
    }

    async fn dial_by_agent(
        &self,
        grant: Arc<Grant>,
        evidence: LaneRecord,
        target: ForwardTarget,
        herald: &Herald,
    ) -> Result<ForwardStream, DialError> {
        let dialled = async {
            let limits = limits_of(&self.transport, &grant).await?;
            let mut last = None;
            // one that was over, or came to its end meanwhile, is no reason not to try another
            for _ in 0..2 {
                let (lane, is_new) = self.lane(&grant, &evidence, &target).await?;
                if !is_new {
                    evidence.opened(&lane.id, &lane.calls).await?;
                }
                match lane.connect().await {
                    Ok(stream) => return Ok((stream, limits)),
                    Err(error @ DialError::NodeGone(_)) if !is_new => last = Some(error),
                    Err(DialError::NodeGone(why)) if why == lane::FORBIDDEN => {
                        return Err(DialError::ForbiddenByAgent(target.to_string()));
                    }
                    Err(error) => return Err(error),
                }
            }
            Err(last.unwrap_or_else(|| DialError::Failed(target.to_string())))
        };
        let (stream, limits) = tokio::select! {
            biased;
            () = herald.unheard() => return Err(TransportError::GivenUp.into()),
            dialled = dialled => dialled?,
        };
        Ok(ForwardStream::of_port(stream, ForwardLimits::new(limits, grant.clone())))
    }

    /// The session to a place, and whether it was opened for this.
    async fn lane(
        &self,
        grant: &Arc<Grant>,
        evidence: &LaneRecord,
        target: &ForwardTarget,
    ) -> Result<(Arc<PortLane>, bool), DialError> {
        let key = (Sharing::of(grant), target.clone());
        let (slot, is_new) = self.slot(&key, grant, evidence);
        let opened = slot.opened.clone().await;
        if opened.is_err() {
            // the next one tries again
            self.forget(&key, slot.number);
        }
        match opened {
            Ok(lane) => Ok((lane, is_new)),
            Err(NotOpened::Backend(error)) => Err(error.into()),
            Err(NotOpened::Full(why)) => Err(DialError::Full(why)),
        }
    }

    fn slot(&self, key: &Key, grant: &Arc<Grant>, evidence: &LaneRecord) -> (Slot, bool) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, of_a_place| {
            of_a_place.retain(Slot::is_usable);
            !of_a_place.is_empty()
        });
        let of_a_place = slots.entry(key.clone()).or_default();
        let moving = of_a_place.iter().find(|slot| !slot.is_held_up());
        let any = of_a_place.last().filter(|_| of_a_place.len() >= MOST_SESSIONS);
        if let Some(slot) = moving.or(any) {
            return (slot.clone(), false);
        }
        let opening = open(self.transport.clone(), grant.clone(), evidence.clone(), key.1.clone(), self.let_go.clone());
        // in a task of its own: whoever asked first may give up, and others wait for it
        let opening = tokio::spawn(opening);
        let opened: BoxFuture<'static, _> = Box::pin(async move {
            opening.await.unwrap_or_else(|_| {
                let why = "opening the session failed inside Portcullis; see its log";
                Err(NotOpened::Backend(BackendError::Unreachable(why.to_owned())))
            })
        });
        let number = of_a_place.last().map_or(0, |slot| slot.number + 1);
        let slot = Slot { number, opened: opened.shared() };
        of_a_place.push(slot.clone());
        (slot, true)
    }

    fn forget(&self, key: &Key, number: u64) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_a_place) = slots.get_mut(key) {
            of_a_place.retain(|slot| slot.number != number);
        }
    }
}

/// How long a forward may go on, and be silent: by the account, the configuration and the policies.
pub(super) async fn limits_of(transport: &Transport, grant: &Grant) -> Result<Limits, BackendError> {
    let account = transport.account(&grant.node().realm)?.terms().await?.limits;
    Ok(account.and(transport.own_limits()).and(Limits::of(grant)))
}

/// A place on the node for one more session; or why there is none.
pub(super) async fn place(transport: &Transport, grant: &Arc<Grant>) -> Result<NodePermit, String> {
    let herald = Herald::default();
    let place = transport.places.take(grant, &herald);
    match timeout(LONGEST_WAIT, wanted(place, &herald)).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "{} carries as many sessions as may be, or you have as many there; close one",
            grant.node_name()
        )),
    }
}

async fn open(
    transport: Arc<Transport>,
    grant: Arc<Grant>,
    evidence: LaneRecord,
    target: ForwardTarget,
    let_go: CancellationToken,
) -> Result<Arc<PortLane>, NotOpened> {
    let opened = async {
        let permit = place(&transport, &grant).await.map_err(NotOpened::Full)?;
        let terms = transport.account(&grant.node().realm)?.terms().await?;
        // AWS's own documents, as those of that rung
        terms.allow(Rung::OneLane)?;
        let window = transport.output.window(grant.identity().person(), false);
        let payload = transport.options.payload;
        let opener = LaneOpener::new(transport.lanes.clone(), grant, evidence);
        let lane = opener.open(lane::request(&target, payload)).await?;
        Ok(PortLane::start(lane, target, payload, (permit, window), let_go.clone()))
    };
    tokio::select! {
        () = let_go.cancelled() => {
            Err(NotOpened::Backend(BackendError::Unreachable("the connection has ended".to_owned())))
        }
        opened = opened => opened,
    }
}

impl From<BackendError> for NotOpened {
    fn from(error: BackendError) -> Self {
        Self::Backend(error)
    }
}

impl Slot {
    /// One that is on its way is, and one that did not open is not.
    fn is_usable(&self) -> bool {
        match self.opened.peek() {
            None => true,
            Some(Ok(lane)) => lane.is_usable(),
            Some(Err(_)) => false,
        }
    }

    fn is_held_up(&self) -> bool {
        matches!(self.opened.peek(), Some(Ok(lane)) if lane.is_held_up())
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("number", &self.number).finish_non_exhaustive()
    }
}
