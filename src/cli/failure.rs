//! What a bad configuration, and an app that did not start, are for every command: an exit code and sentences.

use std::path::Path;

use super::exit::{Exit, Failure};
use super::output;
use crate::app::AppError;
use crate::config::ConfigError;
use crate::gateway::GatewayError;

/// The failure that a bad configuration is for every command.
pub(super) fn config_failure(file: &Path, error: &ConfigError, drawn: bool) -> Failure {
    let count = error.problems.len();
    let things = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
    let mut text = format!("{} has {things}; nothing was started", file.display());
    if drawn {
        text = format!("{text}:\n{}", error.render(output::colour()));
    }
    Failure::new(Exit::Config, text.trim_end())
}

/// The failure that an app which did not start is.
pub(super) fn app_failure(error: &AppError) -> Failure {
    let exit = match error {
        AppError::HostKey(_) | AppError::People(_) | AppError::Rule(_) | AppError::Gateway(GatewayError::NoHostKey) => {
            Exit::Config
        }
        AppError::Evidence(_) => Exit::Directory,
        AppError::Gateway(GatewayError::Listen { .. }) => Exit::Listen,
    };
    Failure::new(exit, error.to_string())
}
