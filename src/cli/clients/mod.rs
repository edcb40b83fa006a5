//! What clients need in their own files to hop to nodes.

mod args;
mod print;

pub(super) use args::{KnownHostsArgs, SshConfigArgs};
pub(super) use print::{known_hosts, ssh_config};
