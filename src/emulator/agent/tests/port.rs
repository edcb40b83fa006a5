//! Port sessions, plain and multiplexed, through the wire.

use std::time::Duration;

use portcullis_protocol::Flag;
use portcullis_protocol::channel::Event;
use portcullis_protocol::mux::{Mux, MuxLimits, MuxRole, Read, StreamId};
use portcullis_protocol::payload::SessionState;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::service_end::{ServiceEnd, port, within};
use crate::emulator::agent::Fidelity::{Faithful, Fast};

#[tokio::test]
async fn a_port_carries_bytes_unchanged_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let number = listener.local_addr().unwrap().port();
    let mut service = ServiceEnd::start(Fast).await;
    let mut client = service.open(port(json!({"host": "127.0.0.1", "portNumber": number.to_string()}))).await;
    client.until("the handshake", |client| client.established.is_some()).await;
    let Some(Event::Established { properties, .. }) = &client.established else { panic!() };
    assert_eq!(*properties, json!({"host": "127.0.0.1", "portNumber": number.to_string()}));
    client.write(b"\x00\xff\xef\xbf\xbd\xfe".as_slice());
    let echo = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut got = [0; 6];
        stream.read_exact(&mut got).await.unwrap();
        stream.write_all(&got).await.unwrap();
        stream.write_all(&vec![0xFF; 1_000_003]).await.unwrap();
        stream
    };
    let (stream, ()) = tokio::join!(echo, client.until("the echo", |client| client.output.len() == 1_000_009));
    assert_eq!(client.output[..6], *b"\x00\xff\xef\xbf\xbd\xfe");
    drop(stream);
    client.until_closed().await;
    assert_eq!(service.outcome().await.final_task_status, "Success");
    // ports never say that they terminate
    assert_eq!(client.states, [SessionState::Connected]);
}

#[tokio::test]
async fn flags_of_a_plain_port_session() {
    for (flag, status) in [(Flag::TerminateSession, "Success"), (Flag::DisconnectToPort, "Failed")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let number = listener.local_addr().unwrap().port();
        let mut service = ServiceEnd::start(Fast).await;
        let mut client = service.open(port(json!({"host": "127.0.0.1", "portNumber": number.to_string()}))).await;
        let (accepted, ()) =
            tokio::join!(listener.accept(), client.until("the handshake", |client| client.established.is_some()));
        client.flag(flag);
        client.until_closed().await;
        assert_eq!(service.outcome().await.final_task_status, status, "{flag:?}");
        let (mut stream, _) = accepted.unwrap();
        assert_eq!(within(stream.read(&mut [0; 1])).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_port_that_refuses_and_one_that_is_forbidden() {
    let number = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut service = ServiceEnd::start(Fast).await;
    let mut client = service.open(port(json!({"host": "127.0.0.1", "portNumber": number.to_string()}))).await;
    client.until_closed().await;
    let outcome = service.outcome().await;
    assert_eq!(outcome.final_task_status, "Failed");
    assert!(outcome.output.starts_with("document process failed unexpectedly"), "{}", outcome.output);
    let mut client = service.open(port(json!({"host": "169.254.169.254", "portNumber": "80"}))).await;
    client.until_closed().await;
    assert_eq!(service.outcome().await.output, "Forwarding to IP address 169.254.169.254 is forbidden.");
}

/// The client's end of a multiplexed session, driven by hand.
struct Forwarding {
    client: super::service_end::ClientEnd,
    mux: Mux,
    taken: usize,
}

impl Forwarding {
    async fn start(service: &mut ServiceEnd, number: u16) -> Self {
        let number = number.to_string();
        let properties = json!({"host": "127.0.0.1", "portNumber": number, "type": "LocalPortForwarding"});
        let mut client = service.open(port(properties)).await;
        client.until("the handshake", |client| client.established.is_some()).await;
        Self { client, mux: Mux::new(MuxRole::Client, MuxLimits::default(), Duration::ZERO), taken: 0 }
    }

    /// Everything that the stream gives until its end or `enough` bytes.
    async fn read(&mut self, id: StreamId, enough: usize) -> Vec<u8> {
        let mut got = Vec::new();
        loop {
            while let Some(frame) = self.mux.poll_output() {
                self.client.write(frame);
            }
            loop {
                match self.mux.read(id) {
                    Read::Data(bytes) => got.extend_from_slice(&bytes),
                    Read::Empty => break,
                    Read::End => return got,
                }
            }
            if got.len() >= enough && self.mux.is_flushed() {
                return got;
            }
            let before = self.taken;
            self.client.until("more", |client| client.output.len() > before).await;
            let new = self.client.output[before..].to_vec();
            self.taken = self.client.output.len();
            self.mux.handle_input(Duration::ZERO, new.into()).unwrap();
        }
    }
}

#[tokio::test]
async fn many_connections_share_a_session() {
    for fidelity in [Fast, Faithful] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let number = listener.local_addr().unwrap().port();
        // says what it was told, upside down, twice; then it ends
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut got = vec![0; 40_000];
                    stream.read_exact(&mut got).await.unwrap();
                    got.reverse();
                    stream.write_all(&got).await.unwrap();
                    stream.write_all(&got).await.unwrap();
                });
            }
        });
        let mut service = ServiceEnd::start(fidelity).await;
        let mut forwarding = Forwarding::start(&mut service, number).await;
        let said: Vec<Vec<u8>> = (0..3_u8).map(|n| (0..40_000_u32).map(|i| (i % 251) as u8 ^ n).collect()).collect();
        let ids: Vec<StreamId> = said.iter().map(|_| forwarding.mux.open().unwrap()).collect();
        for (id, said) in ids.iter().zip(&said) {
            assert_eq!(forwarding.mux.write(*id, &mut said.clone().into()), said.len());
        }
        for (id, said) in ids.iter().zip(&said) {
            let mut expected: Vec<u8> = said.iter().rev().copied().collect();
            expected.extend_from_within(..);
            assert!(forwarding.read(*id, usize::MAX).await == expected);
        }
        forwarding.client.flag(Flag::TerminateSession);
        forwarding.client.until_closed().await;
        assert_eq!(service.outcome().await.final_task_status, "Success");
        server.abort();
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_ends_its_stream_and_not_the_session() {
    let number = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut service = ServiceEnd::start(Fast).await;
    let mut forwarding = Forwarding::start(&mut service, number).await;
    for _ in 0..2 {
        let id = forwarding.mux.open().unwrap();
        assert_eq!(forwarding.read(id, usize::MAX).await, b"");
    }
    forwarding.client.until("the flags", |client| client.flags == [Flag::ConnectToPortError; 2]).await;
    let id = forwarding.client.id.clone();
    service.close_session(&id).await;
    assert_eq!(service.outcome().await.final_task_status, "Success");
}

#[tokio::test]
async fn the_clients_end_of_a_stream_closes_the_connection_after_its_data() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let number = listener.local_addr().unwrap().port();
    let mut service = ServiceEnd::start(Fast).await;
    let mut forwarding = Forwarding::start(&mut service, number).await;
    let id = forwarding.mux.open().unwrap();
    forwarding.mux.write(id, &mut b"last words".as_slice().into());
    forwarding.mux.finish(id);
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        got
    };
    let (got, _) = tokio::join!(server, forwarding.read(id, usize::MAX));
    assert_eq!(got, b"last words");
}
