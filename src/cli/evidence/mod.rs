//! `portcullis verify` and `portcullis evidence`: for those who must rely on what a gateway kept. Nothing that is verified is changed.

mod key;
mod keys;
mod screen;
mod verify;

pub(super) use key::run;
pub(super) use verify::run as run_verify;
