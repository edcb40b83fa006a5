//! The gateway on loopback, in front of a pretend node that is this machine's `sh`, driven by the real OpenSSH client.

mod attempts;
mod authorization;
mod basics;
mod certificates;
mod features;
mod forwards;
mod hostile;
mod in_aws;
mod keys;
mod lengths;
mod memory;
mod neighbours;
mod noted;
mod odd_requests;
mod process;
mod prompting;
mod proofs;
mod proving;
mod rekey;
mod second_factor;
mod sessions;
mod shares;
mod sign_in;
mod strangers;
mod transfers;
mod wire;
