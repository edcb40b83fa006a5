//! The exec line that starts an SCP session, the braces of its paths, and the records in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::internals::files::parse_scp_command;
use portcullis::internals::files::scp::{Record, expand_braces, parse_record};

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (first, rest) = input;
    let _ = parse_scp_command(&rest);
    let _ = expand_braces(&rest);
    if let Ok(Record::File { name, .. } | Record::Directory { name, .. }) = parse_record(first, &rest) {
        assert!(!name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/'));
    }
});
