//! Sessions on a terminal, through the wire.

use std::time::{Duration, Instant};

use portcullis_protocol::payload::SessionState;
use serde_json::json;

use super::service_end::{ServiceEnd, gone, interactive, separate, shell};
use crate::emulator::agent::Fidelity;
use crate::emulator::agent::Fidelity::{Faithful, Fast};

#[tokio::test]
async fn a_shell_on_a_terminal() {
    let mut service = ServiceEnd::start(Fast).await;
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
    let mut service = ServiceEnd::start(Faithful).await;
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
    let mut service = ServiceEnd::start(Fast).await;
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
    let mut service = ServiceEnd::start(Fast).await;
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
    for fidelity in [Fast, Faithful] {
        blocked(ServiceEnd::start(fidelity).await, fidelity).await;
    }
}

async fn blocked(mut service: ServiceEnd, fidelity: Fidelity) {
    let mut client = service.open(interactive("stty raw -echo; echo READY; sleep 77.03")).await;
    client.until_output("READY").await;
    client.write(vec![b'x'; 8_000_000]);
    tokio::select! {
        () = client.until("never", |_| false) => {}
        () = tokio::time::sleep(Duration::from_millis(700)) => {}
    }
    let stats = client.channel.stats();
    assert!(stats.outstanding > 0);
    if fidelity == Faithful {
        // frames of 16 KiB: what the terminal holds, and next to nothing ahead of it
        assert!(stats.acks_received < 10, "{stats:?}");
    }
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
    let mut service = ServiceEnd::start(Faithful).await;
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
    let mut service = ServiceEnd::start(Fast).await;
    let mut client = service.open(interactive("  ")).await;
    client.until_closed().await;
    assert_eq!(service.outcome().await.output, "Commands cannot be empty for session type InteractiveCommands");
}

#[tokio::test]
async fn container_mode_splits_interactive_commands() {
    let mut service = ServiceEnd::start_with(|config| config.container_mode = true).await;
    let mut client = service.open(interactive("printf '%s|' a\\ b $HOME;")).await;
    client.until_closed().await;
    assert_eq!(client.text(), "a b|$HOME;|");
}
