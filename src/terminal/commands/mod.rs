//! What commands were run in an interactive shell, told from the outside.

mod command;
mod echo;
mod edit;
mod feed;
mod keys;
mod lines;
mod marks;
mod models;
mod prompt;
mod scan;
mod syntax;
mod unmarked;
mod unseen;
mod watch;

pub use command::{Command, How, Line, UNSURE_BELOW};
pub use marks::Nonce;
pub use unmarked::Unmarked;
pub use watch::CommandWatch;
