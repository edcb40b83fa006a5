//! Logs: text for a terminal, JSON for a machine, always on standard error, so that standard output stays what a command
//! prints. Nothing secret is ever a field: types that hold a secret have no `Debug` that shows it.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise
    #[default]
    Auto,
    /// One readable line per event
    Text,
    /// One JSON object per event
    Json,
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
#[error("`{filter}` is no log filter ({reason}); examples: info, debug, portcullis::gateway=trace")]
pub struct FilterError {
    filter: String,
    reason: String,
}

/// Starts logging, once per process. `filter` is `info`, `debug`, `portcullis::gateway=trace,info` and the like; what it does
/// not say of a library is as `built_in` says.
pub fn start(built_in: &str, filter: &str, format: LogFormat) -> Result<(), FilterError> {
    let broken = |reason: String| FilterError { filter: filter.to_owned(), reason };
    EnvFilter::try_new(filter).map_err(|error| broken(error.to_string()))?;
    let parsed = EnvFilter::try_new(format!("{built_in},{filter}")).map_err(|error| broken(error.to_string()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr);
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    // a second call (tests) keeps the first subscriber
    let _ = if json {
        builder.json().flatten_event(true).with_ansi(false).try_init()
    } else {
        builder.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none()).try_init()
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `--log` is built on: of two directives about one target the later one stands, and a level is about the rest.
    #[test]
    fn a_level_leaves_the_directives_for_a_library_and_a_later_one_for_it_wins() {
        let filter = |text: &str| EnvFilter::try_new(text).unwrap().to_string();
        let kept = filter("russh=off,info");
        assert!(kept.contains("russh=off") && kept.contains("info"), "{kept}");
        let said = filter("russh=off,russh=debug,info");
        assert!(said.contains("russh=debug") && !said.contains("russh=off"), "{said}");
    }
}
