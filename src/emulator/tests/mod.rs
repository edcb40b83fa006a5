//! The service from outside: AWS's SDK as the caller, bare websockets as both ends of a session.

mod api;
mod callers;
mod channels;
mod faults;
mod iam;
mod relay;
mod speed;
mod user_keys;
mod web_identity;
