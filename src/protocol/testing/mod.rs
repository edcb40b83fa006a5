//! For tests, of this crate and of whoever drives it (feature `testing`).
//!
//! [`Pair`] joins two channels through a bad path and virtual time. [`operate`] turns any bytes into calls on a channel,
//! for the fuzzer and for property tests.

mod operations;
mod pair;

pub use operations::{multiplex, operate};
pub use pair::{Cut, End, Failure, Pair, Path, Side};
