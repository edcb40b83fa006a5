//! What the gateway could be made to reach for somebody, if it dialled anything: the metadata of its machine, itself, its neighbours.
//! It is the node that dials, and the node only where somebody may be led.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::process::{Child, ChildStdin};

use super::wire::{Raw, string, take};
use crate::backend::Realms;
use crate::config::ForwardTransport;
use crate::emulator::agent::Fidelity;
use crate::policy::Policy;
use crate::testing::{Elsewhere, EmbeddedService, EmbeddedTransport, PATIENCE, TestGateway};
use crate::transport::TransportOptions;

/// Everything is permitted, so that what refuses is no policy.
const ALL: &str = "@id(\"all\") permit (principal, action, resource);";

/// The same machine, in the ways in which one can write it; the port is a listener's of the gateway's machine, which nothing may reach.
/// Of a node each means the node itself.
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

/// What is said of a target that nobody is led to.
const NOBODY: &str = "nobody is led there: ";

/// What is said where the login names no node.
const NO_NODE: &str = "your login names no node, so it reaches nodes by their port 22 (ssh -J), where the gateway answers for them; \
    for another port name the node in the login: ssh -L ... <node>@<gateway>";

/// What of [`THIS_MACHINE`] the node is asked for, in its one spelling; nothing where that is no host's address.
fn on_the_node(host: &str) -> Option<&str> {
    match host {
        "0.0.0.0" | "0" | "::" => None,
        "localhost" | "LOCALHOST." => Some("localhost"),
        "::1" | "[::1]" | "0:0:0:0:0:0:0:1" => Some("::1"),
        "127.255.255.254" | "127.0.0.1.nip.io" => Some(host),
        _ => Some("127.0.0.1"),
    }
}

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
async fn z2_the_gateway_dials_nobody_however_it_is_written() {
    let gateway = TestGateway::under(ALL).await;
    let reached = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = u32::from(reached.local_addr().unwrap().port());
    let own = u32::from(gateway.address.port());
    let before = gateway.events().len();
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    for (host, port) in THIS_MACHINE.into_iter().flat_map(|host| [(host, port), (host, own)]) {
        let (code, told) = refusal(&mut raw, &direct_tcpip(host, port)).await;
        let dialled = std::mem::take(&mut *gateway.node.dialled.lock().unwrap());
        match on_the_node(host) {
            // by the node, where nobody answers
            Some(there) => {
                assert_eq!((code, &dialled[..]), (2, &[format!("{there}:{port}")][..]), "{host:?} {port}");
                assert!(told.contains("nobody answers at"), "{told}");
            }
            None => assert!(code == 1 && told.starts_with(NOBODY) && dialled.is_empty(), "{host:?} {port}: {told}"),
        }
    }
    for (host, port) in ELSEWHERE {
        let (code, told) = refusal(&mut raw, &direct_tcpip(host, port)).await;
        assert!(code == 1 && told.starts_with(NOBODY), "{host:?} {port}: {code} {told}");
        let asked = format!("forwarding to {host}:{port}");
        let event = gateway.event(|event| event["asked"] == asked.as_str() && event["login"] == "web-1").await;
        assert_eq!((&event["event"], &event["code"]), (&"channel.refused".into(), &"target-forbidden".into()));
    }
    assert_eq!(*gateway.node.dialled.lock().unwrap(), Vec::<String>::new());
    // the connection is none the worse for it
    raw.exec(9, 1 << 20, 32768, "true").await;
    let accepted = tokio::time::timeout(Duration::from_millis(300), reached.accept()).await;
    assert!(accepted.is_err(), "somebody was reached: {accepted:?}");
    let logins = |event: &&serde_json::Value| event["event"].as_str().is_some_and(|name| name.starts_with("login."));
    let events = gateway.events().split_off(before);
    assert_eq!(events.iter().filter(logins).count(), 1, "nor has the gateway called itself: {events:#?}");
}

#[tokio::test]
async fn z2_a_login_that_names_no_node_reaches_nothing() {
    let gateway = TestGateway::under(ALL).await;
    let reached = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = u32::from(reached.local_addr().unwrap().port());
    let mut raw = Raw::logged_in(gateway.address, "ada", &gateway.key("ada")).await;
    for (host, port) in THIS_MACHINE.into_iter().map(|host| (host, port)).chain(ELSEWHERE) {
        let told = refusal(&mut raw, &direct_tcpip(host, port)).await;
        assert_eq!(told, (1, NO_NODE.to_owned()), "{host:?} {port}");
    }
    raw.exec(9, 1 << 20, 32768, "true").await;
    let accepted = tokio::time::timeout(Duration::from_millis(300), reached.accept()).await;
    assert!(accepted.is_err(), "somebody was reached: {accepted:?}");
    assert_eq!(*gateway.node.dialled.lock().unwrap(), Vec::<String>::new());
}

/// A forward is a decision of its own, and the refusal comes at once: an IDE falls back to something else by it.
#[tokio::test]
async fn what_no_policy_permits_is_refused_at_once_and_dialled_by_nobody() {
    let ports = "@id(\"db\") permit (principal, action == Action::\"Forward\", resource) when { context.host == \"10.0.0.7\" && context.port == 5432 };
        @id(\"own\") permit (principal, action == Action::\"Forward\", resource) when { context.loopback && context.port == 8080 };
        @id(\"net\") forbid (principal, action == Action::\"Forward\", resource) when { context has address && context.address.isInRange(ip(\"10.9.0.0/16\")) };
        @id(\"shell\") permit (principal, action == Action::\"Shell\", resource);";
    let gateway = TestGateway::under(ports).await;
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    // the node is known by then
    refusal(&mut raw, &direct_tcpip("10.0.0.7", 5432)).await;
    for (host, port, code, says) in [
        ("10.7", 5432, 2, "nobody answers at 10.0.0.7:5432"),
        ("0x0a000007", 5432, 2, "nobody answers at 10.0.0.7:5432"),
        ("localhost", 8080, 2, "nobody answers at localhost:8080"),
        ("127.0.0.9", 8080, 2, "nobody answers at 127.0.0.9:8080"),
        ("10.0.0.7", 5433, 1, "no policy lets ada do Forward on web-1"),
        ("localhost", 22, 1, "no policy lets ada do Tunnel on web-1; that is the node's own sshd"),
        ("10.9.1.1", 8080, 1, "net"),
        ("::ffff:10.9.1.1", 8080, 1, "net"),
    ] {
        let begun = std::time::Instant::now();
        let (refused, told) = refusal(&mut raw, &direct_tcpip(host, port)).await;
        assert!(refused == code && told.contains(says), "{host} {port}: {refused} {told}");
        assert!(code == 2 || begun.elapsed() < Duration::from_millis(50), "{host} {port}: {:?}", begun.elapsed());
    }
    let (code, told) = refusal(&mut raw, &direct_streamlocal("/run/docker.sock")).await;
    assert!(code == 1 && told.contains("no policy lets ada do ForwardSocket on web-1"), "{told}");
    assert_eq!(gateway.node.dialled.lock().unwrap().len(), 5);
    let denied = gateway.event(|event| event["asked"] == "a tunnel to port 22 of web-1").await;
    assert_eq!((&denied["event"], &denied["code"]), (&"channel.refused".into(), &"no-rule".into()));
    // what was allowed and not reached is a session that failed
    let opened = gateway.event(|event| event["event"] == "session.opened" && event["host"] == "10.0.0.7").await;
    assert_eq!((&opened["action"], &opened["port"]), (&"Forward".into(), &5432.into()));
    let closed = gateway.event(|event| event["event"] == "session.closed" && event["id"] == opened["id"]).await;
    assert_eq!(closed["outcome"], "failed");
    assert!(closed["why"].as_str().unwrap().contains("nobody answers"), "{closed}");
}

#[tokio::test]
async fn a_forward_that_needs_a_reason_says_how_to_give_one() {
    let by_ticket =
        "@id(\"ticket\") @reason(\"a ticket\") @reason_pattern(\"INC-[0-9]+\") permit (principal, action, resource);";
    let gateway = TestGateway::under(by_ticket).await;
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    let (code, told) = refusal(&mut raw, &direct_tcpip("localhost", 80)).await;
    assert!(code == 1 && told.contains("write it behind a + in the login, as in web-1+<reason>"), "{told}");
    let mut raw = Raw::logged_in(gateway.address, "web-1+INC-7", &gateway.key("ada")).await;
    assert_eq!(refusal(&mut raw, &direct_tcpip("localhost", 80)).await.0, 2, "it is allowed, and nobody answers");
}

#[tokio::test]
async fn a_connection_has_so_many_forwards_and_they_are_none_of_its_channels() {
    let gateway = TestGateway::with(|settings| settings.limits.forwards = 0).await;
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    let (code, told) = refusal(&mut raw, &direct_tcpip("localhost", 80)).await;
    assert_eq!((code, told.as_str()), (4, "this connection has 0 forwards already, which is the limit"));
    raw.exec(9, 1 << 20, 32768, "true").await;
    gateway.event(|event| event["code"] == "too-many-forwards").await;
}

#[tokio::test]
async fn z2_no_socket_is_opened_or_made_and_nobody_is_listened_to() {
    let gateway = TestGateway::under(ALL).await;
    let (there, made) = (gateway.path("there"), gateway.path("made"));
    let reached = UnixListener::bind(&there).unwrap();
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    for path in [there.to_str().unwrap(), "/run/docker.sock", "../../run/docker.sock", "\0abstract", ""] {
        let (code, told) = refusal(&mut raw, &direct_streamlocal(path)).await;
        // an absolute path is the node's, which is asked, and has nobody there
        let expected = if path.starts_with('/') { (2, "nobody answers at ") } else { (1, NOBODY) };
        assert!(code == expected.0 && told.starts_with(expected.1), "{path:?}: {code} {told}");
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

/// A gateway before the embedded service and its node.
async fn before_a_node(forward: ForwardTransport) -> (TestGateway, EmbeddedService) {
    let options = TransportOptions { forward, ..TransportOptions::default() };
    let EmbeddedTransport { service, backend, transport } = EmbeddedTransport::new(Fidelity::Fast, options).await;
    let realms = Realms::for_test(Arc::new(backend));
    let gateway = TestGateway::before(Elsewhere { realms, transport: Arc::new(transport) }, |_| ()).await;
    gateway.policies.replace(Policy::for_test(ALL));
    (gateway, service)
}

/// Says back what it is told.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    port
}

/// `ssh -W` to a port of the node, after an echo has come through it; and its standard input, of which the end would be the forward's.
async fn through(gateway: &TestGateway, port: u16) -> (Child, ChildStdin) {
    let mut ssh = gateway.ssh(&["-l", "demo", "-W", &format!("localhost:{port}"), "web"]);
    let mut ssh = ssh.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = ssh.stdin.take().unwrap();
    stdin.write_all(b"before").await.unwrap();
    let mut back = [0; 6];
    tokio::time::timeout(PATIENCE, ssh.stdout.as_mut().unwrap().read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"before");
    (ssh, stdin)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_that_is_permitted_no_more_or_killed_ends_and_its_connection_goes_on() {
    for forward in [ForwardTransport::Helper, ForwardTransport::Agent] {
        let (gateway, _service) = before_a_node(forward).await;
        let port = echo().await;
        let (mut ssh, _stdin) = through(&gateway, port).await;
        let opened = gateway.event(|event| event["event"] == "session.opened").await;
        let shell = "@id(\"shell\") permit (principal, action == Action::\"Shell\", resource);";
        gateway.policies.replace(Policy::for_test(shell));
        assert_eq!(gateway.sessions.judge_anew(|identity| Ok(identity.clone())), 1);
        assert!(tokio::time::timeout(PATIENCE, ssh.wait()).await.is_ok(), "{forward:?}: ssh -W ends with its forward");
        let closed = gateway.event(|event| event["event"] == "session.closed" && event["id"] == opened["id"]).await;
        assert_eq!(closed["outcome"], "killed", "{forward:?}");
        assert!(closed["why"].as_str().unwrap().starts_with("the policies have changed"), "{closed}");
        assert_eq!((&closed["stdin"]["bytes"], &closed["stdout"]["bytes"]), (&6.into(), &6.into()));
        // by its number as well
        gateway.policies.replace(Policy::for_test(ALL));
        let (mut ssh, _stdin) = through(&gateway, port).await;
        let id = gateway.sessions.registry().running()[0].id;
        assert!(gateway.sessions.registry().kill(id, "enough"));
        assert!(tokio::time::timeout(PATIENCE, ssh.wait()).await.is_ok(), "{forward:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_that_is_silent_or_has_lasted_for_too_long_ends() {
    let (gateway, service) = before_a_node(ForwardTransport::Helper).await;
    let port = echo().await;
    for (limit, why) in
        [("@idle_timeout(\"1s\")", "was idle"), ("@max_duration(\"1s\")", "Max session duration reached")]
    {
        let policy = format!("@id(\"p\") {limit} permit (principal, action == Action::\"Forward\", resource);");
        gateway.policies.replace(Policy::for_test(&policy));
        let (mut ssh, _stdin) = through(&gateway, port).await;
        assert!(tokio::time::timeout(PATIENCE, ssh.wait()).await.is_ok(), "{limit}");
        let ended = |event: &serde_json::Value| event["why"].as_str().is_some_and(|told| told.contains(why));
        assert_eq!(gateway.event(ended).await["event"], "session.closed");
    }
    drop(gateway);
    service.no_session_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_s_end_is_its_forwards_and_nothing_is_left_on_the_node() {
    for forward in [ForwardTransport::Helper, ForwardTransport::Agent] {
        let (gateway, service) = before_a_node(forward).await;
        let (mut ssh, _stdin) = through(&gateway, echo().await).await;
        ssh.kill().await.unwrap();
        let closed = gateway.event(|event| event["event"] == "session.closed").await;
        assert_eq!(closed["outcome"], "client-gone", "{forward:?}");
        gateway.until_nothing_is_held().await;
        service.no_session_is_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_reached_where_a_policy_names_it_and_no_other_is() {
    let (gateway, _service) = before_a_node(ForwardTransport::Helper).await;
    let [named, other] = ["named", "other"].map(|name| gateway.path(name));
    gateway.policies.replace(Policy::for_test(&format!(
        "@id(\"one\") permit (principal, action == Action::\"ForwardSocket\", resource) when {{ context.path == \"{}\" }};",
        named.display()
    )));
    let listener = UnixListener::bind(&named).unwrap();
    let unreached = UnixListener::bind(&other).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // only after the whole of what is asked
            let mut asked = Vec::new();
            stream.read_to_end(&mut asked).await.unwrap();
            stream.write_all(format!("{} bytes", asked.len()).as_bytes()).await.unwrap();
        }
    });
    let locals = ["to_named", "to_other"].map(|name| gateway.path(name));
    let [first, second] =
        [(&locals[0], &named), (&locals[1], &other)].map(|(from, to)| format!("{}:{}", from.display(), to.display()));
    let _ssh = gateway.ssh(&["-N", "-L", &first, "-L", &second, "-l", "demo", "web"]).spawn().unwrap();
    let ask = async |local: &std::path::Path| {
        let mut stream = loop {
            match UnixStream::connect(local).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let mut answer = String::new();
        let _ = stream.write_all(&[7; 300_000]).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_string(&mut answer).await;
        answer
    };
    for _ in 0..2 {
        assert_eq!(tokio::time::timeout(PATIENCE, ask(&locals[0])).await.unwrap(), "300000 bytes");
    }
    assert_eq!(tokio::time::timeout(PATIENCE, ask(&locals[1])).await.unwrap(), "");
    let accepted = tokio::time::timeout(Duration::from_millis(300), unreached.accept()).await;
    assert!(accepted.is_err(), "it was reached: {accepted:?}");
    let opened = gateway.event(|event| event["event"] == "session.opened").await;
    assert_eq!((&opened["action"], &opened["path"]), (&"ForwardSocket".into(), &named.display().to_string().into()));
    let closed = gateway.event(|event| event["event"] == "session.closed" && event["id"] == opened["id"]).await;
    assert_eq!((&closed["outcome"], &closed["stdin"]["bytes"]), (&"finished".into(), &300_000.into()), "{closed}");
    let refused = format!("forwarding to {} by ", other.display());
    gateway
        .event(|event| {
            event["code"] == "no-rule" && event["asked"].as_str().is_some_and(|asked| asked.starts_with(&refused))
        })
        .await;
}
