//! Tests of the crate as a whole.

mod casts;
mod commands;
mod corpus;
mod robust;
mod shown;
