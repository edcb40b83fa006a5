//! What was tried and refused leaves its event, and no more events than it is worth.

use std::time::Duration;

use serde_json::{Value, json};

use super::wire::{Raw, string};
use crate::testing::{TestGateway, content};

/// A request to authenticate (RFC 4252, section 5).
fn request(login: &str, method: &str, rest: &[u8]) -> Vec<u8> {
    let names = [login.as_bytes(), b"ssh-connection", method.as_bytes()].map(string).concat();
    [&[50], &names[..], rest].concat()
}

/// A session channel, open.
async fn channel(raw: &mut Raw) -> u32 {
    raw.send(&[&[90], &string(b"session")[..], &[0, 0, 0, 0, 0, 0, 128, 0, 0, 0, 128, 0]].concat()).await;
    let confirmed = raw.until(91).await;
    u32::from_be_bytes(confirmed[5..9].try_into().unwrap())
}

/// A request on a channel (RFC 4254, section 5.4) that wants an answer.
fn channel_request(channel: u32, name: &str, rest: &[u8]) -> Vec<u8> {
    [&[98], &channel.to_be_bytes()[..], &string(name.as_bytes()), &[1], rest].concat()
}

fn named(gateway: &TestGateway, name: &str) -> Vec<Value> {
    gateway.events().into_iter().filter(|event| event["event"] == name).collect()
}

#[tokio::test]
async fn every_way_to_log_in_that_failed_is_in_one_event_and_no_password_is() {
    let gateway = TestGateway::with(|settings| {
        settings.limits.auth_attempts = 100;
        settings.refusal_delay = Duration::ZERO;
    })
    .await;
    let mut raw = Raw::encrypted(gateway.address).await;
    raw.ask_to_log_in().await;
    let password = [&[0], &string(b"hunter2")[..]].concat();
    let change = [&[1], &string(b"hunter2")[..], &string(b"hunter3")].concat();
    let key = [&[0], &[&b"ssh-none-such"[..], &string(b"ssh-none-such")].map(string).concat()[..]].concat();
    let damaged = [&[0], &[&b"ssh-ed25519"[..], b"hunter2"].map(string).concat()[..]].concat();
    let tries = [
        ("none", vec![]),
        ("password", change),
        ("keyboard-interactive", [string(b""), string(b"pam")].concat()),
        ("gssapi-with-mic", vec![0, 0, 0, 0]),
        ("hostbased", [&b"ssh-ed25519"[..], b"key", b"host", b"user", b"signature"].map(string).concat()),
        ("open-sesame@example.com", b"hunter2".to_vec()),
        ("publickey", key),
        ("publickey", damaged),
    ];
    for (method, rest) in &tries {
        raw.send(&request("ada%web-1", method, rest)).await;
        raw.until(51).await;
    }
    for _ in 0..30 {
        raw.send(&request("root", "password", &password)).await;
        raw.until(51).await;
    }
    drop(raw);
    let event = gateway.event(|event| event["event"] == "login.refused").await;
    let tried = event["methods"].as_array().unwrap().iter();
    let tried: Vec<_> = tried.map(|one| (one["method"].as_str().unwrap(), one["requests"].as_u64().unwrap())).collect();
    let expected = [
        ("none", 1),
        ("password", 31),
        ("keyboard-interactive", 1),
        ("gssapi-with-mic", 1),
        ("hostbased", 1),
        ("open-sesame@example.com", 1),
        ("publickey", 2),
    ];
    assert_eq!(tried, expected);
    assert_eq!((&event["login"], &event["earlier_logins"]), (&json!("root"), &json!(["ada%web-1"])));
    assert_eq!(
        (&event["algorithms"], &event["code"]),
        (&json!(["ssh-none-such", "ssh-ed25519"]), &json!("method-not-taken"))
    );
    assert_eq!(named(&gateway, "login.refused").len(), 1);
    let log = gateway.events().iter().map(Value::to_string).collect::<String>();
    assert!(!log.contains("hunter"), "{log}");
}

#[tokio::test]
async fn what_is_not_served_leaves_one_event_each() {
    let gateway = TestGateway::start().await;
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    let id = channel(&mut raw).await;
    let numbers = [0, 0, 0, 9, 0, 0, 128, 0, 0, 0, 128, 0];
    for (kind, rest) in
        [("tun@openssh.com", &[0; 8][..]), ("open-sesame@example.com", b"?"), ("auth-agent@openssh.com", b"")]
    {
        raw.send(&[&[90], &string(kind.as_bytes())[..], &numbers, rest].concat()).await;
        raw.until(92).await;
    }
    for (name, rest) in [
        ("break", 500_u32.to_be_bytes().to_vec()),
        ("env", [string(b"LD_PRELOAD"), string(b"/tmp/evil.so")].concat()),
        ("pty-req", [&string(b"a b")[..], &[0; 16], &string(&[0])].concat()),
        ("signal", string(b"KILL")),
        ("window-change", vec![0; 16]),
        ("auth-agent-req@openssh.com", vec![]),
        ("x11-req", [&[0], &string(b"MIT-MAGIC-COOKIE-1")[..], &string(b"c00c1e"), &[0; 4]].concat()),
        ("winadj@putty.projects.tartarus.org", vec![]),
    ] {
        raw.send(&channel_request(id, name, &rest)).await;
        raw.until(100).await;
    }
    for name in ["open-sesame@example.com", "keepalive@openssh.com"] {
        raw.send(&[&[80], &string(name.as_bytes())[..], &[1]].concat()).await;
        raw.until(82).await;
    }
    for (name, rest) in [
        ("cancel-tcpip-forward", [&string(b"")[..], &80_u32.to_be_bytes()].concat()),
        ("cancel-streamlocal-forward@openssh.com", string(b"/tmp/x")),
    ] {
        raw.send(&[&[80], &string(name.as_bytes())[..], &[1], &rest].concat()).await;
        raw.until(82).await;
    }
    raw.send(&channel_request(id, "exec", &string(b"cat"))).await;
    raw.until(99).await;
    for (name, rest) in
        [("exec", string(b"true")), ("pty-req", [&string(b"xterm")[..], &[0; 16], &string(&[0])].concat())]
    {
        raw.send(&channel_request(id, name, &rest)).await;
        raw.until(100).await;
    }
    // refused on the channel's own stderr, in its own time
    let id = channel(&mut raw).await;
    raw.send(&channel_request(id, "subsystem", &string(b"netconf"))).await;
    gateway.event(|event| event["asked"] == "subsystem netconf").await;
    drop(raw);
    gateway.event(|event| event["event"] == "refusals.summed").await;
    let told = named(&gateway, "channel.refused");
    let told: Vec<String> = told.iter().map(|event| format!("{}: {}", event["asked"], event["code"])).collect();
    let expected = [
        "channel tun@openssh.com: request-not-served",
        "channel open-sesame@example.com: request-not-served",
        "channel auth-agent@openssh.com: request-not-served",
        "break: request-out-of-place",
        "variable LD_PRELOAD: variable-not-accepted",
        "terminal: request-out-of-place",
        "signal: request-out-of-place",
        "window size: request-out-of-place",
        "agent forwarding: forwarding-not-served",
        "X11 forwarding: forwarding-not-served",
        "request open-sesame@example.com: request-not-served",
        "end of remote forwarding of :80: forwarding-not-served",
        "end of remote forwarding of /tmp/x: forwarding-not-served",
        "second Exec: request-out-of-place",
        "subsystem netconf: subsystem-not-served",
    ];
    assert_eq!(told.join("\n").replace('"', ""), expected.join("\n"));
    let summed = named(&gateway, "refusals.summed");
    let sum = json!([{ "code": "request-out-of-place", "asked": "terminal", "count": 1 }]);
    assert_eq!((summed.len(), &summed[0]["refusals"], &summed[0]["person"]), (1, &sum, &json!("ada")));
}

#[tokio::test]
async fn a_flood_of_refused_requests_is_a_handful_of_events() {
    let gateway = TestGateway::start().await;
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    let id = channel(&mut raw).await;
    for n in 0..2000 {
        raw.send(&channel_request(id, "env", &[string(format!("V{n}").as_bytes()), string(b"x")].concat())).await;
        raw.until(100).await;
    }
    drop(raw);
    let summed = gateway.event(|event| event["event"] == "refusals.summed").await;
    let refused = named(&gateway, "channel.refused");
    assert_eq!(refused.len(), 65);
    assert_eq!(refused[64]["code"], "too-many-refusals");
    assert_eq!(summed["refusals"], json!([{ "code": "variable-not-accepted", "count": 2000 - 64 }]));
}

#[tokio::test]
async fn what_the_gateway_is_asked_for_and_the_variables_of_a_session_are_in_the_log() {
    let gateway = TestGateway::start().await;
    content(&gateway.run(&["gate", "whoami"]).await);
    gateway.run(&["gate", "end", "0123"]).await;
    // it is written behind the answer
    gateway.event(|event| event["command"] == "end 0123").await;
    let asked = named(&gateway, "gateway.asked");
    let told: Vec<_> = asked.iter().map(|event| (&event["command"], &event["status"], &event["person"])).collect();
    let ada = json!("ada");
    assert_eq!(told, [(&json!("whoami"), &json!(0), &ada), (&json!("end 0123"), &json!(1), &ada)]);
    content(&gateway.run(&["-o", "SetEnv=LC_ALL=C LC_API_TOKEN=hunter2 FOO=no", "web", "true"]).await);
    let opened = named(&gateway, "session.opened");
    let mut variables = opened[0]["variables"].as_array().unwrap().clone();
    variables.retain(|variable| variable["name"].as_str().unwrap().starts_with("LC_A"));
    let kept = json!([{ "name": "LC_ALL", "value": "C" }, { "name": "LC_API_TOKEN", "redacted_bytes": 7 }]);
    assert_eq!(json!(variables), kept);
    gateway.event(|event| event["event"] == "channel.refused" && event["asked"] == "variable FOO").await;
}
