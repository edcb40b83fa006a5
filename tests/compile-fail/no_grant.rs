// must fail: E0061
use portcullis::internals::evidence::LaneRecord;
use portcullis::internals::transport::{ChannelSetup, Herald, Transport};

pub async fn open(transport: &Transport, record: LaneRecord, setup: ChannelSetup) {
    let _ = transport.open(record, setup, Herald::default()).await;
}
