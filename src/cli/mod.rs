//! The command line: what `portcullis` can be asked, and how it answers.
//!
//! Standard output carries what was asked for; standard error carries progress, warnings and failures, each a sentence.

mod args;
mod check;
mod clients;
mod demo;
mod documents;
mod embedded;
mod emulator;
mod evidence;
pub mod exit;
mod failure;
mod generate;
mod output;
mod password;
mod policy;
mod program;
mod realm;
mod runtime;
mod serve;
mod sessions;

pub use program::main;
