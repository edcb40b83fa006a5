//! Lanes whose client takes nothing, or whose node says nothing: they cost no time of the machine, they end all the same,
//! and every session they had is in the evidence.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::watched::{Slow, Watched};
use crate::config::{Helper, Rung};
use crate::emulator::{Cut, End};
use crate::evidence::{EventLog, SessionRecord};
use crate::model::SessionId;
use crate::policy::{Action, Grant};
use crate::testing::{EmbeddedTransport, NODE};
use crate::transport::account::Terms;
use crate::transport::channel::{Client, Delivery};
use crate::transport::context::{ChannelContext, first_request};
use crate::transport::environment::ByWay;
use crate::transport::helper::link::Link;
use crate::transport::helper::output_window::OutputWindow;
use crate::transport::ladder::Ladder;
use crate::transport::lane_opener::LaneOpener;
use crate::transport::lanes;
use crate::transport::limits::{Clock, Limits};
use crate::transport::node_places::NodePermit;
use crate::transport::options::Options;
use crate::transport::{ChannelSetup, TransportOptions};

const SECOND: Duration = Duration::from_secs(1);

/// A log, and a session's record in it.
struct Noted {
    directory: tempfile::TempDir,
    record: SessionRecord,
}

impl Noted {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = Arc::new(EventLog::open(directory.path(), 1 << 20).unwrap());
        Self { directory, record: SessionRecord::for_test_in(log) }
    }

    /// The sessions of Session Manager in it.
    fn sessions(&self) -> Vec<SessionId> {
        let text = std::fs::read_to_string(self.directory.path().join(EventLog::FILE)).unwrap();
        let event = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let id = |line| SessionId(event(line)["session_manager_id"].as_str().unwrap().to_owned());
        text.lines().map(id).collect()
    }
}

/// The context of a command without input, that may last so long.
async fn context(backend: &Arc<Watched>, noted: &Noted, command: &str, longest: Option<Duration>) -> ChannelContext {
    let setup = ChannelSetup { stdin_closed: true, ..ChannelSetup::default() };
    let carried = crate::transport::parameter::encode(command.as_bytes()).unwrap();
    let grant = Grant::for_test(NODE, Action::Exec { command: command.as_bytes().to_vec() });
    let permit = NodePermit::for_test(&grant).await;
    ChannelContext {
        opener: LaneOpener::new(backend.clone(), Arc::new(grant), noted.record.lanes()),
        rung: Rung::TwoLanes,
        options: Options::command(&setup, &ByWay::default(), None, Helper::Auto, "0123456789abcdef".to_owned()),
        command: carried.parameter().to_owned(),
        ladder: Ladder::new(Some(Rung::TwoLanes)),
        _permit: permit,
        payload: 1024,
        terms: Terms::default(),
        clock: Clock::new(Limits { idle: None, longest }, Instant::now()),
        eager: false,
    }
}

/// The lanes of such a channel, and what they say to the client, one thing at a time. The link is as old as that.
async fn begin(context: ChannelContext, age: Duration) -> (impl Future<Output = ()> + use<>, mpsc::Receiver<Delivery>) {
    let first = context.opener.open(first_request(&context)).await.unwrap();
    let link = Link::new(Instant::now().checked_sub(age).unwrap(), true, OutputWindow::default());
    let ((_, data), (_, control)) = (mpsc::channel(1), mpsc::channel(1));
    let (deliveries, said) = mpsc::channel(1);
    (lanes::run(context, first, link, Client { data, control, deliveries }), said)
}

/// How often it wakes up in this time, in which it does not end.
async fn wakes(mut lanes: Pin<&mut impl Future<Output = ()>>, time: Duration) -> usize {
    let mut count = 0;
    let counted = std::future::poll_fn(|context| {
        count += 1;
        lanes.as_mut().poll(context)
    });
    tokio::time::timeout(time, counted).await.expect_err("the lanes have ended");
    count
}

/// Once they have had so long to settle, the lanes neither end nor do anything.
async fn they_rest(lanes: impl Future<Output = ()>, settled: Duration) {
    let mut lanes = pin!(lanes);
    wakes(lanes.as_mut(), settled).await;
    let woken = wakes(lanes.as_mut(), SECOND).await;
    assert!(woken < 20, "woke up {woken} times in a second");
}

/// The error at the end.
async fn hear(mut said: mpsc::Receiver<Delivery>) -> Option<String> {
    let mut failed = None;
    while let Some(delivery) = said.recv().await {
        assert_eq!(failed, None, "an error is the last thing that is said");
        if let Delivery::Failed(error) = delivery {
            failed = Some(error.to_string());
        }
    }
    failed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_says_nothing_is_waited_for_in_silence() {
    let mut embedded = EmbeddedTransport::fast().await;
    let backend = embedded.watch(Slow::default(), TransportOptions::default());
    embedded.silence();
    // the first renewal is long overdue, and there is no way to send it
    let (lanes, _said) = begin(context(&backend, &Noted::new(), "true", None).await, 60 * SECOND).await;
    they_rest(lanes, SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_of_what_is_complete_is_waited_for_in_silence() {
    let mut embedded = EmbeddedTransport::fast().await;
    let backend = embedded.watch(Slow::default(), TransportOptions::default());
    let noted = Noted::new();
    // the first renewal falls due within three seconds, when the helper may have said everything
    let (lanes, _said) = begin(context(&backend, &noted, "seq 100000", None).await, 7 * SECOND).await;
    they_rest(lanes, 4 * SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_end_although_the_client_takes_nothing_and_all_of_them_are_noted() {
    let mut embedded = EmbeddedTransport::fast().await;
    let backend = embedded.watch(Slow::default(), TransportOptions::default());
    let noted = Noted::new();
    let (lanes, said) = begin(context(&backend, &noted, "cat /dev/zero", Some(5 * SECOND)).await, Duration::ZERO).await;
    let lanes = tokio::spawn(lanes);
    tokio::time::sleep(SECOND).await;
    assert!(embedded.service.faults().cut(&backend.opened()[0].0, End::Client, Cut::Abort));
    // with them goes the context, and with that the place on the node
    tokio::time::timeout(20 * SECOND, lanes).await.expect("the lanes wait for the client").unwrap();
    assert!(backend.opened().len() > 1, "no lane was replaced");
    assert_eq!(noted.sessions(), backend.opened());
    assert!(hear(said).await.unwrap().starts_with("Max session duration"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_comes_after_the_end_is_noted_and_not_waited_for() {
    let mut embedded = EmbeddedTransport::fast().await;
    let slow = Slow { way_in: 5 * SECOND, ..Slow::default() };
    let backend = embedded.watch(slow, TransportOptions::default());
    let noted = Noted::new();
    let context = ChannelContext { eager: true, ..context(&backend, &noted, "true", None).await };
    let (lanes, said) = begin(context, Duration::ZERO).await;
    let ((), failed) = tokio::join!(lanes, hear(said));
    assert_eq!((backend.opened().len(), failed), (1, None));
    let until = Instant::now() + 20 * SECOND;
    while noted.sessions().len() < 2 || !embedded.service.faults().sessions().is_empty() {
        assert!(Instant::now() < until, "the late lane was forgotten");
        tokio::time::sleep(SECOND / 10).await;
    }
    assert_eq!(noted.sessions(), backend.opened());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_while_a_lane_is_opened_leaves_no_session() {
    let mut embedded = EmbeddedTransport::fast().await;
    let backend = embedded.watch(Slow::default(), TransportOptions::default());
    let noted = Noted::new();
    let context = context(&backend, &noted, "sleep 60", None).await;
    {
        let opening = pin!(context.opener.open(first_request(&context)));
        assert!(futures_util::poll!(opening).is_pending());
    }
    let until = Instant::now() + 20 * SECOND;
    while noted.sessions().is_empty() || !embedded.service.faults().sessions().is_empty() {
        assert!(Instant::now() < until, "the session was forgotten");
        tokio::time::sleep(SECOND / 10).await;
    }
}
