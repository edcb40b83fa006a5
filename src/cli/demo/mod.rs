//! `portcullis demo`: Session Manager, a node and a gateway on this machine, with no AWS account.
//!
//! ```text
//!   ssh -F DIR/ssh_config demo ──▶ gateway ──▶ embedded Session Manager ──▶ agent ──▶ /bin/sh, as you
//!                                 (--listen)        (loopback, free port)
//! ```
//!
//! The gateway reaches the service through the AWS SDK as it would reach AWS; the keys for it are random and live in
//! memory only.

mod dir;
mod page;
mod run;
mod ssh_config;

pub(in crate::cli) use run::run;
