//! The SSH public keys that the users of an account's IAM hold, asked for with the gateway's own credentials.

use super::{BackendError, BoxFuture};

/// IAM in the account of one realm, as far as it is asked about its users' keys.
pub trait UserKeys: Send + Sync + std::fmt::Debug {
    /// What IAM calls the active keys of a user; `None` where there is no such user.
    fn active_keys<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Result<Option<Vec<String>>, BackendError>>;
    /// The text of one, as a `.pub` file has it; it never changes. `None` where it is there no more.
    fn key_text<'a>(&'a self, user: &'a str, id: &'a str) -> BoxFuture<'a, Result<Option<String>, BackendError>>;
}
