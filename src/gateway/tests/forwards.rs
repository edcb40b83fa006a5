//! What the gateway could be made to reach for somebody, if it dialled anything: the metadata of its machine, itself, its neighbours.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::wire::{Raw, string, take};
use crate::testing::TestGateway;

/// Everything is permitted, so that what refuses is no policy.
const ALL: &str = "@id(\"all\") permit (principal, action, resource);";

/// The same machine, in the ways in which one can write it; the port is a listener's, which nothing may reach.
const THIS_MACHINE: [&str; 19] = [
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "0.0.0.0",
    "0",
    "localhost",
    "LOCALHOST.",
    "::1",
    "[::1]",
    "0:0:0:0:0:0:0:1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "127.0.0.1.nip.io",
];

/// Where clouds tell machines their credentials, and what is next to this one.
const ELSEWHERE: [(&str, u32); 16] = [
    ("169.254.169.254", 80),
    ("169.254.169.254.", 80),
    ("2852039166", 80),
    ("0xa9fea9fe", 80),
    ("0251.0376.0251.0376", 80),
    ("::ffff:169.254.169.254", 80),
    ("::ffff:a9fe:a9fe", 80),
    ("fd00:ec2::254", 80),
    ("169.254.170.2", 80),
    ("169.254.170.23", 80),
    ("instance-data.ec2.internal", 80),
    ("fe80::1%eth0", 80),
    ("224.0.0.1", 1),
    ("10.0.0.1", 0),
    ("10.0.0.1", u32::MAX),
    ("", 80),
];

const SENTENCE: &str = "this gateway does not forward ports or sockets yet; shells, commands, sftp and scp work";

const NO_NODE: &str = "your login names no node, so it reaches nodes by their port 22 (ssh -J), where the gateway answers for them; \
    for another port name the node in the login: ssh -L … <node>@<gateway>";

fn open(kind: &str, rest: &[u8]) -> Vec<u8> {
    let numbers = [7_u32, 1 << 20, 32768].map(u32::to_be_bytes).concat();
    [&[90], &string(kind.as_bytes())[..], &numbers, rest].concat()
}

fn direct_tcpip(host: &str, port: u32) -> Vec<u8> {
    let rest = [&string(host.as_bytes())[..], &port.to_be_bytes(), &string(b"127.0.0.1"), &40_000_u32.to_be_bytes()];
    open("direct-tcpip", &rest.concat())
}

fn direct_streamlocal(path: &str) -> Vec<u8> {
    open("direct-streamlocal@openssh.com", &[&string(path.as_bytes())[..], &string(b""), &[0; 4]].concat())
}

fn global(request: &str, rest: &[u8]) -> Vec<u8> {
    [&[80], &string(request.as_bytes())[..], &[1], rest].concat()
}

/// Why a channel does not open: the code and the sentence (RFC 4254, section 5.1).
async fn refusal(raw: &mut Raw, open: &[u8]) -> (u32, String) {
    raw.send(open).await;
    let failure = raw.until(92).await;
    assert_eq!(failure[1..5], 7_u32.to_be_bytes());
    let code = u32::from_be_bytes(failure[5..9].try_into().unwrap());
    (code, String::from_utf8(take(&mut &failure[9..])).unwrap())
}

#[tokio::test]
async fn z2_nothing_is_dialled_for_anybody_however_it_is_written() {
    let gateway = TestGateway::under(ALL).await;
    let reached = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = u32::from(reached.local_addr().unwrap().port());
    let own = u32::from(gateway.address.port());
    let targets = THIS_MACHINE.into_iter().flat_map(|host| [(host, port), (host, own)]).chain(ELSEWHERE);
    let targets: Vec<(&str, u32)> = targets.collect();
    let before = gateway.events().len();
    // through a node, and by a login that names none
    for (login, sentence, asked, code) in
        [("web-1", SENTENCE, "forwarding to", "forwarding-not-served"), ("ada", NO_NODE, "hop to", "port-of-no-node")]
    {
        let mut raw = Raw::logged_in(gateway.address, login, &gateway.key("ada")).await;
        for &(host, port) in &targets {
            let told = refusal(&mut raw, &direct_tcpip(host, port)).await;
            assert_eq!(told, (1, sentence.to_owned()), "{host:?} {port} by {login}");
            let asked = format!("{asked} {host}:{port}");
            let noted = |event: &serde_json::Value| event["asked"] == asked.as_str() && event["login"] == login;
            let event = gateway.event(noted).await;
            assert_eq!((&event["event"], &event["code"]), (&"channel.refused".into(), &code.into()));
        }
        // the connection is none the worse for it
        raw.exec(9, 1 << 20, 32768, "true").await;
    }
    let accepted = tokio::time::timeout(Duration::from_millis(300), reached.accept()).await;
    assert!(accepted.is_err(), "somebody was reached: {accepted:?}");
    let logins = |event: &&serde_json::Value| event["event"].as_str().is_some_and(|name| name.starts_with("login."));
    let events = gateway.events().split_off(before);
    assert_eq!(events.iter().filter(logins).count(), 2, "nor has the gateway called itself: {events:#?}");
}

#[tokio::test]
async fn z2_no_socket_is_opened_or_made_and_nobody_is_listened_to() {
    let gateway = TestGateway::under(ALL).await;
    let (there, made) = (gateway.path("there"), gateway.path("made"));
    let reached = UnixListener::bind(&there).unwrap();
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    for path in [there.to_str().unwrap(), "/run/docker.sock", "../../run/docker.sock", "\0abstract", ""] {
        let told = refusal(&mut raw, &direct_streamlocal(path)).await;
        assert_eq!(told, (1, SENTENCE.to_owned()), "{path:?}");
    }
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (address, port) in [("", free), ("0.0.0.0", free), ("localhost", free), ("169.254.169.254", 80), ("::", 0)] {
        let rest = [&string(address.as_bytes())[..], &u32::from(port).to_be_bytes()].concat();
        raw.send(&global("tcpip-forward", &rest)).await;
        assert_eq!(raw.until(82).await, [82], "{address}:{port}");
        gateway.event(|event| event["asked"] == format!("remote forwarding of {address}:{port}").as_str()).await;
    }
    raw.send(&global("streamlocal-forward@openssh.com", &string(made.to_str().unwrap().as_bytes()))).await;
    raw.until(82).await;
    let address = [&string(b"127.0.0.1")[..], &[0, 0, 0, 22]].concat();
    for (kind, rest) in [
        ("forwarded-tcpip", [&address[..], &address].concat()),
        ("x11", address),
        ("forwarded-streamlocal@openssh.com", [string(there.to_str().unwrap().as_bytes()), string(b"")].concat()),
        ("tun@openssh.com", vec![0; 8]),
    ] {
        raw.send(&open(kind, &rest)).await;
        raw.until(92).await;
    }
    raw.exec(9, 1 << 20, 32768, "true").await;
    assert!(!made.exists() && TcpStream::connect(("127.0.0.1", free)).await.is_err(), "something listens");
    let accepted = tokio::time::timeout(Duration::from_millis(300), reached.accept()).await;
    assert!(accepted.is_err(), "somebody was reached: {accepted:?}");
}
