//! `portcullis check`: what is wrong with a configuration, and what is probably not meant, without starting anything.

use std::path::Path;

use serde_json::{Value, json};

use super::args::CheckArgs;
use super::exit::{Exit, Failure};
use super::failure::{config_failure, summary};
use super::output;
use super::realm;
use super::runtime::patiently;
use crate::app::{self, AppError};
use crate::backend::aws::AwsBackend;
use crate::config::{self, Config, ConfigError, Loaded, Problem, SeenAs, Trust};
use crate::model::counted;

pub(super) async fn run(args: &CheckArgs) -> Result<(), Failure> {
    if args.schema {
        return output::print(&config::schema());
    }
    let file = &args.config.config;
    let trust = if args.offline { Trust::Anybodys } else { Trust::Ours };
    let checked = match app::read(file, trust, &args.config.overrides) {
        Ok(loaded) if !args.offline => what_serve_needs(file, loaded).await,
        read => read,
    };
    match checked.and_then(all_usable) {
        Ok(Loaded { config, warnings, .. }) if args.json => {
            let answer = json!({ "ok": true, "warnings": listed(&warnings), "config": config });
            output::print(&format!("{answer:#}\n"))
        }
        Ok(Loaded { warnings, .. }) => {
            let mut text = format!("{}: fine", file.display());
            if !warnings.is_empty() {
                text = format!("{text}, with {}", counted(warnings.len(), "warning"));
                output::note(config::render(&warnings, output::colour()).trim_end());
            }
            output::print(&format!("{text}\n"))
        }
        Err(error) if args.json => {
            let (problems, warnings) = (listed(&error.problems), listed(&error.warnings));
            let answer = json!({ "ok": false, "problems": problems, "warnings": warnings });
            output::print(&format!("{answer:#}\n"))?;
            Err(Failure::new(Exit::Config, summary(file, &error)))
        }
        Err(error) => Err(config_failure(file, &error, "")),
    }
}

/// What that means for people.
const WITHOUT_TAGS: &str = "policies that look at tags of nodes refuse until that ends, and so do those that look at the name of an instance called by its id";

fn listed(problems: &[Problem]) -> Vec<Value> {
    let one = |problem: &Problem| {
        json!({
            "file": problem.file,
            "line": problem.line_column.map(|(line, _)| line),
            "column": problem.line_column.map(|(_, column)| column),
            "message": problem.message,
            "help": problem.help,
        })
    };
    problems.iter().map(one).collect()
}

/// What `serve` reads before it begins, read by the same functions.
async fn what_serve_needs(file: &Path, loaded: Loaded) -> Result<Loaded, ConfigError> {
    let Loaded { config, policies, proofs, mut warnings, unusable } = loaded;
    let mut problems = Vec::new();
    match patiently("reading the AWS configuration", realm::backend(&config, None)).await {
        Err(failure) => {
            problems.push(Problem::with_file(file, failure.text, "see [realm], and what AWS's own tools read"));
        }
        // no mistake of the file: the gateway may run elsewhere, or as somebody else
        Ok(backend) => {
            let unanswered = patiently("asking Systems Manager", realm::unanswered(&backend)).await.map(|why| {
                let help = "no session can be opened until that ends; --offline asks nobody";
                Problem::with_file(file, why, help).warning()
            });
            if unanswered.is_none() {
                let tags = patiently("asking for the tags of nodes", realm::tags_unreadable(&backend)).await;
                warnings.extend(tags.map(|why| Problem::with_file(file, why, WITHOUT_TAGS).warning()));
                warnings.extend(may_start_itself(file, &config, &backend).await);
            }
            warnings.extend(unanswered);
        }
    }
    problems.extend(app::load(&config, &proofs).err().map(|error| problem(file, &error)));
    warnings.extend(nobody_signs_in(file, &config).await);
    if problems.is_empty() {
        Ok(Loaded { config, policies, proofs, warnings, unusable })
    } else {
        Err(ConfigError { problems: problems.into_iter().chain(unusable).collect(), warnings })
    }
}

/// The provider is asked as for somebody who begins to sign in, but for no code. It may be out of order now and not later.
async fn nobody_signs_in(file: &Path, config: &Config) -> Option<Problem> {
    // what is wrong with the file is said already
    let provider = app::provider(config).ok()??;
    let why = patiently("asking the OpenID provider", provider.answers()).await.err()?;
    let help = "nobody can sign in until that ends; see [oidc]. --offline asks nobody";
    Some(Problem::with_file(file, format!("[oidc]: {why}"), help).warning())
}

/// Here a key that proves nothing is a problem; `serve` goes on without it.
fn all_usable(loaded: Loaded) -> Result<Loaded, ConfigError> {
    match loaded.unusable.is_empty() {
        true => Ok(loaded),
        false => Err(ConfigError { problems: loaded.unusable, warnings: loaded.warnings }),
    }
}

/// The gateway's own role is to have nothing that people's roles have.
async fn may_start_itself(file: &Path, config: &Config, backend: &AwsBackend) -> Option<Problem> {
    if config.realm.identity == SeenAs::Gateway {
        return None;
    }
    let asking = realm::may_start_itself(backend);
    let node = patiently("asking whether the gateway's own role may start sessions", asking).await?;
    let why =
        format!("the gateway's own role may ssm:StartSession (on {node}), and needs it no more: people's roles do");
    let help = "detach portcullis-sessions from it, or whatever else allows it; deploy/iam/gateway-policy.json is all it needs";
    Some(Problem::with_file(file, why, help).warning())
}

/// Each says itself what to do, but for whom it depends on who runs the check.
fn problem(file: &Path, error: &AppError) -> Problem {
    let help = match error {
        AppError::HostKey(error) => error.help(),
        _ => None,
    };
    Problem::with_file(file, error.to_string(), "").help(help)
}
