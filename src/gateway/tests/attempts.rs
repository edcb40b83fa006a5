//! Whoever tries to get in: how often, what they learn by it, and what stands before it.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use russh::keys::PrivateKey;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::Signature;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::wire::{Raw, string};
use crate::testing::TestGateway;

const ED25519: &str = "ssh-ed25519";

/// One way to try.
#[derive(Clone, Copy, Debug)]
enum Try {
    Method(&'static str, &'static [u8]),
    /// Asks whether a stranger's key would do.
    Offer,
    /// Signs by a stranger's key.
    Stranger,
    /// Has ada's key, and not its signature.
    Forged,
    /// Has ada's key and its signature.
    Ada,
}

const TRIES: [Try; 9] = [
    Try::Method("none", b""),
    Try::Method("password", b"\0\0\0\0\x01x"),
    Try::Method("password", b"\0\0\0\0\0"),
    Try::Method("keyboard-interactive", b"\0\0\0\0\0\0\0\0"),
    Try::Method("hostbased", b"\0\0\0\x01x\0\0\0\x01x\0\0\0\x01x\0\0\0\x01x\0\0\0\x01x"),
    Try::Method("open-sesame@example.com", b""),
    Try::Offer,
    Try::Stranger,
    Try::Forged,
];

/// Who tries, with the keys of a gateway.
struct Keys {
    ada: PrivateKey,
    stranger: PrivateKey,
}

impl Keys {
    fn of(gateway: &TestGateway) -> Self {
        Self { ada: gateway.key("ada"), stranger: gateway.key("stranger") }
    }
}

/// A request to be let in (RFC 4252, sections 5 and 7).
fn request(raw: &Raw, login: &str, keys: &Keys, how: Try) -> Vec<u8> {
    let begin = |method: &str| {
        [&[50], &[login, "ssh-connection", method].map(|text| string(text.as_bytes())).concat()[..]].concat()
    };
    let (key, signs) = match how {
        Try::Method(method, rest) => return [&begin(method), rest].concat(),
        Try::Offer => (&keys.stranger, None),
        Try::Stranger => (&keys.stranger, Some(&keys.stranger)),
        Try::Forged => (&keys.ada, Some(&keys.stranger)),
        Try::Ada => (&keys.ada, Some(&keys.ada)),
    };
    let public = [ED25519.as_bytes(), &key.public_key().to_bytes().unwrap()].map(string).concat();
    let mut request = [&begin("publickey")[..], &[u8::from(signs.is_some())], &public].concat();
    if let Some(signs) = signs {
        let signature: Signature = signs.try_sign(&raw.to_be_signed(&request)).unwrap();
        request.extend(string(&[ED25519.as_bytes(), signature.as_bytes()].map(string).concat()));
    }
    request
}

/// Tries, and gives the answer.
async fn answer(raw: &mut Raw, login: &str, keys: &Keys, how: Try) -> Vec<u8> {
    let request = request(raw, login, keys, how);
    raw.send(&request).await;
    loop {
        let packet = raw.receive().await;
        if matches!(packet[0], 1 | 51 | 52 | 60) {
            return packet;
        }
    }
}

#[tokio::test]
async fn au3_every_method_counts_and_after_so_many_refusals_nothing_is_looked_at() {
    let gateway = TestGateway::with(|settings| {
        settings.limits.auth_attempts = 3;
        settings.refusal_delay = Duration::ZERO;
    })
    .await;
    let keys = Keys::of(&gateway);
    let same = TRIES.map(|how| [how; 3]);
    let mixed = [[Try::Method("none", b""), Try::Offer, Try::Method("password", b"\0\0\0\0\0")]];
    for tries in same.into_iter().chain(mixed) {
        let mut raw = Raw::encrypted(gateway.address).await;
        raw.ask_to_log_in().await;
        for (turn, how) in tries.into_iter().enumerate() {
            // another name begins no other count
            let login = format!("node-{turn}");
            assert_eq!(answer(&mut raw, &login, &keys, how).await[0], 51, "{tries:?}, {turn}");
        }
        let last = answer(&mut raw, "web-1", &keys, Try::Ada).await;
        // SSH_DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE (RFC 4253, section 11.1)
        assert_eq!(last[..5], [1, 0, 0, 0, 14], "{tries:?}: the right key comes too late");
        assert!(raw.try_receive().await.is_none(), "{tries:?}: and nothing after it");
    }
    assert!(gateway.events().iter().all(|event| event["event"] != "login.accepted"));
    let mut raw = Raw::encrypted(gateway.address).await;
    raw.ask_to_log_in().await;
    for how in [Try::Forged, Try::Offer] {
        assert_eq!(answer(&mut raw, "web-1", &keys, how).await[0], 51);
    }
    assert_eq!(answer(&mut raw, "web-1", &keys, Try::Ada).await[0], 52, "within the number it is in time");
}

#[tokio::test]
async fn au9_nobody_learns_whether_it_was_the_name_the_key_or_the_signature() {
    let delay = Duration::from_millis(500);
    let gateway = TestGateway::with(|settings| settings.refusal_delay = delay).await;
    let keys = Keys::of(&gateway);
    let logins = ["web-1", "ada/web-1", "bob/web-1", "nobody-here/web-1", "no-such-node", "root%web-1", "..", ""];
    let tries = [Try::Offer, Try::Stranger, Try::Forged, Try::Method("keyboard-interactive", b"\0\0\0\0\0\0\0\0")];
    let all = logins.into_iter().flat_map(|login| tries.map(|how| (login, how)));
    // a good signature by a key that is not whose name the login has
    let all = all.chain([("bob/web-1", Try::Ada), ("nobody-here/web-1", Try::Ada)]);
    let (gateway, keys) = (&gateway, &keys);
    let answers = join_all(all.map(|(login, how)| async move {
        let mut raw = Raw::encrypted(gateway.address).await;
        raw.ask_to_log_in().await;
        let begun = Instant::now();
        (login, how, answer(&mut raw, login, keys, how).await, begun.elapsed())
    }));
    for (login, how, answer, took) in answers.await {
        let failure = [&[51], &string(b"publickey")[..], &[0]].concat();
        assert_eq!(answer, failure, "{login:?}, {how:?}");
        // whatever there was to do is done within the time that all of them take
        assert!(took >= delay, "{login:?}, {how:?}: {took:?}");
    }
}

#[tokio::test]
async fn au9_names_that_nobody_has_count_against_their_address_as_all_others_do() {
    let gateway = TestGateway::with(|settings| {
        settings.limits.unauthenticated = 2;
        settings.refusal_delay = Duration::ZERO;
    })
    .await;
    let keys = Keys::of(&gateway);
    let [guesses, means_well, comes] = [9, 10, 11].map(|last| Ipv4Addr::new(127, 2, 0, last));
    let refused = || gateway.events().iter().filter(|event| event["event"] == "login.refused").count();
    for turn in 0..6 {
        let mut raw = Raw::encrypted_from(guesses, gateway.address).await;
        raw.ask_to_log_in().await;
        assert_eq!(answer(&mut raw, &format!("nobody-{turn}/web-1"), &keys, Try::Offer).await[0], 51);
        drop(raw);
        while refused() <= turn {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    // the one that came first, and was refused as well, would be the first to go for another
    let mut stays = Raw::encrypted_from(means_well, gateway.address).await;
    let mut goes = Raw::encrypted_from(guesses, gateway.address).await;
    for raw in [&mut stays, &mut goes] {
        raw.ask_to_log_in().await;
        assert_eq!(answer(raw, "web-1", &keys, Try::Offer).await[0], 51);
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let _third = Raw::encrypted_from(comes, gateway.address).await;
    assert!(goes.try_receive().await.is_none());
    assert_eq!(answer(&mut stays, "web-1", &keys, Try::Ada).await[0], 52);
}

/// Version 2 of the PROXY protocol, <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>: TCP over IPv4 from 192.0.2.1.
const PROXY_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x9c\x40\0\x16";

#[tokio::test]
async fn au12_no_header_of_a_proxy_is_spoken_and_an_address_is_the_socket_s() {
    let gateway = TestGateway::start().await;
    let headers: [&[u8]; 5] = [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 22\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 40000 22\r\n",
        b"PROXY UNKNOWN\r\n",
        b"PROXY TCP4 192.0.2.1\r\n",
        PROXY_2,
    ];
    for header in headers {
        let mut raw = Raw::silent(gateway.address).await;
        let begun = Instant::now();
        raw.tcp.write_all(&[header, b"SSH-2.0-client\r\n"].concat()).await.unwrap();
        assert!(raw.gets_hung_up_on(Duration::from_secs(2)).await, "{header:?} is no identification");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    // as a comment of an identification it says nothing either
    let mut raw = Raw::silent_from(Ipv4Addr::new(127, 2, 0, 12), gateway.address).await;
    raw.identify(b"SSH-2.0-client PROXY TCP4 192.0.2.1 192.0.2.2 40000 22").await;
    raw.exchange().await;
    raw.log_in("web-1", &gateway.key("ada")).await;
    let accepted = gateway.event(|event| event["event"] == "login.accepted").await;
    assert!(accepted["source"].as_str().unwrap().starts_with("127.2.0.12:"), "{accepted}");
    let log = json!(gateway.events()).to_string();
    assert!(!log.contains("192.0.2.") && !log.contains("2001:db8"), "{log}");
}
