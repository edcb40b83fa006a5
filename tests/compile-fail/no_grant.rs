// must fail: E0061
use portcullis::evidence::LaneRecord;
use portcullis::transport::{ChannelSetup, Transport};

pub async fn open(transport: &Transport, record: LaneRecord, setup: ChannelSetup) {
    let _ = transport.open(record, setup).await;
}
