//! The HTTP front: who is calling, and where the call goes.

pub(crate) mod caller;
pub(crate) mod front;
pub(crate) mod keys;
pub(crate) mod reply;
pub(crate) mod sigv4;
pub(crate) mod tls;
