//! What is sent of an upload in parts.

use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::bucket::Bucket;
use super::moto::PATIENCE;
use super::outage::options;
use crate::{SinkConfig, Sinks, testing};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_is_locked_and_encrypted_from_its_beginning_and_each_part_is_checked() {
    let (bucket, dir) = (Bucket::that_refuses("nothing of this").await, tempfile::tempdir().unwrap());
    let lock = json!({"mode": "governance", "days": 7, "legal_hold": true});
    let s3 = json!({"name": "s3", "bucket": "evidence-b", "region": "us-east-1", "endpoint": bucket.url,
        "path_style": true, "object_lock": lock, "kms_key": "alias/evidence"});
    let sinks = options(dir.path(), vec![SinkConfig::S3(serde_json::from_value(s3).unwrap())]);
    let sinks = Sinks::start(sinks).unwrap();
    let large = vec![7; 17 << 20];
    let name =
        testing::folder_with(dir.path(), 1, "ada", "main", OffsetDateTime::now_utc(), &[("terminal.cast", &large)]);
    sinks.sealed(Uuid::from_u128(1), &name).unwrap();
    assert!(sinks.drain(PATIENCE).await, "{:?}", sinks.health());

    let heads = bucket.heads();
    let of = |method: &str, has: &str| -> Vec<&String> {
        let is_it =
            |head: &&String| head.lines().next().is_some_and(|line| line.starts_with(method) && line.contains(has));
        heads.iter().filter(is_it).collect()
    };
    let begun = of("post", "?uploads");
    assert_eq!(begun.len(), 1);
    for header in [
        "x-amz-object-lock-mode: governance",
        "x-amz-object-lock-legal-hold: on",
        "x-amz-object-lock-retain-until-date: 20",
        "x-amz-server-side-encryption: aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id: alias/evidence",
        "x-amz-checksum-algorithm: sha256",
        "x-amz-meta-portcullis-sha256: ",
    ] {
        assert!(begun[0].contains(header), "{header}: {}", begun[0]);
    }
    let parts = of("put", "partnumber=");
    assert_eq!(parts.len(), 3);
    assert!(parts.iter().all(|part| part.contains("x-amz-checksum-sha256: ")), "{parts:?}");
    // the manifest is the last that comes: where it is, all is
    let last = heads.iter().rev().find(|head| head.starts_with("put")).unwrap();
    assert!(last.lines().next().unwrap().contains("manifest.json"), "{last}");
}
