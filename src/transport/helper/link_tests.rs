//! The gateway's end of the conversation, without a helper.

use super::super::codec::binary_record as raw;
use super::super::output_window::WIDEST_OUTPUT;
use super::super::record::LONGEST_PAYLOAD;
use super::*;

fn started(now: Instant) -> Link {
    let mut link = Link::new(now, false, OutputWindow::default());
    link.handle_output(Bytes::from_static(b"PCR1\n")).unwrap();
    link
}

fn ready(link: &mut Link, received: u32) {
    let lane = [received.to_be_bytes(), link.in_lane.to_be_bytes()].concat();
    link.handle_output(raw(b'R', 0, &lane).into()).unwrap();
}

#[test]
fn nothing_is_sent_before_the_lane_is_ready() {
    let now = Instant::now();
    let mut link = started(now);
    link.write(Bytes::from_static(b"secret"));
    assert!(link.needs_in_lane(now));
    assert_eq!(link.poll_transmit(now), None);
    ready(&mut link, 0);
    assert_eq!(link.poll_transmit(now).unwrap()[0], b'S');
    assert_eq!(&link.poll_transmit(now).unwrap()[13..], b"secret");
}

#[test]
fn control_overtakes_waiting_data() {
    let now = Instant::now();
    let mut link = started(now);
    link.write(Bytes::from(vec![0; 2 * INPUT_RECORD]));
    ready(&mut link, 0);
    assert_eq!(link.poll_transmit(now).unwrap()[0], b'S');
    assert_eq!(link.poll_transmit(now).unwrap()[0], b'i');
    link.signal("INT".into());
    // but for the rest of a record that was begun
    assert_eq!(link.poll_transmit(now).unwrap().len(), INPUT_RECORD);
    assert_eq!(link.poll_transmit(now).unwrap()[0], b'K');
    assert_eq!(link.poll_transmit(now).unwrap()[0], b'i');
}

#[test]
fn a_new_in_lane_gets_what_was_not_acknowledged_and_no_more() {
    let now = Instant::now();
    let mut link = started(now);
    ready(&mut link, 0);
    assert_eq!(link.poll_transmit(now).unwrap()[0], b'S');
    for text in ["a", "b", "c"] {
        link.write(Bytes::from(text));
        assert_eq!(&link.poll_transmit(now).unwrap()[13..], text.as_bytes());
    }
    link.handle_in_lost();
    link.write(Bytes::from("d"));
    assert_eq!(link.poll_transmit(now), None);
    ready(&mut link, 1);
    let mut sent = Vec::new();
    while let Some(record) = link.poll_transmit(now) {
        if record[0] == b'i' {
            sent.extend_from_slice(&record[13..]);
        }
    }
    assert_eq!(sent, b"bcd");
}

/// What goes on the lane now, record by record.
fn records(link: &mut Link, now: Instant) -> Vec<Vec<u8>> {
    let mut bytes: Vec<u8> = std::iter::from_fn(|| link.poll_transmit(now)).flatten().collect();
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes(bytes[5..9].try_into().unwrap()) as usize;
        let rest = bytes.split_off(13 + length);
        records.push(std::mem::replace(&mut bytes, rest));
    }
    records
}

#[test]
fn long_data_is_not_copied_and_a_lane_that_goes_in_its_middle_leaves_nothing_of_it() {
    let now = Instant::now();
    let mut link = started(now);
    ready(&mut link, 0);
    let long = Bytes::from(vec![b'x'; INPUT_RECORD]);
    link.write(Bytes::from_static(b"a key"));
    link.write(long.clone());
    assert_eq!(link.poll_transmit(now).unwrap()[0], b'S');
    assert_eq!(&link.poll_transmit(now).unwrap()[13..], b"a key");
    let head = link.poll_transmit(now).unwrap();
    assert_eq!((head[0], head.len()), (b'i', 13));
    link.handle_in_lost();
    ready(&mut link, 1);
    assert_eq!(link.poll_transmit(now).unwrap(), head);
    assert_eq!(link.poll_transmit(now).unwrap().as_ptr(), long.as_ptr());
    assert_eq!(records(&mut link, now)[0][0], b'S');
}

/// A helper that can inflate.
fn inflating(now: Instant) -> Link {
    let mut link = started(now);
    let hello = [&b"v=1;h=python3.11;d=x;u=1;n=0;z=1;"[..], &(0..=255).collect::<Vec<u8>>()].concat();
    link.handle_output(raw(b'H', 0, &hello).into()).unwrap();
    link
}

fn deflated(kind: u8, number: u32, stated: usize, data: &[u8]) -> Vec<u8> {
    let stream = Deflater::new(true).deflate(data).unwrap();
    raw(b'z', number, &[&[kind], &(stated as u32).to_be_bytes()[..], &stream].concat())
}

#[test]
fn long_input_that_shrinks_goes_deflated_and_comes_again_as_it_went() {
    let now = Instant::now();
    let text = b"one line as the other\n".repeat(4 * INPUT_RECORD / 22);
    for (mut link, kind) in [(inflating(now), b'z'), (started(now), b'i')] {
        ready(&mut link, 0);
        assert_eq!(link.poll_transmit(now).unwrap()[0], b'S');
        link.write(Bytes::from_static(b"a key"));
        link.write(text.clone().into());
        let sent = records(&mut link, now);
        assert_eq!(&sent[0][13..], b"a key");
        assert!(sent[1..].iter().all(|record| record[0] == kind));
        // the helper's window is of what the command gets
        assert_eq!(link.spent as usize, text.len() + 5);
        link.handle_in_lost();
        ready(&mut link, 1);
        assert_eq!(records(&mut link, now)[0], sent[1]);
    }
}

#[test]
fn deflated_output_counts_as_what_it_is_and_only_once() {
    let (text, mut link) = (vec![b'x'; 48 * 1024], started(Instant::now()));
    let again = [deflated(b'o', 1, text.len(), &text), deflated(b'e', 2, text.len(), &text)].concat();
    link.handle_output(again.clone().into()).unwrap();
    link.handle_out_attached();
    link.handle_output([b"PCR1\n", &again[..], &raw(b'O', 3, &(text.len() as u64).to_be_bytes())].concat().into())
        .unwrap();
    assert_eq!(link.poll_event(), Some(Event::Stdout(text.clone().into())));
    assert_eq!(link.poll_event(), Some(Event::Stderr(text.into())));
    assert_eq!(link.poll_event(), None);
}

#[test]
fn a_node_cannot_have_more_inflated_than_it_says_or_may_send() {
    let text = vec![b'x'; LONGEST_PAYLOAD];
    for stated in [0, 1, text.len() - 1, text.len() + 1, u32::MAX as usize] {
        let error = started(Instant::now()).handle_output(deflated(b'o', 1, stated, &text).into()).unwrap_err();
        assert!(error.to_string().contains("malformed record"), "{stated}: {error}");
    }
    let mut link = started(Instant::now());
    let most = WIDEST_OUTPUT / text.len() as u32;
    for number in 1..=most {
        link.handle_output(deflated(b'o', number, text.len(), &text).into()).unwrap();
    }
    // what came already is skipped, and what is too much refused, before anything is made of it
    let broken = raw(b'z', most, &[&b"o\0\x02\0\0"[..], b"no stream"].concat());
    link.handle_output(broken.into()).unwrap();
    let more = raw(b'z', most + 1, &[&b"o\0\x02\0\0"[..], b"no stream"].concat());
    assert!(matches!(link.handle_output(more.into()), Err(LinkError::Overrun(_))));
}

#[test]
fn a_new_out_lane_repeats_and_nothing_comes_twice() {
    let now = Instant::now();
    let mut link = started(now);
    link.handle_output(raw(b'o', 1, b"one").into()).unwrap();
    link.handle_out_attached();
    link.handle_output(Bytes::from_static(b"PCR1\n")).unwrap();
    link.handle_output(raw(b'o', 1, b"one").into()).unwrap();
    link.handle_output(raw(b'o', 2, b"two").into()).unwrap();
    assert_eq!(link.poll_event(), Some(Event::Stdout("one".into())));
    assert_eq!(link.poll_event(), Some(Event::Stdout("two".into())));
    assert_eq!(link.poll_event(), None);
}

#[test]
fn an_end_without_all_bytes_is_an_error() {
    let mut link = started(Instant::now());
    link.handle_output(raw(b'o', 1, b"one").into()).unwrap();
    let error = link.handle_output(raw(b'O', 2, &4u64.to_be_bytes()).into()).unwrap_err();
    assert!(matches!(error, LinkError::Incomplete(_)));
    let mut link = started(Instant::now());
    assert!(matches!(link.handle_output(raw(b'o', 2, b"x").into()), Err(LinkError::Incomplete(_))));
    let mut link = started(Instant::now());
    assert!(matches!(link.handle_output(raw(b'Q', 1, b"").into()), Err(LinkError::Incomplete(_))));
}

#[test]
fn input_stops_at_the_helper_s_credit() {
    let now = Instant::now();
    let mut link = started(now);
    ready(&mut link, 0);
    let mut sent = 0;
    for _ in 0..100 {
        link.write(Bytes::from(vec![0; INPUT_RECORD]));
    }
    for record in records(&mut link, now) {
        sent += if record[0] == b'i' { record.len() - 13 } else { 0 };
    }
    assert_eq!(sent as u64, FIRST_INPUT_CREDIT);
    let mut state = 3u32.to_be_bytes().to_vec();
    state.extend((FIRST_INPUT_CREDIT + INPUT_RECORD as u64).to_be_bytes());
    link.handle_output(raw(b'A', 0, &state).into()).unwrap();
    assert_eq!(records(&mut link, now).len(), 1);
}

#[test]
fn a_helper_that_speaks_lines_is_answered_in_lines() {
    let now = Instant::now();
    let mut link = Link::new(now, false, OutputWindow::default());
    link.handle_output(Bytes::from_static(b"PCL1\nH v=1;h=sh;r=0;d=/tmp/x;u=0\nR 0 0\n")).unwrap();
    link.write(Bytes::from_static(b"ab"));
    link.write(Bytes::from_static(b"c"));
    assert_eq!(link.poll_transmit(now).unwrap(), &b"S 1 0 2097152 48\n"[..]);
    assert_eq!(link.poll_transmit(now).unwrap(), &b"t 1 516 \\141\\142\\143\n"[..]);
    let asked = link.ask(now);
    assert_eq!(link.poll_transmit(now).unwrap(), &b"S 2 0 2097152 48\n"[..]);
    link.handle_output(Bytes::from_static(b"P 1 1\n")).unwrap();
    assert!(link.answered() < asked);
    link.handle_output(Bytes::from_static(b"P 2 1\n")).unwrap();
    assert_eq!(link.answered(), asked);
}

#[test]
fn output_beyond_the_credit_is_an_error_and_taking_it_grants_more() {
    let now = Instant::now();
    let mut link = started(now);
    let part = vec![0; 64 * 1024];
    let parts = u64::from(WIDEST_OUTPUT) / part.len() as u64;
    for number in 1..=parts {
        link.handle_output(raw(b'o', number as u32, &part).into()).unwrap();
    }
    let next = parts as u32 + 1;
    assert!(link.handle_output(raw(b'o', next, &part).into()).is_err());
    let mut link = started(now);
    link.handle_output(raw(b'o', 1, &part).into()).unwrap();
    ready(&mut link, 0);
    link.consumed(part.len());
    let state = link.poll_transmit(now).unwrap();
    assert_eq!(state[17..25], (u64::from(WIDEST_OUTPUT) + part.len() as u64).to_be_bytes());
}

#[test]
fn a_node_cannot_fill_the_queue_with_what_costs_no_credit() {
    let mut link = started(Instant::now());
    let hello = [&b"v=1;h=x;d=x;u=1;n=0;"[..], &(0..=255).collect::<Vec<u8>>()].concat();
    for number in 1..10_000 {
        link.handle_output(raw(b'H', 0, &hello).into()).unwrap();
        link.handle_output(raw(b'o', number, b"").into()).unwrap();
        link.handle_output(raw(b'X', 0, &[0; 6]).into()).unwrap();
    }
    assert_eq!((link.events.len(), link.take_hello().is_some()), (1, true));
    assert_eq!(link.take_hello(), None);
}

#[test]
fn small_pieces_are_put_together_and_stay_in_order() {
    let mut link = started(Instant::now());
    let pieces = 100_000_u32;
    for number in 0..pieces {
        let (kind, byte) = if number % 3 == 0 { (b'e', 200) } else { (b'o', (number % 199) as u8) };
        link.handle_output(raw(kind, number + 1, &[byte]).into()).unwrap();
    }
    assert!(link.events.len() < 200, "{} events", link.events.len());
    let (mut stdout, mut stderr) = (Vec::new(), 0);
    while let Some(event) = link.poll_event() {
        match event {
            Event::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            Event::Stderr(bytes) => stderr += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    let expected: Vec<u8> = (0..pieces).filter(|n| n % 3 != 0).map(|n| (n % 199) as u8).collect();
    assert!(stdout == expected);
    assert_eq!(stderr, pieces as usize - expected.len());
}

#[test]
fn what_a_helper_never_acknowledges_has_an_end() {
    let now = Instant::now();
    let mut link = started(now);
    ready(&mut link, 0);
    let credit = |received: u32| [&received.to_be_bytes()[..], &[0xff; 8]].concat();
    link.handle_output(raw(b'A', 0, &credit(0)).into()).unwrap();
    let mut sent = 0;
    for _ in 0..1000 {
        link.write(Bytes::from(vec![0; INPUT_RECORD]));
        while let Some(record) = link.poll_transmit(now) {
            sent += record.len();
        }
    }
    assert!(sent < MOST_KEPT + 2 * INPUT_RECORD, "{sent} bytes kept");
    let last = link.sent;
    link.handle_output(raw(b'A', 0, &credit(last)).into()).unwrap();
    assert!(link.poll_transmit(now).is_some());
    assert_eq!(link.kept.len(), 1);
}

#[test]
fn silence_after_a_renewal_is_noticed() {
    let now = Instant::now();
    let mut link = started(now);
    ready(&mut link, 0);
    assert!(link.poll_transmit(now).is_some());
    assert_eq!(link.deaf_at(), Some(now + DEAF));
    link.handle_output(raw(b'A', 0, &[0; 12]).into()).unwrap();
    assert_eq!(link.deaf_at(), None);
}

#[test]
fn what_is_said_of_the_end_of_an_in_lane_is_said_of_that_one() {
    let now = Instant::now();
    let gone = |link: &mut Link, lane: u32, lost: u8| {
        link.handle_output(raw(b'L', 0, &[&lane.to_be_bytes()[..], &[lost]].concat()).into()).unwrap();
        link.take_in_gone()
    };
    let mut link = started(now);
    let lane = link.handle_in_lost();
    assert_eq!(gone(&mut link, lane, 1), Some(InGone::Broke));
    assert_eq!(gone(&mut link, lane, 0), Some(InGone::LetGo));
    assert_eq!(link.take_in_gone(), None, "it is said once");
    // its end was heard before that
    link.handle_in_lost();
    assert_eq!((gone(&mut link, lane, 1), gone(&mut link, lane, 0)), (None, Some(InGone::LetGo)));
    // and then the next was opened
    link.handle_in_lost();
    assert_eq!((gone(&mut link, lane, 0), gone(&mut link, u32::MAX, 0)), (None, None));
}

#[test]
fn the_lease_is_renewed_in_time_and_asks_for_a_lane() {
    let now = Instant::now();
    let link = started(now);
    assert!(!link.needs_in_lane(now));
    assert!(link.needs_in_lane(now + RENEWAL));
    assert!(RENEWAL * 3 < LEASE);
}
