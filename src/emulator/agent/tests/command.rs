//! Commands without a terminal, through the wire.

use std::time::{Duration, Instant};

use portcullis_protocol::channel::Event;
use portcullis_protocol::payload::SessionState;

use super::service_end::{ClientEnd, ServiceEnd, gone, is_alive, separate, through_a_file};
use crate::emulator::agent::Fidelity::{Brisk, Faithful, Fast};

#[tokio::test]
async fn separate_streams_and_the_exit_code() {
    for fidelity in [Fast, Faithful] {
        let mut service = ServiceEnd::start(fidelity).await;
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
    let mut service = ServiceEnd::start(Fast).await;
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
    let mut service = ServiceEnd::start(Faithful).await;
    let mut client = service.open(separate("head -c 100000 /dev/zero")).await;
    client.until_closed().await;
    assert_eq!(client.output.len(), 100_000);
    assert!(client.frames.iter().all(|frame| *frame <= 1027), "{:?}", client.frames);
}

#[tokio::test]
async fn a_command_that_is_not_there() {
    let mut service = ServiceEnd::start(Faithful).await;
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
    let mut service = ServiceEnd::start(Fast).await;
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
    let mut service = ServiceEnd::start(Fast).await;
    let mut client = service.open(separate("sh -c 'kill -9 $$'")).await;
    client.until_closed().await;
    assert_eq!(client.exit_code, Some(-1));
}

#[tokio::test]
async fn a_pause_is_fatal_to_separate_streams_but_the_exit_code_is_true() {
    let mut service = ServiceEnd::start(Faithful).await;
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
    let mut service = ServiceEnd::start(Faithful).await;
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
    let mut service = ServiceEnd::start(Faithful).await;
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
    let mut service = ServiceEnd::start(Fast).await;
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
    let mut service = ServiceEnd::start(Fast).await;
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
    let mut service = ServiceEnd::start(Fast).await;
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
    let mut service = ServiceEnd::start(Fast).await;
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
async fn what_is_lost_with_a_websocket_comes_back_at_ten_frames_a_second() {
    let mut service = ServiceEnd::start(Brisk).await;
    let mut client = service.open(separate("sh -c 'echo first; sleep 0.2; head -c 20480 /dev/zero; sleep 9'")).await;
    client.until_output("first").await;
    // the frames wait in a socket that nobody reads any more
    tokio::time::sleep(Duration::from_millis(600)).await;
    client.cut().await;
    service.reconnected(&mut client).await;
    let begun = Instant::now();
    client.until("all of it", |client| client.output.len() == 6 + 20_480).await;
    let took = begun.elapsed();
    assert!((Duration::from_millis(1700)..Duration::from_secs(5)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_pause_of_a_moment_is_fatal_to_a_command_that_writes() {
    let mut service = ServiceEnd::start(Brisk).await;
    let mut client = service.open(separate("sh -c 'cat /dev/zero'")).await;
    client.until("some output", |client| client.output.len() > 100_000).await;
    // nothing is acknowledged meanwhile, so that the command's output fills what may be on its way, and meets the pause there:
    // one that comes and goes while the command writes nothing harms nobody
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.pause().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.resume().await;
    let mut last = (client.output.len(), Instant::now());
    let silence = |client: &ClientEnd| {
        if client.output.len() != last.0 {
            last = (client.output.len(), Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(500)
    };
    client.until("silence", silence).await;
    assert!(!client.closed && client.exit_code.is_none(), "its pipe is full, and it waits");
}

#[tokio::test]
async fn a_client_that_stalls_stops_the_command_and_nobody_else() {
    let mut service = ServiceEnd::start(Fast).await;
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
