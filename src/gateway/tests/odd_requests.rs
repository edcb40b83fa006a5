//! What is no text where SSH usually has some, and no list of modes: it fails alone.

use super::wire::{Raw, string};
use crate::testing::{SOON, TestGateway};

const NO_TEXT: &[u8] = b"caf\xe9";

#[tokio::test]
async fn bytes_that_are_no_text_fail_alone() {
    let gateway = TestGateway::start().await;
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    let busy = raw.exec(0, 1 << 20, 32768, "cat").await;
    let numbers = [1_u32, 1 << 20, 32768].map(u32::to_be_bytes).concat();
    raw.send(&[&[90], &string(b"session")[..], &numbers].concat()).await;
    let confirmed = raw.until(91).await;
    let theirs = &confirmed[5..9];
    let request = |kind: &[u8], rest: &[&[u8]]| [&[98], theirs, &string(kind), &[1], &rest.concat()].concat();
    let sizes = [0; 16];
    let modes = |count: usize| string(&[&[1, 0, 0, 0, 3].repeat(count)[..], &[0]].concat());
    for (what, odd) in [
        ("a variable's value", request(b"env", &[&string(b"LC_ALL"), &string(NO_TEXT)])),
        ("a variable's name", request(b"env", &[&string(NO_TEXT), &string(b"x")])),
        ("a terminal's name", request(b"pty-req", &[&string(NO_TEXT), &sizes, &modes(1)])),
        ("6,000 modes", request(b"pty-req", &[&string(b"xterm"), &sizes, &modes(6000)])),
        ("half a mode", request(b"pty-req", &[&string(b"xterm"), &sizes, &string(&[1, 0])])),
        ("a signal", request(b"signal", &[&string(NO_TEXT)])),
        ("X11", request(b"x11-req", &[&[0], &string(NO_TEXT), &string(NO_TEXT), &[0; 4]])),
        ("a request", request(NO_TEXT, &[])),
    ] {
        raw.send(&odd).await;
        let answer = loop {
            let packet = raw.receive().await;
            if matches!(packet[0], 1 | 99 | 100) {
                break packet[0];
            }
        };
        assert_eq!(answer, 100, "{what}");
    }
    // what the library can't hand on is in the log as well, once, and then counted
    for asked in ["request env", "request pty-req"] {
        let event = gateway.event(|event| event["event"] == "channel.refused" && event["asked"] == asked).await;
        assert!(event["reason"].as_str().is_some_and(|why| why.contains("no text")), "{event}");
    }
    for (what, odd, refusal) in [
        (
            "a host",
            [&[90], &string(b"direct-tcpip")[..], &numbers, &string(NO_TEXT), &[0; 4], &string(b"x"), &[0; 4]].concat(),
            92,
        ),
        (
            "a socket",
            [&[90], &string(b"direct-streamlocal@openssh.com")[..], &numbers, &string(NO_TEXT), &string(b""), &[0; 4]]
                .concat(),
            92,
        ),
        ("a channel", [&[90], &string(NO_TEXT)[..], &numbers].concat(), 92),
        ("a forward", [&[80], &string(b"tcpip-forward")[..], &[1], &string(NO_TEXT), &[0; 4]].concat(), 82),
        ("a global request", [&[80], &string(NO_TEXT)[..], &[1]].concat(), 82),
    ] {
        raw.send(&odd).await;
        assert_eq!(raw.until(refusal).await[0], refusal, "{what}");
    }
    // a command is bytes anyway, and the connection and its other channel live
    raw.send(&request(b"exec", &[&string(b"echo fine # caf\xe9")])).await;
    raw.until(99).await;
    assert!(raw.until(94).await.ends_with(b"fine\n"));
    // a subsystem's refusal ends its channel
    raw.send(&[&[90], &string(b"session")[..], &numbers].concat()).await;
    let confirmed = raw.until(91).await;
    let subsystem = [&[98], &confirmed[5..9], &string(b"subsystem"), &[1], &string(NO_TEXT)].concat();
    raw.send(&subsystem).await;
    raw.until(100).await;
    raw.data(busy, b"on").await;
    while !raw.until(94).await.ends_with(b"on") {}
}

#[tokio::test]
async fn a_login_that_is_no_text_is_refused_like_any_other() {
    let gateway = TestGateway::start().await;
    let key = gateway.key("stranger").public_key().to_bytes().unwrap();
    let mut raw = Raw::encrypted(gateway.address).await;
    raw.ask_to_log_in().await;
    let mut request = vec![50];
    request.extend([NO_TEXT, b"ssh-connection", b"publickey"].map(string).concat());
    request.push(0);
    request.extend([b"ssh-ed25519", &key[..]].map(string).concat());
    raw.send(&request).await;
    assert_eq!(raw.until(51).await[0], 51);
    drop(raw);
    let event = gateway.event(|event| event["event"] == "login.refused").await;
    assert_eq!(event["code"], "key-unknown");
    assert!(!Raw::silent(gateway.address).await.gets_hung_up_on(SOON / 8).await);
}
