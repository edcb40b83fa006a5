//! Proving who you are to the gateway. For now: a key from the configuration.

pub(super) mod publickey;
