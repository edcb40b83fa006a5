//! Proving who you are to the gateway: a key of the configuration, a certificate of an authority that it trusts, a sign-in at a
//! provider, or a password; and where that is not enough a code or a sign-in, asked for in keyboard-interactive (RFC 4256).

pub(super) mod certificate;
pub(super) mod keyboard;
pub(super) mod password;
pub(super) mod publickey;
pub(super) mod questions;
pub(super) mod sign_in;
