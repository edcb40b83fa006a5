//! The SSH front-end: the only code that names russh.

pub mod mint;
