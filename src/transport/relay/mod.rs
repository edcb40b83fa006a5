//! A relay on a node: connections from there to whatever it reaches, many over one pair of lanes.
//!
//! ```text
//!   Relay::dial(Target) ─▶ RelayStream ⇄ mux ⇄ frames ⇄ the helper's input and output ⇄ sockets on the node
//!   Relay::resolve(name)
//! ```
//!
//! A name is resolved on the node and judged here; what is dialled is an address. It is written for the Python helper only.
//!
//! | file | what |
//! | --- | --- |
//! | `frame` | what goes over the lanes, and the reading of it |
//! | `stream` | one stream: its windows, its ends |
//! | `mux` | all of them: whose turn it is, what came |
//! | `handle` | for tasks that read and write |
//! | `run` | the task between those and the lanes |

mod error;
mod frame;
mod handle;
mod mux;
mod run;
mod stream;

pub use error::RelayError;
pub use frame::Target;
pub use handle::{Relay, RelayStream};
#[cfg(feature = "testing")]
pub use mux::{Mux, MuxEvent};
pub(super) use run::start;
#[cfg(feature = "testing")]
pub use stream::Read;
