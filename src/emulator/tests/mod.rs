//! The service from outside: AWS's SDK as the caller, bare websockets as both ends of a session.

mod api;
mod channels;
mod harness;
mod relay;
mod speed;
