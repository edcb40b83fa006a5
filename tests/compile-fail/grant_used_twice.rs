// must fail: E0382
use portcullis::evidence::Recorder;
use portcullis::policy::Grant;
use portcullis::transport::{Start, Transport};

pub async fn twice(transport: &Transport, grant: Grant, first: Recorder, second: Recorder, start: Start) {
    let _ = transport.open(grant, first, start.clone()).await;
    let _ = transport.open(grant, second, start).await;
}
