//! What a node says of a command that shares its helper, in any pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::internals::transport::ride::Said;

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let mut said = Said::default();
    for piece in pieces {
        said.inbox.extend_from_slice(&piece);
        if said.handle_inbox().is_err() {
            break;
        }
        // what is kept is at most a record that is not whole
        assert!(said.inbox.len() < 5 + (128 << 10));
    }
});
