// must fail: E0308
use portcullis::internals::transport::Input;

pub async fn send(input: &Input, bytes: Vec<u8>) {
    let _ = input.write(bytes).await;
}
