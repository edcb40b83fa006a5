//! What `portcullis sessions` can be asked.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use time::OffsetDateTime;

use super::moments::{duration, moment};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  portcullis sessions                                     the newest sessions
  portcullis sessions --person ada --since 7d             what ada did this week
  portcullis sessions --command 'systemctl restart'       who ran that, and when
  portcullis sessions --output 'permission denied' --node web-1
  portcullis sessions --sha256 9f86d0…                    where did this file go?
  portcullis sessions --live                              what runs now
  portcullis sessions show 8b1f                           one session on one page
  portcullis sessions play 8b1f --speed 4                 what its terminal showed
  portcullis sessions end 8b1f --message 'call me first'

An id may be shortened to a beginning that only one session has. Times are 2026-11-30, 2026-11-30T08:00:00Z, or
how long ago: 30m, 12h, 7d.

Here everybody can look who can read the evidence directory, and who that is, is the file system's to say. Where
the directory can be written, a line in looked.jsonl tells who (by user id) has looked at what. Over SSH (`ssh
gate sessions`) policy says who may look, and each look is an event of the journal.")]
pub(in crate::cli) struct SessionsArgs {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    #[command(subcommand)]
    pub(super) command: Option<SessionsCommand>,
    #[command(flatten)]
    pub(super) list: ListArgs,
}

/// Where the evidence is.
#[derive(Debug, clap::Args)]
pub(super) struct PlaceArgs {
    /// The configuration of the gateway whose sessions they are
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "PORTCULLIS_CONFIG",
        default_value = "/etc/portcullis/gateway.toml"
    )]
    pub(super) config: PathBuf,
    /// The evidence directory, without a configuration
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) evidence: Option<PathBuf>,
    /// The index: postgres://…, or a file [default: index.url of the configuration, or index.sqlite in the evidence directory]
    #[arg(long, global = true, value_name = "PLACE", hide_env_values = true, env = "PORTCULLIS_INDEX")]
    pub(super) index: Option<String>,
    /// What the evidence was signed with: a file of public keys [default: beside the key of the configuration]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) keys: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum SessionsCommand {
    /// The sessions that are meant, the newest first
    List(Box<ListArgs>),
    /// One session on one page: who, where, why, by whose leave, what was done, and whether it verifies
    Show(ShowArgs),
    /// What a session's terminal showed, as it came
    Play(PlayArgs),
    /// A live session's terminal, as it goes
    Follow(IdArgs),
    /// End a live session
    End(EndArgs),
    /// A session's recording as a file of its own, if it verifies
    Export(ExportArgs),
    /// Make the index again from the folders
    Rebuild(RebuildArgs),
}

/// Which sessions.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// By this person
    #[arg(long, value_name = "NAME")]
    pub(super) person: Option<String>,
    /// On this node: its id, its Name, or as it was asked for
    #[arg(long, value_name = "NODE")]
    pub(super) node: Option<String>,
    /// Opened then or later
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(super) since: Option<OffsetDateTime>,
    /// Opened before then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(super) until: Option<OffsetDateTime>,
    /// With this in a command; three characters at least, capitals or not
    #[arg(long, value_name = "TEXT")]
    pub(super) command: Option<String>,
    /// With this on the terminal, or in the beginning of the output
    #[arg(long, value_name = "TEXT")]
    pub(super) output: Option<String>,
    /// With this in a path of a file that was read, written or looked at
    #[arg(long, value_name = "TEXT")]
    pub(super) path: Option<String>,
    /// With a file of this hash
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    pub(super) sha256: Option<String>,
    /// Of this action: Shell, Exec, Files
    #[arg(long, value_name = "ACTION")]
    pub(super) action: Option<String>,
    /// That ended so: finished, client-gone, failed, killed, interrupted
    #[arg(long, value_name = "HOW")]
    pub(super) outcome: Option<String>,
    /// That run now, as the gateway knows them
    #[arg(long)]
    pub(super) live: bool,
    /// How many
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) limit: u16,
    /// Where to go on: `next` of the answer before
    #[arg(long, value_name = "NEXT")]
    pub(super) after: Option<String>,
    /// Answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct IdArgs {
    /// The session's id, or its beginning
    #[arg(value_name = "ID")]
    pub(super) id: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis sessions show 8b1f")]
pub(super) struct ShowArgs {
    #[command(flatten)]
    pub(super) session: IdArgs,
    /// How many commands and files at most
    #[arg(long, value_name = "N", default_value = "200")]
    pub(super) limit: usize,
    /// Answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys: space pauses, . goes on to the next output, left and right (or - and +) go five seconds back and forth, q ends.
A recording is whatever the node sent: what could do more than show text and colours is left out.

Example:
  portcullis sessions play 8b1f --speed 2 --idle-limit 1s --from 5m")]
pub(super) struct PlayArgs {
    #[command(flatten)]
    pub(super) session: IdArgs,
    /// How many times as fast
    #[arg(long, value_name = "N", default_value = "1", value_parser = speed)]
    pub(super) speed: f64,
    /// No pause is longer than this
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) idle_limit: Option<Duration>,
    /// Begin there
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) from: Option<Duration>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis sessions end 8b1f --message 'call me before you go on'")]
pub(super) struct EndArgs {
    #[command(flatten)]
    pub(super) session: IdArgs,
    /// What the person reads
    #[arg(long, value_name = "TEXT")]
    pub(super) message: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  portcullis sessions export 8b1f --to incident.cast && asciinema play incident.cast
  portcullis sessions export 8b1f --format json | jq '.commands[].command'")]
pub(super) struct ExportArgs {
    #[command(flatten)]
    pub(super) session: IdArgs,
    /// In which form
    #[arg(long, value_enum, default_value = "cast")]
    pub(super) format: Format,
    /// Into this file, whole or not at all [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(super) to: Option<PathBuf>,
    /// Over a file that is there
    #[arg(long, requires = "to")]
    pub(super) force: bool,
    /// Although it does not verify
    #[arg(long)]
    pub(super) unverified: bool,
}

/// What a recording is exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
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

#[derive(Debug, clap::Args)]
#[command(after_help = "\
An index that is damaged is made anew. Let no gateway write it meanwhile.

Example:
  portcullis sessions rebuild --evidence /var/lib/portcullis/evidence")]
pub(super) struct RebuildArgs {}

fn sha256(text: &str) -> Result<String, String> {
    let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { Ok(text.to_ascii_lowercase()) } else { Err("a SHA-256 has 64 digits, 0 to 9 and a to f".to_owned()) }
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: Option<f64> = text.trim_end_matches('x').parse().ok();
    speed.filter(|speed| (0.05..=1000.0).contains(speed)).ok_or_else(|| "a speed is from 0.05 to 1000".to_owned())
}
