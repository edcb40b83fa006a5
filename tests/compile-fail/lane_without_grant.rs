// must fail: E0061
use portcullis::internals::backend::lanes::{Lanes, SessionRequest};

pub async fn open(lanes: &dyn Lanes, request: SessionRequest) {
    let _ = lanes.open(request).await;
}
