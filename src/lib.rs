//! Portcullis: an SSH server in front of AWS Session Manager.
//!
//! ```text
//!  ssh client ─▶ gateway ─▶ session ─▶ transport ─▶ backend + data_channel ─wss─▶ Session Manager ─▶ agent
//!                 │    │      │ ▲
//!          identity  files policy │
//!                             ▼   │
//!                          evidence
//! ```
//!
//! Every channel takes the one way through: login → identity → action → decision → evidence open → lanes → pump →
//! evidence close. A transport opens only with a [`policy::Grant`], which only [`policy`] can make.
//!
//! Nobody imports this library but the program, so its floors are private: what nothing uses shows as dead code. The tests
//! that must fail to compile and the fuzz targets reach them through `internals`, with the feature `testing`.

mod app;
mod audit;
mod backend;
pub mod cli;
mod config;
mod data_channel;
mod emulator;
mod evidence;
mod files;
mod gateway;
mod identity;
mod model;
mod oidc;
mod policy;
mod session;
mod ssh;
mod telemetry;
#[cfg(test)]
mod testing;
mod transport;

/// What tests from outside reach of the floors below.
#[cfg(feature = "testing")]
#[allow(missing_docs, reason = "each module is one of this crate's own, which says what it is")]
pub mod internals {
    pub mod backend {
        pub use crate::backend::*;
    }
    pub mod emulator {
        pub use crate::emulator::Trial;
    }
    pub mod evidence {
        pub use crate::evidence::*;
    }
    pub mod files {
        pub use crate::files::*;
    }
    pub mod gateway {
        pub use crate::gateway::proxy_header::*;
    }
    pub mod identity {
        pub use crate::identity::*;
    }
    pub mod model {
        pub use crate::model::*;
    }
    pub mod policy {
        pub use crate::policy::*;
    }
    pub mod session {
        pub use crate::session::*;
    }
    pub mod transport {
        pub use crate::transport::*;
    }
}
