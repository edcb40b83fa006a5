//! A provider's keys and its token, before anything of them is believed: two texts with a zero byte between them.
#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use portcullis::internals::identity::{Expected, KeySet, TokenRules};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |&byte| byte == 0);
    let (keys, token) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(token) = std::str::from_utf8(token) else { return };
    let rules = TokenRules { issuer: "https://id.example.com".to_owned(), ..TokenRules::default() };
    let expected = Expected { nonce: None, since: SystemTime::UNIX_EPOCH, max_age: None };
    // nobody here has signed anything
    let error = rules.verify(&KeySet::parse(keys).unwrap_or_default(), token, expected, SystemTime::now()).unwrap_err();
    assert!(error.to_string().len() < 300);
});
