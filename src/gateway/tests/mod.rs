//! The gateway on loopback, in front of a pretend node that is this machine's `sh`, driven by the real OpenSSH client.

mod basics;
mod bench;
mod hostile;
mod neighbours;
mod wire;
