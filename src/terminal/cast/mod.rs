//! Recordings of terminals: [asciicast v2](https://docs.asciinema.org/manual/asciicast/v2/), written as a session goes, and
//! [v3](https://docs.asciinema.org/manual/asciicast/v3/), read and exported.

mod export;
mod json;
mod reader;
mod writer;

pub use export::{ExportError, export_text, export_v2, export_v3};
pub use reader::{Event, Kind, ReadError, ReadHeader, Reader};
pub use writer::{Header, Writer};
