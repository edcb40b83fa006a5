//! The whole program, driven from outside: the real binary, and the OpenSSH client that people have.
//!
//! Every test starts (or shares) a demo on free loopback ports, in a directory of its own whose name has a space in it.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "these are tests")]
#![allow(dead_code, reason = "parts of the harness wait for the tests that use them")]

mod ansible;
mod architecture;
mod cli;
mod clients;
mod compile_fail;
mod demo;
mod emulator;
mod encryption;
mod endurance;
mod evidence;
mod exec;
mod faults;
mod forwards;
mod gateway;
mod guards;
mod harness;
mod hops;
mod joined;
mod limits;
mod login;
mod many_commands;
mod message_order;
mod pages;
mod picker;
mod policy;
mod proofs;
mod realms;
mod reason;
mod screens;
mod second_factor;
mod secrets;
mod serve;
mod sessions;
mod shell;
mod sign_in;
mod sinks;
mod sshd;
mod story;
mod terminal;
mod transfer;
mod tunnels;
mod user_keys;
mod watched;
