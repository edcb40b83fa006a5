// must fail: E0616
use portcullis::evidence::Recorder;
use portcullis::transport::OpenChannel;

pub fn take(channel: OpenChannel) -> Recorder {
    channel.output.evidence
}
