//! Golden bytes, rules one by one, and two multiplexers over bytes that are cut anywhere.

use core::time::Duration;
use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::Time;

const START: Time = Time::from_secs(1_700_000_000);

fn mux(role: MuxRole) -> Mux {
    Mux::new(role, MuxLimits::default(), START)
}

fn output(mux: &mut Mux) -> Vec<u8> {
    core::iter::from_fn(|| mux.poll_output()).flatten().collect()
}

fn events(mux: &mut Mux) -> Vec<MuxEvent> {
    core::iter::from_fn(|| mux.poll_event()).collect()
}

fn feed(mux: &mut Mux, bytes: &[u8]) {
    mux.handle_input(START, Bytes::copy_from_slice(bytes)).unwrap();
}

fn write(mux: &mut Mux, id: StreamId, data: &[u8]) -> usize {
    mux.write(id, &mut Bytes::copy_from_slice(data))
}

#[test]
fn golden_bytes() {
    let mut client = mux(MuxRole::Client);
    let first = client.open().unwrap();
    let second = client.open().unwrap();
    assert_eq!((first.number(), second.number()), (3, 5));
    write(&mut client, first, b"hi");
    client.finish(first);
    assert_eq!(
        output(&mut client),
        [
            [1, 0, 0, 0, 3, 0, 0, 0].as_slice(),
            &[1, 0, 0, 0, 5, 0, 0, 0],
            &[1, 2, 2, 0, 3, 0, 0, 0, b'h', b'i'],
            &[1, 1, 0, 0, 3, 0, 0, 0],
        ]
        .concat()
    );
    assert_eq!(mux(MuxRole::Server).open().unwrap().number(), 2);
}

#[test]
fn a_stream_lives_until_both_ends_have_finished() {
    let (mut client, mut server) = (mux(MuxRole::Client), mux(MuxRole::Server));
    let id = client.open().unwrap();
    write(&mut client, id, b"question");
    client.finish(id);
    assert_eq!(write(&mut client, id, b"more"), 0);
    feed(&mut server, &output(&mut client));
    assert_eq!(events(&mut server), [MuxEvent::Opened(id), MuxEvent::Readable(id)]);
    assert_eq!(server.read(id), Read::Data("question".into()));
    assert_eq!(server.read(id), Read::End);
    write(&mut server, id, b"answer");
    server.finish(id);
    feed(&mut client, &output(&mut server));
    assert_eq!(server.stats().streams, 0);
    assert_eq!(events(&mut client), [MuxEvent::Readable(id)]);
    assert_eq!(client.read(id), Read::Data("answer".into()));
    assert_eq!(client.stats().streams, 1);
    assert_eq!(client.read(id), Read::End);
    assert_eq!((client.stats().streams, client.stats().unread), (0, 0));
}

#[test]
fn the_end_is_news_even_without_data() {
    let (mut client, mut server) = (mux(MuxRole::Client), mux(MuxRole::Server));
    let id = client.open().unwrap();
    feed(&mut server, &output(&mut client));
    assert_eq!(server.read(id), Read::Empty);
    client.finish(id);
    feed(&mut server, &output(&mut client));
    assert_eq!(events(&mut server), [MuxEvent::Opened(id), MuxEvent::Readable(id)]);
    assert_eq!(server.read(id), Read::End);
}

#[test]
fn a_reset_discards_and_returns_the_budget() {
    let (mut client, mut server) = (mux(MuxRole::Client), mux(MuxRole::Server));
    let id = client.open().unwrap();
    write(&mut client, id, b"unread");
    feed(&mut server, &output(&mut client));
    write(&mut server, id, b"unsent");
    assert!(server.stats().unread > 0);
    server.reset(id);
    assert_eq!((server.stats().streams, server.stats().unread), (0, 0));
    assert_eq!(output(&mut server), [1, 1, 0, 0, 3, 0, 0, 0]);
    // what is on its way to a stream that is gone is dropped
    write(&mut client, id, b"late");
    feed(&mut server, &output(&mut client));
    assert_eq!((server.stats().unread, server.read(id)), (0, Read::End));
}

#[test]
fn one_budget_for_all_streams() {
    let limits = MuxLimits { receive_budget: 1000, ..MuxLimits::default() };
    let (mut client, mut server) = (mux(MuxRole::Client), Mux::new(MuxRole::Server, limits, START));
    let (a, b) = (client.open().unwrap(), client.open().unwrap());
    write(&mut client, a, &[0; 900]);
    feed(&mut server, &output(&mut client));
    assert!(server.wants_input());
    write(&mut client, b, &[0; 100]);
    feed(&mut server, &output(&mut client));
    assert!(!server.wants_input());
    assert!(matches!(server.read(a), Read::Data(_)));
    assert!(server.wants_input());
}

#[test]
fn a_full_stream_tells_when_there_is_room() {
    let limits = MuxLimits { send_buffer: 10, frame: 4, ..MuxLimits::default() };
    let mut client = Mux::new(MuxRole::Client, limits, START);
    let id = client.open().unwrap();
    let mut data = Bytes::from_static(b"0123456789abc");
    assert_eq!(client.write(id, &mut data), 10);
    assert_eq!((data.as_ref(), client.send_capacity(id)), (b"abc".as_slice(), 0));
    client.poll_output();
    assert_eq!(events(&mut client), []);
    client.poll_output();
    assert_eq!(events(&mut client), [MuxEvent::Writable(id)]);
    assert_eq!(client.send_capacity(id), 4);
}

#[test]
fn streams_take_turns() {
    let mut client = Mux::new(MuxRole::Client, MuxLimits { frame: 100, ..MuxLimits::default() }, START);
    let (bulk, small) = (client.open().unwrap(), client.open().unwrap());
    write(&mut client, bulk, &[0; 1000]);
    write(&mut client, small, b"x");
    let frames: Vec<u32> = core::iter::from_fn(|| client.poll_output())
        .map(|frame| u32::from_le_bytes(frame[4..8].try_into().unwrap()))
        .collect();
    assert_eq!(frames[..5], [3, 5, 3, 5, 3]);
    assert!(client.is_flushed());
}

#[test]
fn too_many_streams_are_finished_at_once() {
    let limits = MuxLimits { streams: 1, ..MuxLimits::default() };
    let mut server = Mux::new(MuxRole::Server, limits, START);
    feed(&mut server, &[1, 0, 0, 0, 3, 0, 0, 0]);
    for _ in 0..1000 {
        feed(&mut server, &[1, 0, 0, 0, 5, 0, 0, 0]);
    }
    assert_eq!(server.open(), None);
    assert_eq!(output(&mut server), [1, 1, 0, 0, 5, 0, 0, 0]);
    assert_eq!(server.stats().refused, 1000);
}

#[test]
fn a_peer_that_takes_our_numbers_does_not_get_our_streams() {
    let mut client = mux(MuxRole::Client);
    feed(&mut client, &[1, 0, 0, 0, 3, 0, 0, 0, 1, 2, 1, 0, 3, 0, 0, 0, b'x']);
    assert_eq!(client.open().unwrap().number(), 5);
    assert_eq!(client.stats().streams, 2);
}

#[test]
fn nonsense_is_an_error_that_stays() {
    for (bytes, error) in [
        ([2, 0, 0, 0, 3, 0, 0, 0], FrameError::Version(2)),
        ([1, 4, 0, 0, 3, 0, 0, 0], FrameError::Command(4)),
        ([1, 3, 1, 0, 3, 0, 0, 0], FrameError::Length { command: Command::Nop, length: 1 }),
    ] {
        let mut server = mux(MuxRole::Server);
        let outcome = server.handle_input(START, Bytes::copy_from_slice(&bytes));
        assert_eq!(outcome, Err(error.into()));
        assert_eq!(server.handle_input(START, Bytes::new()), outcome);
        assert_eq!(server.open(), None);
    }
}

#[test]
fn signs_of_life() {
    let limits = MuxLimits { keepalive: Some(Keepalive::default()), ..MuxLimits::default() };
    let mut server = Mux::new(MuxRole::Server, limits, START);
    let seconds = |number| START + Duration::from_secs(number);
    assert_eq!(server.poll_timeout(), Some(seconds(10)));
    server.handle_timeout(seconds(10)).unwrap();
    assert_eq!(output(&mut server), [1, 3, 0, 0, 0, 0, 0, 0]);
    server.handle_input(seconds(15), Bytes::from_static(&[1, 3, 0, 0, 0, 0, 0, 0])).unwrap();
    server.handle_timeout(seconds(44)).unwrap();
    assert_eq!(server.poll_timeout(), Some(seconds(45)));
    server.handle_timeout(seconds(45)).unwrap();
    assert_eq!(server.poll_timeout(), Some(seconds(54)), "a sign of its own, and then the end of its doubt");
    server.handle_timeout(seconds(54)).unwrap();
    assert_eq!(server.poll_timeout(), Some(seconds(55)));
    assert_eq!(server.handle_timeout(seconds(55)), Err(MuxError::Lost(Duration::from_secs(40))));
    assert_eq!(mux(MuxRole::Client).poll_timeout(), None);
}

#[test]
fn who_was_kept_from_running_hears_the_clock_first_and_loses_nobody() {
    let limits = MuxLimits { keepalive: Some(Keepalive::default()), ..MuxLimits::default() };
    let mut server = Mux::new(MuxRole::Server, limits, START);
    let seconds = |number| START + Duration::from_secs(number);
    // a minute late, while what the peer has said for all that time waits to be read
    server.handle_timeout(seconds(70)).unwrap();
    server.handle_timeout(seconds(79)).unwrap();
    server.handle_input(seconds(79), Bytes::from_static(&[1, 3, 0, 0, 0, 0, 0, 0])).unwrap();
    server.handle_timeout(seconds(108)).unwrap();
    server.handle_timeout(seconds(109)).unwrap();
    assert_eq!(server.handle_timeout(seconds(119)), Err(MuxError::Lost(Duration::from_secs(40))));
}

/// Moves everything from one to the other in pieces, and what can be read into `received`.
fn carry(
    from: &mut Mux,
    to: &mut Mux,
    cuts: &mut impl Iterator<Item = usize>,
    received: &mut HashMap<StreamId, Vec<u8>>,
) {
    let mut bytes = BytesMut::new();
    while let Some(frame) = from.poll_output() {
        bytes.extend_from_slice(&frame);
    }
    let mut bytes = bytes.freeze();
    while !bytes.is_empty() {
        let cut = cuts.next().unwrap_or(1).clamp(1, bytes.len());
        to.handle_input(START, bytes.split_to(cut)).unwrap();
        while let Some(event) = to.poll_event() {
            let MuxEvent::Readable(id) = event else { continue };
            while let Read::Data(data) = to.read(id) {
                received.entry(id).or_default().extend_from_slice(&data);
            }
        }
    }
}

proptest! {
    #[test]
    fn headers_round_trip(command in 0..4_u8, length: u16, stream: u32) {
        let length = if command == 2 { length } else { 0 };
        let mut bytes = [1, command, 0, 0, 0, 0, 0, 0];
        bytes[2..4].copy_from_slice(&length.to_le_bytes());
        bytes[4..].copy_from_slice(&stream.to_le_bytes());
        prop_assert_eq!(Header::decode(bytes).unwrap().encode(), bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(pieces in proptest::collection::vec(proptest::collection::vec(0..6_u8, 0..40), 0..10)) {
        let mut server = mux(MuxRole::Server);
        for piece in pieces {
            let _ = server.handle_input(START, piece.into());
            for event in events(&mut server) {
                if let MuxEvent::Readable(id) = event {
                    server.read(id);
                }
            }
        }
        output(&mut server);
    }

    #[test]
    fn streams_arrive_equal_however_they_are_cut(
        writes in proptest::collection::vec((0..4_usize, proptest::collection::vec(any::<u8>(), 0..300)), 0..40),
        cuts in proptest::collection::vec(1..50_usize, 1..20),
        frame in 1..100_usize,
    ) {
        let limits = MuxLimits { frame, send_buffer: 1000, ..MuxLimits::default() };
        let (mut client, mut server) = (Mux::new(MuxRole::Client, limits, START), mux(MuxRole::Server));
        let ids: Vec<_> = (0..4).map(|_| client.open().unwrap()).collect();
        let mut cuts = cuts.iter().cycle().copied();
        let (mut sent, mut received) = (HashMap::<_, Vec<u8>>::new(), HashMap::new());
        for (which, data) in writes {
            let id = ids[which];
            sent.entry(id).or_default().extend_from_slice(&data);
            let mut data = Bytes::from(data);
            while !data.is_empty() {
                client.write(id, &mut data);
                carry(&mut client, &mut server, &mut cuts, &mut received);
            }
        }
        for &id in &ids {
            client.finish(id);
        }
        carry(&mut client, &mut server, &mut cuts, &mut received);
        sent.retain(|_, data| !data.is_empty());
        prop_assert_eq!(sent, received);
        for id in ids {
            prop_assert_eq!(server.read(id), Read::End);
            server.finish(id);
        }
        output(&mut server);
        prop_assert_eq!(server.stats().streams, 0);
    }
}
