//! The seam to Systems Manager, in two halves: [`Directory`] is what the gateway asks of the account on its own behalf,
//! [`lanes::Lanes`] is what it opens on nodes for a person, and wants a grant; [`UserKeys`] is IAM, of which it asks whose keys are whose. [`Realms`] and [`lanes::RealmLanes`] have those of all
//! realms. The AWS SDK is behind both, and the embedded
//! Session Manager is reached through the SDK as well, so nothing in the product knows which of them it talks to.

use std::future::Future;
use std::pin::Pin;

pub mod aws;
mod directory;
mod error;
pub mod lanes;
mod lapse;
pub mod preferences;
mod realms;
mod user_keys;

pub use directory::{Directory, Node, NodeList};
pub use error::BackendError;
pub use lapse::Lapse;
pub use realms::{Listing, Realm, Realms, Resolved};
pub use user_keys::UserKeys;

/// A future behind a `dyn Directory` or `dyn Lanes`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
