// must fail: E0382
use portcullis::evidence::Recorder;
use portcullis::policy::Grant;
use portcullis::transport::{ChannelSetup, Transport};

pub async fn twice(transport: &Transport, grant: Grant, first: Recorder, second: Recorder, setup: ChannelSetup) {
    let _ = transport.open(grant, first, setup.clone()).await;
    let _ = transport.open(grant, second, setup).await;
}
