//! One mechanism at a time: what is found to be lost, and when.

use super::*;
use crate::channel::Limits;

const START: Time = Time::from_secs(1_000_000);

struct Bench {
    flight: Flight,
    rtt: Rtt,
    now: Time,
}

impl Bench {
    /// A path of 40 ms with `frames` of 100 bytes on it, one per millisecond.
    fn with(frames: i64) -> Self {
        let mut bench = Self { flight: Flight::default(), rtt: Rtt::new(&Limits::default(), START), now: START };
        bench.rtt.sample(START, Duration::from_millis(40));
        for sequence in 0..frames {
            bench.flight.push(bench.now, sequence, Bytes::from(vec![0; 100]));
            bench.pass(1);
        }
        bench
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    fn acknowledge(&mut self, sequence: i64) -> bool {
        self.flight.acknowledge(self.now, sequence, &self.rtt).is_some()
    }

    fn detect(&mut self) -> bool {
        self.flight.detect(self.now, &self.rtt).is_some()
    }

    fn resend_all(&mut self) -> usize {
        core::iter::from_fn(|| self.flight.resend(self.now)).count()
    }
}

#[test]
fn acknowledgements_in_any_order_empty_it() {
    let mut bench = Bench::with(4);
    for sequence in [2, 0, 3] {
        assert!(bench.acknowledge(sequence));
        assert!(!bench.acknowledge(sequence), "only once");
    }
    assert_eq!((bench.flight.outstanding(), bench.flight.span_frames(), bench.flight.span()), (1, 3, 300));
    assert_eq!(bench.flight.oldest(), Some((1, 1)));
    assert!(
        !bench.acknowledge(-1) && !bench.acknowledge(4) && !bench.acknowledge(i64::MAX) && !bench.acknowledge(i64::MIN)
    );
    assert!(bench.acknowledge(1));
    assert_eq!((bench.flight.outstanding(), bench.flight.in_flight(), bench.flight.span()), (0, 0, 0));
    assert_eq!(bench.flight.deadline(&bench.rtt), None);
}

#[test]
fn a_gap_is_filled_after_a_round_trip_and_three_later_frames() {
    let mut bench = Bench::with(5);
    bench.pass(38);
    for sequence in [1, 2] {
        bench.acknowledge(sequence);
        assert!(!bench.detect());
    }
    bench.acknowledge(3);
    assert!(!bench.detect(), "frame 0 may yet come");
    bench.pass(5);
    assert!(bench.detect());
    assert_eq!(bench.resend_all(), 1);
    assert_eq!(bench.flight.oldest(), Some((0, 2)));
    assert!(!bench.detect(), "the new transmission is not overtaken");
    // a round trip later, the acknowledgement of the second transmission gives no measurement
    bench.pass(41);
    let acked = bench.flight.acknowledge(bench.now, 0, &bench.rtt).unwrap();
    assert_eq!(acked.sample, None);
}

#[test]
fn silence_brings_a_probe_and_its_answer_everything_else() {
    let mut bench = Bench::with(100);
    bench.pass(10_000);
    assert!(bench.flight.expire(bench.now, &bench.rtt).is_some());
    assert!(bench.flight.expire(bench.now, &bench.rtt).is_none());
    assert!(bench.flight.is_probe());
    assert_eq!(bench.resend_all(), 1);
    bench.pass(40);
    bench.acknowledge(0);
    assert!(bench.detect());
    assert_eq!(bench.resend_all(), 99);
    assert_eq!(bench.flight.in_flight(), 9900);
}

#[test]
fn a_frame_that_is_always_lost_is_sent_ever_more_rarely() {
    let mut bench = Bench::with(4);
    let mut sent_at = Vec::new();
    for sequence in 4..10_000 {
        bench.acknowledge(sequence - 1);
        bench.flight.detect(bench.now, &bench.rtt);
        if bench.resend_all() > 0 {
            sent_at.push(sequence);
        }
        bench.flight.push(bench.now, sequence, Bytes::from(vec![0; 100]));
        bench.pass(1);
        bench.acknowledge(1);
        bench.acknowledge(2);
    }
    let gaps: Vec<i64> = sent_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((8..25).contains(&gaps.len()), "{gaps:?}");
    assert!(gaps.windows(2).skip(2).all(|pair| pair[1] >= pair[0]), "{gaps:?}");
    assert!(gaps.last().is_some_and(|last| (900..1100).contains(last)), "{gaps:?}");
    // later it is known to have arrived
    bench.flight.conclude(20_000);
    assert_eq!(bench.flight.oldest().map(|(sequence, _)| sequence), Some(0));
    bench.flight.conclude(5_000);
    assert_eq!(bench.flight.outstanding(), 1);
}

#[test]
fn probes_go_on_when_the_oldest_waits_for_the_window() {
    let mut bench = Bench::with(10);
    for _ in 0..3 {
        bench.pass(10_000);
        assert!(bench.flight.expire(bench.now, &bench.rtt).is_some());
        assert_eq!(bench.flight.next_lost(), Some(100));
        assert!(bench.flight.is_probe());
    }
    assert_eq!(bench.resend_all(), 1);
}

#[test]
fn a_resume_sends_everything_again_in_order() {
    let mut bench = Bench::with(6);
    bench.acknowledge(2);
    bench.flight.lose_all(bench.now);
    assert_eq!(bench.flight.in_flight(), 0);
    assert_eq!(bench.flight.lost, [0, 1, 3, 4, 5]);
    assert_eq!(bench.resend_all(), 5);
    assert_eq!((bench.flight.in_flight(), bench.flight.outstanding()), (500, 5));
}

#[test]
fn an_acknowledgement_of_an_earlier_transmission_accuses_nobody() {
    let mut bench = Bench::with(4);
    bench.pass(10_000);
    bench.flight.expire(bench.now, &bench.rtt);
    bench.resend_all();
    bench.pass(1);
    bench.acknowledge(0);
    assert!(!bench.detect(), "1 ms is no round trip");
}
