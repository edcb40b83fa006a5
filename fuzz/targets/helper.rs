//! What a node says on an out lane, as records and as lines: the gateway's end of the helper's conversation. Whatever it is, in
//! whatever pieces, each byte is looked at a few times at most.
#![no_main]

use std::time::Instant;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use portcullis::internals::transport::helper::link::Link;
use portcullis::internals::transport::helper::output_window::OutputWindow;

fuzz_target!(|input: (bool, Vec<Vec<u8>>)| {
    let (lines, pieces) = input;
    let now = Instant::now().into();
    let mut link = Link::new(now, false, OutputWindow::default());
    let first = if lines { b"PCL1\n" } else { b"PCR1\n" };
    if link.handle_output(Bytes::from_static(first)).is_err() {
        unreachable!("a lane's first line is always understood");
    }
    let mut most = 0;
    for piece in pieces {
        // looked for, found and taken; and where the piece ends, that it has
        most += 3 * piece.len() + 1;
        if link.handle_output(piece.into()).is_err() {
            return;
        }
        while link.poll_event().is_some() {}
        while link.poll_transmit(now).is_some() {}
        assert!(link.steps() <= most, "{} steps for {most} at most", link.steps());
    }
});
