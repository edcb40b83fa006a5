//! A session at a terminal: output, input, sizes and rests in any order.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use portcullis_terminal::{CommandWatch, Nonce, Size};
use std::time::Duration;

#[derive(Arbitrary, Debug)]
enum Step {
    Output(Vec<u8>),
    Input(Vec<u8>),
    Resize(u16, u16),
    Idle,
}

fuzz_target!(|session: (u16, u16, Vec<(u8, Step)>)| {
    let (columns, rows, steps) = session;
    let mut watch = CommandWatch::new(Size { columns, rows }, Nonce::new("0123456789abcdef"));
    let mut at = Duration::ZERO;
    for (pause, step) in steps.into_iter().take(64) {
        at += Duration::from_millis(u64::from(pause) * 10);
        match step {
            Step::Output(bytes) => watch.output(at, &bytes),
            Step::Input(bytes) => watch.input(at, &bytes),
            Step::Resize(columns, rows) => watch.resize(at, Size { columns, rows }),
            Step::Idle => watch.idle(),
        }
        let _ = watch.line();
    }
    watch.finish(at);
    while let Some(command) = watch.next() {
        assert!((0.0..=1.0).contains(&command.confidence));
        assert!(!command.line.chars().any(|character| character.is_control() && character != '\n'));
    }
});
