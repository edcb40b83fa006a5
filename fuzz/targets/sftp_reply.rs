//! What a node's SFTP server answers, in any pieces. What was read is read again when it has been written; of a status's words
//! only so much is kept.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use portcullis::internals::transport::file_service::sftp::packet::{LARGEST_PACKET, next_frame};
use portcullis::internals::transport::file_service::sftp::reply::Reply;
use portcullis::internals::transport::file_service::sftp::reply_decode::{Extended, decode_reply};

fuzz_target!(|input: (u8, Vec<Vec<u8>>)| {
    let (which, pieces) = input;
    let asked = [None, Some(Extended::FileSystem), Some(Extended::Limits), Some(Extended::NamesOf)];
    let asked = asked[usize::from(which) % asked.len()];
    let mut received = BytesMut::new();
    for piece in pieces {
        received.extend_from_slice(&piece);
        while let Ok(Some(frame)) = next_frame(&mut received) {
            assert!(frame.len() <= LARGEST_PACKET);
            let Ok((id, reply)) = decode_reply(frame, |_| asked) else { continue };
            let mut again = BytesMut::new();
            reply.put(id, &mut again);
            if let (Ok(Some(frame)), false) = (next_frame(&mut again), matches!(reply, Reply::Status(_))) {
                assert_eq!(decode_reply(frame, |_| asked), Ok((id, reply)));
            }
        }
    }
});
