//! Proving who you are to the gateway: a key of the configuration, or a certificate of an authority that it trusts.

pub(super) mod certificate;
pub(super) mod publickey;
