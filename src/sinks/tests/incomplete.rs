//! Events that CloudWatch Logs does not take: there is no receipt for their sessions.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::moto::{Moto, PATIENCE};
use super::outage::options;
use crate::{SessionName, SinkConfig, Sinks, testing};

fn start(dir: &Path, endpoint: &str) -> Sinks {
    let logs = json!({"name": "logs", "group": "g", "create_group": true, "required": true, "endpoint": endpoint});
    let logs = SinkConfig::CloudWatch(serde_json::from_value(logs).unwrap());
    Sinks::start(options(dir, vec![logs])).unwrap()
}

fn session(n: u128) -> SessionName {
    SessionName { session: Uuid::from_u128(n), person: "ada".into(), node: "i-1".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_which_an_event_was_too_old_has_no_receipt_also_after_a_restart() {
    let (moto, dir, now) = (Moto::start().await, tempfile::tempdir().unwrap(), OffsetDateTime::now_utc());
    let names = [1, 2].map(|n| testing::folder(dir.path(), n, "ada", "main", now));
    let sinks = start(dir.path(), &moto.url);
    sinks.event(&session(1), now - Duration::from_secs(15 * 86_400), "e", "{}").unwrap();
    sinks.event(&session(2), now, "e", "{}").unwrap();
    assert!(sinks.drain(PATIENCE).await, "{:?}", sinks.health());
    assert_eq!(sinks.health().into_iter().find(|sink| sink.name == "logs").unwrap().rejected, 1);
    drop(sinks);
    let sinks = start(dir.path(), &moto.url);
    // told twice, as by a start after a kill
    for n in [1, 2, 1] {
        sinks.sealed(Uuid::from_u128(n), &names[n as usize - 1]).unwrap();
    }
    assert!(sinks.drain(PATIENCE).await, "{:?}", sinks.health());
    assert_eq!(names.each_ref().map(|name| sinks.delivered(name).unwrap().is_some()), [false, true]);
    let note = dir.path().join("spool/incomplete/logs").join(Uuid::from_u128(1).to_string());
    assert!(note.exists());
    sinks.forget(&names[0]).unwrap();
    assert!(!note.exists());
}

/// Takes everything, but of what has these words in it the first so many requests.
async fn logs_that_refuse(what: Uuid, mut times: u32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            answer(client, &what.to_string(), &mut times).await;
        }
    });
    url
}

async fn answer(mut client: TcpStream, what: &str, times: &mut u32) {
    let (mut request, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    let text = loop {
        match client.read(&mut buffer).await {
            Ok(read) if read > 0 => request.extend(&buffer[..read]),
            _ => return,
        }
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            break text;
        }
    };
    let refused = *times > 0 && text.contains(what);
    let (status, body) = match refused {
        true => ("400 Bad Request", r#"{"__type":"AccessDeniedException","message":"no"}"#),
        false => ("200 OK", "{}"),
    };
    *times -= u32::from(refused);
    let (kind, length) = ("application/x-amz-json-1.1", body.len());
    let answer =
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    let _ = client.write_all(format!("{answer}{body}").as_bytes()).await;
}

async fn after_refusals(times: u32) -> ([bool; 2], u64) {
    let (dir, now) = (tempfile::tempdir().unwrap(), OffsetDateTime::now_utc());
    let url = logs_that_refuse(Uuid::from_u128(1), times).await;
    let names = [1, 2].map(|n| testing::folder(dir.path(), n, "ada", "main", now));
    // both are there when the sink is asked first
    let down = start(dir.path(), "http://127.0.0.1:9");
    for (n, name) in (1..).zip(&names) {
        down.event(&session(n), now, "e", "{}").unwrap();
        down.sealed(Uuid::from_u128(n), name).unwrap();
    }
    drop(down);
    let sinks = start(dir.path(), &url);
    assert!(sinks.drain(PATIENCE).await, "{:?}", sinks.health());
    let health = sinks.health().into_iter().find(|sink| sink.name == "logs").unwrap();
    assert_eq!(health.failing_since, None);
    (names.each_ref().map(|name| sinks.delivered(name).unwrap().is_some()), health.quarantined)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_a_moment_is_tried_again_and_what_stays_refused_has_no_receipt() {
    assert_eq!(after_refusals(3).await, ([true, true], 0));
    assert_eq!(after_refusals(1000).await, ([false, true], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_and_can_t_be_noted_is_not_sent_again() {
    let (moto, dir, now) = (Moto::start().await, tempfile::tempdir().unwrap(), OffsetDateTime::now_utc());
    let name = testing::folder(dir.path(), 1, "ada", "main", now);
    let sinks = start(dir.path(), &moto.url);
    let (cursors, aside) = (dir.path().join("spool/cursors"), dir.path().join("spool/aside"));
    // a file where the folder of the notes should be
    std::fs::rename(&cursors, &aside).unwrap();
    std::fs::write(&cursors, b"").unwrap();
    sinks.event(&session(1), now, "e", "{}").unwrap();
    sinks.sealed(Uuid::from_u128(1), &name).unwrap();
    let why = || sinks.health().into_iter().find(|sink| sink.name == "logs").unwrap().why;
    let fails = async {
        while !why().is_some_and(|why| why.contains("cursors")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, fails).await.expect("the note fails");
    // many tries at 200 ms
    tokio::time::sleep(Duration::from_secs(2)).await;
    std::fs::remove_file(&cursors).unwrap();
    std::fs::rename(&aside, &cursors).unwrap();
    assert!(sinks.drain(PATIENCE).await, "{:?}", sinks.health());
    assert!(sinks.delivered(&name).unwrap().is_some());
    let options = options(dir.path(), Vec::new());
    let client = crate::aws::logs(&(options.aws)(crate::AwsFor::Sink("logs")).unwrap(), None, Some(&moto.url));
    let stream = format!("{}/ada", Uuid::from_u128(1));
    let events = client.get_log_events().log_group_name("g").log_stream_name(stream).start_from_head(true);
    assert_eq!(events.send().await.unwrap().events().len(), 1);
}
