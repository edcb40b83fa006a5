//! A reason that is typed on a terminal, key by key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::internals::model::{ReasonLine, ReasonText, Typed};

fuzz_target!(|bytes: &[u8]| {
    let mut line = ReasonLine::default();
    for &byte in bytes {
        match line.take(byte) {
            // what goes to the terminal is characters, and what takes them back
            Typed::Shown(shown) => assert!(shown.chars().all(|c| !c.is_control() || c == '\u{7}' || c == '\u{8}')),
            Typed::Line(reason) => assert_eq!(ReasonText::new(reason.as_str()), Some(reason)),
            Typed::GivenUp => {}
        }
    }
});
