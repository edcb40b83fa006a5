//! A bucket that refuses.

use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::bucket::Bucket;
use super::outage::options;
use crate::{SinkConfig, Sinks, testing};

fn sink(url: &str) -> SinkConfig {
    let s3 = json!({"name": "s3", "bucket": "b", "required": true, "region": "us-east-1", "endpoint": url, "path_style": true});
    SinkConfig::S3(serde_json::from_value(s3).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_alone_is_refused_is_put_aside_with_what_its_role_needs() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = Bucket::that_refuses(&Uuid::from_u128(1).hyphenated().to_string()).await;
    let sinks = Sinks::start(options(dir.path(), vec![sink(&bucket.url)])).unwrap();
    let mut names = Vec::new();
    for n in 1..=3 {
        names.push(testing::folder(dir.path(), n, "ada", "main", OffsetDateTime::now_utc()));
        sinks.sealed(Uuid::from_u128(n), names.last().unwrap()).unwrap();
    }
    assert!(sinks.drain(Duration::from_secs(60)).await, "{:?}", sinks.health());
    let has: Vec<bool> = names.iter().map(|name| sinks.delivered(name).unwrap().is_some()).collect();
    assert_eq!(has, [false, true, true]);
    let health = sinks.health().into_iter().find(|sink| sink.name == "s3").unwrap();
    assert_eq!((health.quarantined, health.failing_since), (1, None));
    let aside = std::fs::read_dir(dir.path().join("spool/quarantine/s3")).unwrap().map(|entry| entry.unwrap().path());
    let reason = aside.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "reason")).unwrap();
    let reason = std::fs::read_to_string(reason).unwrap();
    assert!(reason.contains("it needs s3:PutObject there"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_refuses_everything_fails_and_nothing_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = Bucket::that_refuses("put").await;
    let sinks = Sinks::start(options(dir.path(), vec![sink(&bucket.url)])).unwrap();
    for n in 1..=2 {
        let name = testing::folder(dir.path(), n, "ada", "main", OffsetDateTime::now_utc());
        sinks.sealed(Uuid::from_u128(n), &name).unwrap();
    }
    // far more tries than it takes to put one aside
    tokio::time::sleep(Duration::from_secs(3)).await;
    let health = sinks.health().into_iter().find(|sink| sink.name == "s3").unwrap();
    assert_eq!((health.waiting, health.quarantined), (2, 0));
    assert!(health.failing_since.is_some() && health.why.unwrap().contains("s3:PutObject"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_the_sink_fails_at_blocks_no_other_and_is_no_outage() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = Bucket::that_fails_at(&Uuid::from_u128(1).hyphenated().to_string()).await;
    let sinks = Sinks::start(options(dir.path(), vec![sink(&bucket.url)])).unwrap();
    let mut names = Vec::new();
    for n in 1..=5 {
        names.push(testing::folder(dir.path(), n, "ada", "main", OffsetDateTime::now_utc()));
        sinks.sealed(Uuid::from_u128(n), names.last().unwrap()).unwrap();
    }
    let others = async {
        while !names[1..].iter().all(|name| sinks.delivered(name).unwrap().is_some()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), others).await.expect("the others are delivered");
    // it is tried again and again meanwhile, and what comes then is delivered
    tokio::time::sleep(Duration::from_secs(2)).await;
    let late = testing::folder(dir.path(), 9, "ada", "main", OffsetDateTime::now_utc());
    sinks.sealed(Uuid::from_u128(9), &late).unwrap();
    let taken = async {
        while sinks.delivered(&late).unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), taken).await.expect("the late one is delivered");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let health = sinks.health().into_iter().find(|sink| sink.name == "s3").unwrap();
    assert_eq!((health.waiting, health.quarantined, health.failing_since), (1, 0, None), "{health:?}");
}
