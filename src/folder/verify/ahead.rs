//! What all processors look at: what is wrong with one line or note is told by what came before it, but most of the work is not.

use std::io;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many bytes are looked at together.
const BATCH: usize = 1 << 20;

/// So few are not worth a thread.
const FEW: usize = 64 << 10;

/// So many pieces are taken at once.
const PIECES: usize = 32;

/// The most threads.
const THREADS: usize = 8;

/// A piece of a file.
pub(crate) trait Piece: Send + Sync {
    /// How long it is.
    fn bytes(&self) -> usize;
}

/// Has every piece looked at by whoever has time, some that stand behind each other at once, while the next ones are read; and gives
/// each, in order, with what was found. `look` finds something in each piece that it is given.
pub(crate) fn look_ahead<P: Piece, T: Send>(
    mut next: impl FnMut() -> io::Result<Option<P>>,
    look: impl Fn(&[P]) -> Vec<T> + Sync,
    mut each: impl FnMut(&P, T),
) -> io::Result<()> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS);
    let (mut batch, mut bytes) = batch(&mut next)?;
    while !batch.is_empty() {
        let taken = AtomicUsize::new(0);
        let helpers = if bytes < FEW { 0 } else { threads - 1 };
        let looked = thread::scope(|scope| {
            let some = || look_at_some(&batch, &taken, &look);
            let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(some)).collect();
            let later = self::batch(&mut next)?;
            let mut looked = some();
            for helper in helpers {
                looked.extend(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            io::Result::Ok((looked, later))
        });
        let (mut looked, later) = looked?;
        looked.sort_unstable_by_key(|(first, _)| *first);
        for (piece, found) in batch.iter().zip(looked.into_iter().flat_map(|(_, found)| found)) {
            each(piece, found);
        }
        (batch, bytes) = later;
    }
    Ok(())
}

/// The next pieces, and how long they are.
fn batch<P: Piece>(next: &mut impl FnMut() -> io::Result<Option<P>>) -> io::Result<(Vec<P>, usize)> {
    let (mut pieces, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH {
        let Some(piece) = next()? else { break };
        bytes += piece.bytes();
        pieces.push(piece);
    }
    Ok((pieces, bytes))
}

/// Looks at some pieces after the others, as long as there are any that nobody has taken: which is the first, and what was found.
fn look_at_some<P, T>(batch: &[P], taken: &AtomicUsize, look: &impl Fn(&[P]) -> Vec<T>) -> Vec<(usize, Vec<T>)> {
    let mut looked = Vec::new();
    loop {
        let first = taken.fetch_add(PIECES, Ordering::Relaxed);
        let pieces = batch.get(first..).unwrap_or_default();
        if pieces.is_empty() {
            return looked;
        }
        looked.push((first, look(&pieces[..pieces.len().min(PIECES)])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Piece for (u64, usize) {
        fn bytes(&self) -> usize {
            self.1
        }
    }

    #[test]
    fn each_piece_comes_once_in_order_with_what_was_found_in_it() {
        // none, one, what one thread looks at, and several batches of many
        for pieces in [0, 1, 40, 100_000_u64] {
            let mut coming = (0..pieces).map(|number| (number, 1000));
            let mut expected = 0;
            let each = |piece: &(u64, usize), found: u64| {
                assert_eq!((piece.0, found), (expected, expected * 3));
                expected += 1;
            };
            let look = |pieces: &[(u64, usize)]| pieces.iter().map(|piece| piece.0 * 3).collect();
            look_ahead(|| Ok(coming.next()), look, each).unwrap();
            assert_eq!(expected, pieces);
        }
    }

    #[test]
    fn what_can_t_be_read_is_an_error() {
        let mut left = 5000;
        let next = || {
            left -= 1;
            if left == 0 { Err(io::Error::other("no more")) } else { Ok(Some((0, 1000))) }
        };
        let look = |pieces: &[(u64, usize)]| vec![(); pieces.len()];
        assert_eq!(look_ahead(next, look, |_, ()| {}).unwrap_err().to_string(), "no more");
    }
}
