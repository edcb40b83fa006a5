//! A list of what is revoked: one of ssh-keygen's, or lines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::internals::identity::Revocations;

fuzz_target!(|file: &[u8]| {
    let mut revocations = Revocations::default();
    let _ = revocations.add_file(Some(file));
    let _ = revocations.add_file(Some(&[b"SSHKRL\n\0\0\0\0\x01", file].concat()));
});
