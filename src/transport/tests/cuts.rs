//! Websockets taken away in the middle of things, the gateway's (which makes the service pause the agent) and the agent's:
//! twenty times in a download, in an upload and in an idle shell, on both rungs. After every cut what has arrived is
//! compared: nothing may be lost and nothing may come twice.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ended::{collect, next_of};
use super::watched::Slow;
use crate::config::{Helper, Rung};
use crate::emulator::agent::Fidelity;
use crate::emulator::{Cut, End};
use crate::model::Exit;
use crate::testing::{EmbeddedTransport, NODE, awkward};
use crate::transport::{Input, OpenChannel, Out, Output, TransportOptions};

const ROUNDS: usize = 20;

/// One test for each end and rung.
macro_rules! at_each_end_on_each_rung {
    ($($test:ident)*) => { $(mod $test {
        use super::{End, Rung};
        #[tokio::test(flavor = "multi_thread")]
        async fn the_gateway_s() { super::$test(End::Client, Rung::TwoLanes).await; }
        #[tokio::test(flavor = "multi_thread")]
        async fn the_agent_s() { super::$test(End::Agent, Rung::TwoLanes).await; }
        #[tokio::test(flavor = "multi_thread")]
        async fn the_gateway_s_only_one() { super::$test(End::Client, Rung::OneLane).await; }
        #[tokio::test(flavor = "multi_thread")]
        async fn the_agent_s_only_one() { super::$test(End::Agent, Rung::OneLane).await; }
    })* };
}

at_each_end_on_each_rung! { in_a_download in_an_upload in_an_idle_shell }

async fn embedded(rung: Rung) -> EmbeddedTransport {
    let options = TransportOptions { rung: Some(rung), ..TransportOptions::default() };
    EmbeddedTransport::new(Fidelity::Fast, options).await
}

impl EmbeddedTransport {
    /// Takes that end's websocket of every lane away, all at once. When this returns it is gone, and if it is the gateway's
    /// an agent has been told to pause.
    async fn cut(&self, end: End) {
        self.settled().await;
        let faults = self.service.faults();
        let (pauses, losses) = (faults.pauses(), faults.losses(end));
        let cut = faults.sessions().iter().filter(|lane| faults.cut(&lane.id, end, Cut::Abort)).count();
        assert!(cut > 0, "nothing to cut");
        let until = Instant::now() + PATIENCE;
        while faults.losses(end) == losses || end == End::Client && faults.pauses() == pauses {
            assert!(Instant::now() < until, "nothing was cut, or no agent was told to pause");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until both ends of a lane are there.
    async fn settled(&self) {
        let until = Instant::now() + PATIENCE;
        while !self.service.faults().sessions().iter().any(|lane| lane.client_attached && lane.agent_attached) {
            assert!(Instant::now() < until, "nobody came back to {NODE}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What a command has said so far, against what it should have said.
struct Received {
    output: Output,
    bytes: Vec<u8>,
    /// The end of the command may come before the last of what it said.
    exit: Option<Exit>,
}

impl Received {
    fn from(output: Output) -> Self {
        Self { output, bytes: Vec::new(), exit: None }
    }

    /// Reads until so many bytes are there.
    async fn up_to(&mut self, length: usize) {
        while self.bytes.len() < length {
            let next = tokio::time::timeout(PATIENCE, next_of(&mut self.output)).await;
            match next.unwrap_or_else(|_| panic!("stuck at {} of {length} bytes", self.bytes.len())) {
                Some(Ok(Out::Stdout(bytes))) => self.bytes.extend_from_slice(&bytes),
                Some(Ok(Out::Exit(exit))) if self.exit.is_none() => self.exit = Some(exit),
                other => panic!("{other:?} at {} of {length} bytes", self.bytes.len()),
            }
        }
    }

    /// Reads to the end; nothing more than the exit status may come.
    async fn exit(mut self) -> Exit {
        while let Some(out) = tokio::time::timeout(PATIENCE, next_of(&mut self.output)).await.expect("no end") {
            match out {
                Ok(Out::Exit(exit)) if self.exit.is_none() => self.exit = Some(exit),
                other => panic!("{other:?} after the end"),
            }
        }
        self.exit.expect("an exit status")
    }
}

/// `cat` of a file, read by a client that takes a piece, loses its lanes, and takes the next. More is left after the last
/// cut than can be on its way at once, so that every cut is in the middle.
async fn in_a_download(end: End, rung: Rung) {
    const PIECE: usize = 384 * 1024;
    let embedded = embedded(rung).await;
    let sent = awkward(ROUNDS * PIECE + (8 << 20));
    let file = embedded.service.directory.path().join("file");
    std::fs::write(&file, &sent).unwrap();
    let OpenChannel { input, output } = embedded.exec(&format!("cat '{}'", file.display()), true).await.unwrap();
    let mut received = Received::from(output);
    for round in 1..=ROUNDS {
        received.up_to(round * PIECE).await;
        assert!(sent.starts_with(&received.bytes), "not what was sent, before cut {round}");
        embedded.cut(end).await;
    }
    received.up_to(sent.len()).await;
    assert!(received.bytes == sent, "not what was sent, after the last cut");
    assert_eq!(received.exit().await, Exit::Code(0));
    drop(input);
}

/// `cat` into a file, from a client that loses its lanes while a piece is on its way.
async fn in_an_upload(end: End, rung: Rung) {
    const PIECE: usize = 384 * 1024;
    let embedded = embedded(rung).await;
    let sent = awkward(ROUNDS * PIECE);
    let file = embedded.service.directory.path().join("file");
    let OpenChannel { input, output } = embedded.exec(&format!("cat > '{}'", file.display()), false).await.unwrap();
    for (round, piece) in sent.chunks(PIECE).enumerate() {
        let (first, second) = piece.split_at(PIECE / 2);
        write(&input, first).await;
        // some of it is there, and the rest of it is on its way
        grown_to(&file, round * PIECE + 1).await;
        tokio::join!(embedded.cut(end), write(&input, second));
        let there = round * PIECE + piece.len();
        let arrived = grown_to(&file, there).await;
        assert!(arrived == sent[..there], "not what was sent, after cut {}", round + 1);
    }
    input.eof().await.unwrap();
    assert_eq!(Received::from(output).exit().await, Exit::Code(0));
    assert!(std::fs::read(&file).unwrap() == sent);
}

/// A shell that waits for its person: half of the cuts find it idle with its lanes back from the last one, the other half
/// are followed by a line at once.
async fn in_an_idle_shell(end: End, rung: Rung) {
    let embedded = embedded(rung).await;
    let OpenChannel { input, output } = embedded.shell().await.unwrap();
    let mut received = Received::from(output);
    // a shell without line editing, echo and prompt says exactly what it is told to say
    write(&input, b"stty -echo -onlcr; echo go-a''head; PS1= exec sh\n").await;
    while !received.bytes.ends_with(b"go-ahead\n") {
        let length = received.bytes.len();
        received.up_to(length + 1).await;
    }
    received.bytes.clear();
    let mut expected = Vec::new();
    for round in 1..=ROUNDS {
        if round % 2 == 0 {
            embedded.settled().await;
        }
        embedded.cut(end).await;
        if round % 2 == 0 {
            embedded.settled().await;
        }
        write(&input, format!("echo round {round}\n").as_bytes()).await;
        expected.extend_from_slice(format!("round {round}\n").as_bytes());
        received.up_to(expected.len()).await;
        assert_eq!(String::from_utf8_lossy(&received.bytes), String::from_utf8_lossy(&expected));
    }
    write(&input, b"exit 3\n").await;
    assert_eq!(received.exit().await, Exit::Code(3));
}

/// The `sh` helper can't resume a lane: then the channel must end in an error, never in a short file and success.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_resume_says_so() {
    let options = TransportOptions { helper: Helper::Sh, rung: Some(Rung::TwoLanes), ..TransportOptions::default() };
    let embedded = EmbeddedTransport::new(Fidelity::Fast, options).await;
    let sent = awkward(12 << 20);
    let file = embedded.service.directory.path().join("file");
    std::fs::write(&file, &sent).unwrap();
    let OpenChannel { input, output } = embedded.exec(&format!("cat '{}'", file.display()), true).await.unwrap();
    let mut received = Received::from(output);
    received.up_to(100_000).await;
    embedded.cut(End::Client).await;
    let ended = collect(received.output).await;
    received.bytes.extend_from_slice(&ended.stdout);
    assert!(sent.starts_with(&received.bytes), "not what was sent");
    let whole = received.bytes.len() == sent.len();
    assert_eq!(whole, ended.error.is_none(), "{:?} after {} bytes", ended.error, received.bytes.len());
    assert!(whole || ended.exit != Some(Exit::Code(0)), "success, with {} bytes", received.bytes.len());
    drop(input);
    assert!(embedded.litter().await.is_empty());
}

async fn write(input: &Input, bytes: &[u8]) {
    for part in bytes.chunks(16 * 1024) {
        let written = tokio::time::timeout(PATIENCE, input.send(Bytes::copy_from_slice(part))).await;
        written.expect("nobody takes the input").unwrap();
    }
}

/// Waits until a file has so many bytes; more would be a fault as well.
async fn grown_to(file: &Path, length: usize) -> Vec<u8> {
    let until = Instant::now() + PATIENCE;
    loop {
        let bytes = std::fs::read(file).unwrap_or_default();
        if bytes.len() >= length {
            return bytes;
        }
        assert!(Instant::now() < until, "stuck at {} of {length} bytes", bytes.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// For a single step, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_cannot_be_opened_at_once_is_opened_later() {
    let mut embedded = EmbeddedTransport::fast().await;
    let backend = embedded.watch(Slow::default(), TransportOptions::default());
    let OpenChannel { input, mut output } = embedded.exec("echo here; cat; exit 3", false).await.unwrap();
    assert_eq!(next_of(&mut output).await.unwrap().unwrap(), Out::Stdout(Bytes::from_static(b"here\n")));
    // neither the way out, after its websocket was lost, nor the way in, for some seconds
    let faults = embedded.service.faults();
    backend.fail(6);
    let first = faults.sessions()[0].id.clone();
    assert!(faults.cut(&first, End::Client, Cut::Abort));
    input.send(Bytes::from_static(b"there\n")).await.unwrap();
    input.eof().await.unwrap();
    let ended = collect(output).await;
    assert_eq!((&ended.stdout[..], ended.exit), (&b"there\n"[..], Some(Exit::Code(3))), "{:?}", ended.error);
    // and again where this machine is busy; that it is over may come too late to be told
    assert!(ended.notices.first().is_some_and(|notice| notice.contains("is interrupted")), "{:?}", ended.notices);
    assert!(ended.notices.get(1).is_none_or(|notice| notice.contains("there again")), "{:?}", ended.notices);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_cannot_be_opened_for_long_ends_the_channel() {
    let mut embedded = EmbeddedTransport::fast().await;
    let backend = embedded.watch(Slow::default(), TransportOptions::default());
    let OpenChannel { input, mut output } = embedded.exec("echo here; cat", false).await.unwrap();
    next_of(&mut output).await.unwrap().unwrap();
    backend.fail(1000);
    input.send(Bytes::from_static(b"x")).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), collect(output)).await.unwrap();
    assert!(ended.error.unwrap().contains("throttling"));
    assert!(embedded.litter().await.is_empty());
}
