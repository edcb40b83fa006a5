//! The live log after kills, at its bound, and with lines that nobody wrote.

use super::super::live_reader::{read_batch, read_records};
use super::*;
use proptest::prelude::*;

fn anchor(n: i64, size: usize) -> Record {
    Record::Anchor { time: n, note: "x".repeat(size) }
}

fn line(n: i64, size: usize) -> Vec<u8> {
    let mut line = serde_json::to_vec(&anchor(n, size)).unwrap();
    line.push(b'\n');
    line
}

fn readers(required: bool) -> BTreeMap<String, (Cursor, bool)> {
    [("one".to_owned(), (Cursor::default(), required))].into()
}

fn times(dir: &Path, from: Cursor, tip: Cursor) -> (Vec<i64>, super::super::live_reader::Batch) {
    let batch = read_batch(dir, from, tip, 1000, 1 << 20).unwrap();
    (batch.records.iter().map(|(record, _)| record.time()).collect(), batch)
}

#[test]
fn what_was_written_is_read_in_order_also_by_the_next_run_and_after_half_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LiveLog::open(dir.path(), 1 << 20, readers(true)).unwrap();
    (1..=3).for_each(|n| log.append(&line(n, 10), Room::Bounded).unwrap());
    // the gateway is killed inside a write
    log.file.write_all(b"{\"kind\":\"anchor\",\"ti").unwrap();
    drop(log);
    let mut log = LiveLog::open(dir.path(), 1 << 20, readers(true)).unwrap();
    log.append(&line(4, 10), Room::Bounded).unwrap();
    let (seen, batch) = times(dir.path(), Cursor::default(), log.tip);
    assert_eq!((seen, batch.bad, batch.next), (vec![1, 2, 3, 4], 1, log.tip));
    // two are taken, and the cursor is where the third begins
    let second = batch.records[1].1;
    assert_eq!(times(dir.path(), second, log.tip).0, [3, 4]);
}

#[test]
fn nothing_is_written_behind_half_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LiveLog::open(dir.path(), 1 << 20, readers(true)).unwrap();
    log.append(&line(1, 10), Room::Bounded).unwrap();
    // a disk that takes half of a line and then nothing: neither the rest, nor its being cut off, nor another segment
    log.file.write_all(b"{\"kind\":\"anchor\",\"ti").unwrap();
    let whole = std::mem::replace(&mut log.file, File::open(path_of(dir.path(), log.tip.segment)).unwrap());
    let next = path_of(dir.path(), log.tip.segment + 1);
    std::fs::write(&next, b"").unwrap();
    assert!(log.append(&line(2, 10), Room::Bounded).is_err());
    log.file = whole;
    assert!(log.append(&line(3, 10), Room::Bounded).is_err());
    std::fs::remove_file(next).unwrap();
    log.append(&line(4, 10), Room::Bounded).unwrap();
    let (seen, batch) = times(dir.path(), Cursor::default(), log.tip);
    assert_eq!((seen, batch.next), (vec![1, 4], log.tip));
}

#[test]
fn what_all_have_taken_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LiveLog::open(dir.path(), 64 << 10, readers(true)).unwrap();
    for n in 0..200 {
        log.append(&line(n, 1000), Room::Bounded).unwrap();
        let tip = log.tip;
        log.taken("one", tip).unwrap();
    }
    assert!(log.bytes() <= 64 << 10 && segments(dir.path()).unwrap().len() <= 3);
}

#[test]
fn a_sink_that_is_required_fills_the_spool_and_another_loses_its_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LiveLog::open(dir.path(), 64 << 10, readers(true)).unwrap();
    let refused = (0..200).find_map(|n| log.append(&line(n, 1000), Room::Bounded).err()).unwrap();
    assert!(matches!(refused, SinkError::Full { ref sink, .. } if sink == "one"), "{refused}");
    assert!(log.bytes() <= 64 << 10 && !log.has_room());
    assert_eq!(times(dir.path(), Cursor::default(), log.tip).0[0], 0);
    // the ends of the sessions that this ends are told all the same, up to a bound of their own
    log.append(&line(201, 1000), Room::Beyond).unwrap();
    let beyond = (0..200).find_map(|n| log.append(&line(n, 1000), Room::Beyond).err());
    assert!(matches!(beyond, Some(SinkError::Full { .. })) && log.bytes() <= 72 << 10);
    // once it has taken all, there is room again
    let tip = log.tip;
    log.taken("one", tip).unwrap();
    assert!(log.has_room());
    log.append(&line(7, 1000), Room::Bounded).unwrap();
    drop(log);

    let dir = tempfile::tempdir().unwrap();
    let mut log = LiveLog::open(dir.path(), 64 << 10, readers(false)).unwrap();
    (0..200).for_each(|n| log.append(&line(n, 1000), Room::Bounded).unwrap());
    assert!(log.bytes() <= 64 << 10);
    let (seen, _) = times(dir.path(), Cursor { segment: 1, offset: 0 }, log.tip);
    assert!(log.dropped("one") > 100_000 && seen[0] > 0 && seen.last() == Some(&199));
    assert!(seen.windows(2).all(|pair| pair[0] + 1 == pair[1]));
}

#[test]
fn a_cursor_beyond_all_segments_does_not_hide_what_comes_now() {
    let dir = tempfile::tempdir().unwrap();
    let far = [("one".to_owned(), (Cursor { segment: 99, offset: 5 }, true))].into();
    let mut log = LiveLog::open(dir.path(), 1 << 20, far).unwrap();
    log.append(&line(1, 1), Room::Bounded).unwrap();
    assert_eq!(times(dir.path(), Cursor { segment: 99, offset: 5 }, log.tip).0, [1]);
}

proptest! {
    #[test]
    fn lines_of_others_and_torn_ones_hide_none_of_ours(noise in proptest::collection::vec(any::<u8>(), 0..300), cut in 0_usize..200) {
        let mut bytes = noise;
        bytes.push(b'\n');
        bytes.extend(line(5, 20));
        let whole = line(6, 200);
        bytes.extend(whole.iter().take(cut.min(whole.len() - 1)));
        let (records, _) = read_records(&bytes);
        prop_assert_eq!(records.last(), Some(&anchor(5, 20)));
    }
}
