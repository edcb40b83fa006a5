//! Any bytes are a frame or an error, and a frame is written as it was read.
#![no_main]

use bytes::Bytes;
use portcullis_protocol::Message;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::decode(Bytes::copy_from_slice(bytes)) {
        let again = Message::decode(message.encode());
        // only a pause may be undated, and is dated when it is written
        assert!(again.as_ref() == Ok(&message) || message.created.is_zero(), "{message:?} became {again:?}");
    }
});
