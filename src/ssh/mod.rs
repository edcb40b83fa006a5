//! Keys and certificates of SSH, for the gateway's front and for its own client towards nodes.

mod ca_key;
mod key_file;
pub mod mint;

pub use ca_key::{CaKey, CaKind};
pub use key_file::{KeyFileError, Wrong, load_one, modern};
