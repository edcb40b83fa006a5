//! Relays over the embedded service and agent, with real sockets at their other end.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};
use tokio::time::timeout;

use crate::config::{Helper, Rung};
use crate::emulator::agent::Fidelity;
use crate::emulator::{Cut, End};
use crate::policy::{Action, Grant};
use crate::testing::{EmbeddedTransport, NODE, PATIENCE, awkward};
use crate::transport::relay::{Relay, RelayError, RelayStream, Target};
use crate::transport::{Herald, TransportError, TransportOptions};

/// Somewhere to dial.
async fn listener() -> (TcpListener, Target) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Address(listener.local_addr().unwrap());
    (listener, target)
}

/// A stream, and its other end.
async fn joined(relay: &Relay) -> (RelayStream, TcpStream) {
    let (listener, target) = listener().await;
    let (near, far) = timeout(PATIENCE, async { tokio::join!(relay.dial(target), listener.accept()) }).await.unwrap();
    (near.unwrap(), far.unwrap().0)
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it takes for ever")
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_both_ways_and_each_end_by_itself() {
    let embedded = EmbeddedTransport::fast().await;
    let relay = embedded.relay().await;
    let sent = awkward(3 << 20);
    // the far end finishes first, and is then told more than it could keep
    let (mut near, mut far) = joined(&relay).await;
    far.write_all(b"first").await.unwrap();
    far.shutdown().await.unwrap();
    let mut said = Vec::new();
    soon(near.read_to_end(&mut said)).await.unwrap();
    assert_eq!(said, b"first");
    let (mut heard, written) = (Vec::new(), async {
        near.write_all(&sent).await.unwrap();
        near.shutdown().await.unwrap();
    });
    soon(async { tokio::join!(written, async { far.read_to_end(&mut heard).await.unwrap() }) }).await;
    assert!(heard == sent);
    drop((near, far));
    // the near end finishes first
    let (mut near, mut far) = joined(&relay).await;
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    assert_eq!(near.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    let mut heard = Vec::new();
    soon(far.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"question");
    let (mut said, written) = (Vec::new(), async {
        far.write_all(&sent).await.unwrap();
        far.shutdown().await.unwrap();
    });
    soon(async { tokio::join!(written, async { near.read_to_end(&mut said).await.unwrap() }) }).await;
    assert!(said == sent);
    drop((near, relay));
    assert!(embedded.litter().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_carries_over_both_ways_and_harms_only_its_stream() {
    let embedded = EmbeddedTransport::fast().await;
    let relay = embedded.relay().await;
    let (mut other, mut far_other) = joined(&relay).await;
    // by the far end, with what it said before
    let (mut near, mut far) = joined(&relay).await;
    far.write_all(b"words").await.unwrap();
    let mut words = [0; 5];
    soon(near.read_exact(&mut words)).await.unwrap();
    far.set_zero_linger().unwrap();
    drop(far);
    assert_eq!(soon(near.read(&mut words)).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    // by the near end, which has not finished
    let (near, mut far) = joined(&relay).await;
    drop(near);
    assert_eq!(soon(far.read(&mut words)).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    // which has finished, but reads no more: what it wrote counts
    let (mut near, mut far) = joined(&relay).await;
    near.write_all(b"counts").await.unwrap();
    near.shutdown().await.unwrap();
    drop(near);
    let mut heard = Vec::new();
    soon(far.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"counts");
    // and whoever goes on writing then hears of it
    let broken = soon(async {
        loop {
            if let Err(error) = far.write_all(&[0; 65536]).await {
                break error;
            }
        }
    });
    let kind = broken.await.kind();
    assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind:?}");
    other.write_all(b"x").await.unwrap();
    soon(far_other.read_exact(&mut words[..1])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_reached_says_why_and_holds_nobody_up() {
    let embedded = EmbeddedTransport::fast().await;
    let relay = embedded.relay().await;
    let (mut other, mut far_other) = joined(&relay).await;
    let (closed, target) = listener().await;
    drop(closed);
    let begun = Instant::now();
    assert_eq!(soon(relay.dial(target)).await.unwrap_err(), RelayError::Refused);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(soon(relay.dial(Target::Unix(b"/no/such/socket".to_vec()))).await.unwrap_err(), RelayError::NoSuchName);
    assert_eq!(soon(relay.dial(Target::Unix(vec![b'x'; 200]))).await.unwrap_err(), RelayError::NoSuchName);
    // one whose queue is full answers nothing to a SYN
    let full = full().await;
    let dead = Target::Address(full.1);
    let begun = Instant::now();
    let (refused, ()) = tokio::join!(soon(relay.dial(dead)), async {
        for _ in 0..20 {
            other.write_all(b"x").await.unwrap();
            let mut byte = [0];
            soon(far_other.read_exact(&mut byte)).await.unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    });
    assert_eq!(refused.unwrap_err(), RelayError::TimedOut);
    let took = begun.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(20)).contains(&took), "{took:?}");
}

/// A listener that takes nobody any more, and those who fill it.
async fn full() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        filling.push(stream.unwrap());
        assert!(filling.len() < 100);
    }
    (listener, address, filling)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_looked_up_on_the_node() {
    let embedded = EmbeddedTransport::fast().await;
    let relay = embedded.relay().await;
    let found = soon(relay.resolve("localhost")).await.unwrap();
    assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
    assert_eq!(soon(relay.resolve("127.0.0.1")).await.unwrap(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(soon(relay.resolve("::1")).await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
    for name in ["", "a\0b", &"x".repeat(300)] {
        assert_eq!(relay.resolve(name).await.unwrap_err(), RelayError::NoSuchName);
    }
    let unknown = soon(relay.resolve("no-such-host.invalid")).await.unwrap_err();
    assert!(matches!(unknown, RelayError::NoSuchName | RelayError::Failed(_)), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_of_the_node_is_reached() {
    let embedded = EmbeddedTransport::fast().await;
    let relay = embedded.relay().await;
    let path = embedded.service.directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let target = Target::Unix(path.to_str().unwrap().as_bytes().to_vec());
    let (near, far) = soon(async { tokio::join!(relay.dial(target), listener.accept()) }).await;
    let (mut near, mut far) = (near.unwrap(), far.unwrap().0);
    near.write_all(b"ping").await.unwrap();
    near.shutdown().await.unwrap();
    let mut heard = Vec::new();
    soon(far.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"ping");
    far.write_all(b"pong").await.unwrap();
    drop(far);
    heard.clear();
    soon(near.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"pong");
}

/// Twenty times while streams run both ways, either end's websockets: nothing is lost and nothing comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn lanes_may_be_cut_while_streams_run() {
    for end in [End::Client, End::Agent] {
        let embedded = EmbeddedTransport::fast().await;
        let relay = embedded.relay().await;
        let sent = std::sync::Arc::new(awkward(2 << 20));
        let mut running = Vec::new();
        for _ in 0..3 {
            let (near, far) = joined(&relay).await;
            let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (tokio::io::split(near), far.into_split());
            let [up, down] = [sent.clone(), sent.clone()];
            running.push(tokio::spawn(async move {
                near_out.write_all(&up).await.unwrap();
                near_out.shutdown().await.unwrap();
            }));
            running.push(tokio::spawn(async move {
                far_out.write_all(&down).await.unwrap();
                far_out.shutdown().await.unwrap();
            }));
            let [up, down] = [sent.clone(), sent.clone()];
            running.push(tokio::spawn(async move {
                let mut heard = Vec::new();
                near_in.read_to_end(&mut heard).await.unwrap();
                assert!(heard == *down, "{} bytes", heard.len());
            }));
            running.push(tokio::spawn(async move {
                let mut heard = Vec::new();
                far_in.read_to_end(&mut heard).await.unwrap();
                assert!(heard == *up, "{} bytes", heard.len());
            }));
        }
        let mut cuts = 0;
        while running.iter().any(|task| !task.is_finished()) && cuts < 10 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let faults = embedded.service.faults();
            cuts += faults.sessions().iter().filter(|lane| faults.cut(&lane.id, end, Cut::Abort)).count();
        }
        assert!(cuts > 1, "it was over before anything was cut");
        for task in running {
            timeout(4 * PATIENCE, task).await.expect("stuck").unwrap();
        }
    }
}

/// Writes as much as goes, until nobody listens any more.
async fn pour(mut to: impl AsyncWrite + Unpin) {
    while to.write_all(&[7; 32768]).await.is_ok() {}
}

/// How much comes in these seconds.
async fn count(mut from: impl AsyncRead + Unpin, until: tokio::time::Instant) -> usize {
    let (mut count, mut buffer) = (0, vec![0; 65536]);
    while let Ok(read) = tokio::time::timeout_at(until, from.read(&mut buffer)).await {
        count += read.unwrap();
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_streams_have_their_share_each_in_either_direction() {
    const STREAMS: usize = 200;
    let embedded = EmbeddedTransport::fast().await;
    for up in [false, true] {
        let relay = embedded.relay().await;
        let (listener, target) = listener().await;
        let mut pairs = Vec::new();
        for _ in 0..STREAMS {
            let (near, far) = soon(async { tokio::join!(relay.dial(target.clone()), listener.accept()) }).await;
            pairs.push((near.unwrap(), far.unwrap().0));
        }
        let until = tokio::time::Instant::now() + Duration::from_secs(8);
        let (mut pouring, mut counting) = (Vec::new(), Vec::new());
        for (near, far) in pairs {
            if up {
                pouring.push(tokio::spawn(pour(near)));
                counting.push(tokio::spawn(count(far, until)));
            } else {
                pouring.push(tokio::spawn(pour(far)));
                counting.push(tokio::spawn(count(near, until)));
            }
        }
        let mut counts = Vec::new();
        for task in counting {
            counts.push(task.await.unwrap());
        }
        let mean = counts.iter().sum::<usize>() / STREAMS;
        let slowest = counts.iter().min().unwrap();
        assert!(*slowest >= mean / 2 && mean > 0, "up {up}: the slowest had {slowest} bytes of {mean}");
        for task in pouring {
            soon(task).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_stalls_itself_only() {
    let embedded = EmbeddedTransport::fast().await;
    let relay = embedded.relay().await;
    let sent = awkward(8 << 20);
    let (mut slow, mut far_slow) = joined(&relay).await;
    let whole = sent.clone();
    let writing = tokio::spawn(async move {
        far_slow.write_all(&whole).await.unwrap();
        far_slow
    });
    // nor a target that reads nothing
    let (mut clogged, _far_clogged) = joined(&relay).await;
    let clogging = timeout(Duration::from_secs(2), clogged.write_all(&sent)).await;
    assert!(clogging.is_err(), "nobody reads it, and all of it was taken");
    let (mut near, mut far) = joined(&relay).await;
    for _ in 0..50 {
        near.write_all(b"x").await.unwrap();
        let mut byte = [0];
        soon(far.read_exact(&mut byte)).await.unwrap();
        far.write_all(b"y").await.unwrap();
        soon(near.read_exact(&mut byte)).await.unwrap();
    }
    assert!(!writing.is_finished(), "more was taken than a window");
    let mut heard = vec![0; sent.len()];
    soon(slow.read_exact(&mut heard)).await.unwrap();
    assert!(heard == sent);
    soon(writing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_python_is_not_to_be_used_there_is_none_and_nothing_is_opened() {
    let options = TransportOptions { helper: Helper::Sh, ..TransportOptions::default() };
    let embedded = EmbeddedTransport::new(Fidelity::Fast, options).await;
    let relay = embedded.relay().await;
    assert_eq!(relay.ended(), Some(RelayError::NotOnThisNode));
    let (_listener, target) = listener().await;
    assert_eq!(relay.dial(target).await.unwrap_err(), RelayError::NotOnThisNode);
    assert_eq!(relay.resolve("localhost").await.unwrap_err(), RelayError::NotOnThisNode);
    assert!(embedded.service.faults().sessions().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_framed_lane_does_as_well() {
    let options = TransportOptions { rung: Some(Rung::OneLane), ..TransportOptions::default() };
    let embedded = EmbeddedTransport::new(Fidelity::Fast, options).await;
    let relay = embedded.relay().await;
    let (mut near, mut far) = joined(&relay).await;
    let sent = awkward(100_000);
    near.write_all(&sent).await.unwrap();
    near.shutdown().await.unwrap();
    let mut heard = Vec::new();
    soon(far.read_to_end(&mut heard)).await.unwrap();
    assert!(heard == sent);
    far.write_all(&sent).await.unwrap();
    drop(far);
    heard.clear();
    soon(near.read_to_end(&mut heard)).await.unwrap();
    assert!(heard == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_its_last_handle_and_stream() {
    let embedded = EmbeddedTransport::fast().await;
    let relay = embedded.relay().await;
    let (mut near, mut far) = joined(&relay).await;
    drop(relay);
    near.write_all(b"still").await.unwrap();
    let mut heard = [0; 5];
    soon(far.read_exact(&mut heard)).await.unwrap();
    drop(near);
    assert!(embedded.litter().await.is_empty());
    let until = Instant::now() + PATIENCE;
    while !embedded.service.faults().sessions().is_empty() {
        assert!(Instant::now() < until, "its lanes are still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_for_something_else_opens_none() {
    let embedded = EmbeddedTransport::fast().await;
    let grant = Grant::for_test(NODE, Action::Shell);
    let record = crate::evidence::SessionRecord::for_test().lanes();
    let refused = embedded.transport.open_relay(grant, record, Herald::default()).await;
    assert!(matches!(refused, Err(TransportError::NothingToRelay)), "{refused:?}");
}
