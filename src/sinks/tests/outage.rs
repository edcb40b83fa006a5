//! Sinks that do not answer.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{Options, SessionName, SinkConfig, SinkError, Sinks, SinksState, SpoolPlace, testing};

pub(super) fn options(dir: &std::path::Path, sinks: Vec<SinkConfig>) -> Options {
    let place = SpoolPlace { directory: dir.join("spool"), evidence: dir.to_owned() };
    let credentials = aws_credential_types::Credentials::builder().provider_name("test");
    let credentials = credentials.access_key_id("AKIAIOSFODNN7EXAMPLE").secret_access_key("secret").build();
    let config = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new("eu-west-1"))
        .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(credentials))
        .build();
    let mut options = Options::new("gate-1", sinks, place, Arc::new(move |_| Ok(config.clone())));
    options.pauses = (Duration::from_millis(20), Duration::from_millis(200));
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_sink_that_is_down_fills_its_spool_and_no_more_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let logs = json!({"name": "logs", "group": "g", "required": true, "endpoint": "http://127.0.0.1:9", "max_outage_seconds": 1});
    let logs = SinkConfig::CloudWatch(serde_json::from_value(logs).unwrap());
    let mut options = options(dir.path(), vec![logs]);
    options.limits.max_bytes = 64 << 10;
    let sinks = Sinks::start(options).unwrap();
    let mut state = sinks.state();
    let name = testing::folder(dir.path(), 1, "ada", "main", OffsetDateTime::now_utc());
    let session = SessionName { session: Uuid::from_u128(1), person: "ada".into(), node: "i-1".into() };
    let line = "x".repeat(1000);
    let mut full = None;
    for _ in 0..100 {
        if let Err(error) = sinks.event(&session, OffsetDateTime::now_utc(), "e", &line) {
            full = Some(error);
            break;
        }
    }
    assert!(matches!(full, Some(SinkError::Full { .. })), "{full:?}");
    let down = tokio::time::timeout(Duration::from_secs(20), state.wait_for(|state| *state != SinksState::Fine)).await;
    assert!(matches!(&*down.unwrap().unwrap(), SinksState::Down { sink, .. } if sink == "logs"));
    let health = sinks.health().into_iter().find(|sink| sink.name == "logs").unwrap();
    assert!(health.bytes > 32 << 10 && health.bytes <= 64 << 10, "{health:?}");
    assert_eq!(sinks.delivered(&name).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_takes_nothing_keeps_a_folder_from_no_other_sink_and_gets_it_by_the_next_try() {
    let dir = tempfile::tempdir().unwrap();
    let s3 = |name: &str, required: bool| {
        let s3 = json!({"name": name, "bucket": "b", "required": required, "region": "us-east-1", "path_style": true,
            "endpoint": "http://127.0.0.1:9"});
        SinkConfig::S3(serde_json::from_value(s3).unwrap())
    };
    let logs = json!({"name": "logs", "group": "g", "endpoint": "http://127.0.0.1:9"});
    let logs = SinkConfig::CloudWatch(serde_json::from_value(logs).unwrap());
    let sinks = Sinks::start(options(dir.path(), vec![s3("a", false), s3("b", true), logs])).unwrap();
    let waiting = |sink: &str| std::fs::read_dir(dir.path().join("spool/pending").join(sink)).unwrap().count();
    let told = || {
        let segments = std::fs::read_dir(dir.path().join("spool/live")).unwrap();
        let text: Vec<u8> = segments.flat_map(|segment| std::fs::read(segment.unwrap().path()).unwrap()).collect();
        let (records, _) = crate::read_records(&text);
        records.iter().filter(|record| matches!(record, crate::Record::Sealed { .. })).count()
    };
    // the first in order can't be written to: there is a file where its folder should be
    let (pending, aside) = (dir.path().join("spool/pending/a"), dir.path().join("spool/aside"));
    std::fs::rename(&pending, &aside).unwrap();
    std::fs::write(&pending, b"").unwrap();
    let name = testing::folder(dir.path(), 1, "ada", "main", OffsetDateTime::now_utc());
    for _ in 0..2 {
        assert!(matches!(sinks.sealed(Uuid::from_u128(1), &name), Err(SinkError::Disk { .. })));
        assert_eq!((waiting("b"), told()), (1, 1));
    }
    std::fs::remove_file(&pending).unwrap();
    std::fs::rename(&aside, &pending).unwrap();
    sinks.sealed(Uuid::from_u128(1), &name).unwrap();
    assert_eq!((waiting("a"), waiting("b"), told()), (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_failed_once_and_has_nothing_to_do_is_not_down_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let s3 =
        json!({"name": "s3", "bucket": "b", "required": true, "region": "us-east-1", "endpoint": "http://127.0.0.1:9"});
    let s3 = SinkConfig::S3(serde_json::from_value(s3).unwrap());
    let sinks = Sinks::start(options(dir.path(), vec![s3])).unwrap();
    let fails = async |wanted: bool| {
        let health = || sinks.health().into_iter().find(|sink| sink.name == "s3").unwrap();
        let so = async {
            while health().failing_since.is_some() != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), so).await.expect("it comes to that");
    };
    let (pending, aside) = (dir.path().join("spool/pending/s3"), dir.path().join("spool/aside"));
    std::fs::rename(&pending, &aside).unwrap();
    std::fs::write(&pending, b"").unwrap();
    let name = testing::folder(dir.path(), 1, "ada", "main", OffsetDateTime::now_utc());
    assert!(sinks.sealed(Uuid::from_u128(1), &name).is_err());
    fails(true).await;
    std::fs::remove_file(&pending).unwrap();
    std::fs::rename(&aside, &pending).unwrap();
    fails(false).await;
}
