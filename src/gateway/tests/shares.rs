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

/// Sends on a channel until the server ends the connection; what it says then.
async fn send_until_told(raw: &mut Raw, channel: u32) -> String {
    loop {
        raw.data(channel, &[0; 10_000]).await;
        if let Some(packet) = raw.receive_within(Duration::from_millis(10)).await
            && packet[0] == 1
        {
            return String::from_utf8_lossy(&packet).into_owned();
        }
    }
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

#[tokio::test]
async fn who_sends_more_than_nodes_take_loses_the_connection_that_holds_the_most() {
    let gateway = TestGateway::with(|settings| settings.limits.buffered_bytes_per_person = 3 << 20).await;
    gateway.node.idle.store(true, Ordering::Relaxed);
    let key = gateway.key("ada");
    let mut small = Raw::logged_in(gateway.address, "web-1", &key).await;
    let little = small.exec(0, 1 << 20, 32768, "idle").await;
    small.data(little, &[0; 30_000]).await;
    let mut large = Raw::logged_in(gateway.address, "web-1", &key).await;
    let full = large.exec(0, 1 << 20, 32768, "idle").await;
    for _ in 0..64 {
        large.data(full, &[0; 32_000]).await;
    }
    let more = large.exec(1, 1 << 20, 32768, "idle").await;
    let said = send_until_told(&mut large, more).await;
    assert!(said.contains("over 3 MiB") && said.contains("send less"), "{said}");
    let event = gateway.event(|event| event["code"] == "too-much-untaken").await;
    assert_eq!((event["person"].as_str(), event["asked"].as_str()), (Some("ada"), Some("the connection")));
    gateway.node.idle.store(false, Ordering::Relaxed);
    small.exec(1, 1 << 20, 32768, "echo still here").await;
    assert!(small.until(94).await.ends_with(b"still here\n"));
    drop(small);
    gateway.until_nothing_is_held().await;
}

#[tokio::test]
async fn what_nobody_took_goes_with_a_client_that_reads_nothing() {
    let gateway = TestGateway::with(|settings| settings.limits.buffered_bytes_per_person = 2 << 20).await;
    let key = gateway.key("ada");
    let mut raw = Raw::logged_in(gateway.address, "web-1", &key).await;
    let deaf = [raw.exec(0, 1 << 20, 32768, "sleep 60").await, raw.exec(1, 1 << 20, 32768, "sleep 60").await];
    for _ in 0..50 {
        raw.data(deaf[0], &[0; 32_000]).await;
        raw.data(deaf[1], &[0; 2_000]).await;
    }
    // its output stands, and so does what the server would say
    raw.exec(2, u32::MAX, 32768, "cat /dev/zero").await;
    let mut other = Raw::logged_in(gateway.address, "web-1", &key).await;
    let deaf = other.exec(0, 1 << 20, 32768, "sleep 60").await;
    for _ in 0..35 {
        other.data(deaf, &[0; 32_000]).await;
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
