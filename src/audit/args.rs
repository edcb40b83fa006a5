//! What somebody who looks at evidence can ask.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use time::OffsetDateTime;

use super::moments::{duration, moment};

/// What they want to see.
#[derive(Clone, Debug, Subcommand)]
pub enum LookArgs {
    /// The sessions that are meant, the newest first
    List(Box<ListArgs>),
    /// One session on one page: who, where, why, by whose leave, what was done, and whether it verifies
    Show(ShowArgs),
    /// What a session's terminal showed, as it came
    Play(PlayArgs),
    /// A live session's terminal, as it goes
    Follow(IdArgs),
    /// A session's recording, if it verifies
    Export(ExportArgs),
}

/// Which sessions.
#[derive(Clone, Debug, clap::Args)]
pub struct ListArgs {
    /// By this person
    #[arg(long, value_name = "NAME")]
    pub person: Option<String>,
    /// On this node: its id, its Name, or as it was asked for
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// Opened then or later
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<OffsetDateTime>,
    /// Opened before then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<OffsetDateTime>,
    /// With this in a command; three characters at least, capitals or not
    #[arg(long, value_name = "TEXT")]
    pub command: Option<String>,
    /// With this on the terminal, or in the beginning of the output
    #[arg(long, value_name = "TEXT")]
    pub output: Option<String>,
    /// With this in a path of a file that was read, written or looked at
    #[arg(long, value_name = "TEXT")]
    pub path: Option<String>,
    /// With a file of this hash
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    pub sha256: Option<String>,
    /// Of this action: Shell, Exec, Files
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// That ended so: finished, client-gone, failed, killed, interrupted
    #[arg(long, value_name = "HOW")]
    pub outcome: Option<String>,
    /// That run now, as the gateway knows them
    #[arg(long)]
    pub live: bool,
    /// How many
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// Where to go on: `next` of the answer before
    #[arg(long, value_name = "NEXT")]
    pub after: Option<String>,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which session.
#[derive(Clone, Debug, clap::Args)]
pub struct IdArgs {
    /// The session's id, or its beginning
    #[arg(value_name = "ID")]
    pub id: String,
}

/// What of one session.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis sessions show 8b1f")]
pub struct ShowArgs {
    /// The session.
    #[command(flatten)]
    pub session: IdArgs,
    /// How many commands and files at most
    #[arg(long, value_name = "N", default_value = "200")]
    pub limit: usize,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// How it is played.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Keys: space pauses, . goes on to the next output, left and right (or - and +) go five seconds back and forth, q ends.
A recording is whatever the node sent: what could do more than show text and colours is left out.

Example:
  portcullis sessions play 8b1f --speed 2 --idle-limit 1s --from 5m")]
pub struct PlayArgs {
    /// The session.
    #[command(flatten)]
    pub session: IdArgs,
    /// How many times as fast
    #[arg(long, value_name = "N", default_value = "1", value_parser = speed)]
    pub speed: f64,
    /// No pause is longer than this
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub idle_limit: Option<Duration>,
    /// Begin there
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub from: Option<Duration>,
}

/// Which session is ended, and with what words.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis sessions end 8b1f --message 'call me before you go on'")]
pub struct EndArgs {
    /// The session.
    #[command(flatten)]
    pub session: IdArgs,
    /// What the person reads
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// What is exported, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct ExportArgs {
    /// The session.
    #[command(flatten)]
    pub session: IdArgs,
    /// In which form
    #[arg(long, value_enum, default_value = "cast")]
    pub format: Format,
    /// Although it does not verify
    #[arg(long)]
    pub unverified: bool,
}

/// What a recording is exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// asciicast v2, as it is in the folder
    #[value(alias = "cast2")]
    Cast,
    /// asciicast v3
    Cast3,
    /// What was shown, as text
    Text,
    /// Manifest, commands and files as one object
    Json,
}

fn sha256(text: &str) -> Result<String, String> {
    let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { Ok(text.to_ascii_lowercase()) } else { Err("a SHA-256 has 64 digits, 0 to 9 and a to f".to_owned()) }
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: Option<f64> = text.trim_end_matches('x').parse().ok();
    speed.filter(|speed| (0.05..=1000.0).contains(speed)).ok_or_else(|| "a speed is from 0.05 to 1000".to_owned())
}
