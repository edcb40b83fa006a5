// must fail: E0451
use std::time::SystemTime;

use portcullis::internals::identity::{AwsClaims, SignInFacts, VerifiedToken};

pub fn forge(facts: SignInFacts, aws: AwsClaims, expires: SystemTime) -> VerifiedToken {
    VerifiedToken { facts, name: "ada".to_owned(), groups: Vec::new(), aws, expires, text: None }
}
