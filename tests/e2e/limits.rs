//! What one client may take, and what it may not do to its neighbours.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::{Demo, PATIENCE, Slow, noise, run, until};

#[test]
fn who_does_not_log_in_is_dropped() {
    let demo = Demo::shared(&[]);
    let mut stream = TcpStream::connect(("127.0.0.1", demo.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"SSH-2.0-slow\r\n").unwrap();
    let began = Instant::now();
    let mut sink = Vec::new();
    let _ = stream.read_to_end(&mut sink);
    let took = began.elapsed();
    assert!(sink.starts_with(b"SSH-2.0-"), "{}", String::from_utf8_lossy(&sink));
    assert!(took > Duration::from_secs(10) && took < Duration::from_secs(40), "dropped after {took:?}");
}

#[test]
fn a_stalled_channel_does_not_freeze_its_neighbours() {
    let demo = Demo::start(&[]);
    let socket = demo.dir().join("m");
    let option = format!("ControlPath=\"{}\"", socket.display());
    let mut master = demo.command("ssh").args(["-MN", "-o", &option, "demo"]).stdin(Stdio::null()).spawn().unwrap();
    until("the master is up", PATIENCE, || socket.exists());
    // one channel whose output nobody reads, and one whose command reads none of its input
    let mut stalled = Slow::start(demo.command("ssh").args(["-n", "-o", &option, "demo", "cat /dev/zero"]));
    let mut deaf = demo
        .command("ssh")
        .args(["-o", &option, "demo", "sleep 30"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = deaf.stdin.take().unwrap();
    let writer = std::thread::spawn(move || drop(pipe.write_all(&noise(16 << 20, 1))));
    std::thread::sleep(Duration::from_secs(3));
    for round in 0..5u64 {
        let bytes = noise(100_000, round);
        let neighbour = run(demo.command("ssh").args(["-o", &option, "demo", "cat"]), &bytes, Duration::from_secs(20));
        assert!(neighbour.ok().stdout == bytes, "round {round}");
    }
    for child in [&mut stalled.child, &mut deaf, &mut master] {
        let _ = child.kill();
        let _ = child.wait();
    }
    let _ = writer.join();
}
