//! The adapter and servers.
