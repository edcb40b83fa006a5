//! Whatever a node sends and a client does.

use crate::{CommandWatch, Nonce, Size};
use proptest::prelude::*;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Step {
    Output(Vec<u8>),
    Input(Vec<u8>),
    Resize(u16, u16),
    Idle,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "\r\n",
        "\n",
        "\x1b[?2004h",
        "\x1b[?2004l",
        "$ ",
        "ada@node:~$ ",
        "ls",
        "\x1b[6n",
        "\x1b[?1049h",
        "\x1b[?1049l",
        "\x1b[H",
        "\x1b[2J",
        "\x1b[K",
        "\x1b[J",
        "漢字",
        "é\u{301}",
        "\x1b[999;999H",
        "\x1b[5;1r",
        "\x1b[65535S",
        "\x1b[65535T",
        "\x1b[9999L",
        "\x1b[9999M",
        "\x1b[9999@",
        "\x1b[9999P",
        "\x1b[9999X",
        "a\x1b[9999b",
        "\x1b[?6h",
        "\x1b[4h",
        "\x1bM",
        "\x1bD",
        "\x1bc",
        "\x1b[r",
        "\x1b[?7l",
        "\x1b#8",
        "\x1b[3J",
        "\t",
        "\x1b]133;A\x07",
        "\x1b]133;B;nonce=0123456789abcdef\x07",
        "\x1b]133;C;nonce=0123456789abcdef\x07",
        "\x1b]133;D;1;nonce=0123456789abcdef\x07",
        "\x1b[s",
        "\x1b[u",
        "\x1b7",
        "\x1b8",
        "\x1b[1;1r",
        "\x1b[200~",
        "\x1b[201~",
        "\x03",
        "!!",
        "'",
        "\\",
        "\x1b[Z",
        "\x1b[0g",
        "\x1bH",
    ]);
    let piece = prop_oneof![4 => known.prop_map(|text| text.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..12)];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn side() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0), Just(1), Just(2), Just(65535), 1_u16..200]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => bytes().prop_map(Step::Output),
        3 => bytes().prop_map(Step::Input),
        1 => (side(), side()).prop_map(|(columns, rows)| Step::Resize(columns, rows)),
        1 => Just(Step::Idle),
    ];
    prop::collection::vec(step, 0..40)
}

fn run(columns: u16, rows: u16, steps: &[Step]) {
    let mut watch = CommandWatch::new(Size { columns, rows }, Nonce::new("0123456789abcdef"));
    let mut at = Duration::ZERO;
    for step in steps {
        at += Duration::from_millis(60);
        match step {
            Step::Output(bytes) => watch.output(at, bytes),
            Step::Input(bytes) => watch.input(at, bytes),
            Step::Resize(columns, rows) => watch.resize(at, Size { columns: *columns, rows: *rows }),
            Step::Idle => watch.idle(),
        }
        let _ = watch.line();
    }
    watch.finish(at);
    while let Some(command) = watch.next() {
        assert!((0.0..=1.0).contains(&command.confidence));
        assert!(
            !command.line.is_empty()
                && !command.line.chars().any(|character| character.is_control() && character != '\n'),
            "{:?}",
            command.line
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_makes_a_watch_panic(columns in side(), rows in side(), steps in steps()) {
        run(columns, rows, &steps);
    }
}

/// What scrolls by is left out only where that makes no difference.
#[test]
fn output_that_was_left_out_makes_no_difference() {
    for odd in ["", "\x1b[5;10r", "\x1b[31m", "é", "\x1b[?7l", "\t", "\x1b[4h"] {
        let told = |piece: usize, sync: bool| {
            let mut watch = CommandWatch::new(Size { columns: 40, rows: 10 }, None);
            let mut flood = odd.to_owned();
            for line in 0..4000 {
                flood.push_str(&format!("line {line} of the flood {odd}\r\n"));
            }
            flood.push_str("\x1b[?2004hada@node:~$ ");
            for piece in flood.as_bytes().chunks(piece) {
                watch.output(Duration::ZERO, piece);
                if sync {
                    // an answer of the terminal is no key, but the models get all that there was
                    watch.resize(Duration::ZERO, Size { columns: 40, rows: 10 });
                }
            }
            watch.input(Duration::ZERO, b"ls");
            watch.output(Duration::ZERO, b"ls");
            watch.line()
        };
        assert!(told(100_000, false).is_some());
        assert_eq!(told(100_000, false), told(1000, true), "{odd:?}");
    }
}
