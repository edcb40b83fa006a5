//! What goes after its time, what must stay, and what concerns one person.

mod export;
mod holds;
mod scan;
mod sweep;

pub use export::export_person;
pub use holds::{Hold, HoldOn, Holds, HoldsLock};
pub use sweep::{Deleted, Policy, RetentionError, Sweeping, sweep};
