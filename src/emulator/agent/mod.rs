//! The embedded node agent: it takes sessions from a Session Manager service and runs them on this machine.
//!
//! It knows the service only by the wire, so the service may as well be another program. Its quirks are those of
//! amazon-ssm-agent 3.3, on purpose: what passes on it shall pass on the real one.
//!
//! ```text
//!                 control channel (one)                data channels (one per session)
//!   service ◀──────────────────────────┐   ┌──────────────────────────────────────────▶ service
//!                                      │   │ wire: the driver of every data channel, in the agent's role
//!                    control ─ session ┼───┤
//!                       ▲         │    │   └─ shell    a terminal        Standard_Stream, InteractiveCommands
//!                       └─────────┘    │      command  pipes or a file   NonInteractiveCommands
//!                        outcome       │      port     TCP, plain or multiplexed (streams)
//! ```
//!
//! | file | what it is about |
//! | --- | --- |
//! | `endpoint` | signed calls and websockets |
//! | `control` | the control channel: tasks in, outcomes out |
//! | `document`, `substitute`, `lexer` | from a task to what shall run |
//! | `user`, `process` | accounts, environments, children |
//! | `connector`, `wire` | one data channel: how it is opened, and what of it is the agent's own |
//! | `session`, `running`, `outcome` | the story of one session |
//! | `shell`, `command`, `port`, `target`, `streams` | its kinds |
//! | `pump`, `utf8` | output on its way to the client |
//! | `config`, `manner`, `context`, `lifecycle` | what an agent is told, its figures, its start and end |
//!
//! A session is a task group of its own with bounded queues: one that stalls holds up nobody else.

mod command;
mod config;
mod connector;
mod context;
mod control;
mod document;
mod endpoint;
mod lexer;
mod lifecycle;
mod manner;
mod outcome;
mod port;
mod process;
mod pump;
mod running;
mod session;
mod shell;
mod streams;
mod substitute;
mod target;
mod user;
mod utf8;
mod wire;

pub use config::{AgentConfig, Fidelity};
pub use lifecycle::Agent;

#[cfg(test)]
mod tests;
