//! Lines that all processors look at: what is wrong with one is told by what came before it, but most of the work is not.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::lines::{Line, Lines, State};

/// How many bytes are looked at together.
const BATCH: usize = 1 << 20;

/// So few are not worth a thread.
const FEW: usize = 64 << 10;

/// So many lines are taken at once.
const LINES: usize = 32;

/// The most threads.
const THREADS: usize = 8;

/// Some lines, in memory.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where one of them is there, and what it is.
struct Place {
    range: Range<usize>,
    number: u64,
    offset: u64,
    length: u64,
    state: State,
}

/// Has every line looked at by whoever has time, while the next ones are read; and gives each, in order, with what was found.
pub(crate) fn each_line<T: Send>(
    lines: &mut Lines<impl Read>,
    look: impl Fn(&Line<'_>) -> T + Sync,
    mut each: impl FnMut(&Line<'_>, T),
) -> io::Result<()> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS);
    let (mut batch, mut later) = (Batch::default(), Batch::default());
    batch.fill(lines)?;
    while !batch.places.is_empty() {
        let taken = AtomicUsize::new(0);
        let helpers = if batch.bytes.len() < FEW { 0 } else { threads - 1 };
        let looked = thread::scope(|scope| {
            let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(|| batch.look(&taken, &look))).collect();
            later.fill(lines)?;
            let mut looked = batch.look(&taken, &look);
            for helper in helpers {
                looked.extend(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            io::Result::Ok(looked)
        });
        let mut looked = looked?;
        looked.sort_unstable_by_key(|(first, _)| *first);
        let found = looked.into_iter().flat_map(|(_, found)| found);
        for (line, found) in batch.places.iter().map(|place| batch.line(place)).zip(found) {
            each(&line, found);
        }
        std::mem::swap(&mut batch, &mut later);
    }
    Ok(())
}

impl Batch {
    /// Takes the next lines in place of those that were there.
    fn fill(&mut self, lines: &mut Lines<impl Read>) -> io::Result<()> {
        self.bytes.clear();
        self.places.clear();
        while self.bytes.len() < BATCH {
            let Some(Line { bytes, number, offset, length, state }) = lines.next()? else { break };
            let start = self.bytes.len();
            self.bytes.extend_from_slice(bytes);
            self.places.push(Place { range: start..self.bytes.len(), number, offset, length, state });
        }
        Ok(())
    }

    fn line(&self, place: &Place) -> Line<'_> {
        let bytes = self.bytes.get(place.range.clone()).unwrap_or_default();
        Line { bytes, number: place.number, offset: place.offset, length: place.length, state: place.state }
    }

    /// Looks at some lines after the other, as long as there are any that nobody has taken: where they begin, and what was found.
    fn look<T>(&self, taken: &AtomicUsize, look: &impl Fn(&Line<'_>) -> T) -> Vec<(usize, Vec<T>)> {
        let mut looked = Vec::new();
        loop {
            let first = taken.fetch_add(LINES, Ordering::Relaxed);
            let places = self.places.get(first..).unwrap_or_default();
            if places.is_empty() {
                return looked;
            }
            let found = places.iter().take(LINES).map(|place| look(&self.line(place)));
            looked.push((first, found.collect()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_comes_once_in_order_with_what_was_found_in_it() {
        // several batches, of many threads and of one
        for lines in [0, 1, 40, 100_000_u64] {
            let text: String = (1..=lines).map(|line| format!("{line} {}\n", "x".repeat(30))).collect();
            let (mut offset, mut next) = (0, 1);
            let look = |line: &Line<'_>| {
                let digits: Vec<u8> = line.bytes.iter().copied().take_while(u8::is_ascii_digit).collect();
                String::from_utf8(digits).unwrap().parse::<u64>().unwrap()
            };
            each_line(&mut Lines::new(text.as_bytes(), 100), look, |line, found| {
                assert_eq!((line.number, line.offset, found), (next, offset, next));
                (offset, next) = (offset + line.length, next + 1);
            })
            .unwrap();
            assert_eq!((offset, next), (text.len() as u64, lines + 1));
        }
    }
}
