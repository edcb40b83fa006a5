// must fail: E0061
use portcullis::evidence::Recorder;
use portcullis::transport::{Start, Transport};

pub async fn open(transport: &Transport, recorder: Recorder, start: Start) {
    let _ = transport.open(recorder, start).await;
}
