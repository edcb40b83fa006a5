// must fail: E0616
use std::sync::Mutex;

use portcullis::internals::policy::{Grant, Terms};

pub fn widen(grant: &mut Grant, terms: Mutex<Terms>) {
    grant.terms = terms;
}
