//! The program's own log.

mod repeated;
mod start;

pub use repeated::Repeated;
pub use start::{LogFormat, start};
