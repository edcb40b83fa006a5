//! Forwards by the helper's relay: one for a connection's forwards through a node, opened when the first of them comes. A name is
//! looked up on the node, each address that it stands for is judged here, and that address is what is dialled.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::error::DialError;
use super::ports::limits_of;
use super::stream::{ForwardLimits, ForwardStream};
use crate::evidence::LaneRecord;
use crate::model::{ForwardTarget, SshdPorts, TargetHost, may_reach};
use crate::policy::{Action, Grant};
use crate::transport::error::TransportError;
use crate::transport::herald::Herald;
use crate::transport::open::Transport;
use crate::transport::relay::{Relay, RelayError, RelayStream, Target};
use crate::transport::sharing::{SharedRelay, Sharing};

/// The relays of one SSH connection.
#[derive(Debug, Default)]
pub(super) struct Relays(Mutex<HashMap<Sharing, SharedRelay>>);

/// As many addresses of a name are tried.
const TRIED: usize = 4;

impl Relays {
    /// Connects by a relay; nothing where the node has none.
    pub(super) async fn dial(
        &self,
        transport: &Arc<Transport>,
        grant: &Arc<Grant>,
        evidence: &LaneRecord,
        let_go: &CancellationToken,
    ) -> Result<Option<ForwardStream>, DialError> {
        // one that was let go of meanwhile is no reason not to open another
        for last in [false, true] {
            let (slot, is_new) = self.slot(transport, grant, evidence, let_go);
            let relay = match slot.opened().await {
                Ok(relay) => relay,
                Err(error) => return Err(not_opened(error)),
            };
            match connect(&relay, grant, &transport.options.sshd_ports).await {
                Err(Failed::Relay(RelayError::NotOnThisNode)) => return Ok(None),
                Err(Failed::Relay(RelayError::Idle | RelayError::Gone(_))) if !last && !is_new => {}
                Err(Failed::Relay(error)) => return Err(of(error, "the node")),
                Err(Failed::Dial(error)) => return Err(error),
                Ok((stream, address)) => {
                    if !is_new {
                        evidence.shares(&slot.noted).await?;
                    }
                    let limits = ForwardLimits::new(limits_of(transport, grant).await?, grant.clone());
                    return Ok(Some(ForwardStream::of_relay(stream, address, limits)));
                }
            }
        }
        Err(DialError::NodeGone("the relay to the node was let go of; try again".to_owned()))
    }

    fn slot(
        &self,
        transport: &Arc<Transport>,
        grant: &Arc<Grant>,
        evidence: &LaneRecord,
        let_go: &CancellationToken,
    ) -> (SharedRelay, bool) {
        let key = Sharing::of(grant);
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // that there is none is known, and asked about no more
        slots.retain(|_, slot| slot.is_usable(|why| *why == RelayError::NotOnThisNode));
        if let Some(slot) = slots.get(&key) {
            return (slot.clone(), false);
        }
        let opening = {
            let (transport, grant, evidence) = (transport.clone(), grant.clone(), evidence.clone());
            async move { transport.open_relay(grant, evidence, Herald::default()).await }
        };
        let slot = SharedRelay::open(opening, evidence.clone(), let_go.clone());
        slots.insert(key, slot.clone());
        (slot, true)
    }
}

/// Why a relay did not open, for one of all who wanted it: an error can't be copied, its sentence can.
fn not_opened(error: Arc<TransportError>) -> DialError {
    match Arc::try_unwrap(error) {
        Ok(error) => error.into(),
        Err(shared) => match &*shared {
            TransportError::Backend(error) => error.clone().into(),
            TransportError::NodeFull { .. } | TransportError::NodeShareTaken { .. } => {
                DialError::Full(shared.to_string())
            }
            TransportError::GivenUp => TransportError::GivenUp.into(),
            other => DialError::NodeGone(other.to_string()),
        },
    }
}

enum Failed {
    Relay(RelayError),
    Dial(DialError),
}

impl From<RelayError> for Failed {
    fn from(error: RelayError) -> Self {
        Self::Relay(error)
    }
}

impl From<DialError> for Failed {
    fn from(error: DialError) -> Self {
        Self::Dial(error)
    }
}

async fn connect(
    relay: &Relay,
    grant: &Grant,
    sshd_ports: &SshdPorts,
) -> Result<(RelayStream, Option<SocketAddr>), Failed> {
    let (addresses, port) = match grant.action() {
        Action::ForwardSocket { path } => {
            let told = String::from_utf8_lossy(path).into_owned();
            return match relay.dial(Target::Unix(path.clone())).await {
                Ok(stream) => Ok((stream, None)),
                Err(error) => Err(about(error, &told)),
            };
        }
        Action::Forward { host, port } => {
            let target = ForwardTarget::parse(host, *port).map_err(DialError::from)?;
            let addresses = addresses(relay, grant, &target.host).await?;
            // what is written as the node itself was no forward to begin with; a name may turn out to be
            if sshd_ports.has(*port) && addresses.iter().any(|address| grant.node_facts().is_at(*address)) {
                return Err(DialError::OwnSshd(host.clone()).into());
            }
            (addresses, target.port)
        }
        _ => return Err(DialError::from(TransportError::NothingToRun).into()),
    };
    let mut failed = None;
    for address in addresses.into_iter().take(TRIED) {
        let address = SocketAddr::new(address, port);
        match relay.dial(Target::Address(address)).await {
            Ok(stream) => return Ok((stream, Some(address))),
            // the first one's is what is told, as elsewhere
            Err(error) if is_the_target_s(&error) => drop(failed.get_or_insert(about(error, &address.to_string()))),
            Err(error) => return Err(error.into()),
        }
    }
    Err(failed.unwrap_or(Failed::Relay(RelayError::NoSuchName)))
}

/// Where a host is: of a name all addresses that it stands for on the node, unless there is one to which nobody is led.
async fn addresses(relay: &Relay, grant: &Grant, host: &TargetHost) -> Result<Vec<IpAddr>, Failed> {
    let name = match host {
        TargetHost::Localhost => return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        TargetHost::Address(address) => return Ok(vec![*address]),
        TargetHost::Name(name) => name,
    };
    let found = match relay.resolve(name).await {
        Ok(found) => found,
        Err(error) => return Err(about(error, name)),
    };
    let judged = found.into_iter().map(|address| {
        let forbidden = |why| DialError::Forbidden { name: name.clone(), address, why };
        let address = may_reach(address).map_err(forbidden)?;
        grant.judge_address(address).map_err(DialError::Denied)?;
        Ok(address)
    });
    Ok(judged.collect::<Result<Vec<IpAddr>, DialError>>()?)
}

/// Whether an error is about what was dialled, and not about the relay.
fn is_the_target_s(error: &RelayError) -> bool {
    !matches!(error, RelayError::NotOnThisNode | RelayError::Idle | RelayError::Gone(_) | RelayError::Busy)
}

fn about(error: RelayError, target: &str) -> Failed {
    if is_the_target_s(&error) { Failed::Dial(of(error, target)) } else { Failed::Relay(error) }
}

fn of(error: RelayError, target: &str) -> DialError {
    let target = target.to_owned();
    match error {
        RelayError::Refused => DialError::Refused(target),
        RelayError::Unreachable => DialError::Unreachable(target),
        RelayError::TimedOut => DialError::TimedOut(target),
        RelayError::NoSuchName => DialError::NoSuchName(target),
        RelayError::Permission => DialError::NotPermitted(target),
        RelayError::Failed(_) => DialError::Failed(target),
        RelayError::Busy => DialError::Full(error.to_string()),
        RelayError::NotOnThisNode | RelayError::Idle | RelayError::Gone(_) => DialError::NodeGone(error.to_string()),
    }
}
