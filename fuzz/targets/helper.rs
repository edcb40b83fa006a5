//! What a node says on an out lane, as records and as lines: the gateway's end of the helper's conversation.
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
    for piece in pieces {
        if link.handle_output(piece.into()).is_err() {
            return;
        }
        while link.poll_event().is_some() {}
        while link.poll_transmit(now).is_some() {}
    }
});
