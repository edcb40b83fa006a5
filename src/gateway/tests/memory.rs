//! What an idle shell costs the gateway itself, its lanes not counted.

use std::time::Duration;

use super::process::{alone, resident};
use super::wire::Raw;
use crate::testing::TestGateway;

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_shell_takes_little() {
    if !alone("gateway::tests::memory::an_idle_shell_takes_little").await {
        return;
    }
    let gateway = TestGateway::with(|settings| {
        settings.limits.connections_per_address = 1000;
        settings.limits.connections_per_person = 1000;
    })
    .await;
    gateway.node.idle.store(true, std::sync::atomic::Ordering::Relaxed);
    let key = gateway.key("ada");
    let mut held = Vec::new();
    let mut open = async |count: usize| {
        for _ in 0..count {
            let mut raw = Raw::logged_in(gateway.address, "web-1", &key).await;
            raw.exec(0, 1 << 20, 32768, "idle").await;
            held.push(raw);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    open(50).await;
    let before = resident();
    open(200).await;
    let each = resident().saturating_sub(before) / 200;
    assert!(each < 200 << 10, "{each} bytes for each idle session, the test's own client included");
}
