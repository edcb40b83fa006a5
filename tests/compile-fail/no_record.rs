// must fail: E0061
use portcullis::internals::policy::Grant;
use portcullis::internals::transport::{ChannelSetup, Herald, Transport};

pub async fn open(transport: &Transport, grant: Grant, setup: ChannelSetup) {
    let _ = transport.open(grant, setup, Herald::default()).await;
}
