// must fail: E0616
use portcullis::internals::policy::{Grant, Terms};

pub fn widen(grant: &mut Grant, terms: Terms) {
    grant.terms = terms;
}
