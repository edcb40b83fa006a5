//! The servers between real clients and a node: on this machine's files, and over the lanes.

mod beside_openssh;
mod over_lanes;
pub(super) mod servers;
