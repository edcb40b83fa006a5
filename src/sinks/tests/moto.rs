//! S3 and CloudWatch Logs that are not ours: moto. It evaluates no permission, and has Object Lock, versions and streams.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_sdk_s3::types::{ObjectLockLegalHoldStatus, ObjectLockMode, ServerSideEncryption};
use serde_json::json;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use uuid::Uuid;

use super::outage::options;
use crate::{AwsFor, Range, SessionName, SinkConfig, Sinks, fetch_anchors, testing};

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/5f3c";

pub(super) struct Moto {
    server: Child,
    pub(super) url: String,
}

impl Moto {
    pub(super) async fn start() -> Self {
        let root = testing::ROOT;
        let setup = Command::new("scripts/setup.sh").arg("moto_server").current_dir(root).output().unwrap();
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Command::new(format!("{root}/target/moto/bin/moto_server"));
        server.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdin(Stdio::null());
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let moto = Self { server, url: format!("http://127.0.0.1:{port}") };
        let listens = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, listens).await.expect("moto listens");
        moto
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_a_large_file_is_in_a_locked_bucket_and_a_poisoned_one_is_put_aside() {
    let (moto, dir) = (Moto::start().await, tempfile::tempdir().unwrap());
    let lock = json!({"mode": "compliance", "days": 7, "legal_hold": true});
    let s3 = json!({"name": "s3", "bucket": "evidence-b", "prefix": "e", "required": true, "anchor": true,
        "region": "us-east-1", "endpoint": moto.url, "path_style": true, "object_lock": lock, "kms_key": KEY});
    let sink = SinkConfig::S3(serde_json::from_value(s3).unwrap());
    let options = options(dir.path(), vec![sink.clone()]);
    let client = crate::aws::s3(&(options.aws)(AwsFor::Sink("s3")).unwrap(), Some("us-east-1"), Some(&moto.url), true);
    client.create_bucket().bucket("evidence-b").object_lock_enabled_for_bucket(true).send().await.unwrap();
    let opened = OffsetDateTime::now_utc();
    let large = vec![7; 17 << 20];
    let files: [(&str, &[u8]); 2] = [("events.jsonl", b"{}\n"), ("terminal.cast", &large)];
    let good = testing::folder_with(dir.path(), 1, "ada", "main", opened, &files);
    let bad = testing::folder(dir.path(), 2, "ada", "main", opened);
    std::fs::write(dir.path().join("sessions").join(&bad).join("events.jsonl"), b"edited\n").unwrap();
    // an upload that a killed gateway left
    let base = format!("e/{}/main/i-1/{}/", portcullis_folder::day_of(opened).replace('-', "/"), Uuid::from_u128(1));
    let left = format!("{base}terminal.cast");
    client.create_multipart_upload().bucket("evidence-b").key(&left).send().await.unwrap();

    let (aws, sinks) = (options.aws.clone(), Sinks::start(options).unwrap());
    let from = OffsetDateTime::now_utc() - Duration::from_secs(1);
    sinks.anchor(OffsetDateTime::now_utc(), "one\n\n— k A=\n").unwrap();
    sinks.sealed(Uuid::from_u128(2), &bad).unwrap();
    sinks.sealed(Uuid::from_u128(1), &good).unwrap();
    assert!(sinks.drain(PATIENCE).await, "{:?}", sinks.health());
    assert!(sinks.delivered(&good).unwrap().is_some() && sinks.delivered(&bad).unwrap().is_none());
    let health = sinks.health().into_iter().find(|sink| sink.name == "s3").unwrap();
    assert_eq!((health.quarantined, health.failing_since), (1, None));

    let objects = client.list_objects_v2().bucket("evidence-b").prefix(&base).send().await.unwrap();
    let keys: Vec<_> = objects.contents().iter().filter_map(|object| object.key()?.strip_prefix(&base)).collect();
    assert_eq!(keys, ["checkpoints", "events.jsonl", "manifest.json", "terminal.cast"]);
    let large = client.head_object().bucket("evidence-b").key(&left).send().await.unwrap();
    assert_eq!(large.content_length(), Some(17 << 20));
    // what moto does of an upload's headers where that is in one request; of one in parts tests/headers.rs looks at what is sent
    let small = client.head_object().bucket("evidence-b").key(format!("{base}events.jsonl")).send().await.unwrap();
    assert_eq!(small.object_lock_mode(), Some(&ObjectLockMode::Compliance));
    assert_eq!(small.object_lock_legal_hold_status(), Some(&ObjectLockLegalHoldStatus::On));
    let until = small.object_lock_retain_until_date().unwrap().secs() - opened.unix_timestamp();
    assert!((7 * 86_400..7 * 86_400 + 60).contains(&until), "{until}");
    assert_eq!(
        (small.server_side_encryption(), small.ssekms_key_id()),
        (Some(&ServerSideEncryption::AwsKms), Some(KEY))
    );
    let uploads = client.list_multipart_uploads().bucket("evidence-b").send().await.unwrap();
    assert!(uploads.uploads().is_empty(), "no upload is left");
    let file = dir.path().join("anchors");
    let range = Range { from, until: from + Duration::from_secs(600) };
    assert_eq!(fetch_anchors(&sink, "gate-1", &aws, range, &file).await, Ok(1));
    assert_eq!(std::fs::read_to_string(file).unwrap(), "one\n\n— k A=\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_in_a_stream_per_session_in_order_after_an_outage_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = |endpoint: &str| {
        let logs = json!({"name": "logs", "group": "g", "create_group": true, "anchor": true, "endpoint": endpoint});
        SinkConfig::CloudWatch(serde_json::from_value(logs).unwrap())
    };
    let session = SessionName { session: Uuid::from_u128(1), person: "ada:x*".into(), node: "i-1".into() };
    let down = Sinks::start(options(dir.path(), vec![config("http://127.0.0.1:9")])).unwrap();
    for n in 0..50 {
        down.event(&session, OffsetDateTime::now_utc(), "e", &format!("{{\"n\":{n}}}")).unwrap();
    }
    drop(down);
    let moto = Moto::start().await;
    let sink = config(&moto.url);
    let options = options(dir.path(), vec![sink.clone()]);
    let aws = options.aws.clone();
    let client = crate::aws::logs(&(options.aws)(AwsFor::Sink("logs")).unwrap(), None, Some(&moto.url));
    let sinks = Sinks::start(options).unwrap();
    let name = testing::folder(dir.path(), 1, "ada", "main", OffsetDateTime::now_utc());
    let now = OffsetDateTime::now_utc();
    sinks.anchor(now, "one\n\n— k A=\n").unwrap();
    sinks.anchor(now + Duration::from_millis(1), "two\n\n— k A=\n").unwrap();
    sinks.sealed(Uuid::from_u128(1), &name).unwrap();
    assert!(sinks.drain(PATIENCE).await, "{:?}", sinks.health());
    let stream = format!("{}/ada%3Ax%2A", session.session);
    let events = client.get_log_events().log_group_name("g").log_stream_name(stream).start_from_head(true);
    let events = events.send().await.unwrap();
    let lines: Vec<_> = events.events().iter().filter_map(|event| event.message()).collect();
    assert_eq!(lines, (0..50).map(|n| format!("{{\"n\":{n}}}")).collect::<Vec<_>>());
    assert!(dir.path().join("spool/receipts/logs").join(format!("{name}.json")).exists());

    let file = dir.path().join("anchors");
    let range = Range { from: now - Duration::from_secs(1), until: now + Duration::from_secs(600) };
    assert_eq!(fetch_anchors(&sink, "gate-1", &aws, range, &file).await, Ok(2));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\n\n— k A=\n\ntwo\n\n— k A=\n");
    // what was collected before is not overwritten
    assert!(fetch_anchors(&sink, "gate-1", &aws, range, &file).await.is_err());
}
