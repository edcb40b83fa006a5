// must fail: E0451
use std::time::SystemTime;

use portcullis::internals::identity::{SignInFacts, VerifiedToken};

pub fn forge(facts: SignInFacts) -> VerifiedToken {
    let (issued, expires) = (SystemTime::UNIX_EPOCH, SystemTime::now());
    VerifiedToken { facts, name: "ada".to_owned(), groups: Vec::new(), issued, expires }
}
