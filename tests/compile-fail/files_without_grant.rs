// must fail: E0061
use portcullis::internals::evidence::LaneRecord;
use portcullis::internals::transport::{Herald, Transport};

pub async fn open(transport: &Transport, record: LaneRecord) {
    let _ = transport.open_files(record, Herald::default()).await;
}
