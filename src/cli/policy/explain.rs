//! `portcullis policy explain`: what the policies say to one question, and why.

use std::path::Path;

use serde_json::json;

use super::source::{self, People, Source};
use super::{recorded, reload};
use crate::cli::args::PolicyExplainArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::policy::{Explanation, JudgedCommand, JudgedLine, Policy, Terms};

pub(super) fn run(args: &PolicyExplainArgs) -> Result<(), Failure> {
    let (policy, people, realm) = match &args.evidence {
        None => {
            let Source { policy, people, realm, .. } = source::read(&args.source)?;
            (policy, people, realm)
        }
        Some(directory) => {
            let (policy, people) = in_force_then(args, directory)?;
            (policy, people, None)
        }
    };
    let scenario = args.question.scenario(&people, realm.as_ref()).map_err(|wrong| Failure::new(Exit::Usage, wrong))?;
    let found = policy.explain(&scenario);
    let text = if args.json { json(&found) } else { words(&found) };
    output::print(&text)
}

/// The policies and people of the time that the question is about.
fn in_force_then(args: &PolicyExplainArgs, directory: &Path) -> Result<(Policy, People), Failure> {
    let usage = |why: &str| Failure::new(Exit::Usage, why.to_owned());
    let at = args.question.at().ok_or_else(|| usage("--evidence is asked with --at: what was in force when?"))?;
    let at = recorded::time_of(at).ok_or_else(|| usage("--at is a time as in 2026-11-27T12:00:00Z"))?;
    let failure = |why: String| Failure::new(Exit::Directory, why);
    let story = recorded::of_directory(directory, &args.log_file).map_err(failure)?;
    let nothing = || {
        failure(format!(
            "{}: nothing was in force then, as far as that log goes back; older parts of it are given with --log-file",
            directory.display()
        ))
    };
    let in_force = story.in_force_at(at).ok_or_else(nothing)?;
    let (policy, people) = reload::kept(directory, in_force).map_err(failure)?;
    Ok((policy, people.unwrap_or_default()))
}

fn words(found: &Explanation) -> String {
    let listed = |names: &std::collections::BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    let mut text = match &found.outcome {
        Ok(terms) => {
            let mut text = format!("allowed by {}\n", listed(&found.policies));
            for line in obligations(terms) {
                text.push_str(&format!("  {line}\n"));
            }
            for command in found.commands.iter().flat_map(JudgedLine::each) {
                let (name, policy) =
                    (if command.name.is_empty() { "the line" } else { &command.name }, command.policy());
                let unknown = command.unknown.as_ref().map(|why| format!(", unknown: {why}")).unwrap_or_default();
                text.push_str(&format!("  {name}: {policy}{unknown}\n"));
            }
            text
        }
        Err(denial) => format!("{} ({})\n", denial.text, denial.code),
    };
    if found.outcome.is_err() && !found.near.is_empty() {
        text.push_str(&format!("about this, but their conditions do not hold: {}\n", listed(&found.near)));
    }
    text
}

fn obligations(terms: &Terms) -> Vec<String> {
    let seconds =
        |what: &str, limit: Option<std::time::Duration>| limit.map(|limit| format!("{what} {} s", limit.as_secs()));
    let times = [seconds("lasts at most", terms.max_duration), seconds("may be silent for", terms.idle_timeout)];
    let limits = terms.upload_limits.iter();
    let uploads = limits.map(|(policy, bytes)| format!("uploads at most {bytes} bytes by leave of {policy}"));
    times.into_iter().flatten().chain(uploads).collect()
}

fn json(found: &Explanation) -> String {
    let (allowed, code, why) = match &found.outcome {
        Ok(_) => (true, None, None),
        Err(denial) => (false, Some(denial.code), Some(&denial.text)),
    };
    let terms = found.outcome.as_ref().ok();
    let command = |command: &JudgedCommand| json!({ "name": command.name, "policy": command.policy(), "known": command.unknown.is_none(), "why": command.unknown });
    let commands = found.commands.as_ref().map(|line| line.each().iter().map(command).collect::<Vec<_>>());
    let answer = json!({
        "allowed": allowed,
        "policies": found.policies,
        "code": code,
        "why": why,
        "near": found.near,
        "commands": commands,
        "max_duration_seconds": terms.and_then(|terms| terms.max_duration).map(|limit| limit.as_secs()),
        "idle_timeout_seconds": terms.and_then(|terms| terms.idle_timeout).map(|limit| limit.as_secs()),
        "upload_limit_bytes": terms.and_then(Terms::least_upload_limit).map(|(bytes, _)| bytes),
    });
    format!("{answer:#}\n")
}
