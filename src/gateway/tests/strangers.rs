//! A person who logs in while strangers take all the places that there are.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::testing::{TestGateway, text};

/// Loopback has sixteen million addresses.
fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + n)
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

/// New connections for as long as this lives, each from the address that is given for its number.
fn keep_coming(
    to: SocketAddr,
    every: Duration,
    from: fn(u32) -> Ipv4Addr,
    first_words: &'static [u8],
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut held = Vec::new();
        let mut tick = tokio::time::interval(every);
        for n in 0.. {
            tick.tick().await;
            if let Ok(mut stream) = connect(from(n), to).await {
                let _ = stream.write_all(first_words).await;
                held.push(stream);
            }
        }
    })
}

/// Logs in, again and again; the longest that it took.
async fn logins(gateway: &TestGateway, count: usize) -> Duration {
    let mut longest = Duration::ZERO;
    for turn in 0..count {
        let began = Instant::now();
        let ran = gateway.run(&["gate", "whoami"]).await;
        assert!(text(&ran.stdout).starts_with("ada"), "turn {turn}: {}", text(&ran.stderr));
        longest = longest.max(began.elapsed());
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_at_once_beside_strangers() {
    let gateway = TestGateway::start().await;
    let alone = logins(&gateway, 3).await;
    for first_words in [&b""[..], b"SSH-2.0-stranger\r\n"] {
        let mut silent = Vec::new();
        for n in 0..300 {
            let mut stream = connect(address(n), gateway.address).await.unwrap();
            let _ = stream.write_all(first_words).await;
            silent.push(stream);
        }
        let coming = keep_coming(gateway.address, Duration::from_millis(20), |n| address(1000 + n), first_words);
        let beside = logins(&gateway, 8).await;
        coming.abort();
        assert!(beside < alone + Duration::from_secs(1), "{beside:?} beside strangers, {alone:?} without");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_behind_the_same_address_keeps_nobody_out() {
    let gateway = TestGateway::with(|settings| settings.limits.unauthenticated = 10).await;
    let alone = logins(&gateway, 3).await;
    let coming = keep_coming(gateway.address, Duration::from_millis(50), |_| Ipv4Addr::LOCALHOST, b"");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let beside = logins(&gateway, 8).await;
    coming.abort();
    assert!(beside < alone + Duration::from_secs(1), "{beside:?} beside the stranger, {alone:?} without");
}
