//! `portcullis policy`: for those who write policies. Nothing is started, and nobody is asked.

mod explain;
mod format;
mod question;
mod run;
mod scenarios;
mod source;

pub(super) use question::Question;
pub(super) use run::run;
