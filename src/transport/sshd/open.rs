//! A shell or a command on its way to a node's own sshd.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::begin::{What, begin, by_bin_sh};
use super::connect::{Connection, NodeChannel, Peer};
use super::connections::{Connections, Held};
use super::error::SshdError;
use super::host_key::HostNames;
use super::run::{self, Run};
use crate::config::Rung;
use crate::evidence::{LaneRecord, SessionSshd};
use crate::policy::{Action, Grant, JudgedLine};
use crate::transport::channel::{ChannelSetup, Client, OpenChannel, Out, Output, ends};
use crate::transport::error::TransportError;
use crate::transport::helper::output_window::OutputWindow;
use crate::transport::herald::Herald;
use crate::transport::lane_opener::LaneOpener;
use crate::transport::limits::{Clock, Limits};
use crate::transport::open::{Transport, wanted};
use crate::transport::parameter::NulInCommand;
use crate::transport::plain_port::{self, NotOpened};
use crate::transport::sharing::{Sharing, not_opened};

/// What the person hears once where a variable of theirs did not get there.
const WITHOUT_VARIABLES: &str =
    "the node's sshd does not take all of the variables that were sent; its AcceptEnv says which it takes";

/// How long an sshd may take to say who it is: a busy node's may have to be read from the disk first.
const SPEAKS: Duration = Duration::from_secs(10);

/// Something that has begun on a node.
pub(super) struct Begun {
    channel: NodeChannel,
    clock: Clock,
    held: Held,
    /// Of one that shares with nobody, what others would share.
    own: Option<Connections>,
    /// What is first said.
    notice: Option<Out>,
}

impl Transport {
    /// Whether a node is reached by its own sshd.
    pub(in crate::transport) fn is_by_sshd(&self, grant: &Grant) -> bool {
        self.ladder.rung(grant.node(), Instant::now()) == Rung::Sshd
    }

    /// Opens the shell or the command that the grant is for. Several of one SSH client share what carries them; without those it has a
    /// connection of its own.
    pub(in crate::transport) async fn open_by_sshd(
        &self,
        among: Option<&Connections>,
        grant: Arc<Grant>,
        evidence: LaneRecord,
        setup: ChannelSetup,
        herald: Herald,
    ) -> Result<OpenChannel, TransportError> {
        let what = what(&grant)?;
        let begun = self.begin_by_sshd(among, &grant, &evidence, (&what, &setup), &herald).await?;
        self.ladder.stands(grant.node(), Rung::Sshd, Instant::now());
        let (input, client, deliveries) = ends();
        let lifetime = begun.clock.lifetime();
        tokio::spawn(carry(begun, grant, setup.stdin_closed, client));
        Ok(OpenChannel { input, output: Output { deliveries, lifetime } })
    }

    pub(super) async fn begin_by_sshd(
        &self,
        among: Option<&Connections>,
        grant: &Arc<Grant>,
        evidence: &LaneRecord,
        (what, setup): (&What, &ChannelSetup),
        herald: &Herald,
    ) -> Result<Begun, TransportError> {
        let terms = wanted(async { Ok(self.account(&grant.node().realm)?.terms().await?) }, herald).await?;
        terms.allow(Rung::Sshd)?;
        let limits = terms.limits.and(self.own_limits()).and(Limits::of(grant));
        // what the service counts from the start of its session would be counted for one that started later
        let alone = grant.terms().session_per_command || terms.limits.longest.is_some();
        let own = (alone || among.is_none()).then(Connections::default);
        let Some(among) = own.as_ref().or(among) else { return Err(TransportError::Gone) };
        let window = || self.output.window(grant.identity().person(), setup.pty.is_some());
        let opened = self.channel_by_sshd(among, grant, evidence, window, herald).await?;
        let (mut channel, held) = opened;
        let without = wanted(async { Ok(begin(&mut channel, what, setup).await?) }, herald).await?;
        let notice = (without.variables && channel.tells()).then_some(Out::Notice(WITHOUT_VARIABLES));
        Ok(Begun { channel, clock: Clock::new(limits, Instant::now()), held, own, notice })
    }

    /// A session channel on a connection that the grant's channels share.
    async fn channel_by_sshd(
        &self,
        among: &Connections,
        grant: &Arc<Grant>,
        evidence: &LaneRecord,
        window: impl Fn() -> OutputWindow,
        herald: &Herald,
    ) -> Result<(NodeChannel, Held), TransportError> {
        let options = &self.options.sshd;
        if options.credential.is_none() {
            return Err(SshdError::NoCredential.into());
        }
        let user = grant.os_user().or(options.user.as_deref());
        let no_user = || SshdError::NoUser { node: grant.node_name().to_string() };
        let user = user.ok_or_else(no_user)?.to_owned();
        let sharing = Sharing::of(grant);
        loop {
            let (slot, held, is_new) = match among.present(&sharing) {
                Some((slot, Some(held))) => (slot, held, false),
                _ => {
                    let place = wanted(self.places.take(grant, herald), herald).await?;
                    let opening = || self.connect_by_sshd(grant.clone(), evidence.clone(), user.clone());
                    among.slot(&sharing, place, evidence, opening)
                }
            };
            let connection = wanted(async { Ok(slot.way.opened().await) }, herald).await?.map_err(not_opened)?;
            match wanted(async { Ok(connection.open(window()).await) }, herald).await? {
                Ok(channel) => {
                    if !is_new {
                        evidence.shares(&slot.way.noted).await?;
                    }
                    let host_key = connection.host_key();
                    let credential = options.credential.as_ref().map_or("", |credential| credential.name());
                    evidence.by_sshd(SessionSshd { user: &user, host_key: &host_key, credential }).await?;
                    return Ok((channel, held));
                }
                // it was let go of meanwhile, or carries as many as its sshd lets: another does
                Err(SshdError::Lost(_)) if !is_new => {}
                Err(SshdError::NoSession(_)) if held.was_one_too_many() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Connects to the node's sshd, and logs in there.
    fn connect_by_sshd(
        &self,
        grant: Arc<Grant>,
        evidence: LaneRecord,
        user: String,
    ) -> impl Future<Output = Result<Arc<Connection>, TransportError>> + Send + 'static {
        let (options, payload, lanes) = (self.options.sshd.clone(), self.options.payload, self.lanes.clone());
        async move {
            let credential = options.credential.ok_or(SshdError::NoCredential)?;
            let node = HostNames::of(grant.node_facts(), grant.node_name().as_str());
            let session = evidence.session();
            let opener = LaneOpener::new(lanes, grant.clone(), evidence);
            let opened = plain_port::open(&opener, options.port, payload, SPEAKS, ()).await;
            let (stream, ended) = opened.map_err(|error| no_way(error, &node, options.port))?;
            let proof = credential.prove(&grant, &user, session)?;
            let peer = Peer { rules: options.host_keys, node, user, port: options.port };
            Ok(Connection::over(stream, ended, &peer, &credential, proof).await?)
        }
    }
}

fn no_way(error: NotOpened, node: &HostNames, port: u16) -> TransportError {
    let node = node.shown.clone();
    match error {
        NotOpened::Silent => SshdError::Silent { node, port }.into(),
        NotOpened::Ended(why) => SshdError::Handshake { node, why }.into(),
        NotOpened::Backend(error) => error.into(),
    }
}

/// Carries it to its end.
pub(super) async fn carry(begun: Begun, grant: Arc<Grant>, stdin_closed: bool, client: Client) {
    let Begun { channel, clock, held, own, notice } = begun;
    run::run(Run { channel, clock, grant, waiting: notice, stdin_closed }, client).await;
    drop((held, own));
}

fn what(grant: &Grant) -> Result<What, TransportError> {
    match grant.action() {
        Action::Shell => Ok(What::Shell),
        Action::Exec { command } if command.contains(&0) => Err(NulInCommand.into()),
        Action::Exec { command } => {
            let modelled = grant.commands().is_some_and(JudgedLine::takes_the_modelled_shell);
            Ok(What::Command(if modelled { by_bin_sh(command)? } else { command.clone() }))
        }
        _ => Err(TransportError::NothingToRun),
    }
}
