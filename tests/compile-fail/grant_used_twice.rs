// must fail: E0382
use portcullis::internals::evidence::LaneRecord;
use portcullis::internals::policy::Grant;
use portcullis::internals::transport::{ChannelSetup, Herald, Transport};

pub async fn twice(transport: &Transport, grant: Grant, record: LaneRecord, setup: ChannelSetup) {
    let _ = transport.open(grant, record.clone(), setup.clone(), Herald::default()).await;
    let _ = transport.open(grant, record, setup, Herald::default()).await;
}
