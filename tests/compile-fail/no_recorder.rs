// must fail: E0061
use portcullis::policy::Grant;
use portcullis::transport::{Start, Transport};

pub async fn open(transport: &Transport, grant: Grant, start: Start) {
    let _ = transport.open(grant, start).await;
}
