//! A certificate as a client sends it, before anybody has verified anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::internals::identity::Certificate;

fuzz_target!(|wire: &[u8]| {
    if let Ok(certificate) = Certificate::parse(wire) {
        // what is read to its end has nothing behind it
        let longer = [wire, &[0]].concat();
        assert!(Certificate::parse(&longer).is_err());
        assert!(certificate.fingerprint().to_string().starts_with("SHA256:"));
    }
});
