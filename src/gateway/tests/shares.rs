//! What a person may hold of the gateway: bytes, channels, connections.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::wire::{Raw, string};
use crate::testing::{SOON, TestGateway, text};

/// Opens a session channel whose client takes so much; the server's number for it and the window that it gives.
async fn open_channel(raw: &mut Raw, ours: u32, window: u32) -> Result<(u32, u32), String> {
    let numbers = [ours, window, 32768].map(u32::to_be_bytes).concat();
    raw.send(&[&[90], &string(b"session")[..], &numbers].concat()).await;
    loop {
        let Some(answer) = raw.try_receive().await else { return Err("hung up".to_owned()) };
        let number = |at: usize| u32::from_be_bytes(answer[at..at + 4].try_into().unwrap());
        match answer[0] {
            91 => return Ok((number(5), number(9))),
            1 | 92 => return Err(String::from_utf8_lossy(&answer).into_owned()),
            _ => {}
        }
    }
}

fn request(channel: u32, kind: &str, more: &[&[u8]]) -> Vec<u8> {
    let more: Vec<u8> = more.iter().flat_map(|bytes| string(bytes)).collect();
    [&[98], &channel.to_be_bytes()[..], &string(kind.as_bytes()), &[1], &more].concat()
}

#[tokio::test]
async fn who_may_do_nothing_holds_next_to_nothing() {
    let gateway = TestGateway::start().await;
    let key = gateway.key("nobody");
    let mut connections = Vec::new();
    let mut channels = 0;
    for _ in 0..8 {
        let mut raw = Raw::logged_in(gateway.address, "web-1", &key).await;
        for ours in 0..64 {
            let Ok((theirs, window)) = open_channel(&mut raw, ours, 1 << 20).await else { continue };
            assert_eq!(window, 0, "a window before anything has started");
            channels += 1;
            raw.send(&request(theirs, "env", &[b"LC_ALL", &[b'x'; 30_000]])).await;
            raw.until(99).await;
        }
        connections.push(raw);
    }
    assert!(channels <= 16, "{channels} channels");
    let held = (gateway.held_bytes)();
    assert!(held > 0 && held <= 1 << 20, "{held} bytes are held");
    // others do as before, and so does whoever lets go
    gateway.works().await;
    drop(connections);
    gateway.until_nothing_is_held().await;
    assert!(text(&gateway.run(&["nobody-at-gate", "whoami"]).await.stdout).starts_with("nobody"));
}

#[tokio::test]
async fn a_refusal_that_nobody_reads_keeps_its_request_within_the_share() {
    let gateway = TestGateway::start().await;
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("nobody")).await;
    let command = "x".repeat(100_000);
    let mut told = None;
    for ours in 0..16 {
        match open_channel(&mut raw, ours, 0).await {
            Ok((theirs, _)) => raw.send(&request(theirs, "exec", &[command.as_bytes()])).await,
            Err(text) => {
                told = Some(text);
                break;
            }
        }
    }
    let told = told.expect("16 commands of 100 kB were taken");
    assert!(told.contains("over 1 MiB"), "{told}");
    gateway.until_nothing_is_held().await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_why() {
    let gateway = TestGateway::with(|settings| settings.limits.connections_without_rules = 1).await;
    let _first = Raw::logged_in(gateway.address, "web-1", &gateway.key("nobody")).await;
    let second = gateway.run(&["nobody-at-gate", "whoami"]).await;
    assert!(!second.status.success());
    let said = text(&second.stderr);
    assert!(said.contains("you have 1 connection already") && said.contains("no policy"), "{said}");
    let event = gateway.event(|event| event["code"] == "too-many-connections").await;
    assert_eq!(event["person"], "nobody");
    // those of others are their own
    gateway.works().await;
}

/// Starts something that takes nothing, and sends pieces to it: five wait in front of it, and the others are held.
async fn hold(raw: &mut Raw, ours: u32, pieces: usize) {
    let theirs = raw.exec(ours, 1 << 20, 32768, "idle").await;
    for _ in 0..pieces {
        raw.data(theirs, &[0; 30_000]).await;
    }
}

/// Waits until the node has been asked for so many.
async fn until_started(gateway: &TestGateway, count: usize) {
    while gateway.node.starts.lock().unwrap().len() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What fills a window of 2 MiB, and what fills one of 64 KiB that has grown by the five.
const WIDE: usize = 69;
const NARROW: usize = 7;

#[tokio::test]
async fn who_has_much_on_its_way_has_narrower_windows_and_keeps_its_connections() {
    let gateway = TestGateway::with(|settings| settings.limits.buffered_bytes_per_person = 12 << 20).await;
    gateway.node.idle.store(true, Ordering::Relaxed);
    let key = gateway.key("ada");
    let (mut uploads, mut wide) = (Vec::new(), 0);
    // 40 uploads that fill whatever window they have: 80 MiB, if each were as wide as one's that is alone
    for _ in 0..2 {
        let mut raw = Raw::logged_in(gateway.address, "web-1", &key).await;
        let mut theirs = Vec::new();
        for ours in 0..20 {
            theirs.push(raw.exec(ours, 1 << 20, 32768, "idle").await);
        }
        let windows = raw.windows_after(Duration::from_millis(200)).await;
        for (ours, theirs) in (0..).zip(theirs) {
            wide += usize::from(windows[&ours] == 2 << 20);
            let pieces = usize::try_from(windows[&ours]).unwrap() / 30_000;
            for _ in 0..pieces.max(NARROW) {
                raw.data(theirs, &[0; 30_000]).await;
            }
        }
        uploads.push(raw);
    }
    assert!((3..=4).contains(&wide), "{wide} windows take half of it, and leave the rest to all others");
    for raw in &mut uploads {
        raw.windows_after(Duration::from_millis(50)).await;
    }
    let held = (gateway.held_bytes)();
    assert!((7 << 20..12 << 20).contains(&held), "{held} bytes are held");
    assert!(gateway.events().iter().all(|event| event["code"] != "too-much-untaken"));
    gateway.node.idle.store(false, Ordering::Relaxed);
    for raw in &mut uploads {
        raw.exec(20, 1 << 20, 32768, "echo still here").await;
        assert!(raw.until(94).await.ends_with(b"still here\n"));
    }
    drop(uploads);
    gateway.until_nothing_is_held().await;
}

#[tokio::test]
async fn who_sends_more_than_nodes_take_loses_the_connection_that_holds_the_most() {
    let gateway = TestGateway::with(|settings| settings.limits.buffered_bytes_per_person = 2 << 20).await;
    gateway.node.idle.store(true, Ordering::Relaxed);
    let key = gateway.key("ada");
    let mut large = Raw::logged_in(gateway.address, "web-1", &key).await;
    hold(&mut large, 0, WIDE).await;
    // it is not the one whose byte is one too many
    let mut small = Raw::logged_in(gateway.address, "web-1", &key).await;
    for ours in 0..4 {
        hold(&mut small, ours, NARROW).await;
    }
    let said = loop {
        let packet = large.receive().await;
        if packet[0] == 1 {
            break String::from_utf8_lossy(&packet).into_owned();
        }
    };
    assert!(said.contains("over 2 MiB") && said.contains("send less"), "{said}");
    let event = gateway.event(|event| event["code"] == "too-much-untaken").await;
    assert_eq!((event["person"].as_str(), event["asked"].as_str()), (Some("ada"), Some("the connection")));
    gateway.node.idle.store(false, Ordering::Relaxed);
    small.exec(4, 1 << 20, 32768, "echo still here").await;
    assert!(small.until(94).await.ends_with(b"still here\n"));
    drop(small);
    gateway.until_nothing_is_held().await;
}

#[tokio::test]
async fn what_nobody_took_goes_with_a_client_that_reads_nothing() {
    let gateway = TestGateway::with(|settings| settings.limits.buffered_bytes_per_person = 2 << 20).await;
    let key = gateway.key("ada");
    let mut raw = Raw::logged_in(gateway.address, "web-1", &key).await;
    gateway.node.idle.store(true, Ordering::Relaxed);
    hold(&mut raw, 0, WIDE).await;
    until_started(&gateway, 1).await;
    // its output stands, and so does what the server would say
    gateway.node.idle.store(false, Ordering::Relaxed);
    raw.exec(1, u32::MAX, 32768, "cat /dev/zero").await;
    until_started(&gateway, 2).await;
    gateway.node.idle.store(true, Ordering::Relaxed);
    let mut other = Raw::logged_in(gateway.address, "web-1", &key).await;
    for ours in 0..4 {
        hold(&mut other, ours, NARROW).await;
    }
    gateway.event(|event| event["code"] == "too-much-untaken").await;
    assert!((gateway.held_bytes)() < 2 << 20, "what the first one held");
    assert!(raw.gets_hung_up_on(SOON).await);
    drop(other);
    gateway.until_nothing_is_held().await;
}

#[tokio::test]
async fn a_session_after_the_promise_of_none_ends_the_connection() {
    let gateway = TestGateway::start().await;
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    let first = raw.exec(0, 1 << 20, 32768, "cat").await;
    raw.send(&[&[80], &string(b"no-more-sessions@openssh.com")[..], &[1]].concat()).await;
    raw.until(81).await;
    // what runs goes on
    raw.data(first, b"on").await;
    assert!(raw.until(94).await.ends_with(b"on"));
    let refused = open_channel(&mut raw, 1, 1 << 20).await.unwrap_err();
    assert!(refused.contains("would open no more"), "{refused}");
    gateway.event(|event| event["code"] == "no-more-sessions").await;
    // ssh itself promises it, and means it
    gateway.works().await;
}
