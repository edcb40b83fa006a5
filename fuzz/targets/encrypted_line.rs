//! A line of an encrypted file: no bytes make its reader panic, and there is one way to write a line.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| portcullis_folder::fuzz_encrypted_line(input));
