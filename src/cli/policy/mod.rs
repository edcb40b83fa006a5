//! `portcullis policy`: for those who write policies. Nothing is started, and nobody is asked.

mod explain;
mod format;
mod lint;
mod question;
mod recorded;
mod rehearse;
mod reload;
mod run;
mod scenarios;
mod source;

pub(super) use question::Question;
pub(super) use reload::run as run_reload;
pub(super) use run::run;
