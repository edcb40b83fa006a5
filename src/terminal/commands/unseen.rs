//! What passes while nobody types: kept as it came, and looked at when somebody does.

use crate::Size;
use std::time::Duration;

/// The most that is kept. Who shows more than that has something to do, and is looked at.
const MOST: usize = 8 << 10;

/// What passed, in its order.
#[derive(Default)]
pub(super) struct Unseen {
    bytes: Vec<u8>,
    passed: Vec<(Duration, Passed)>,
}

/// One thing that passed.
#[derive(Clone, Copy)]
enum Passed {
    /// So many bytes were shown.
    Output(usize),
    Resize(Size),
}

/// One of them, to be looked at.
pub(super) enum Seen<'a> {
    Output(&'a [u8]),
    Resize(Size),
}

impl Unseen {
    /// Keeps output; false where it is too much.
    pub(super) fn output(&mut self, at: Duration, bytes: &[u8]) -> bool {
        let fits = self.has_room(bytes.len());
        if fits {
            self.bytes.extend_from_slice(bytes);
            self.passed.push((at, Passed::Output(bytes.len())));
        }
        fits
    }

    /// Keeps a size; false where it is too much.
    pub(super) fn resize(&mut self, at: Duration, size: Size) -> bool {
        let fits = self.has_room(0);
        if fits {
            self.passed.push((at, Passed::Resize(size)));
        }
        fits
    }

    fn has_room(&self, bytes: usize) -> bool {
        let passed = self.passed.len() * size_of::<(Duration, Passed)>();
        self.bytes.len() + passed + bytes <= MOST
    }

    /// All of it, in its order.
    pub(super) fn each(&self) -> impl Iterator<Item = (Duration, Seen<'_>)> {
        let mut rest = self.bytes.as_slice();
        self.passed.iter().map(move |(at, passed)| match *passed {
            Passed::Output(length) => {
                let (bytes, later) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                rest = later;
                (*at, Seen::Output(bytes))
            }
            Passed::Resize(size) => (*at, Seen::Resize(size)),
        })
    }
}
