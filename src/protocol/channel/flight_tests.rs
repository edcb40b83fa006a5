//! One mechanism at a time: what is found to be lost, and when.

use super::*;
use crate::channel::Limits;

const START: Time = Time::from_secs(1_000_000);

struct TimedFlight {
    flight: Flight,
    rtt: Rtt,
    now: Time,
}

impl TimedFlight {
    /// A path of 40 ms with `frames` of 100 bytes on it, one per millisecond.
    fn with(frames: i64) -> Self {
        let mut timed = Self { flight: Flight::default(), rtt: Rtt::new(&Limits::default(), START), now: START };
        timed.rtt.sample(START, Duration::from_millis(40));
        for sequence in 0..frames {
            timed.flight.push(timed.now, sequence, Bytes::from(vec![0; 100]));
            timed.pass(1);
        }
        timed
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
    let mut timed = TimedFlight::with(4);
    for sequence in [2, 0, 3] {
        assert!(timed.acknowledge(sequence));
        assert!(!timed.acknowledge(sequence), "only once");
    }
    assert_eq!((timed.flight.outstanding(), timed.flight.span_frames(), timed.flight.span()), (1, 3, 300));
    assert_eq!(timed.flight.oldest(), Some((1, 1)));
    assert!(
        !timed.acknowledge(-1) && !timed.acknowledge(4) && !timed.acknowledge(i64::MAX) && !timed.acknowledge(i64::MIN)
    );
    assert!(timed.acknowledge(1));
    assert_eq!((timed.flight.outstanding(), timed.flight.in_flight(), timed.flight.span()), (0, 0, 0));
    assert_eq!(timed.flight.deadline(&timed.rtt), None);
}

#[test]
fn a_gap_is_filled_after_a_round_trip_and_three_later_frames() {
    let mut timed = TimedFlight::with(5);
    timed.pass(38);
    for sequence in [1, 2] {
        timed.acknowledge(sequence);
        assert!(!timed.detect());
    }
    timed.acknowledge(3);
    assert!(!timed.detect(), "frame 0 may yet come");
    timed.pass(5);
    assert!(timed.detect());
    assert_eq!(timed.resend_all(), 1);
    assert_eq!(timed.flight.oldest(), Some((0, 2)));
    assert!(!timed.detect(), "the new transmission is not overtaken");
    // a round trip later, the acknowledgement of the second transmission gives no measurement
    timed.pass(41);
    let acked = timed.flight.acknowledge(timed.now, 0, &timed.rtt).unwrap();
    assert_eq!(acked.sample, None);
}

#[test]
fn silence_brings_a_probe_and_its_answer_everything_else() {
    let mut timed = TimedFlight::with(100);
    timed.pass(10_000);
    assert!(timed.flight.expire(timed.now, &timed.rtt).is_some());
    assert!(timed.flight.expire(timed.now, &timed.rtt).is_none());
    assert!(timed.flight.is_probe());
    assert_eq!(timed.resend_all(), 1);
    timed.pass(40);
    timed.acknowledge(0);
    assert!(timed.detect());
    assert_eq!(timed.resend_all(), 99);
    assert_eq!(timed.flight.in_flight(), 9900);
}

#[test]
fn a_frame_that_is_always_lost_is_sent_ever_more_rarely() {
    let mut timed = TimedFlight::with(4);
    let mut sent_at = Vec::new();
    for sequence in 4..10_000 {
        timed.acknowledge(sequence - 1);
        timed.flight.detect(timed.now, &timed.rtt);
        if timed.resend_all() > 0 {
            sent_at.push(sequence);
        }
        timed.flight.push(timed.now, sequence, Bytes::from(vec![0; 100]));
        timed.pass(1);
        timed.acknowledge(1);
        timed.acknowledge(2);
    }
    let gaps: Vec<i64> = sent_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((8..25).contains(&gaps.len()), "{gaps:?}");
    assert!(gaps.windows(2).skip(2).all(|pair| pair[1] >= pair[0]), "{gaps:?}");
    assert!(gaps.last().is_some_and(|last| (900..1100).contains(last)), "{gaps:?}");
    // later it is known to have arrived
    timed.flight.conclude(20_000);
    assert_eq!(timed.flight.oldest().map(|(sequence, _)| sequence), Some(0));
    timed.flight.conclude(5_000);
    assert_eq!(timed.flight.outstanding(), 1);
}

#[test]
fn probes_go_on_when_the_oldest_waits_for_the_window() {
    let mut timed = TimedFlight::with(10);
    for _ in 0..3 {
        timed.pass(10_000);
        assert!(timed.flight.expire(timed.now, &timed.rtt).is_some());
        assert_eq!(timed.flight.next_lost(), Some(100));
        assert!(timed.flight.is_probe());
    }
    assert_eq!(timed.resend_all(), 1);
}

#[test]
fn a_resume_sends_everything_again_in_order() {
    let mut timed = TimedFlight::with(6);
    timed.acknowledge(2);
    timed.flight.lose_all(timed.now);
    assert_eq!(timed.flight.in_flight(), 0);
    assert_eq!(timed.flight.lost, [0, 1, 3, 4, 5]);
    assert_eq!(timed.resend_all(), 5);
    assert_eq!((timed.flight.in_flight(), timed.flight.outstanding()), (500, 5));
}

#[test]
fn an_acknowledgement_of_an_earlier_transmission_accuses_nobody() {
    let mut timed = TimedFlight::with(4);
    timed.pass(10_000);
    timed.flight.expire(timed.now, &timed.rtt);
    timed.resend_all();
    timed.pass(1);
    timed.acknowledge(0);
    assert!(!timed.detect(), "1 ms is no round trip");
}
