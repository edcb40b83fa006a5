//! What a client says the moment its channel exists must never come back: an in lane begins as a terminal that echoes, and
//! what it echoes is in the account's logs. So this looks at what the agent sends towards the gateway, on every lane.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use portcullis_protocol::payload::PayloadType;
use portcullis_protocol::{Message, MessageType};

use super::ended::collect;
use crate::config::{Helper, Rung};
use crate::emulator::End;
use crate::emulator::agent::Fidelity;
use crate::model::Exit;
use crate::testing::EmbeddedTransport;
use crate::transport::{OpenChannel, TransportOptions};

/// Channels at once: the moments differ more when the machine is busy.
const TOGETHER: usize = 4;

/// What passed through a session, by direction.
#[derive(Default)]
struct Said {
    by_client: Vec<u8>,
    by_node: Vec<u8>,
}

type Log = Arc<Mutex<HashMap<String, Said>>>;

/// A log of all sessions, as the service sees them.
fn log(embedded: &EmbeddedTransport) -> Log {
    let log = Log::default();
    let kept = log.clone();
    let tapped = embedded.service.faults().tap(Box::new(move |session, towards, frame| {
        let Ok(message) = Message::decode(frame.clone()) else { panic!("a frame that is none was relayed") };
        if message.payload_type.is_some_and(PayloadType::is_handshake) {
            return;
        }
        let mut log = kept.lock().unwrap();
        let said = log.entry(session.to_owned()).or_default();
        match (towards, message.kind) {
            (End::Agent, MessageType::InputStreamData) => said.by_client.extend_from_slice(&message.payload),
            (End::Client, MessageType::OutputStreamData) => said.by_node.extend_from_slice(&message.payload),
            _ => {}
        }
    }));
    assert!(tapped);
    log
}

/// As the records for the `sh` helper write short input.
fn octal(text: &str) -> String {
    text.bytes().fold(String::new(), |mut octal, byte| {
        let _ = write!(octal, "\\{byte:03o}");
        octal
    })
}

async fn appears_in_no_lane(runs: usize, rung: Rung, helper: Helper) {
    let options = TransportOptions { rung: Some(rung), helper, ..TransportOptions::default() };
    let embedded = EmbeddedTransport::new(Fidelity::Fast, options).await;
    let log = log(&embedded);
    for turn in 0..runs / TOGETHER {
        let together = (0..TOGETHER).map(|place| {
            let embedded = &embedded;
            async move {
                let canary = canary(turn * TOGETHER + place);
                let OpenChannel { input, output } = embedded.exec("cat >/dev/null; echo done", false).await.unwrap();
                input.send(Bytes::from(format!("{canary}\u{1}\r\n"))).await.unwrap();
                input.eof().await.unwrap();
                let ended = collect(output).await;
                assert_eq!((&ended.stdout[..], ended.exit), (&b"done\n"[..], Some(Exit::Code(0))), "{:?}", ended.error);
                assert!(ended.stderr.is_empty(), "{:?}", String::from_utf8_lossy(&ended.stderr));
            }
        });
        futures_util::future::join_all(together).await;
    }
    let log = log.lock().unwrap();
    let (mut heard, mut answered) = (0, 0);
    for (session, said) in log.iter() {
        let (client, node) = (&said.by_client, &said.by_node);
        // an echo of part of it is one as well; all canaries begin alike, and their octal digits do
        for trace in [MARK.to_owned(), octal(MARK)] {
            heard += find(client, trace.as_bytes()).count();
            let mut echoes = find(node, trace.as_bytes());
            assert!(echoes.next().is_none(), "{session} says {:?}", String::from_utf8_lossy(node));
        }
        // whatever form it takes: no part of what was sent comes back
        let echo = client.windows(SAME).find(|part| find(node, part).next().is_some());
        assert!(echo.is_none(), "{session} repeats {:?}", echo.map(String::from_utf8_lossy));
        answered += usize::from(!node.is_empty());
    }
    // the log is a log: it has every canary on its way to the node, and the node's answers
    assert!(heard >= runs, "{heard} canaries were sent");
    assert!(answered >= runs, "{answered} lanes said something");
}

/// What every canary holds, and nothing else does.
const MARK: &str = "KANARIENVOGEL";
/// More than a record's header and small numbers have in common by chance.
const SAME: usize = 24;

fn canary(number: usize) -> String {
    format!("{MARK}-{number:04}-the-quick-brown-fox-jumps-over-the-lazy-dog-{number:04}")
}

fn find<'a>(bytes: &'a [u8], part: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    bytes.windows(part.len()).enumerate().filter(move |(_, window)| *window == part).map(|(at, _)| at)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lanes() {
    appears_in_no_lane(200, Rung::TwoLanes, Helper::Auto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lanes_with_the_sh_helper() {
    appears_in_no_lane(48, Rung::TwoLanes, Helper::Sh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lane() {
    appears_in_no_lane(48, Rung::OneLane, Helper::Auto).await;
}
