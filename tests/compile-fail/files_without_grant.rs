// must fail: E0061
use portcullis::evidence::LaneRecord;
use portcullis::transport::Transport;

pub async fn open(transport: &Transport, record: LaneRecord) {
    let _ = transport.open_files(record).await;
}
