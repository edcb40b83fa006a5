//! `portcullis check`: what is wrong with a configuration, and what is probably not meant, without starting anything.

use std::path::Path;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::args::CheckArgs;
use super::exit::{Exit, Failure};
use super::failure::{config_failure, summary};
use super::output;
use super::realm::{self, Reached};
use super::runtime::patiently;
use crate::app::{self, AppError, UserKeysFound};
use crate::backend::Realm;
use crate::config::{self, Config, ConfigError, Loaded, Problem, SeenAs, Trust};
use crate::model::{IamUser, NodeRef, counted};

pub(super) async fn run(args: &CheckArgs) -> Result<(), Failure> {
    if args.schema {
        return output::print(&config::schema());
    }
    let file = &args.config.config;
    let trust = if args.offline { Trust::Anybodys } else { Trust::Ours };
    let checked = match app::read(file, trust, &args.config.overrides) {
        Ok(loaded) if !args.offline => what_serve_needs(file, loaded).await,
        read => read.map(|loaded| (loaded, Vec::new())),
    };
    let checked = checked.and_then(|(loaded, users)| Ok((all_usable(loaded)?, users)));
    match checked {
        Ok((Loaded { config, warnings, .. }, users)) if args.json => {
            let users: Vec<Value> = users.iter().map(as_json).collect();
            let answer = json!({ "ok": true, "warnings": listed(&warnings), "iam_users": users, "config": config });
            output::print(&format!("{answer:#}\n"))
        }
        Ok((Loaded { warnings, .. }, users)) => {
            let mut text = format!("{}: fine", file.display());
            if !warnings.is_empty() {
                text = format!("{text}, with {}", counted(warnings.len(), "warning"));
                output::note(config::render(&warnings, output::colour()).trim_end());
            }
            for (person, user, keys) in users {
                text.push_str(&format!("\n{person}: {} of the IAM user {user}", counted(keys, "key")));
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

/// A person, a user of IAM that is theirs, and how many keys they have by it.
type UserOf = (String, IamUser, usize);

fn as_json((person, user, keys): &UserOf) -> Value {
    json!({ "person": person, "realm": user.realm.as_str(), "user": user.name, "keys": keys })
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
async fn what_serve_needs(file: &Path, loaded: Loaded) -> Result<(Loaded, Vec<UserOf>), ConfigError> {
    let Loaded { config, policies, proofs, mut warnings, unusable } = loaded;
    let mut problems = Vec::new();
    let reached = patiently("reading the AWS configuration", realm::reach_all(&config)).await;
    let realms: Vec<Realm> = reached.iter().flatten().map(Reached::realm).collect();
    let asking = join_all(reached.into_iter().map(async |realm| match realm {
        Err(failure) => Err(Problem::with_file(file, failure.text, "see [[realms]], and what AWS's own tools read")),
        // no mistake of the file: the gateway may run elsewhere, or as somebody else
        Ok(realm) => Ok(told_of(file, &realm, config.realms.len()).await),
    }));
    for told in patiently("asking Systems Manager", asking).await {
        match told {
            Ok(told) => warnings.extend(told),
            Err(problem) => problems.push(problem),
        }
    }
    problems.extend(app::load(&config, &proofs).err().map(|error| problem(file, &error)));
    warnings.extend(nobody_signs_in(file, &config).await);
    let looking = app::look_at_user_keys(&config, &proofs, &realms);
    let UserKeysFound { users, odd } = patiently("asking IAM for the keys of its users", looking).await;
    warnings.extend(odd.into_iter().map(|(message, help)| Problem::with_file(file, message, help).warning()));
    if problems.is_empty() {
        Ok((Loaded { config, policies, proofs, warnings, unusable }, users))
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

/// What is not as it should be in a realm.
async fn told_of(file: &Path, realm: &Reached, realms: usize) -> Vec<Problem> {
    let whose = |why: String| if realms > 1 { format!("realm {}: {why}", realm.name) } else { why };
    let warning = |why: String, help: &str| Problem::with_file(file, whose(why), help).warning();
    if let Some(why) = realm::unanswered(&realm.backend).await {
        let there = if realms > 1 { " there" } else { "" };
        return vec![warning(why, &format!("no session can be opened{there} until that ends; --offline asks nobody"))];
    }
    let tags = realm::tags_unreadable(&realm.backend).await.map(|why| warning(why, WITHOUT_TAGS));
    let starts = may_start_itself(realm).await.map(|(why, help)| warning(why, help));
    tags.into_iter().chain(starts).collect()
}

/// Here a key that proves nothing is a problem; `serve` goes on without it.
fn all_usable(loaded: Loaded) -> Result<Loaded, ConfigError> {
    match loaded.unusable.is_empty() {
        true => Ok(loaded),
        false => Err(ConfigError { problems: loaded.unusable, warnings: loaded.warnings }),
    }
}

/// The gateway's own role is to have nothing that people's roles have.
async fn may_start_itself(realm: &Reached) -> Option<(String, &'static str)> {
    if realm.identity == SeenAs::Gateway {
        return None;
    }
    let NodeRef { id, .. } = realm::may_start_itself(&realm.backend).await?;
    let why = format!("the gateway's own role may ssm:StartSession (on {id}), and needs it no more: people's roles do");
    let help = "detach portcullis-sessions from it, or whatever else allows it; deploy/iam/gateway-policy.json is all it needs";
    Some((why, help))
}

/// Each says itself what to do, but for whom it depends on who runs the check.
fn problem(file: &Path, error: &AppError) -> Problem {
    let help = match error {
        AppError::HostKey(error) => error.help(),
        _ => None,
    };
    Problem::with_file(file, error.to_string(), "").help(help)
}
