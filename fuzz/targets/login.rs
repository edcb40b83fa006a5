//! The SSH user name, which anybody may choose.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::internals::identity::Login;

fuzz_target!(|text: &str| {
    if let Ok(login) = Login::parse(text) {
        assert_eq!(login.fault(), None);
        // what is understood can be written down and understood again
        assert_eq!(Login::parse(&login.to_string()).as_ref(), Ok(&login));
    }
});
