//! The relay's multiplexer against a far end that says anything, and against an echo.

use proptest::prelude::*;

use super::super::frame::testing::from_node;
use super::super::stream::MOST_WAITING;
use super::*;
use crate::transport::helper::output_window::{OutputBudget, WIDEST_OUTPUT};

const VERSION: &[u8] = &[1];

fn target() -> Target {
    Target::Address("127.0.0.1:80".parse().unwrap())
}

/// A relay at work, with the node played by the test.
struct Bench {
    mux: Mux,
    budget: OutputBudget,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self { mux: Mux::default(), budget: OutputBudget::new(512 << 20, 128 << 20) };
        bench.says(b'V', 0, VERSION).unwrap();
        bench
    }

    fn open(&mut self) -> Result<StreamId, RelayError> {
        self.mux.open(target(), self.budget.window("ada", true))
    }

    /// A stream that is there, which may be sent so much.
    fn opened(&mut self, credit: u64) -> StreamId {
        let id = self.open().unwrap();
        assert_eq!(self.told().last().unwrap().0, b'O');
        self.says(b'O', id, &credit.to_be_bytes()).unwrap();
        assert_eq!(self.mux.poll_event(), Some(MuxEvent::Opened(id)));
        id
    }

    fn says(&mut self, kind: u8, id: StreamId, payload: &[u8]) -> Result<(), RelayFault> {
        self.mux.handle_input(from_node(kind, id, payload).into())
    }

    /// What the node is told next, all of it.
    fn told(&mut self) -> Vec<(u8, StreamId, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some(bytes) = self.mux.poll_transmit() {
            assert!(bytes.len() <= RECORD);
            frames.extend(split(&bytes));
        }
        frames
    }
}

/// Frames to the node, as it takes them apart.
fn split(mut bytes: &[u8]) -> Vec<(u8, StreamId, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_at_checked(HEADER) {
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        let (payload, rest) = rest.split_at(number(5) as usize);
        frames.push((header[0], number(1), payload.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "a frame is cut");
    frames
}

fn kinds(frames: &[(u8, StreamId, Vec<u8>)]) -> String {
    frames.iter().map(|(kind, ..)| char::from(*kind)).collect()
}

#[test]
fn a_stream_from_its_opening_to_its_end() {
    let mut bench = Bench::new();
    let id = bench.opened(1000);
    assert_eq!(bench.mux.write(id, b"hello"), Some(5));
    assert_eq!(bench.told(), [(b'D', id, b"hello".to_vec())]);
    assert_eq!(bench.mux.poll_event(), Some(MuxEvent::Writable(id)));
    bench.says(b'D', id, b"world").unwrap();
    assert_eq!(bench.mux.poll_event(), Some(MuxEvent::Readable(id)));
    assert_eq!(bench.mux.read(id, 3), Read::Data(Bytes::from_static(b"wor")));
    assert_eq!(bench.mux.read(id, 99), Read::Data(Bytes::from_static(b"ld")));
    assert_eq!(bench.mux.read(id, 99), Read::Empty);
    bench.mux.write(id, b"last");
    bench.mux.finish(id);
    assert_eq!(bench.mux.write(id, b"more"), None);
    assert_eq!(kinds(&bench.told()), "DF");
    bench.says(b'F', id, b"").unwrap();
    assert_eq!(bench.mux.read(id, 99), Read::Eof);
    bench.mux.drop_stream(id);
    assert!(bench.mux.is_idle() && bench.told().is_empty());
    // what was on its way when it was forgotten
    bench.says(b'W', id, &9u64.to_be_bytes()).unwrap();
}

#[test]
fn one_that_is_dropped_is_reset_or_closed_or_never_opened() {
    let mut bench = Bench::new();
    let id = bench.open().unwrap();
    bench.mux.drop_stream(id);
    assert!(bench.told().is_empty() && bench.mux.is_idle());
    let unfinished = bench.opened(1000);
    bench.mux.write(unfinished, b"half");
    bench.mux.drop_stream(unfinished);
    assert_eq!(kinds(&bench.told()), "X");
    let finished = bench.opened(1000);
    bench.mux.write(finished, b"whole");
    bench.mux.finish(finished);
    bench.mux.drop_stream(finished);
    assert_eq!(kinds(&bench.told()), "CDF");
    assert!(bench.mux.is_idle());
    // one that is still on its way
    let dialled = bench.open().unwrap();
    assert_eq!(kinds(&bench.told()), "O");
    bench.mux.drop_stream(dialled);
    bench.says(b'O', dialled, &9u64.to_be_bytes()).unwrap();
    assert_eq!(kinds(&bench.told()), "X");
    bench.says(b'N', dialled, &[1]).unwrap();
    assert!(bench.mux.is_idle());
}

#[test]
fn what_is_refused_is_forgotten_and_what_was_reset_is_told_after_what_came_before() {
    let mut bench = Bench::new();
    let id = bench.open().unwrap();
    bench.told();
    bench.says(b'N', id, &[1]).unwrap();
    assert_eq!(bench.mux.poll_event(), Some(MuxEvent::Refused(id, RelayError::Refused)));
    assert!(bench.mux.is_idle());
    let id = bench.opened(1000);
    bench.mux.write(id, b"x");
    bench.says(b'D', id, b"words").unwrap();
    bench.says(b'X', id, b"").unwrap();
    assert_eq!(bench.mux.read(id, 99), Read::Data(Bytes::from_static(b"words")));
    assert_eq!((bench.mux.read(id, 99), bench.mux.write(id, b"y")), (Read::Reset, None));
    bench.mux.drop_stream(id);
    assert!(bench.told().is_empty() && bench.mux.is_idle());
}

#[test]
fn nothing_is_taken_that_the_node_does_not_allow() {
    let mut bench = Bench::new();
    let id = bench.opened(10);
    assert_eq!(bench.mux.write(id, &[0; 25]), Some(10));
    assert_eq!(bench.mux.write(id, &[0; 15]), Some(0));
    assert_eq!(kinds(&bench.told()), "BD");
    assert!(bench.told().is_empty(), "it is said once");
    bench.says(b'W', id, &20u64.to_be_bytes()).unwrap();
    assert_eq!(bench.mux.poll_event(), Some(MuxEvent::Writable(id)));
    assert_eq!(bench.mux.write(id, &[0; 15]), Some(10));
    assert_eq!(kinds(&bench.told()), "BD");
}

#[test]
fn who_found_no_room_hears_of_it_when_there_is_some() {
    let mut bench = Bench::new();
    let id = bench.opened(1 << 40);
    assert_eq!(bench.mux.write(id, &vec![0; 1 << 20]), Some(MOST_WAITING));
    assert_eq!(bench.mux.write(id, &[0]), Some(0));
    assert_eq!(bench.mux.poll_event(), None);
    assert!(bench.mux.poll_transmit().is_some());
    assert_eq!(bench.mux.poll_event(), Some(MuxEvent::Writable(id)));
    assert_eq!(bench.mux.write(id, &[0]), Some(1));
}

#[test]
fn a_window_grows_where_its_reader_keeps_up_and_not_where_it_does_not() {
    let mut bench = Bench::new();
    let (quick, slow) = (bench.opened(0), bench.opened(0));
    let granted = |frames: Vec<(u8, StreamId, Vec<u8>)>, id| {
        let mut windows = frames.into_iter().filter(|(kind, of, _)| (*kind, *of) == (b'W', id));
        windows.next_back().map(|(.., total)| u64::from_be_bytes(total.try_into().unwrap()))
    };
    let first = 256 << 10;
    for id in [quick, slow] {
        for _ in 0..16 {
            bench.says(b'D', id, &[0; 16384]).unwrap();
        }
        bench.says(b'B', id, b"").unwrap();
    }
    assert!(bench.told().is_empty(), "nobody has read anything");
    while let Read::Data(_) = bench.mux.read(quick, 65536) {}
    assert_eq!(granted(bench.told(), quick), Some(2 * first));
    bench.says(b'B', quick, b"").unwrap();
    assert_eq!(granted(bench.told(), quick), Some(first + u64::from(WIDEST_OUTPUT)));
    assert_eq!(bench.says(b'D', slow, b"x"), Err(RelayFault("more than it may")));
}

#[test]
fn data_goes_in_turn() {
    let mut bench = Bench::new();
    let streams: Vec<StreamId> = (0..20).map(|_| bench.opened(1 << 20)).collect();
    let late = bench.opened(10);
    for id in &streams {
        assert_eq!(bench.mux.write(*id, &vec![0; 1 << 20]), Some(MOST_WAITING));
    }
    // whoever comes last waits for one round
    bench.mux.write(late, b"late");
    let frames = bench.told();
    let at = frames.iter().position(|(_, id, _)| *id == late).unwrap();
    let before: usize = frames[..at].iter().map(|(.., data)| data.len()).sum();
    assert!(before <= 20 * 2 * LEAST_PIECE + RECORD, "{before} bytes before it");
    for id in streams {
        let sent: usize =
            frames.iter().filter(|(kind, of, _)| *kind == b'D' && *of == id).map(|(.., data)| data.len()).sum();
        assert_eq!(sent, MOST_WAITING);
    }
}

#[test]
fn who_opens_and_drops_while_nothing_is_sent_leaves_nothing() {
    let mut bench = Bench::new();
    for _ in 0..10_000 {
        let id = bench.open().unwrap();
        bench.mux.drop_stream(id);
        let name = bench.mux.look_up("db").unwrap();
        bench.mux.forget_lookup(name);
    }
    assert!(bench.mux.is_idle() && !bench.mux.has_output());
    let open: Vec<_> = std::iter::repeat_with(|| bench.open()).take_while(Result::is_ok).collect();
    assert_eq!((open.len(), bench.open()), (MOST_STREAMS, Err(RelayError::Busy)));
    let names: Vec<_> = std::iter::repeat_with(|| bench.mux.look_up("db")).take_while(Result::is_ok).collect();
    assert_eq!(names.len(), MOST_LOOKUPS);
}

#[test]
fn look_ups_are_answered_in_any_order() {
    let mut bench = Bench::new();
    let [first, second] = ["a", "b"].map(|name| bench.mux.look_up(name).unwrap());
    assert_eq!(kinds(&bench.told()), "RR");
    bench.says(b'N', second, &[4]).unwrap();
    bench.says(b'A', first, b"4\x7f\0\0\x01").unwrap();
    assert_eq!(bench.mux.poll_event(), Some(MuxEvent::Found(second, Err(RelayError::NoSuchName))));
    assert_eq!(bench.mux.poll_event(), Some(MuxEvent::Found(first, Ok(vec!["127.0.0.1".parse().unwrap()]))));
    assert!(bench.mux.is_idle());
    // nobody asked
    bench.says(b'A', first, b"").unwrap();
    assert_eq!(bench.mux.poll_event(), None);
}

#[test]
fn a_node_that_does_not_keep_to_it_ends_it() {
    let mut mux = Mux::default();
    assert!(mux.handle_input(from_node(b'D', 1, b"x").into()).is_err(), "before its version");
    for (kind, payload) in [(b'O', &[0; 8][..]), (b'N', &[1]), (b'V', &[1])] {
        let mut bench = Bench::new();
        let id = bench.opened(10);
        assert!(bench.says(kind, id, payload).is_err(), "{}", char::from(kind));
        assert!(bench.says(kind, id + 1, payload).is_err(), "of a stream that there never was");
    }
    for kind in [b'D', b'F'] {
        let mut bench = Bench::new();
        let id = bench.opened(10);
        bench.says(b'F', id, b"").unwrap();
        assert!(bench.says(kind, id, b"x").is_err(), "after its end");
    }
    for kind in [b'D', b'F', b'X', b'B'] {
        let mut bench = Bench::new();
        let id = bench.open().unwrap();
        bench.told();
        assert!(bench.says(kind, id, b"x").is_err(), "before it was opened");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, usize),
    Read(usize, usize),
    /// So many of the node's frames arrive, in pieces so long.
    Arrive(usize, usize),
    Finish(usize),
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..4, 1usize..90_000).prop_map(|(stream, length)| Step::Write(stream, length)),
        6 => (0usize..4, 1usize..90_000).prop_map(|(stream, length)| Step::Read(stream, length)),
        6 => (1usize..9, 1usize..40_000).prop_map(|(frames, piece)| Step::Arrive(frames, piece)),
        1 => (0usize..4).prop_map(Step::Finish),
        1 => (0usize..4).prop_map(Step::Drop),
    ]
}

/// A node whose targets send back what they get, within the windows that it is given, and end when they are told to.
#[derive(Default)]
struct Echo {
    streams: HashMap<StreamId, (u64, u64, VecDeque<u8>, bool)>,
    says: VecDeque<Vec<u8>>,
}

impl Echo {
    fn hear(&mut self, kind: u8, id: StreamId, payload: &[u8]) {
        let total = |payload: &[u8]| u64::from_be_bytes(payload.try_into().unwrap());
        match kind {
            b'O' => {
                let window = u32::from_be_bytes(payload[..4].try_into().unwrap());
                self.streams.insert(id, (u64::from(window), 0, VecDeque::new(), false));
                self.says.push_back(from_node(b'O', id, &(1u64 << 40).to_be_bytes()));
            }
            b'X' => drop(self.streams.remove(&id)),
            b'C' => drop(self.streams.remove(&id)),
            _ => {}
        }
        let Some((credit, sent, held, ended)) = self.streams.get_mut(&id) else { return };
        match kind {
            b'W' => *credit = total(payload),
            b'D' => held.extend(payload),
            b'F' => *ended = true,
            _ => {}
        }
        while !held.is_empty() && sent < credit {
            let length = held.len().min(usize::try_from(*credit - *sent).unwrap()).min(40_000);
            *sent += length as u64;
            self.says.push_back(from_node(b'D', id, &held.drain(..length).collect::<Vec<_>>()));
        }
        if *ended && held.is_empty() {
            self.says.push_back(from_node(b'F', id, b""));
            self.streams.remove(&id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn streams_carry_exactly_whatever_the_order(steps in proptest::collection::vec(step(), 0..120)) {
        let (mut bench, mut echo) = (Bench::new(), Echo::default());
        let ids: Vec<StreamId> = (0..4).map(|_| bench.open().unwrap()).collect();
        let mut written = [0u64; 4];
        let mut read = [0u64; 4];
        let mut finished = [false; 4];
        let mut dropped = [false; 4];
        let byte = |stream: usize, at: u64| (at.wrapping_mul(31) as u8).wrapping_add(stream as u8);
        let arrive = |bench: &mut Bench, echo: &mut Echo, frames: usize, piece: usize| {
            for (kind, id, payload) in bench.told() {
                echo.hear(kind, id, &payload);
            }
            let frames = frames.min(echo.says.len());
            let said: Vec<u8> = echo.says.drain(..frames).flatten().collect();
            for piece in said.chunks(piece) {
                bench.mux.handle_input(Bytes::copy_from_slice(piece)).unwrap();
            }
        };
        let take = |bench: &mut Bench, read: &mut [u64; 4], stream: usize, most: usize| {
            let taken = bench.mux.read(ids[stream], most);
            if let Read::Data(bytes) = &taken {
                for got in bytes {
                    assert_eq!(*got, byte(stream, read[stream]));
                    read[stream] += 1;
                }
            }
            taken
        };
        for step in steps {
            match step {
                Step::Write(stream, length) if !dropped[stream] => {
                    let bytes: Vec<u8> = (0..length as u64).map(|at| byte(stream, written[stream] + at)).collect();
                    match bench.mux.write(ids[stream], &bytes) {
                        Some(taken) => written[stream] += taken as u64,
                        None => prop_assert!(finished[stream]),
                    }
                }
                Step::Read(stream, most) if !dropped[stream] => drop(take(&mut bench, &mut read, stream, most)),
                Step::Arrive(frames, piece) => arrive(&mut bench, &mut echo, frames, piece),
                Step::Finish(stream) => {
                    bench.mux.finish(ids[stream]);
                    finished[stream] = true;
                }
                Step::Drop(stream) => {
                    bench.mux.drop_stream(ids[stream]);
                    dropped[stream] = true;
                }
                Step::Write(..) | Step::Read(..) => {}
            }
        }
        // whatever is left comes, and all ends
        for id in &ids {
            bench.mux.finish(*id);
        }
        for stream in (0..4).filter(|stream| !dropped[*stream]) {
            let mut ended = false;
            for _ in 0..1000 {
                arrive(&mut bench, &mut echo, 9, 40_000);
                match take(&mut bench, &mut read, stream, 90_000) {
                    Read::Eof => ended = true,
                    Read::Reset => prop_assert!(false, "nobody resets it"),
                    Read::Data(_) | Read::Empty => {}
                }
            }
            prop_assert!(ended && read[stream] == written[stream], "{} of {}", read[stream], written[stream]);
            bench.mux.drop_stream(ids[stream]);
        }
        arrive(&mut bench, &mut echo, 1000, 40_000);
        prop_assert!(bench.mux.is_idle() && !bench.mux.has_output());
    }

    #[test]
    fn no_bytes_of_a_node_make_it_panic(
        frames in proptest::collection::vec((proptest::sample::select(&b"ODFXWBNAV?"[..]), 0u32..5, proptest::collection::vec(any::<u8>(), 0..20)), 0..40),
        rest in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let mut bench = Bench::new();
        let open: Vec<StreamId> = (0..3).map(|_| bench.open().unwrap()).collect();
        bench.told();
        for (kind, id, payload) in frames {
            if bench.says(kind, id, &payload).is_err() {
                return Ok(());
            }
            for id in &open {
                bench.mux.write(*id, b"abc");
                bench.mux.read(*id, 7);
            }
            while bench.mux.poll_event().is_some() {}
            bench.told();
        }
        let _ = bench.mux.handle_input(rest.into());
    }
}
