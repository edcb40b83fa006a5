//! `portcullis check`: what is wrong with a configuration, without starting anything.

use std::path::Path;

use serde_json::json;

use super::args::CheckArgs;
use super::exit::Failure;
use super::failure::config_failure;
use super::output;
use super::realm;
use super::runtime::patiently;
use crate::app;
use crate::config::{self, Config, ConfigError, Problem};

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

/// What `serve` reads before it begins, read by the same functions.
async fn what_serve_needs(file: &Path, config: &Config) -> Result<(), ConfigError> {
    let mut problems = Vec::new();
    if let Err(failure) = patiently("reading the AWS configuration", realm::backend(config, None)).await {
        problems.push(Problem::with_file(file, failure.text, "see [realm], and what AWS's own tools read"));
    }
    if let Err(error) = app::load(config) {
        let help = "check as the user that runs the gateway, such as: sudo -u portcullis portcullis check";
        problems.push(Problem::with_file(file, error.to_string(), help));
    }
    if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
}
