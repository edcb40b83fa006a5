//! A bucket that refuses: a server that answers what S3 answers, since moto evaluates no permission.

use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::outage::options;
use crate::{SinkConfig, Sinks, testing};

/// Takes every object but those whose key has this in it. Each connection is one request.
async fn bucket_that_refuses(what: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let what = what.clone();
            tokio::spawn(async move {
                let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
                let head = loop {
                    match client.read(&mut buffer).await {
                        Ok(read) if read > 0 => request.extend(&buffer[..read]),
                        _ => return,
                    }
                    let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                        break head.to_owned();
                    }
                };
                let first = head.lines().next().unwrap_or_default();
                let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
                let (status, body) = match first {
                    first if first.starts_with("head") => ("404 Not Found", ""),
                    first if first.contains(&what) => ("403 Forbidden", denied),
                    _ => ("200 OK", ""),
                };
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                let _ = client.write_all(answer.as_bytes()).await;
            });
        }
    });
    url
}

fn sink(url: &str) -> SinkConfig {
    let s3 = json!({"name": "s3", "bucket": "b", "required": true, "region": "us-east-1", "endpoint": url, "path_style": true});
    SinkConfig::S3(serde_json::from_value(s3).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_alone_is_refused_is_put_aside_with_what_its_role_needs() {
    let dir = tempfile::tempdir().unwrap();
    let url = bucket_that_refuses(Uuid::from_u128(1).hyphenated().to_string()).await;
    let sinks = Sinks::start(options(dir.path(), vec![sink(&url)])).unwrap();
    let mut names = Vec::new();
    for n in 1..=3 {
        names.push(testing::folder(dir.path(), n, "ada", "main", OffsetDateTime::now_utc()));
        sinks.sealed(Uuid::from_u128(n), names.last().unwrap()).await.unwrap();
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
    let url = bucket_that_refuses("put".to_owned()).await;
    let sinks = Sinks::start(options(dir.path(), vec![sink(&url)])).unwrap();
    for n in 1..=2 {
        let name = testing::folder(dir.path(), n, "ada", "main", OffsetDateTime::now_utc());
        sinks.sealed(Uuid::from_u128(n), &name).await.unwrap();
    }
    // far more tries than it takes to put one aside
    tokio::time::sleep(Duration::from_secs(3)).await;
    let health = sinks.health().into_iter().find(|sink| sink.name == "s3").unwrap();
    assert_eq!((health.waiting, health.quarantined), (2, 0));
    assert!(health.failing_since.is_some() && health.why.unwrap().contains("s3:PutObject"));
}
