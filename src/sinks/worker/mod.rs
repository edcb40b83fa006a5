//! What brings evidence to sinks: a task for the live log of each sink, and one for the folders of each that gets them.

mod folders;
mod live;
mod outlet;

pub(crate) use folders::{FolderWorker, FoldersTo};
pub(crate) use live::LiveWorker;
pub(crate) use outlet::{Outlet, SyslogOutlet};
