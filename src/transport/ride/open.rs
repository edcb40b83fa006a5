//! A command on its way to a helper that others share.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::FutureExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::commands::{Commands, Place};
use super::run::{self, Ride};
use crate::config::{Helper, Rung};
use crate::evidence::LaneRecord;
use crate::policy::{Action, Grant, JudgedLine};
use crate::transport::channel::{ChannelSetup, OpenChannel, Output, ends};
use crate::transport::environment::by_way;
use crate::transport::error::TransportError;
use crate::transport::helper::codec::encode_plain;
use crate::transport::helper::record::ToNode;
use crate::transport::herald::Herald;
use crate::transport::limits::{Clock, Limits};
use crate::transport::open::{Transport, wanted};
use crate::transport::options::Options;
use crate::transport::parameter::NulInCommand;
use crate::transport::relay::{Relay, RelayError, RelayStream, Target};
use crate::transport::sharing::{Sharing, not_opened};

/// The kind of the record that says how a command is to be run.
const HOW: u8 = b'P';

impl Transport {
    /// Opens what the grant is for: a command may share what other commands of its connection are carried by.
    pub async fn open_among(
        self: &Arc<Self>,
        commands: &Commands,
        grant: Grant,
        evidence: LaneRecord,
        setup: ChannelSetup,
        herald: Herald,
    ) -> Result<OpenChannel, TransportError> {
        if self.is_by_sshd(&grant) {
            return self.open_by_sshd(Some(&commands.sshd), Arc::new(grant), evidence, setup, herald).await;
        }
        let sharing = Sharing::of(&grant);
        if !self.may_share(&grant) || !commands.is_to_share(&sharing) {
            return self.open(grant, evidence, setup, herald).await;
        }
        let grant = Arc::new(grant);
        match self.ride((commands, &sharing), &grant, &evidence, &setup, &herald).await? {
            Some(channel) => Ok(channel),
            None => self.open_alone(grant, evidence, setup, herald).await,
        }
    }

    /// Whether it is a command that policy lets share, on a node that can.
    fn may_share(&self, grant: &Grant) -> bool {
        let (now, node) = (Instant::now(), grant.node());
        matches!(grant.action(), Action::Exec { .. })
            && !grant.terms().session_per_command
            && self.options.helper == Helper::Auto
            && self.ladder.rung(node, now) == Rung::TwoLanes
            && self.ladder.may_have_relay(node, now)
    }

    /// Runs a command by a shared helper; nothing where that can't be.
    async fn ride(
        self: &Arc<Self>,
        among: (&Commands, &Sharing),
        grant: &Arc<Grant>,
        evidence: &LaneRecord,
        setup: &ChannelSetup,
        herald: &Herald,
    ) -> Result<Option<OpenChannel>, TransportError> {
        let Action::Exec { command } = grant.action() else { return Ok(None) };
        if command.contains(&0) {
            return Err(NulInCommand.into());
        }
        let terms = wanted(async { Ok(self.account(&grant.node().realm)?.terms().await?) }, herald).await?;
        terms.allow(Rung::TwoLanes)?;
        // what the service counts from the start of its session would be counted for one that started later
        if terms.limits.longest.is_some() {
            return Ok(None);
        }
        let limits = terms.limits.and(self.own_limits()).and(Limits::of(grant));
        // one that was let go of meanwhile is no reason not to open another
        for last in [false, true] {
            let (noted, relay, place, is_new) = self.shared(among, grant, evidence, herald).await?;
            let words = words(grant, command, setup)?;
            match begin(&relay, words).await {
                Ok((stream, left)) => {
                    // now both lanes are there, and nothing that it says was taken
                    if !is_new {
                        evidence.shares(&noted).await?;
                    }
                    let (input, client, deliveries) = ends();
                    let clock = Clock::new(limits, Instant::now());
                    let lifetime = clock.lifetime();
                    let ride = Ride::new(relay, stream, left, clock, grant.clone());
                    tokio::spawn(async move {
                        run::run(ride, client).await;
                        drop(place);
                    });
                    return Ok(Some(OpenChannel { input, output: Output { deliveries, lifetime } }));
                }
                // it has a helper of its own then
                Err(RelayError::NotOnThisNode | RelayError::Busy) => return Ok(None),
                Err(RelayError::Idle) if !last && !is_new => {}
                Err(RelayError::Gone(why)) => return Err(TransportError::HelperLost(why)),
                Err(error) => return Err(TransportError::HelperLost(error.to_string())),
            }
        }
        Ok(None)
    }

    /// The helper that the grant's commands share, and where the sessions are noted that carry it.
    async fn shared(
        self: &Arc<Self>,
        (commands, sharing): (&Commands, &Sharing),
        grant: &Arc<Grant>,
        evidence: &LaneRecord,
        herald: &Herald,
    ) -> Result<(LaneRecord, Relay, Place, bool), TransportError> {
        let (slot, place, is_new) = match commands.present(sharing) {
            Some((slot, Some(place))) => (slot, place, false),
            _ => {
                let place = wanted(self.places.take(grant, herald), herald).await?;
                commands.slot(self, (sharing, grant), evidence, place)
            }
        };
        let relay = wanted(async { Ok(slot.helper.opened().await) }, herald).await?;
        let relay = relay.map_err(not_opened)?;
        Ok((slot.helper.noted, relay, place, is_new))
    }
}

/// Begins a command: its stream, and what of its words is still to be sent.
async fn begin(relay: &Relay, mut words: BytesMut) -> Result<(RelayStream, BytesMut), RelayError> {
    let mut stream = relay.begin(Target::Command)?;
    // along with the stream's first word, as far as there is room: a command is not kept waiting for an answer
    if let Some(Ok(written)) = stream.write(&words).now_or_never() {
        drop(words.split_to(written));
    }
    stream.opened().await?;
    Ok((stream, words))
}

/// What the node must know of a command.
fn words(grant: &Grant, command: &[u8], setup: &ChannelSetup) -> Result<BytesMut, TransportError> {
    let variables = by_way(&setup.env);
    let modelled = grant.commands().is_some_and(JudgedLine::takes_the_modelled_shell);
    let options = Options::command(setup, &variables, None, Helper::Auto, String::new());
    let options = if modelled { options.by_bin_sh() } else { options };
    let how = options.how_to_run();
    let mut words = BytesMut::new();
    words.put_u8(HOW);
    words.put_u32(u32::try_from(how.len()).unwrap_or(u32::MAX));
    words.put_slice(how.as_bytes());
    if let Some(variables) = variables.over_lane {
        encode_plain(&ToNode::Variables(variables), &mut words);
    }
    encode_plain(&ToNode::Command(Bytes::copy_from_slice(command)), &mut words);
    Ok(words)
}
