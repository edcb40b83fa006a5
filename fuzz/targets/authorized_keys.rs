//! A file of somebody's keys, with options in front of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::internals::identity::People;

fuzz_target!(|file: &[u8]| {
    let mut people = People::default();
    for fault in people.add_file("ada", file) {
        assert!(!fault.why.to_string().is_empty() && !fault.why.help().is_empty());
    }
});
