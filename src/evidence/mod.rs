//! Everything kept about a session.

/// Takes what one channel says and does. A field of every open channel, so that no byte passes it by.
#[derive(Debug)]
pub struct Recorder {}
