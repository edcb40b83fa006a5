//! `portcullis demo`: Session Manager, a node and a gateway on this machine, with no AWS account.
#![allow(dead_code, reason = "the service and the gateway that it starts land next")]

mod dir;
mod ssh_config;
