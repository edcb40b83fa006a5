//! A file of secrets, as lines or as addresses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::internals::identity::People;

fuzz_target!(|file: &[u8]| {
    let _ = People::default().add_secrets(file);
    let _ = People::default().add_secrets(&[b"ada otpauth://totp/x?", file].concat());
});
