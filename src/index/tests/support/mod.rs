//! What the tests of the index start and write: a PostgreSQL of their own, and sessions' folders.

pub mod folders;
pub mod postgres;
