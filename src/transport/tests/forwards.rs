//! Forwards over the embedded service and agent, by both ways, with real sockets at their other end.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::config::ForwardTransport;
use crate::emulator::agent::Fidelity;
use crate::evidence::{SessionRecord, Stream, Taken};
use crate::policy::{Action, Grant};
use crate::testing::{EmbeddedService, EmbeddedTransport, NODE, PATIENCE, awkward};
use crate::transport::forward::Way;
use crate::transport::{DialError, ForwardStream, Herald, Ports, TransportOptions};

/// What one connection's forwards are dialled by.
struct Dialled {
    ports: Ports,
    // it must outlive what is dialled through it
    service: EmbeddedService,
}

impl Dialled {
    async fn by(forward: ForwardTransport, fidelity: Fidelity, agent_looks_names_up: bool) -> Self {
        let options = TransportOptions { forward, agent_looks_names_up, ..TransportOptions::default() };
        let EmbeddedTransport { service, transport, .. } = EmbeddedTransport::new(fidelity, options).await;
        Self { ports: Ports::new(Arc::new(transport)), service }
    }

    async fn dial(&self, host: &str, port: u16) -> Result<ForwardStream, DialError> {
        self.dial_under("@id(\"test\") permit (principal, action, resource);", host, port).await
    }

    async fn dial_under(&self, policies: &str, host: &str, port: u16) -> Result<ForwardStream, DialError> {
        let action = Action::Forward { host: host.to_owned(), port: port.into() };
        let grant = Grant::under(policies, "tester", NODE, action);
        let dialled = self.ports.dial(grant, SessionRecord::for_test().lanes(), Herald::default());
        timeout(PATIENCE, dialled).await.expect("it takes for ever")
    }
}

pub(super) async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Everything that a stream gives until its end.
pub(super) async fn read_all(stream: &mut ForwardStream, record: &SessionRecord) -> std::io::Result<Vec<u8>> {
    let output = record.output();
    let mut all = Vec::new();
    while let Some(bytes) = stream.reader.read().await? {
        let Ok(Taken::Now(bytes)) = output.take(Stream::Stdout, bytes) else { panic!("a byte is kept") };
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

const WAYS: [(ForwardTransport, Way); 2] =
    [(ForwardTransport::Helper, Way::Helper), (ForwardTransport::Agent, Way::Agent)];

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_both_ways_unchanged_and_the_way_is_told() {
    for (forward, way) in WAYS {
        let dialled = Dialled::by(forward, Fidelity::Fast, false).await;
        let (listener, port) = listener().await;
        let sent = awkward(1 << 20);
        let expected = sent.clone();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut got = vec![0; 1 << 20];
            stream.read_exact(&mut got).await.unwrap();
            assert!(got == expected);
            stream.write_all(&got).await.unwrap();
        });
        let record = SessionRecord::for_test();
        let mut stream = dialled.dial("localhost", port).await.unwrap();
        assert_eq!(stream.way, way);
        let written = record.input().take(Bytes::from(sent.clone())).await.unwrap();
        stream.writer.write(written).await.unwrap();
        let heard = timeout(PATIENCE, read_all(&mut stream, &record)).await.unwrap().unwrap();
        assert!(heard == sent, "{way:?}: {} bytes", heard.len());
        server.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port_is_told_apart_and_harms_no_other_connection() {
    for (forward, way) in WAYS {
        for fidelity in [Fidelity::Fast, Fidelity::Faithful] {
            let dialled = Dialled::by(forward, fidelity, false).await;
            let (listener, port) = listener().await;
            let closed = {
                let (gone, port) = self::listener().await;
                drop(gone);
                port
            };
            let mut stream = dialled.dial("127.0.0.1", port).await.unwrap();
            for _ in 0..3 {
                let refused = dialled.dial("localhost", closed).await.unwrap_err();
                let right = match way {
                    Way::Helper => matches!(refused, DialError::Refused(_)),
                    Way::Agent => matches!(refused, DialError::Failed(_)),
                };
                assert!(right && !refused.is_prohibited(), "{way:?} {fidelity:?}: {refused:?}");
            }
            let (mut far, _) = listener.accept().await.unwrap();
            far.write_all(b"still there").await.unwrap();
            drop(far);
            let heard = timeout(PATIENCE, read_all(&mut stream, &SessionRecord::for_test())).await.unwrap().unwrap();
            assert_eq!(heard, b"still there", "{way:?} {fidelity:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_judged_by_what_it_stands_for_where_that_is_seen() {
    let (_listener, port) = listener().await;
    // this machine's own name, which is the node's
    let name = String::from_utf8(std::fs::read("/proc/sys/kernel/hostname").unwrap()).unwrap().trim().to_lowercase();
    let stands_for: Vec<IpAddr> =
        (name.as_str(), 1).to_socket_addrs().map_or_else(|_| Vec::new(), |found| found.map(|a| a.ip()).collect());
    let by_name = format!(
        "@id(\"name\") permit (principal, action == Action::\"Forward\", resource) when {{ context.host == {name:?} }};"
    );
    let dialled = Dialled::by(ForwardTransport::Helper, Fidelity::Fast, false).await;
    let told = dialled.dial_under(&by_name, &name, port).await;
    match stands_for.iter().any(IpAddr::is_loopback) {
        true => {
            let Err(DialError::Denied(denial)) = told else { panic!("{name} is {stands_for:?}: {told:?}") };
            assert!(denial.text.contains("no policy lets tester do Forward"), "{denial:?}");
            let also = format!(
                "{by_name}\n@id(\"own\") permit (principal, action, resource) when {{ context has loopback && context.loopback }};"
            );
            let reached = dialled.dial_under(&also, &name, port).await.unwrap();
            assert!(reached.address.unwrap().ip().is_loopback());
        }
        false => assert!(!matches!(told, Err(DialError::Denied(_))), "{name} is {stands_for:?}: {told:?}"),
    }
    let unknown = dialled.dial("no-such-name.invalid", port).await.unwrap_err();
    assert!(matches!(unknown, DialError::NoSuchName(_) | DialError::TimedOut(_)), "{unknown:?}");
    // where it is not, names are for whoever says so
    let agent = Dialled::by(ForwardTransport::Agent, Fidelity::Fast, false).await;
    assert!(matches!(agent.dial(&name, port).await, Err(DialError::NamesNotServed)));
    let agent = Dialled::by(ForwardTransport::Agent, Fidelity::Fast, true).await;
    assert!(!matches!(agent.dial(&name, port).await, Err(DialError::NamesNotServed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_used_again_and_goes_with_its_connection() {
    for (forward, _) in WAYS {
        let dialled = Dialled::by(forward, Fidelity::Fast, false).await;
        let (_listener, port) = listener().await;
        let streams = futures_util::future::join_all((0..20).map(|_| dialled.dial("localhost", port))).await;
        assert!(streams.iter().all(Result::is_ok), "{forward:?}: {streams:?}");
        let sessions = dialled.service.faults().sessions().len();
        assert!(sessions <= 2, "{forward:?}: {sessions} sessions for twenty connections");
        let Dialled { ports, service } = dialled;
        drop((streams, ports));
        service.no_session_is_left().await;
    }
}

/// The agent's worker dies, or somebody ends the session: the target has said nothing of an end, so none is passed on.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_under_forwards_breaks_each_and_the_next_has_another() {
    for (forward, way) in WAYS {
        // the second is the agent's word on a worker that it misses
        for word in ["", "document process failed unexpectedly, check [ssm-document-worker] log for crash reason"] {
            let dialled = Dialled::by(forward, Fidelity::Fast, false).await;
            let (listener, port) = listener().await;
            let mut carried = Vec::new();
            for _ in 0..3 {
                let stream = dialled.dial("localhost", port).await.unwrap();
                let (mut far, _) = listener.accept().await.unwrap();
                far.write_all(b"half").await.unwrap();
                carried.push((stream, far));
            }
            let sessions = dialled.service.faults().sessions();
            assert!(!sessions.is_empty());
            for session in &sessions {
                assert!(dialled.service.faults().close(&session.id, word));
            }
            for (mut stream, _far) in carried {
                let broken = timeout(PATIENCE, read_all(&mut stream, &SessionRecord::for_test())).await.unwrap();
                let sentence = broken.expect_err("an end that the target has not said").to_string();
                // the words of a port session's agent are its own, and nobody repeats them
                let told = match way {
                    Way::Helper => word,
                    Way::Agent => "has ended the session that carries this forward",
                };
                assert!(sentence.contains(told) && sentence.contains(' '), "{way:?}: {sentence}");
            }
            let mut next = dialled.dial("localhost", port).await.unwrap();
            let (mut far, _) = listener.accept().await.unwrap();
            far.write_all(b"whole").await.unwrap();
            drop(far);
            let heard = timeout(PATIENCE, read_all(&mut next, &SessionRecord::for_test())).await.unwrap().unwrap();
            assert_eq!(heard, b"whole", "{way:?}");
            let now = dialled.service.faults().sessions();
            assert!(!now.is_empty() && now.iter().all(|session| sessions.iter().all(|old| old.id != session.id)));
        }
    }
}
