//! The servers between real clients and a node: on this machine's files, over the lanes, and over a node's SFTP server.

mod beside_openssh;
mod over_carriers;
pub(super) mod servers;
