//! What a recording may send to a terminal: the same however it is cut, and nothing that makes a terminal answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_terminal::{Sanitizer, sanitize_for_replay};

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let whole = sanitize_for_replay(&pieces.concat());
    let mut sanitizer = Sanitizer::new();
    let mut cut = Vec::new();
    for piece in &pieces {
        sanitizer.pass(piece, &mut cut);
    }
    assert_eq!(whole, cut);
    assert_eq!(sanitize_for_replay(&whole), whole);
    for bad in [&b"\x1b]"[..], b"\x1bP", b"\x1b_", b"\x1b^", b"\x1bX", b"\x1bc", b"\x1bZ"] {
        assert!(!whole.windows(2).any(|two| two == bad));
    }
});
