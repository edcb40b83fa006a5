//! Recordings, written and read.
#![expect(clippy::print_stderr, reason = "a test that is left out says so")]

use crate::Size;
use crate::cast::{Event, Header, Kind, ReadError, Reader, Writer, export_text, export_v2, export_v3};
use proptest::prelude::*;
use std::process::Command;
use std::time::Duration;

fn header() -> Header {
    let size = Size { columns: 80, rows: 24 };
    Header {
        size,
        timestamp: 1_700_000_000,
        title: Some("a \u{1b} title".into()),
        command: None,
        term: Some("xterm".into()),
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn sample() -> Vec<u8> {
    let (mut writer, mut file) = Writer::new(&header());
    writer.output(ms(10), b"h\xc3", &mut file);
    writer.output(ms(20), b"\xa9llo\xff \x1b[1mbold\x1b[m\r\n", &mut file);
    writer.resize(ms(30), Size { columns: 100, rows: 30 }, &mut file);
    writer.mark(ms(1_000), "hidden input", &mut file);
    writer.output(ms(900), b"$ \xe2\x82", &mut file);
    writer.finish(ms(2_000), &mut file);
    file
}

fn events(file: &[u8]) -> Vec<Event> {
    Reader::new(file).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_recording_is_read_as_it_was_written() {
    let told = events(&sample());
    let output = |at, text: &str| Event { at: ms(at), kind: Kind::Output(text.into()) };
    assert_eq!(
        told,
        [
            output(10, "h"),
            output(20, "éllo\u{fffd} \x1b[1mbold\x1b[m\r\n"),
            Event { at: ms(30), kind: Kind::Resize(Size { columns: 100, rows: 30 }) },
            Event { at: ms(1_000), kind: Kind::Mark("hidden input".into()) },
            output(1_000, "$ "),
            output(2_000, "\u{fffd}"),
        ]
    );
}

#[test]
fn both_versions_say_the_same() {
    let (mut v3, mut v2) = (Vec::new(), Vec::new());
    export_v3(Reader::new(&sample()[..]).unwrap(), &mut v3).unwrap();
    export_v2(Reader::new(&v3[..]).unwrap(), &mut v2).unwrap();
    assert_eq!(events(&v3), events(&sample()));
    assert_eq!(events(&v2), events(&sample()));
    assert_eq!(Reader::new(&v3[..]).unwrap().header().version, 3);
    assert_eq!(Reader::new(&v2[..]).unwrap().header().term.as_deref(), Some("xterm"));
}

#[test]
fn a_recording_that_was_cut_off_says_so_and_gives_what_is_whole() {
    let file = sample();
    let told: Vec<_> = Reader::new(&file[..file.len() - 4]).unwrap().collect();
    assert_eq!(told.len(), 6);
    assert!(matches!(told.last(), Some(Err(ReadError::Torn { line: 7 }))));
    assert!(told.iter().take(5).all(Result::is_ok));
}

#[test]
fn a_damaged_line_is_told_with_its_number() {
    let mut file = sample();
    let place = file.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0;
    file.splice(place + 1..place + 2, *b"{");
    let told: Vec<_> = Reader::new(&file[..]).unwrap().collect();
    assert!(matches!(told.last(), Some(Err(ReadError::Line { line: 4, .. }))), "{told:?}");
}

#[test]
fn a_transcript_is_text_that_does_nothing() {
    let (mut writer, mut file) = Writer::new(&header());
    writer.output(ms(1), b"one\x1b]0;title\x07\r\n\r\n\x1b[31mtwo\x1b[m\r\n\x1b[?1049hvim\x1b[?1049l", &mut file);
    for line in 0..50 {
        writer.output(ms(2), format!("line {line} \u{202e}\r\n").as_bytes(), &mut file);
    }
    let mut text = Vec::new();
    export_text(Reader::new(&file[..]).unwrap(), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("one\n\ntwo\nline 0"), "{text}");
    assert!(text.trim_end().ends_with("line 49") || text.trim_end().ends_with("line 49 <U+202E>"), "{text}");
    assert!(!text.contains(['\x1b', '\u{202e}']) && !text.contains("vim"));
}

#[test]
fn asciinema_plays_what_is_written() {
    let folder = std::env::temp_dir().join(format!("portcullis-cast-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("terminal.cast");
    std::fs::write(&file, sample()).unwrap();
    // it wants a terminal even to print; script(1) lends it one
    let line = format!("asciinema cat {}", file.display());
    if Command::new("asciinema").arg("--version").output().is_err() && std::env::var_os("CI").is_none() {
        eprintln!("asciinema is not installed: scripts/setup.sh brings it");
        return;
    }
    let played = match Command::new("script").args(["-qec", &line, "/dev/null"]).output() {
        Ok(played) => played,
        Err(error) => panic!("script can't be run: {error}"),
    };
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    let shown = String::from_utf8(played.stdout).unwrap().replace("\r\r\n", "\r\n");
    assert_eq!(shown, "héllo\u{fffd} \x1b[1mbold\x1b[m\r\n$ \u{fffd}");
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_are_written_as_lossy_text(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..20)) {
        let (mut writer, mut file) = Writer::new(&header());
        for (place, piece) in pieces.iter().enumerate() {
            writer.output(ms(place as u64), piece, &mut file);
        }
        writer.finish(ms(99), &mut file);
        let text: String = events(&file).into_iter().map(|event| match event.kind { Kind::Output(text) => text, _ => String::new() }).collect();
        let whole = pieces.concat();
        prop_assert_eq!(text.as_str(), String::from_utf8_lossy(&whole));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), lines in proptest::collection::vec("\\[-?[0-9e.]{0,9}, ?\"[oimrxz]\", ?\"[0-9x\\\\u]{0,9}\"\\]", 0..5)) {
        let mut file = b"{\"version\":3,\"term\":{\"cols\":80,\"rows\":24}}\n".to_vec();
        file.extend_from_slice(lines.join("\n").as_bytes());
        file.extend_from_slice(&bytes);
        for start in [0, 43] {
            if let Ok(reader) = Reader::new(&file[start..]) {
                let _ = export_text(reader, &mut Vec::new());
            }
        }
    }
}
