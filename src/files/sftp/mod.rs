//! The SFTP server: version 3 of the protocol, as OpenSSH speaks it (`draft-ietf-secsh-filexfer-02` and OpenSSH's
//! `PROTOCOL`, section 4).
//!
//! ```text
//!           ┌────────── reads, decodes, issues in order ──────────┐
//!  client ─▶│ frame ─▶ packet ─▶ [gather writes] [read ahead] ─▶ Access ─▶ node
//!           └──────────────┬──────────────────────────────────────┘
//!                          ▼ replies to come, in order; at most 4 MiB and some 80 of them
//!           ┌──────── waits, counts, hashes, encodes ─────────────┐
//!  client ◀─│ status, data, names …                       ◀─ answers
//!           └─────────────────────────────────────────────────────┘
//! ```

mod answering;
mod gather;
#[cfg(test)]
mod judged_again_tests;
mod listing;
mod refusal;
mod server;
mod status;
mod table;
#[cfg(test)]
mod tests;

pub use refusal::refuse_sftp;
pub use server::serve_sftp;
