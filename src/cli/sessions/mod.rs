//! `portcullis sessions`: finding what was recorded, reading it, playing it, and ending what runs.

mod args;
mod cast;
mod control;
mod end;
mod export;
mod export_file;
mod follow;
mod keyboard;
mod list;
mod looked;
mod moments;
mod place;
mod play;
mod player;
mod rebuild;
mod replay;
mod run;
mod show;
mod shown;
mod story;
mod table;
mod verified;

pub(super) use args::SessionsArgs;
pub(super) use control::ask;
pub(super) use run::run;
