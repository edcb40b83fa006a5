//! Any calls on a multiplexer, with any bytes of its peer, keep its rules.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_protocol::testing::multiplex(bytes));
