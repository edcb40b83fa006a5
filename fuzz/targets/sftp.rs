//! What an SFTP client sends, in any pieces.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use portcullis::internals::transport::file_service::sftp::packet::{LARGEST_PACKET, decode, next_frame};

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let mut received = BytesMut::new();
    for piece in pieces {
        received.extend_from_slice(&piece);
        while let Ok(Some(frame)) = next_frame(&mut received) {
            assert!(frame.len() <= LARGEST_PACKET);
            let _ = decode(frame);
        }
    }
});
