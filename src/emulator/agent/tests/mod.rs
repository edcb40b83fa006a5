//! The agent from outside: a service's end of its channels that does what the test says.

mod command;
mod control;
mod port;
mod service_end;
mod terminal;
