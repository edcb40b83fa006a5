//! How records are written on a lane: the one place that knows both dialects.
//!
//! ```text
//!                    first line of a lane    from the node        to the node
//!   binary (Python)  PCR1                    escaped, a trailer   as it is
//!   lines  (sh)      PCL1                    lines of words       lines of words, longer data behind its line
//! ```
//!
//! Which one a helper speaks is known from the first line that it says ([`Decoder`]); from then on the gateway answers in
//! the same ([`Dialect`]). Nobody else asks which of them it is.

mod binary;
mod decoder;
mod dialect;
mod lines;

pub(in crate::transport) use binary::{encode_plain, next_plain};
pub(super) use decoder::Decoder;
pub(super) use dialect::{Dialect, Encoded};

#[cfg(test)]
pub(in crate::transport) use binary::testing::record as binary_record;
