//! A deflated record of a node: any length that it may say, and any stream.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use portcullis::internals::transport::helper::link::{Event, Link};
use portcullis::internals::transport::helper::output_window::OutputWindow;

fuzz_target!(|input: (u32, Vec<u8>, bool)| {
    let (length, stream, errors) = input;
    let payload = [if errors { b"e" } else { b"o" }, &length.to_be_bytes()[..], &stream].concat();
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = b"PCR1\n".to_vec();
    for byte in [&b"z\0\0\0\x01"[..], &size.to_be_bytes(), &payload].concat() {
        match byte {
            0x10 => bytes.extend(b"\x10A"),
            0xef => bytes.extend(b"\x10B"),
            other => bytes.push(other),
        }
    }
    bytes.extend(b"~~~\n");
    let mut link = Link::new(Instant::now().into(), false, OutputWindow::default());
    if link.handle_output(bytes.into()).is_ok() {
        while let Some(event) = link.poll_event() {
            let (Event::Stdout(data) | Event::Stderr(data)) = event else { unreachable!("it was data") };
            assert_eq!(data.len(), length as usize, "just as much as was said");
        }
    }
});
