//! Lines of a recording, as they are read for the index and for whoever exports its text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_index::{Plain, cast_line};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (mut plain, mut shown) = (Plain::default(), String::new());
    for line in text.lines() {
        match cast_line(line) {
            Ok((at, _, output)) => {
                assert!(at.is_finite() && at >= 0.0);
                plain.take(&output, &mut shown);
            }
            Err(why) => assert!(!why.is_empty()),
        }
        plain.take(line, &mut shown);
    }
    assert!(shown.chars().all(|found| found == '\n' || !found.is_control()));
});
