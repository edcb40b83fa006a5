//! `portcullis sessions`: what was recorded, as whoever has the evidence directory looks at it, and ending what runs.

mod args;
mod control;
mod end;
mod export;
mod export_file;
mod keyboard;
mod looked;
mod place;
mod rebuild;
mod run;
mod terminal;

pub(super) use args::SessionsArgs;
pub(super) use control::ask;
pub(super) use run::run;
