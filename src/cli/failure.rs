//! What a bad configuration, and an app that did not start, are for every command: an exit code and sentences.

use std::path::Path;

use super::exit::{Exit, Failure};
use portcullis_sinks::SinkError;

use super::output;
use crate::app::{AppError, SinksFault};
use crate::config::ConfigError;
use crate::gateway::GatewayError;
use crate::model::counted;

/// The failure that a bad configuration is, drawn for a person; `therefore` is what did not happen because of it, if anything
/// was to.
pub(super) fn config_failure(file: &Path, error: &ConfigError, therefore: &str) -> Failure {
    let text = format!("{}{therefore}:\n{}", summary(file, error), error.render(output::colour()));
    Failure::new(Exit::Config, text.trim_end())
}

/// How much is wrong with it, in a line.
pub(super) fn summary(file: &Path, error: &ConfigError) -> String {
    let problems = counted(error.problems.len(), "problem");
    let warnings = match error.warnings.len() {
        0 => String::new(),
        count => format!(" and {}", counted(count, "warning")),
    };
    format!("{} has {problems}{warnings}", file.display())
}

/// The failure that an app which did not start is.
pub(super) fn app_failure(error: &AppError) -> Failure {
    let exit = match error {
        AppError::HostKey(_)
        | AppError::People(_)
        | AppError::Policy(_)
        | AppError::Provider(_)
        | AppError::Realm(_)
        | AppError::Network(_)
        | AppError::Sinks(SinksFault::Aws(_) | SinksFault::Sinks(SinkError::Configuration(_)))
        | AppError::Gateway(GatewayError::NoHostKey) => Exit::Config,
        AppError::Evidence(_) | AppError::Sinks(SinksFault::Sinks(_)) => Exit::Directory,
        AppError::Gateway(GatewayError::Listen { .. }) => Exit::Listen,
    };
    Failure::new(exit, error.to_string())
}
