// must fail: E0061
use portcullis::policy::Grant;
use portcullis::transport::{ChannelSetup, Transport};

pub async fn open(transport: &Transport, grant: Grant, setup: ChannelSetup) {
    let _ = transport.open(grant, setup).await;
}
