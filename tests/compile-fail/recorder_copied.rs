// must fail: E0277
use portcullis::evidence::Recorder;

fn twice<T: Clone>(one: &T) -> (T, T) {
    (one.clone(), one.clone())
}

pub fn copy(recorder: &Recorder) -> (Recorder, Recorder) {
    twice(recorder)
}
