//! A gateway's sinks in a process of their own: killed where it hurts most, and with few descriptors.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::moto::{Moto, PATIENCE};
use super::outage::options;
use crate::{AwsFor, SinkConfig, Sinks, testing};

/// Where the child finds its spool, and its bucket.
const DIRECTORY: &str = "PORTCULLIS_SINKS_TEST_DIRECTORY";
const ENDPOINT: &str = "PORTCULLIS_SINKS_TEST_ENDPOINT";

fn sink(endpoint: &str) -> SinkConfig {
    let s3 = json!({"name": "s3", "bucket": "evidence-b", "required": true, "region": "us-east-1", "endpoint": endpoint,
        "path_style": true});
    SinkConfig::S3(serde_json::from_value(s3).unwrap())
}

/// Does nothing by itself: the other tests start it as a process.
#[tokio::test(flavor = "multi_thread")]
async fn sinks_of_a_process_of_their_own() {
    let (Ok(dir), Ok(endpoint)) = (std::env::var(DIRECTORY), std::env::var(ENDPOINT)) else { return };
    let sinks = Sinks::start(options(Path::new(&dir), vec![sink(&endpoint)])).unwrap();
    assert!(sinks.drain(PATIENCE * 2).await, "{:?}", sinks.health());
}

/// Starts it, with what stands before its name: a limit.
fn process(dir: &Path, endpoint: &str, before: &str) -> Child {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{before} exec \"$0\" --exact tests::child::sinks_of_a_process_of_their_own"));
    shell.arg(std::env::current_exe().unwrap()).env(DIRECTORY, dir).env(ENDPOINT, endpoint);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Brings bytes there and back, but nothing back once the manifest was asked to be put: the answer is on its way for ever.
async fn wire_that_loses_an_answer(to: String) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, lost) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(AtomicBool::new(false)));
    let seen = Arc::clone(&lost);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, seen) = (TcpStream::connect(&to).await.unwrap(), Arc::clone(&seen));
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let passed = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(read) = from_client.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..read]);
                    if text.lines().any(|line| line.starts_with("PUT ") && line.contains("manifest.json")) {
                        passed.store(true, Ordering::SeqCst);
                    }
                    if read == 0 || to_server.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                }
            });
            tokio::spawn(async move {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(read) = from_server.read(&mut buffer).await {
                    if seen.load(Ordering::SeqCst) {
                        std::future::pending::<()>().await;
                    }
                    if read == 0 || to_client.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, lost)
}

async fn until(what: impl AsyncFn() -> bool) {
    let there = async {
        while !what().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, there).await.expect("it happens");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_between_the_put_and_the_receipt_delivers_again_under_the_same_keys() {
    let (moto, dir) = (Moto::start().await, tempfile::tempdir().unwrap());
    // what is there when it is killed: a note that the folder waits
    let before = Sinks::start(options(dir.path(), vec![sink("http://127.0.0.1:9")])).unwrap();
    let name = testing::folder(dir.path(), 1, "ada", "main", OffsetDateTime::now_utc());
    before.sealed(Uuid::from_u128(1), &name).unwrap();
    drop(before);

    let options = options(dir.path(), vec![sink(&moto.url)]);
    let client = crate::aws::s3(&(options.aws)(AwsFor::Sink("s3")).unwrap(), Some("us-east-1"), Some(&moto.url), true);
    client.create_bucket().bucket("evidence-b").send().await.unwrap();
    let keys = async || {
        let all = client.list_objects_v2().bucket("evidence-b").send().await.unwrap();
        all.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect::<Vec<_>>()
    };
    let (wire, answer_is_lost) = wire_that_loses_an_answer(moto.url.replace("http://", "")).await;
    let mut killed = process(dir.path(), &wire, "");
    until(async || {
        answer_is_lost.load(Ordering::SeqCst) && keys().await.iter().any(|key| key.ends_with("manifest.json"))
    })
    .await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let there = keys().await;
    assert_eq!(there.len(), 3);
    let receipt = dir.path().join("spool/receipts/s3").join(format!("{name}.json"));
    assert!(!receipt.exists(), "it was killed before it knew");

    let again = Sinks::start(options).unwrap();
    assert!(again.drain(PATIENCE).await, "{:?}", again.health());
    assert!(receipt.exists() && again.delivered(&name).unwrap().is_some());
    assert_eq!(keys().await, there);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_s_recording_is_delivered_under_256_descriptors() {
    let (moto, dir) = (Moto::start().await, tempfile::tempdir().unwrap());
    let before = Sinks::start(options(dir.path(), vec![sink("http://127.0.0.1:9")])).unwrap();
    // more than one for each descriptor, each of three files
    for n in 1..=280 {
        let name = testing::folder(dir.path(), n, "ada", "main", OffsetDateTime::now_utc());
        before.sealed(Uuid::from_u128(n), &name).unwrap();
    }
    drop(before);
    let options = options(dir.path(), vec![sink(&moto.url)]);
    let client = crate::aws::s3(&(options.aws)(AwsFor::Sink("s3")).unwrap(), Some("us-east-1"), Some(&moto.url), true);
    client.create_bucket().bucket("evidence-b").send().await.unwrap();
    let mut process = process(dir.path(), &moto.url, "ulimit -n 256;");
    let ended = tokio::task::spawn_blocking(move || process.wait().unwrap()).await.unwrap();
    assert!(ended.success());
    let mut pages = client.list_objects_v2().bucket("evidence-b").into_paginator().send();
    let mut manifests = 0;
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        manifests += page.contents().iter().filter(|object| object.key().unwrap().ends_with("/manifest.json")).count();
    }
    assert_eq!(manifests, 280);
}
