//! Proving who you are to the gateway: a key of the configuration, or a certificate of an authority that it trusts, and where that is
//! not enough a code, asked for in keyboard-interactive (RFC 4256).

pub(super) mod certificate;
pub(super) mod keyboard;
pub(super) mod publickey;
pub(super) mod questions;
