//! A tunnel: the node's own sshd, over a port session that is this connection's alone.

use std::sync::Arc;
use std::time::Duration;

use super::error::DialError;
use super::ports::{limits_of, place};
use super::stream::{ForwardLimits, ForwardStream};
use crate::backend::BackendError;
use crate::config::Rung;
use crate::evidence::LaneRecord;
use crate::policy::Grant;
use crate::transport::error::TransportError;
use crate::transport::herald::Herald;
use crate::transport::lane_opener::LaneOpener;
use crate::transport::open::Transport;
use crate::transport::plain_port::{self, NotOpened};

/// How long its sshd may take to say something, after a way to the node and back: whoever waits is refused by then.
const SPEAKS: Duration = Duration::from_millis(1500);

/// Connects to it. When this returns it has said something.
pub(super) async fn dial(
    transport: &Transport,
    grant: Arc<Grant>,
    evidence: LaneRecord,
    port: u32,
    herald: &Herald,
) -> Result<ForwardStream, DialError> {
    let port = u16::try_from(port).map_err(|_| crate::model::TargetError::NoPort)?;
    let dialled = async {
        let permit = place(transport, &grant).await.map_err(DialError::Full)?;
        let terms = transport.account(&grant.node().realm)?.terms().await?;
        terms.allow(Rung::Sshd)?;
        let opener = LaneOpener::new(transport.lanes.clone(), grant.clone(), evidence);
        let opened = plain_port::open(&opener, port, transport.options.payload, SPEAKS, permit).await;
        let (stream, ended) = opened.map_err(|error| not_opened(error, port))?;
        let limits = ForwardLimits::new(limits_of(transport, &grant).await?, grant);
        Ok(ForwardStream::of_plain(stream, ended, limits))
    };
    tokio::select! {
        biased;
        () = herald.unheard() => Err(TransportError::GivenUp.into()),
        dialled = dialled => dialled,
    }
}

fn not_opened(error: NotOpened, port: u16) -> DialError {
    match error {
        NotOpened::Silent => DialError::NoSshd(port),
        NotOpened::Ended(why) => DialError::NodeGone(why),
        NotOpened::Backend(error) => BackendError::into(error),
    }
}
