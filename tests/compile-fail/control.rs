use portcullis::internals::backend::BackendError;
use portcullis::internals::backend::lanes::{Lane, Lanes, SessionRequest};
use portcullis::internals::evidence::{InputRecord, LaneRecord, OutputRecord, Stream, Taken};
use portcullis::internals::policy::{Action, Decision, Denial, Grant, Policies, Request, Terms};
use portcullis::internals::transport::file_service::FileService;
use portcullis::internals::transport::{ChannelSetup, Herald, Input, OpenChannel, Output, Said, Transport, TransportError};

pub async fn the_one_way(
    transport: &Transport,
    policies: &Policies,
    request: Request<'_>,
    record: LaneRecord,
    setup: ChannelSetup,
) -> Result<OpenChannel, TransportError> {
    match policies.decide(request) {
        Decision::Allow(grant) => transport.open(grant, record, setup, Herald::default()).await,
        Decision::Deny(denial) => Err(TransportError::Backend(BackendError::Refused(denial.text))),
    }
}

pub async fn a_lane(lanes: &dyn Lanes, grant: &Grant) -> Result<Lane, BackendError> {
    lanes.open(grant, SessionRequest::new("Portcullis-OutLane")).await
}

pub async fn record_and_send(record: &InputRecord, input: &Input, bytes: Vec<u8>) {
    if let Ok(recorded) = record.take(bytes.into()).await {
        let _ = input.write(recorded).await;
    }
}

pub async fn record_and_read(record: &OutputRecord, output: &mut Output) -> Option<Vec<u8>> {
    match output.next().await?.ok()? {
        Said::Stdout(bytes) => match record.take(Stream::Stdout, bytes).ok()? {
            Taken::Now(bytes) => Some(bytes.into()),
            Taken::Later(recorded) => recorded.await.ok().map(Into::into),
        },
        _ => None,
    }
}

pub async fn files(transport: &Transport, grant: Grant, record: LaneRecord) -> Result<FileService, TransportError> {
    transport.open_files(grant, record, Herald::default()).await
}

pub fn one_file(service: &FileService, action: &Action) -> Result<Terms, Denial> {
    service.grant().judge(action)
}

pub fn may_look(grant: &Grant) -> bool {
    *grant.action() == Action::Shell
}
