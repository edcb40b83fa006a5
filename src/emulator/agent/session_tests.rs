//! Sessions of every kind, through the wire.

use std::time::{Duration, Instant};

use portcullis_protocol::channel::Event;
use portcullis_protocol::mux::{Mux, MuxLimits, MuxRole, Read, StreamId};
use portcullis_protocol::payload::SessionState;
use portcullis_protocol::{Flag, MessageType};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::Fidelity::{Faithful, Fast};
use super::testing::{Service, interactive, port, separate, shell, through_a_file, within};

fn is_alive(marker: &str) -> bool {
    let found = std::process::Command::new("pgrep").args(["-f", marker]).output().unwrap();
    !found.stdout.is_empty()
}

async fn gone(marker: &str) -> bool {
    for _ in 0..100 {
        if !is_alive(marker) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

// === NonInteractiveCommands ===

#[tokio::test]
async fn separate_streams_and_the_exit_code() {
    for fidelity in [Fast, Faithful] {
        let mut service = Service::start(fidelity).await;
        let mut client = service.open(separate("sh -c 'cat; echo out; echo err >&2; exit 7'")).await;
        client.until_closed().await;
        assert_eq!((client.text().as_str(), client.exit_code), ("out\n", Some(7)));
        assert_eq!(client.stderr, b"err\n");
        assert_eq!(client.states, [SessionState::Connected, SessionState::Terminating]);
        let Some(Event::Established { session_type, handshake: true, customer_message, .. }) = client.established
        else {
            panic!("no handshake");
        };
        assert_eq!((session_type.as_deref(), customer_message.as_str()), (Some("NonInteractiveCommands"), ""));
        let outcome = service.outcome().await;
        assert_eq!((outcome.final_task_status.as_str(), outcome.output.as_str()), ("Success", ""));
        service.shutdown().await;
    }
}

#[tokio::test]
async fn every_byte_that_the_agent_lets_through() {
    let mut service = Service::start(Fast).await;
    let mut client =
        service.open(separate(r"printf '\000\001\377\376 tail and \357\277\275 in the middle\n\377'")).await;
    client.until_closed().await;
    assert_eq!(client.output, b"\0\x01\xff\xfe tail and \xef in the middle\n");
    let mut client = service.open(separate("head -c 3000000 /dev/zero")).await;
    client.until_closed().await;
    assert_eq!((client.output.len(), client.exit_code), (3_000_000, Some(0)));
}

#[tokio::test]
async fn frames_are_as_large_as_the_agents() {
    let mut service = Service::start(Faithful).await;
    let mut client = service.open(separate("head -c 100000 /dev/zero")).await;
    client.until_closed().await;
    assert_eq!(client.output.len(), 100_000);
    assert!(client.frames.iter().all(|frame| *frame <= 1027), "{:?}", client.frames);
}

#[tokio::test]
async fn a_command_that_is_not_there() {
    let mut service = Service::start(Faithful).await;
    let began = Instant::now();
    let mut client = service.open(separate("no-such-program")).await;
    client.until_closed().await;
    assert_eq!(client.exit_code, Some(1));
    assert_eq!(client.stderr, b"exec: \"no-such-program\": executable file not found in $PATH");
    assert!(began.elapsed() >= Duration::from_secs(1));
    let outcome = service.outcome().await;
    assert_eq!(outcome.final_task_status, "Failed");
    assert!(outcome.output.starts_with("Error occurred starting the command: exec:"), "{}", outcome.output);
}

#[tokio::test]
async fn a_line_that_cannot_be_split() {
    let mut service = Service::start(Fast).await;
    let mut client = service.open(separate("echo 'unclosed")).await;
    client.until_closed().await;
    assert_eq!(client.exit_code, None);
    assert!(String::from_utf8_lossy(&client.stderr).contains("EOF found when expecting closing quote"));
    assert_eq!(service.outcome().await.final_task_status, "Failed");
    // a comment is no command: the real worker crashes
    let mut client = service.open(separate("# nothing")).await;
    client.until_closed().await;
    assert_eq!(service.outcome().await.final_task_status, "Failed");
}

#[tokio::test]
async fn death_by_signal_is_minus_one() {
    let mut service = Service::start(Fast).await;
    let mut client = service.open(separate("sh -c 'kill -9 $$'")).await;
    client.until_closed().await;
    assert_eq!(client.exit_code, Some(-1));
}

#[tokio::test]
async fn a_pause_is_fatal_to_separate_streams_but_the_exit_code_is_true() {
    let mut service = Service::start(Faithful).await;
    let mut client =
        service.open(separate("sh -c 'echo one; sleep 0.5; echo two; sleep 0.5; echo three; sleep 0.5; exit 7'")).await;
    client.until_output("one").await;
    client.pause().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    client.resume().await;
    client.until_closed().await;
    // the read that was waiting still came through
    assert_eq!((client.text().as_str(), client.exit_code), ("one\ntwo\n", Some(7)));
    let outcome = service.outcome().await;
    assert_eq!(outcome.final_task_status, "Failed");
}

#[tokio::test]
async fn more_than_a_pipe_holds_hangs_after_a_pause_until_the_session_is_closed() {
    let mut service = Service::start(Faithful).await;
    let mut client = service.open(separate("sh -c 'echo one; sleep 0.5; head -c 300000 /dev/zero; exit 7'")).await;
    client.until_output("one").await;
    client.pause().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    client.resume().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(client.exit_code, None);
    let id = client.id.clone();
    service.close_session(&id).await;
    client.until_closed().await;
    assert_eq!(client.exit_code, None);
    assert_eq!(service.outcome().await.final_task_status, "Success");
}

#[tokio::test]
async fn a_pause_while_nothing_is_said_does_no_harm() {
    let mut service = Service::start(Faithful).await;
    let mut client = service.open(separate("sh -c 'echo one; sleep 0.6; echo two; exit 3'")).await;
    client.until_output("one").await;
    client.pause().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    client.resume().await;
    client.until_closed().await;
    assert_eq!((client.text().as_str(), client.exit_code), ("one\ntwo\n", Some(3)));
}

#[tokio::test]
async fn control_characters_become_signals_and_spoil_the_exit_code() {
    let mut service = Service::start(Fast).await;
    let mut client = service.open(separate("sh -c 'trap \"exit 5\" INT; echo r; while :; do sleep 0.1; done'")).await;
    client.until_output("r").await;
    client.write("this is lost");
    client.resize(80, 24);
    client.write("zz\u{3}");
    client.until_closed().await;
    assert_eq!(client.exit_code, Some(1));
}

#[tokio::test]
async fn closing_kills_the_direct_child_only() {
    let mut service = Service::start(Fast).await;
    let mut client = service.open(separate("sh -c 'sleep 77.01 & echo r; exec sleep 77.02'")).await;
    client.until_output("r").await;
    let id = client.id.clone();
    service.close_session(&id).await;
    client.until_closed().await;
    assert_eq!(client.exit_code, None);
    assert_eq!(client.states.last(), Some(&SessionState::Terminating));
    assert_eq!(service.outcome().await.final_task_status, "Success");
    assert!(gone("sleep 77.02").await);
    assert!(is_alive("sleep 77.01"));
    std::process::Command::new("pkill").args(["-f", "sleep 77.01"]).status().unwrap();
}

#[tokio::test]
async fn through_a_file_comes_at_the_end_and_without_exit_code() {
    let mut service = Service::start(Fast).await;
    let mut client = service.open(through_a_file("sh -c 'echo out; echo err >&2; echo more; sleep 0.5; exit 7'")).await;
    client.until("the handshake", |client| client.established.is_some()).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert!(client.output.is_empty());
    assert!(service.directory.path().join(&client.id).join("output").exists());
    client.until_closed().await;
    assert_eq!((client.text().as_str(), client.exit_code), ("out\nerr\nmore\n", None));
    assert!(client.stderr.is_empty());
    assert_eq!(service.outcome().await.final_task_status, "Success");
    assert_eq!(std::fs::read_dir(service.directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn output_survives_cuts_of_the_agents_websocket() {
    let mut service = Service::start(Fast).await;
    let mut client = service
        .open(separate("sh -c 'for i in 1 2 3 4 5 6; do head -c 200000 /dev/zero | tr \"\\0\" $i; sleep 0.05; done'"))
        .await;
    for part in 1..=3 {
        client.until("some output", |client| client.output.len() > part * 200_000).await;
        client.cut().await;
        service.reconnected(&mut client).await;
    }
    client.until_closed().await;
    let expected: Vec<u8> = (1..=6).flat_map(|digit| vec![b'0' + digit; 200_000]).collect();
    assert!(client.output == expected, "{} bytes", client.output.len());
    assert_eq!(client.exit_code, Some(0));
    assert_eq!(client.states, [SessionState::Connected, SessionState::Terminating]);
}

#[tokio::test]
async fn a_client_that_stalls_stops_the_command_and_nobody_else() {
    let mut service = Service::start(Fast).await;
    let mut stalled = service.open(separate("sh -c 'head -c 100000000 /dev/zero; echo done >&2'")).await;
    stalled.until("some output", |client| !client.output.is_empty()).await;
    // not driven any more
    let mut other = service.open(separate("echo well")).await;
    other.until_closed().await;
    assert_eq!(other.text(), "well\n");
    assert!(stalled.stderr.is_empty());
    let id = stalled.id.clone();
    assert_eq!(service.outcome().await.task_id, other.id);
    service.close_session(&id).await;
    assert_eq!(service.outcome().await.task_id, id);
}

// === Terminals ===

#[tokio::test]
async fn a_shell_on_a_terminal() {
    let mut service = Service::start(Fast).await;
    let mut client = service.open(shell(json!({}))).await;
    client.resize(132, 43);
    client.open_silently();
    client.write("stty size; echo $TERM; tty -s && echo a''-tty\n");
    client.until_output("a-tty\r\n").await;
    assert!(client.text().contains("43 132\r\nxterm-256color\r\n"), "{}", client.text());
    client.write("exit 3\n");
    client.until_closed().await;
    assert_eq!(client.exit_code, None);
    assert_eq!(client.states, [SessionState::Connected, SessionState::Terminating]);
    assert_eq!(service.outcome().await.final_task_status, "Success");
}

#[tokio::test]
async fn the_faithful_terminal_says_nothing_for_a_second_and_then_a_kilobyte_a_millisecond() {
    let mut service = Service::start(Faithful).await;
    let began = Instant::now();
    let mut client = service.open(interactive("echo first; head -c 200000 /dev/zero")).await;
    client.until_output("first").await;
    let first = began.elapsed();
    assert!((Duration::from_millis(1000)..Duration::from_millis(1900)).contains(&first), "{first:?}");
    client.until_closed().await;
    let rest = began.elapsed() - first;
    assert!(rest >= Duration::from_millis(190), "{rest:?}");
    assert_eq!(client.output.len(), 200_007);
    assert!(client.frames.iter().all(|frame| *frame <= 1027));
}

#[tokio::test]
async fn the_shell_profile_is_typed_first() {
    let mut service = Service::start(Fast).await;
    let mut client = service.open(shell(json!({"shellProfile": {"linux": "echo pro''file"}}))).await;
    client.until_output("profile\r\n").await;
    let id = client.id.clone();
    service.close_session(&id).await;
    client.until_closed().await;
    // who is cancelled does not say that it terminates
    assert_eq!(client.states, [SessionState::Connected]);
}

#[tokio::test]
async fn raw_input_arrives_byte_for_byte() {
    let mut service = Service::start(Fast).await;
    let mut client = service.open(interactive("stty raw -echo; echo READY; head -c 5000256 | cksum")).await;
    client.until_output("READY").await;
    let mut data: Vec<u8> = (0..=255).collect();
    data.extend((0..5_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
    let sum = std::process::Command::new("sh")
        .args(["-c", "cksum"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            use std::io::Write as _;
            child.stdin.take().unwrap().write_all(&data)?;
            child.wait_with_output()
        })
        .unwrap();
    client.write(data);
    client.until_closed().await;
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert!(client.text().contains(sum.trim()), "{} against {sum}", client.text());
}

#[tokio::test]
async fn a_terminal_that_does_not_read_blocks_its_own_session_until_it_is_closed() {
    let mut service = Service::start(Fast).await;
    let mut client = service.open(interactive("stty raw -echo; echo READY; sleep 77.03")).await;
    client.until_output("READY").await;
    client.write(vec![b'x'; 8_000_000]);
    tokio::select! {
        () = client.until("never", |_| false) => {}
        () = tokio::time::sleep(Duration::from_millis(700)) => {}
    }
    assert!(client.channel.stats().outstanding > 0);
    let mut other = service.open(separate("echo well")).await;
    other.until_closed().await;
    assert_eq!(service.outcome().await.task_id, other.id);
    let id = client.id.clone();
    service.close_session(&id).await;
    assert_eq!(service.outcome().await.task_id, id);
    assert!(gone("sleep 77.03").await);
}

#[tokio::test]
async fn a_pause_loses_nothing_of_a_terminal() {
    let mut service = Service::start(Faithful).await;
    let mut client = service.open(interactive("for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.2; done")).await;
    client.until_output("line 2").await;
    client.pause().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.resume().await;
    client.until_closed().await;
    let lines: Vec<String> = (1..=8).map(|i| format!("line {i}\r\n")).collect();
    assert_eq!(client.text(), lines.concat());
}

#[tokio::test]
async fn interactive_commands_need_one() {
    let mut service = Service::start(Fast).await;
    let mut client = service.open(interactive("  ")).await;
    client.until_closed().await;
    assert_eq!(service.outcome().await.output, "Commands cannot be empty for session type InteractiveCommands");
}

#[tokio::test]
async fn container_mode_splits_interactive_commands() {
    let mut service = Service::start_with(|config| config.container_mode = true).await;
    let mut client = service.open(interactive("printf '%s|' a\\ b $HOME;")).await;
    client.until_closed().await;
    assert_eq!(client.text(), "a b|$HOME;|");
}

// === Ports ===

#[tokio::test]
async fn a_port_carries_bytes_unchanged_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let number = listener.local_addr().unwrap().port();
    let mut service = Service::start(Fast).await;
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
        let mut service = Service::start(Fast).await;
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
    let mut service = Service::start(Fast).await;
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
    client: super::testing::Client,
    mux: Mux,
    taken: usize,
}

impl Forwarding {
    async fn start(service: &mut Service, number: u16) -> Self {
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
        let mut service = Service::start(fidelity).await;
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
    let mut service = Service::start(Fast).await;
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
    let mut service = Service::start(Fast).await;
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

// === Control ===

#[tokio::test]
async fn an_outcome_is_told_three_times_if_nobody_listens() {
    let mut service = Service::start(Fast).await;
    let mut client = service.open(separate("true")).await;
    client.until_closed().await;
    let began = Instant::now();
    let mut ids = Vec::new();
    for number in 1..=3 {
        let (id, complete) = service.outcome_unacknowledged().await;
        assert_eq!(complete.retry_number, number);
        ids.push(id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert!(began.elapsed() >= Duration::from_millis(1900));
    let silence = tokio::time::timeout(Duration::from_millis(1500), service.outcome_unacknowledged()).await;
    assert!(silence.is_err());
}

#[tokio::test]
async fn sessions_outlive_the_control_channel() {
    let mut service = Service::start(Fast).await;
    let mut client = service.open(separate("sh -c 'echo one; sleep 1; echo two'")).await;
    client.until_output("one").await;
    service.cut_control().await;
    client.until_closed().await;
    assert_eq!(client.text(), "one\ntwo\n");
    assert_eq!(service.outcome().await.task_id, client.id);
}

#[tokio::test]
async fn tasks_that_make_no_sense() {
    let mut service = Service::start(Fast).await;
    service.send(MessageType::InteractiveShell, b"nonsense".as_slice().into()).await;
    service
        .send_task(json!({"schemaVersion": "1.0", "sessionType": "Port", "properties": {"portNumber": "{{ssm:/x}}"}}))
        .await;
    let outcome = service.outcome().await;
    assert!(outcome.output.contains("{{ssm:/x}}"), "{}", outcome.output);
    service.send_task(json!({"schemaVersion": "1.0", "sessionType": "Teleport"})).await;
    assert_eq!(service.outcome().await.final_task_status, "Failed");
    service
        .send_task(json!({"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": {"kmsKeyId": "arn:x"}}))
        .await;
    assert!(service.outcome().await.output.contains("cannot encrypt"));
}

#[tokio::test]
async fn the_node_introduces_itself() {
    let mut service = Service::start_with(|config| config.name = Some("demo".into())).await;
    loop {
        let (path, body) = within(service.calls.recv()).await.unwrap();
        if path == "/" {
            let told: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!((told["ComputerName"].as_str(), told["AgentStatus"].as_str()), (Some("demo"), Some("Active")));
            return;
        }
    }
}

#[tokio::test]
async fn shutdown_ends_every_session() {
    let mut service = Service::start(Fast).await;
    let mut command = service.open(separate("sh -c 'echo r; exec sleep 77.04'")).await;
    command.until_output("r").await;
    let mut terminal = service.open(interactive("echo r; exec sleep 77.05")).await;
    terminal.until_output("r").await;
    let Service { agent, .. } = service;
    within(agent.unwrap().shutdown()).await;
    assert!(gone("sleep 77.04").await);
    assert!(gone("sleep 77.05").await);
}

#[tokio::test]
async fn a_handshake_that_is_not_answered_fails_the_session() {
    let mut service = Service::start(Fast).await;
    // nobody drives this client
    let _client = service.open(separate("true")).await;
    let outcome = service.outcome().await;
    assert_eq!(outcome.final_task_status, "Failed");
    assert!(outcome.output.contains("Handshake timed out"), "{}", outcome.output);
}
