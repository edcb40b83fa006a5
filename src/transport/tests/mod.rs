//! The lanes over the embedded service and agent, as the product uses them, with the faults the service can make.

mod canary;
mod commands;
mod cuts;
mod ended;
mod forwards;
mod gone;
mod limits;
pub(crate) mod node_end;
mod relay;
mod relay_speed;
mod slow;
mod stalled;
mod tunnels;
mod watched;
