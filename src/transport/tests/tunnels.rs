//! Tunnels over the embedded service and agent, to what speaks first as an sshd does, and to what does not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::forwards::{listener, read_all};
use crate::config::ForwardTransport;
use crate::emulator::agent::Fidelity;
use crate::evidence::SessionRecord;
use crate::model::SshdPorts;
use crate::policy::{Action, Grant};
use crate::testing::{EmbeddedService, EmbeddedTransport, NODE, PATIENCE, awkward};
use crate::transport::{DialError, ForwardStream, Herald, Ports, TransportOptions};

const BANNER: &[u8] = b"SSH-2.0-OpenSSH_9.9\r\n";

struct Dialled {
    ports: Ports,
    service: EmbeddedService,
}

impl Dialled {
    async fn of(fidelity: Fidelity, port: u16, forward: ForwardTransport) -> Self {
        let sshd_ports = SshdPorts::new(vec![port]);
        let options =
            TransportOptions { sshd_ports, forward, agent_looks_names_up: true, ..TransportOptions::default() };
        let EmbeddedTransport { service, transport, .. } = EmbeddedTransport::new(fidelity, options).await;
        Self { ports: Ports::new(Arc::new(transport)), service }
    }

    async fn dial(&self, action: Action) -> Result<ForwardStream, DialError> {
        let grant = Grant::under("@id(\"all\") permit (principal, action, resource);", "tester", NODE, action);
        let dialled = self.ports.dial(grant, SessionRecord::for_test().lanes(), Herald::default());
        timeout(PATIENCE, dialled).await.expect("it takes for ever")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_both_ways_unchanged_and_the_target_s_end_is_a_clean_one() {
    for fidelity in [Fidelity::Fast, Fidelity::Faithful] {
        let (listener, port) = listener().await;
        let dialled = Dialled::of(fidelity, port, ForwardTransport::Helper).await;
        let size = if fidelity == Fidelity::Fast { 3 << 20 } else { 200 << 10 };
        let sent = awkward(size);
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(BANNER).await.unwrap();
            let mut got = vec![0; size];
            stream.read_exact(&mut got).await.unwrap();
            stream.write_all(&got).await.unwrap();
        });
        let mut stream = dialled.dial(Action::Tunnel { port: port.into() }).await.unwrap();
        assert!(!stream.reader.half_closes());
        let written = SessionRecord::for_test().input().take(Bytes::from(sent.clone())).await.unwrap();
        let ForwardStream { writer, .. } = &mut stream;
        timeout(PATIENCE, writer.write(written)).await.unwrap().unwrap();
        let heard = timeout(PATIENCE, read_all(&mut stream, &SessionRecord::for_test())).await.unwrap().unwrap();
        assert!(heard == [BANNER, &sent].concat(), "{fidelity:?}: {} bytes", heard.len());
        server.await.unwrap();
        drop(stream);
        let Dialled { ports, service } = dialled;
        drop(ports);
        service.no_session_is_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sshd_that_is_dead_or_says_nothing_is_told_within_seconds() {
    let (silent, mute) = listener().await;
    let dead = {
        let (gone, port) = listener().await;
        drop(gone);
        port
    };
    for fidelity in [Fidelity::Fast, Fidelity::Faithful] {
        for port in [dead, mute] {
            let dialled = Dialled::of(fidelity, port, ForwardTransport::Helper).await;
            let begun = Instant::now();
            let refused = dialled.dial(Action::Tunnel { port: port.into() }).await.unwrap_err();
            assert!(matches!(refused, DialError::NoSshd(told) if told == port), "{fidelity:?}: {refused:?}");
            assert!(!refused.is_prohibited() && refused.to_string().contains("the node's own sshd"), "{refused}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{fidelity:?}: {:?}", begun.elapsed());
        }
    }
    drop(silent);
}

/// A grant for a forward leads to no sshd of the node's, by no name.
#[tokio::test(flavor = "multi_thread")]
async fn no_forward_leads_there() {
    let (listener, port) = listener().await;
    let own_name = String::from_utf8(std::fs::read("/proc/sys/kernel/hostname").unwrap()).unwrap();
    let own_name = own_name.trim().to_lowercase();
    for forward in [ForwardTransport::Helper, ForwardTransport::Agent] {
        let dialled = Dialled::of(Fidelity::Fast, port, forward).await;
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1"] {
            let refused = dialled.dial(Action::Forward { host: host.to_owned(), port: port.into() }).await.unwrap_err();
            assert!(matches!(refused, DialError::OwnSshd(_)) && refused.is_prohibited(), "{host}: {refused:?}");
        }
        let refused = dialled.dial(Action::Forward { host: own_name.clone(), port: port.into() }).await.unwrap_err();
        let by_name = match forward {
            // by what it stands for: the node itself, or another interface's address, or nothing
            ForwardTransport::Helper => !matches!(refused, DialError::MayBeOwnSshd { .. }),
            ForwardTransport::Agent => matches!(refused, DialError::MayBeOwnSshd { .. }),
        };
        assert!(by_name, "{forward:?}: {refused:?}");
    }
    assert!(timeout(Duration::from_millis(100), listener.accept()).await.is_err(), "somebody was there");
}
