//! How many frames per second two channels exchange in memory: encode, decode, acknowledge, take the acknowledgement.
//!
//! `cargo bench -p portcullis-protocol` prints a line per payload size. One core does the work of both ends.

use std::time::Instant;

use bytes::Bytes;
use portcullis_protocol::channel::{AgentRole, ClientRole, DataChannel, Event, Limits, Role};
use portcullis_protocol::{PayloadType, Time};

#[expect(clippy::print_stdout, reason = "a benchmark is there to print")]
fn main() {
    // `cargo test --all-targets` starts it too, and is in a hurry
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("payload   frames/s      MB/s   (sender and receiver on one core)");
    for payload in [64, 1024, 4096, 16 << 10, 64 << 10] {
        let total = (64 << 20).min(payload * 200_000);
        let start = Instant::now();
        let frames = exchange(payload, total);
        let seconds = start.elapsed().as_secs_f64();
        println!("{payload:>7} {:>10.0} {:>9.1}", frames as f64 / seconds, total as f64 / seconds / 1e6);
    }
}

/// Sends so many bytes from client to agent; returns the number of frames.
fn exchange(payload: usize, total: usize) -> u64 {
    let limits = Limits { payload, ..Limits::default() };
    let mut now = Time::from_secs(1_700_000_000);
    let client_role = Role::Client(ClientRole { version: "1.2.764.0".to_owned() });
    let mut client = DataChannel::new(client_role, limits.clone(), 1, now);
    let mut agent = DataChannel::new(Role::Agent(AgentRole::default()), limits, 2, now);
    client.handle_connected(now);
    agent.handle_connected(now);
    client.open_silently(now);
    let chunk = Bytes::from(vec![7; 1 << 20]);
    let (mut pending, mut left, mut received) = (Bytes::new(), total, 0);
    while received < total {
        if pending.is_empty() {
            pending = chunk.slice(..left.min(chunk.len()));
            left -= pending.len();
        }
        client.write(now, PayloadType::Output, &mut pending);
        now += Time::from_micros(100);
        while let Some(frame) = client.poll_transmit(now) {
            assert!(agent.handle_message(now, frame).is_ok());
        }
        while let Some(event) = agent.poll_event() {
            if let Event::Data { bytes, .. } = event {
                received += bytes.len();
            }
        }
        while let Some(ack) = agent.poll_transmit(now) {
            assert!(client.handle_message(now, ack).is_ok());
        }
    }
    client.stats().frames_sent
}
