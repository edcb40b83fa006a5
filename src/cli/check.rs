//! `portcullis check`: what is wrong with a configuration, without starting anything.

use std::path::Path;

use serde_json::json;

use crate::app;
use crate::config::{self, Config, ConfigError, Problem};

use super::args::CheckArgs;
use super::exit::{Exit, Failure};
use super::output;
use super::runtime::patiently;
use super::serve;

pub(super) async fn run(args: &CheckArgs) -> Result<(), Failure> {
    if args.schema {
        return output::print(&config::schema());
    }
    let file = &args.config.config;
    let checked = match app::read(file, &args.config.overrides) {
        Ok(config) if !args.offline => what_serve_needs(file, &config).await.map(|()| config),
        read => read,
    };
    match checked {
        Ok(config) if args.json => output::print(&format!("{:#}\n", json!({ "ok": true, "config": config }))),
        Ok(_) => output::print(&format!("{}: fine\n", file.display())),
        Err(error) if args.json => {
            let problems: Vec<_> = error
                .problems
                .iter()
                .map(|problem| {
                    json!({
                        "file": problem.file,
                        "line": problem.line_column.map(|(line, _)| line),
                        "column": problem.line_column.map(|(_, column)| column),
                        "message": problem.message,
                        "help": problem.help,
                    })
                })
                .collect();
            output::print(&format!("{:#}\n", json!({ "ok": false, "problems": problems })))?;
            Err(config_failure(file, &error, false))
        }
        Err(error) => Err(config_failure(file, &error, true)),
    }
}

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

/// What `serve` reads before it begins, read by the same functions.
async fn what_serve_needs(file: &Path, config: &Config) -> Result<(), ConfigError> {
    let mut problems = Vec::new();
    if let Err(failure) = patiently("reading the AWS configuration", serve::backend(config, None)).await {
        problems.push(Problem::with_file(file, failure.text, "see [realm], and what AWS's own tools read"));
    }
    if let Err(error) = app::load(config) {
        let help = "check as the user that runs the gateway, such as: sudo -u portcullis portcullis check";
        problems.push(Problem::with_file(file, error.to_string(), help));
    }
    if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
}
