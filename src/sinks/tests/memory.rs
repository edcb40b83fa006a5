//! What waits for a sink that is down costs disk and no memory.

use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::outage::options;
use crate::{SessionName, SinkConfig, Sinks, testing};

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Ten minutes of a busy gateway: 100 events a second and a session that is sealed each second. The clock is tokio's, so that the
/// pauses between tries are those of ten minutes; the bytes and the memory are real.
#[tokio::test(start_paused = true)]
async fn ten_minutes_without_the_sinks_leave_memory_flat_and_all_of_it_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let down = "http://127.0.0.1:9";
    let logs = json!({"name": "logs", "group": "g", "endpoint": down, "anchor": true});
    let s3 = json!({"name": "s3", "bucket": "evidence-b", "endpoint": down, "region": "us-east-1", "path_style": true});
    let sinks = vec![
        SinkConfig::CloudWatch(serde_json::from_value(logs).unwrap()),
        SinkConfig::S3(serde_json::from_value(s3).unwrap()),
    ];
    let mut options = options(dir.path(), sinks);
    options.pauses = (Duration::from_millis(500), Duration::from_secs(60));
    let sinks = Sinks::start(options).unwrap();
    let name = testing::folder(dir.path(), 1, "ada", "main", OffsetDateTime::now_utc());
    let session = SessionName { session: Uuid::from_u128(1), person: "ada".into(), node: "i-1".into() };
    let line = format!("{{\"class_uid\":4007,\"message\":\"{}\"}}", "x".repeat(900));
    let minute = async || {
        for _ in 0..60 {
            for _ in 0..100 {
                sinks.event(&session, OffsetDateTime::now_utc(), "command", &line).unwrap();
            }
            sinks.sealed(Uuid::new_v4(), &name).unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    // the first one brings in what is needed once: clients, threads, buffers
    minute().await;
    let before = resident();
    for _ in 1..10 {
        minute().await;
    }
    let grown = resident().saturating_sub(before);
    let health = sinks.health();
    let of = |name: &str| health.iter().find(|sink| sink.name == name).unwrap();
    assert!(of("logs").bytes > 60_000_000 && of("logs").dropped == 0, "{:?}", of("logs"));
    assert_eq!(of("s3").waiting, 600);
    assert!(of("logs").failing_since.is_some() && of("s3").failing_since.is_some());
    assert!(grown < 4 << 20, "{grown} bytes more");
}
