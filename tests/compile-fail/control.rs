use portcullis::backend::BackendError;
use portcullis::backend::lanes::{Lane, Lanes, SessionRequest};
use portcullis::evidence::Recorder;
use portcullis::policy::{Action, Decision, Grant, Policy, Request};
use portcullis::transport::{ChannelSetup, OpenChannel, Transport, TransportError};

pub async fn the_one_way(
    transport: &Transport,
    policy: &Policy,
    request: Request<'_>,
    recorder: Recorder,
    setup: ChannelSetup,
) -> Result<OpenChannel, TransportError> {
    match policy.decide(request) {
        Decision::Allow(grant) => transport.open(grant, recorder, setup).await,
        Decision::Deny(denial) => Err(TransportError::Failed(denial.text)),
    }
}

pub async fn a_lane(lanes: &dyn Lanes, grant: &Grant) -> Result<Lane, BackendError> {
    lanes.open(grant, SessionRequest::new("Portcullis-OutLane")).await
}

pub fn may_look(grant: &Grant) -> bool {
    *grant.action() == Action::Shell
}
