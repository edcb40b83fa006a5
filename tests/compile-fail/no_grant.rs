// must fail: E0061
use portcullis::evidence::Recorder;
use portcullis::transport::{ChannelSetup, Transport};

pub async fn open(transport: &Transport, recorder: Recorder, setup: ChannelSetup) {
    let _ = transport.open(recorder, setup).await;
}
