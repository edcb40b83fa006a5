//! How much the relay carries. `cargo test --release emulator::tests::speed -- --ignored --nocapture`

use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use super::callers::*;
use crate::emulator::*;

const FRAMES: i64 = 200_000;

/// Frames per second of 1 KiB from the agent to the client, each acknowledged. Both ends and the service share the cores,
/// so that the service alone does better; its own processor time is printed beside it.
async fn measure(tls: bool) -> f64 {
    let choice = tls.then(|| SelfMadeTls { names: Vec::new() });
    let callers = Callers::start_with(|config| config.tls = choice).await;
    let Session { agent, client, control: _control, .. } = callers.session().await;
    let (mut agent_out, mut agent_in) = agent.0.split();
    let (mut client_out, mut client_in) = client.0.split();
    let (down, back) = (output(0, &[7; 1024]), ack(0));
    let started = Instant::now();
    let sender = tokio::spawn(async move {
        for n in 0..FRAMES {
            agent_out.feed(Message::Binary(down.clone())).await.unwrap();
            if n % 32 == 31 {
                agent_out.flush().await.unwrap();
            }
        }
        agent_out.flush().await.unwrap();
        agent_out
    });
    let receiver = tokio::spawn(async move {
        for n in 0..FRAMES {
            client_in.next().await.unwrap().unwrap();
            client_out.feed(Message::Binary(back.clone())).await.unwrap();
            if n % 32 == 31 {
                client_out.flush().await.unwrap();
            }
        }
        client_out.flush().await.unwrap();
        (client_in, client_out)
    });
    for _ in 0..FRAMES {
        agent_in.next().await.unwrap().unwrap();
    }
    #[allow(clippy::cast_precision_loss, reason = "a count of frames")]
    let rate = 2.0 * FRAMES as f64 / started.elapsed().as_secs_f64();
    let _ends = (sender.await.unwrap(), receiver.await.unwrap());
    rate
}

#[allow(clippy::print_stdout, reason = "a measurement is there to be read")]
#[ignore = "a measurement"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_per_second() {
    for tls in [false, true] {
        let before = cpu();
        let rate = measure(tls).await;
        println!(
            "tls {tls}: {rate:.0} frames/s, data and acknowledgements together; {:.2} s of processor",
            cpu() - before
        );
    }
}

/// Processor seconds of this process.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
