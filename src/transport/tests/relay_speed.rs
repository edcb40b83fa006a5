//! How much a relay carries, and what it costs on the node. Both ends, the service, the agent and the helper share this machine:
//! `cargo test --release transport::tests::relay_speed -- --ignored --nocapture`, with `PORTCULLIS_AGENT=DIR` by AWS's agent (as root).

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::evidence::SessionRecord;
use crate::policy::{Action, Grant};
use crate::testing::{EmbeddedService, EmbeddedTransport, NODE};
use crate::transport::relay::{RelayStream, Target};
use crate::transport::{Herald, TransportOptions};

const MIB: usize = 1 << 20;

/// Ticks of the processor that a process has had, of a hundred in a second.
fn ticks(pid: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum()
}

/// The helper that owns the relay: the lane processes have become something else.
fn owner() -> String {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let owns = |pid: &String| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.contains("python") && line.contains("w=relay")
    };
    all.filter(owns).max_by_key(|pid| ticks(pid)).unwrap()
}

async fn send(mut to: impl tokio::io::AsyncWrite + Unpin, count: usize) {
    let mut bytes = vec![0; 65536];
    getrandom::fill(&mut bytes).unwrap();
    for _ in 0..count / bytes.len() {
        to.write_all(&bytes).await.unwrap();
    }
    to.shutdown().await.unwrap();
}

async fn receive(mut from: impl tokio::io::AsyncRead + Unpin) -> usize {
    let (mut count, mut buffer) = (0, vec![0; 65536]);
    while let read @ 1.. = from.read(&mut buffer).await.unwrap() {
        count += read;
    }
    count
}

async fn measure(name: &str, streams: Vec<(RelayStream, TcpStream)>, up: bool, each: usize) {
    let owner = owner();
    let before = (ticks(&owner), ticks("self"), Instant::now());
    let count = streams.len();
    let tasks: Vec<_> = streams
        .into_iter()
        .map(|(near, far)| {
            tokio::spawn(async move {
                let received = if up {
                    tokio::join!(receive(far), send(near, each)).0
                } else {
                    tokio::join!(receive(near), send(far, each)).0
                };
                assert_eq!(received, each);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (took, mib) = (before.2.elapsed().as_secs_f64(), count * each / MIB);
    #[allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a measurement is there to be read")]
    {
        let cost = |ticks: u64| ticks as f64 * 10.0 / mib as f64;
        let (helper, all) = (cost(ticks(&owner) - before.0), cost(ticks("self") - before.1));
        println!(
            "{name}: {mib} MiB in {took:.2} s, {:.1} MB/s; for each MiB {helper:.2} ms of processor in the helper and \
             {all:.2} ms in gateway, service, agent and this test",
            (count * each) as f64 / took / 1e6
        );
    }
}

/// With AWS's agent as its node, which lives as long as the child.
async fn of_aws(directory: &str) -> (EmbeddedTransport, Child) {
    let service = EmbeddedService::builder().with_tls().without_agent().start().await;
    let ca_file = service.aws_options().ca_bundle.unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/real-agent.sh");
    let agent = Command::new(script)
        .arg(directory)
        .env("PORTCULLIS_ENDPOINT", service.url())
        .env("PORTCULLIS_REGION", "us-east-1")
        .env("PORTCULLIS_NODE_ID", NODE)
        .env("PORTCULLIS_NODE_DIR", service.directory.path())
        .env("PORTCULLIS_CA_FILE", ca_file)
        .envs([("AWS_ACCESS_KEY_ID", "AKIDAGENT"), ("AWS_SECRET_ACCESS_KEY", "agent-secret")])
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let embedded = EmbeddedTransport::to(service, "{}", TransportOptions::default()).await;
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let grant = Grant::for_test(NODE, Action::Forward { host: "127.0.0.1".to_owned(), port: 80 });
        let record = SessionRecord::for_test().lanes();
        match embedded.transport.open_relay(grant, record, Herald::default()).await {
            Ok(_) => return (embedded, agent),
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[ignore = "a measurement"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mebibytes_per_second() {
    let (embedded, agent) = match std::env::var("PORTCULLIS_AGENT") {
        Ok(directory) => {
            let (embedded, agent) = of_aws(&directory).await;
            (embedded, Some(agent))
        }
        Err(_) => (EmbeddedTransport::fast().await, None),
    };
    let (one, each) = if agent.is_some() { (24 * MIB, MIB / 4) } else { (192 * MIB, MIB) };
    let relay = embedded.relay().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Address(listener.local_addr().unwrap());
    for (count, each, names) in [(1, one, ["one up", "one down"]), (200, each, ["200 up", "200 down"])] {
        for (name, up) in names.into_iter().zip([true, false]) {
            let mut streams = Vec::new();
            for _ in 0..count {
                let (near, far) = tokio::join!(relay.dial(target.clone()), listener.accept());
                streams.push((near.unwrap(), far.unwrap().0));
            }
            measure(name, streams, up, each).await;
        }
    }
}
