//! What `portcullis` can be asked. The help teaches: every command has an example that works when pasted.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::Overrides;
use crate::telemetry::LogFormat;

use super::exit::Exit;

/// An SSH server in front of AWS Session Manager: ssh, scp and sftp to nodes that have no sshd.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Begin with `portcullis demo`: it needs no AWS account.")]
#[command(after_long_help = after_long_help())]
pub(super) struct Args {
    /// What to log: a level, or a filter such as portcullis::gateway=debug,info
    #[arg(long, global = true, value_name = "FILTER", env = "PORTCULLIS_LOG", help_heading = "Logging")]
    pub(super) log: Option<String>,
    /// How log lines look on standard error
    #[arg(long, global = true, value_enum, default_value_t, env = "PORTCULLIS_LOG_FORMAT", help_heading = "Logging")]
    pub(super) log_format: LogFormat,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say what is wrong with a configuration, without starting anything
    Check(CheckArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write one per command into a directory
    Man(ManArgs),
}

impl Command {
    /// What is logged when nobody says: a server its events, a tool only what went wrong.
    pub(super) fn default_log(&self) -> &'static str {
        "warn"
    }
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CONFIG", default_value = "/etc/portcullis/gateway.toml")]
    pub(super) config: PathBuf,
    #[command(flatten, next_help_heading = "Over the configuration file")]
    pub(super) overrides: Overrides,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis check --config config/gateway.toml")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Print the configuration in force, or its problems, as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Print the JSON schema of the configuration and do nothing else
    #[arg(long)]
    pub(super) schema: bool,
    /// Leave alone the files that the configuration names (host keys, directories)
    #[arg(long)]
    pub(super) offline: bool,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  portcullis completions bash > ~/.local/share/bash-completion/completions/portcullis"
)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis man | man -l -")]
pub(super) struct ManArgs {
    /// Write portcullis.1 and one page per command here
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

fn after_long_help() -> String {
    format!("Begin with `portcullis demo`: it needs no AWS account.\n\nExit codes:\n{}", Exit::table())
}
