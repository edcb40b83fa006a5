//! Lanes whose client takes nothing, or whose node says nothing: they cost no time of the machine, they end all the same,
//! and every session they had comes to the evidence.

use std::pin::{Pin, pin};
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::watched::{Slow, Watched};
use super::*;
use crate::emulator::{Cut, End};
use crate::model::{NodeId, SessionId};
use crate::transport::channel::Delivery;
use crate::transport::helper::link::Link;
use crate::transport::ladder::Ladder;
use crate::transport::lanes::{self, Client};
use crate::transport::limits::{Clock, Limits};
use crate::transport::options::Options;
use crate::transport::plan::{Plan, first_request};

const SECOND: Duration = Duration::from_secs(1);

/// The plan for a command without input, that may last so long.
async fn plan(backend: &Arc<Watched>, command: &str, longest: Option<Duration>) -> Plan {
    let what = What::Exec(Bytes::copy_from_slice(command.as_bytes()));
    let start = Start { what, pty: None, env: Vec::new(), stdin_closed: true };
    let carried = crate::transport::parameter::encode(command.as_bytes()).unwrap();
    let share = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
    Plan {
        backend: backend.clone(),
        node: NodeId(NODE.to_owned()),
        reason: None,
        rung: Rung::TwoLanes,
        options: Options::command(&start, None, Helper::Auto, "0123456789abcdef".to_owned()),
        command: carried.parameter().to_owned(),
        ladder: Ladder::new(Some(Rung::TwoLanes)),
        _share: Arc::new(share),
        payload: 1024,
        clock: Clock::new(Limits { idle: None, longest }, Instant::now()),
        eager: false,
    }
}

/// The lanes of such a plan, and what they say to the client, one thing at a time. The link is as old as that.
async fn begin(plan: Plan, age: Duration) -> (impl Future<Output = ()> + use<>, mpsc::Receiver<Delivery>) {
    let first = plan.backend.open(first_request(&plan)).await.unwrap();
    let link = Link::new(Instant::now().checked_sub(age).unwrap(), true);
    let ((_, data), (_, control)) = (mpsc::channel(1), mpsc::channel(1));
    let (deliveries, said) = mpsc::channel(1);
    (lanes::run(plan, first, link, Client { data, control, deliveries }), said)
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

/// The sessions that the evidence is told of, and the error at the end.
async fn hear(mut said: mpsc::Receiver<Delivery>) -> (Vec<SessionId>, Option<String>) {
    let (mut lanes, mut failed) = (Vec::new(), None);
    while let Some(delivery) = said.recv().await {
        assert_eq!(failed, None, "an error is the last thing that is said");
        match delivery {
            Delivery::Lane(session) => lanes.push(session),
            Delivery::Failed(error) => failed = Some(error.to_string()),
            Delivery::Out(_) => {}
        }
    }
    (lanes, failed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_says_nothing_is_waited_for_in_silence() {
    let mut world = World::fast().await;
    let backend = world.watch(Slow::default(), TransportOptions::default());
    world.silence();
    // the first renewal is long overdue, and there is no way to send it
    let (lanes, _said) = begin(plan(&backend, "true", None).await, 60 * SECOND).await;
    let mut lanes = pin!(lanes);
    wakes(lanes.as_mut(), SECOND).await;
    let woken = wakes(lanes.as_mut(), SECOND).await;
    assert!(woken < 20, "woke up {woken} times in a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_of_what_is_complete_is_waited_for_in_silence() {
    let mut world = World::fast().await;
    let backend = world.watch(Slow::default(), TransportOptions::default());
    // the first renewal falls due after three seconds, and by then the helper has said everything
    let (lanes, _said) = begin(plan(&backend, "seq 100000", None).await, 7 * SECOND).await;
    let mut lanes = pin!(lanes);
    wakes(lanes.as_mut(), 4 * SECOND).await;
    let woken = wakes(lanes.as_mut(), SECOND).await;
    assert!(woken < 20, "woke up {woken} times in a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_end_although_the_client_takes_nothing_and_it_hears_of_all_of_them_later() {
    let mut world = World::fast().await;
    let backend = world.watch(Slow::default(), TransportOptions::default());
    let (lanes, said) = begin(plan(&backend, "cat /dev/zero", Some(5 * SECOND)).await, Duration::ZERO).await;
    let lanes = tokio::spawn(lanes);
    tokio::time::sleep(SECOND).await;
    assert!(world.service.faults().cut(&backend.opened()[0].0, End::Client, Cut::Abort));
    // with them goes the plan, and with that the share of the node
    tokio::time::timeout(20 * SECOND, lanes).await.expect("the lanes wait for the client").unwrap();
    let (heard, failed) = hear(said).await;
    assert!(heard.len() > 1, "no lane was replaced");
    assert_eq!(heard, backend.opened());
    assert!(failed.unwrap().starts_with("Max session duration"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_comes_after_the_end_is_told_of() {
    let mut world = World::fast().await;
    let slow = Slow { way_in: SECOND, ..Slow::default() };
    let backend = world.watch(slow, TransportOptions::default());
    let plan = Plan { eager: true, ..plan(&backend, "true", None).await };
    let (lanes, said) = begin(plan, Duration::ZERO).await;
    let ((), (heard, failed)) = tokio::join!(lanes, hear(said));
    assert_eq!((heard.len(), failed), (2, None));
    assert_eq!(heard, backend.opened());
    let until = Instant::now() + 10 * SECOND;
    while !world.service.faults().sessions().is_empty() {
        assert!(Instant::now() < until, "the late lane was left open");
        tokio::time::sleep(SECOND / 10).await;
    }
}
