// must fail: E0277
use portcullis::internals::policy::Grant;

fn twice<T: Clone>(one: &T) -> (T, T) {
    (one.clone(), one.clone())
}

pub fn copy(grant: &Grant) -> (Grant, Grant) {
    twice(grant)
}
