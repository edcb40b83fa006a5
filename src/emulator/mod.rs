//! Session Manager on one machine, with no AWS account: the service and a node, for demos and tests.

pub mod agent;
