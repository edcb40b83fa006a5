//! One connection, many channels (OpenSSH's ControlMaster): none may stop the others, and none may take the memory.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Child;

use super::wire::{Raw, string};
use crate::testing::{TestGateway, text};

/// A connection that others go through.
async fn master(gateway: &TestGateway) -> (Child, String) {
    let socket = format!("ControlPath={}", gateway.path("mux").display());
    let child = gateway.ssh(&["-M", "-N", "-o", &socket, "web"]).spawn().unwrap();
    for _ in 0..200 {
        if gateway.path("mux").exists() {
            return (child, socket);
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("no master connection");
}

#[tokio::test]
async fn a_stalled_upload_leaves_its_neighbours_alone_and_the_memory_flat() {
    let gateway = TestGateway::start().await;
    let (_master, socket) = master(&gateway).await;
    // it never reads: the client can send a window's worth and no more
    let mut stalled = gateway.ssh(&["-o", &socket, "web", "sleep 30"]);
    let mut stalled = stalled.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = stalled.stdin.take().unwrap();
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = sent.clone();
    let writer = tokio::spawn(async move {
        let block = vec![7; 64 * 1024];
        while stdin.write_all(&block).await.is_ok() {
            counted.fetch_add(block.len(), std::sync::atomic::Ordering::Relaxed);
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after_two = sent.load(std::sync::atomic::Ordering::Relaxed);
    assert!(after_two > 0, "it sends");
    // the node's pipe, two windows of slack and the client's own buffers
    assert!(after_two < 8 << 20, "{after_two} bytes went into a channel that nobody reads");
    for turn in 0..10 {
        let before = Instant::now();
        let ran = gateway.run(&["-o", &socket, "web", "echo still here"]).await;
        assert_eq!(text(&ran.stdout), "still here\n");
        assert!(before.elapsed() < Duration::from_secs(2), "turn {turn} took {:?}", before.elapsed());
    }
    let large = vec![b'x'; 8 << 20];
    let ran = gateway.run_with(&["-o", &socket, "web", "wc -c"], large).await;
    assert_eq!(text(&ran.stdout).trim(), (8 << 20).to_string(), "an upload beside it");
    let later = sent.load(std::sync::atomic::Ordering::Relaxed);
    assert!(later < 8 << 20, "{later} bytes went into a channel that nobody reads");
    writer.abort();
}

#[tokio::test]
async fn a_stalled_download_leaves_its_neighbours_alone() {
    let gateway = TestGateway::start().await;
    let (_master, socket) = master(&gateway).await;
    // its output is never read
    let _stalled = gateway.ssh(&["-o", &socket, "web", "cat /dev/zero"]).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    for _ in 0..5 {
        let ran = gateway.run(&["-o", &socket, "web", "head -c 3000000 /dev/zero | wc -c; seq 100000"]).await;
        assert_eq!(ran.stdout.len(), 588_895 + 8);
    }
}

#[tokio::test]
async fn a_slow_reader_gets_every_byte() {
    let gateway = TestGateway::start().await;
    let slow = "dd bs=65536 count=20 status=none | wc -c; sleep 1; dd bs=1M iflag=fullblock status=none | wc -c";
    let ran = gateway.run_with(&["web", slow], vec![1; 20 << 20]).await;
    let counts: Vec<usize> = text(&ran.stdout).lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 20 << 20);
}

#[tokio::test]
async fn channels_have_a_limit_and_closing_gives_places_back() {
    let gateway = TestGateway::with(|settings| settings.limits.channels = 3).await;
    let (_master, socket) = master(&gateway).await;
    for _ in 0..10 {
        assert!(gateway.run(&["-o", &socket, "web", "true"]).await.status.success());
    }
    let mut held: Vec<Child> = Vec::new();
    for _ in 0..3 {
        held.push(gateway.ssh(&["-o", &socket, "web", "sleep 30"]).spawn().unwrap());
    }
    while gateway.node.starts.lock().unwrap().len() < 13 {
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    // a client that is refused a channel would otherwise go on to a connection of its own
    let only = "ProxyCommand=false";
    let refused = gateway.run(&["-o", &socket, "-o", only, "web", "echo in"]).await;
    assert!(!text(&refused.stdout).contains("in"), "a fourth channel");
    let event = gateway.event(|event| event["event"] == "channel.refused").await;
    assert!(event["reason"].as_str().unwrap().contains("3 channels already"));
    held.pop().unwrap().kill().await.unwrap();
    for _ in 0..100 {
        if text(&gateway.run(&["-o", &socket, "-o", only, "web", "echo in"]).await.stdout) == "in\n" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the place did not come back");
}

#[tokio::test]
async fn d4_questions_and_answers_pass_channels_that_stand_still() {
    let gateway = TestGateway::with(|settings| {
        settings.limits.keepalive_seconds = 1;
        settings.limits.keepalive_unanswered = 5;
    })
    .await;
    let key = gateway.key("ada");
    let mut raw = Raw::logged_in(gateway.address, "web-1", &key).await;
    // one whose output has no window left, and one that takes none of its input
    raw.exec(0, 64 << 10, 32768, "cat /dev/zero").await;
    let mut window = 64 << 10;
    while window > 0 {
        window -= raw.until(94).await.len() - 9;
    }
    let deaf = raw.exec(1, 1 << 20, 32768, "sleep 60").await;
    for _ in 0..60 {
        raw.data(deaf, &[0; 30_000]).await;
    }
    let question = [&[80], &string(b"keepalive@openssh.com")[..], &[1]].concat();
    for _ in 0..3 {
        // ours is answered, and the gateway's own comes
        raw.send(&question).await;
        raw.until(82).await;
        let asked = raw.until(80).await;
        assert!(asked.starts_with(&question[..5]), "{asked:?}");
        raw.send(&[82]).await;
    }
    let busy = raw.exec(2, 1 << 20, 32768, "echo still here").await;
    assert!(raw.until(94).await.ends_with(b"still here\n"), "channel {busy}");
}
