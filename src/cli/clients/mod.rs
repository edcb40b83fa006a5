//! What clients, and nodes, need in their own files.

mod args;
mod print;

pub(super) use args::{KnownHostsArgs, SshConfigArgs, UserCaArgs};
pub(super) use print::{known_hosts, ssh_config, user_ca};
