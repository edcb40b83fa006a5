//! Any calls on a data channel, with any frames, keep its rules.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_protocol::testing::operate(bytes));
