//! The message service: control and data channels, as calls (`POST`) and as websockets (`GET` with an upgrade).

pub(crate) mod control;
pub(crate) mod create;
mod path;
pub(crate) mod upgrade;

pub(crate) use path::{Channel, channel, session_is_over};
