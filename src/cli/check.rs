//! `portcullis check`: what is wrong with a configuration, without starting anything.

use serde_json::json;

use crate::config::{self, Config, ConfigError, Problem};

use super::args::CheckArgs;
use super::exit::{Exit, Failure};
use super::output;

pub(super) fn run(args: &CheckArgs) -> Result<(), Failure> {
    if args.schema {
        return output::print(&config::schema());
    }
    let checked = config::load(&args.config.config, &args.config.overrides)
        .and_then(|config| if args.offline { Ok(config) } else { named_files(args, &config).map(|()| config) });
    match checked {
        Ok(config) if args.json => output::print(&format!("{:#}\n", json!({ "ok": true, "config": config }))),
        Ok(_) => output::print(&format!("{}: fine\n", args.config.config.display())),
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
            Err(config_failure(&args.config.config, &error, false))
        }
        Err(error) => Err(config_failure(&args.config.config, &error, true)),
    }
}

/// The failure that a bad configuration is for every command.
pub(super) fn config_failure(file: &std::path::Path, error: &ConfigError, drawn: bool) -> Failure {
    let count = error.problems.len();
    let things = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
    let mut text = format!("{} has {things}; nothing was started", file.display());
    if drawn {
        text = format!("{text}:\n{}", error.render(output::colour()));
    }
    Failure::new(Exit::Config, text.trim_end())
}

/// Files that the configuration names must be there for whoever runs this.
fn named_files(args: &CheckArgs, config: &Config) -> Result<(), ConfigError> {
    let gateway = &config.gateway;
    let files = gateway.host_keys.iter().chain(&gateway.host_certificates).chain(&config.realm.ca_bundle);
    let mut problems: Vec<Problem> = files
        .filter_map(|file| {
            let error = std::fs::File::open(file).err()?;
            let message = format!("{} can't be read: {error}", file.display());
            Some(Problem::with_file(&args.config.config, message, "check it as the user that runs the gateway"))
        })
        .collect();
    let directory = &config.evidence.directory;
    if !directory.is_dir() {
        let message = format!("the evidence directory {} is not there", directory.display());
        let help = format!("make it with: install -d -m 0700 {}", directory.display());
        problems.push(Problem::with_file(&args.config.config, message, help));
    }
    if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
}
