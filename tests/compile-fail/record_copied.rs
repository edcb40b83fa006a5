// must fail: E0277
use portcullis::internals::evidence::SessionRecord;

fn twice<T: Clone>(one: &T) -> (T, T) {
    (one.clone(), one.clone())
}

pub fn copy(record: &SessionRecord) -> (SessionRecord, SessionRecord) {
    twice(record)
}
