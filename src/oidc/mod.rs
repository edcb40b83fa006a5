//! Signing in at an OpenID provider by the device flow (RFC 8628): the person reads an address and a code, and signs in with a browser
//! anywhere; the gateway asks meanwhile whether they have.
//!
//! ```text
//!  Provider::begin ─▶ discovery ─▶ device authorization ─▶ address and code ─▶ shown to the person
//!   (budget, places)   (kept)                                    │
//!                                          ┌─ not yet, slower ─▶ poll ─▶ denied, over, broken: a sentence
//!                                          └─────────────────────┘ └───▶ ID token ─▶ identity::TokenRules ─▶ SignedIn
//! ```
//!
//! Anybody may begin one before they have proved anything, so all of it is bounded: those that go on, from one address and in all;
//! those that begin in a minute; what an answer may be, and how long it may take. One that is dropped asks no more. Tokens are in no
//! log and no error, and are wiped where they were held here; the ID token is the sign-in's until that ends (`identity::IdToken`).

mod budget;
mod device;
mod discovery;
mod endpoint;
mod error;
mod http_client;
mod provider;
mod recheck;

pub use device::Prompt;
pub use error::SignInError;
pub use provider::{Progress, Provider, ProviderOptions, SignIn};

#[cfg(test)]
mod tests;
