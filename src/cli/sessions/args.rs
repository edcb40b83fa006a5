//! What `portcullis sessions` can be asked.

use std::path::PathBuf;

use clap::Subcommand;

use crate::audit::{EndArgs, ExportArgs, IdArgs, ListArgs, PlayArgs, ShowArgs};

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
    Export(ExportToArgs),
    /// Make the index again from the folders
    Rebuild(RebuildArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  portcullis sessions export 8b1f --to incident.cast && asciinema play incident.cast
  portcullis sessions export 8b1f --format json | jq '.commands[].command'")]
pub(super) struct ExportToArgs {
    #[command(flatten)]
    pub(super) export: ExportArgs,
    /// Into this file, whole or not at all [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(super) to: Option<PathBuf>,
    /// Over a file that is there
    #[arg(long, requires = "to")]
    pub(super) force: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
An index that is damaged is made anew. Let no gateway write it meanwhile.

Example:
  portcullis sessions rebuild --evidence /var/lib/portcullis/evidence")]
pub(super) struct RebuildArgs {}
