//! `portcullis reload --check`: what a changed configuration would do to a gateway that runs, from what the gateway has kept.

use std::path::Path;

use serde_json::json;

use super::recorded::{self, InForce, Recorded};
use super::rehearse::what;
use super::source::{People, people_of};
use crate::app;
use crate::cli::args::ReloadArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::failure::config_failure;
use crate::cli::output;
use crate::config::{Overrides, Trust};
use crate::evidence::{self, KeptPeople};
use crate::model::counted;
use crate::policy::{Differences, Named, Policy, PolicyText, Scenario};

pub(in crate::cli) fn run(args: &ReloadArgs) -> Result<(), Failure> {
    let loaded = app::read(&args.config, Trust::Anybodys, &Overrides::default());
    let loaded = loaded.and_then(|loaded| Ok((app::policy_of(&loaded)?, loaded)));
    let (policy, loaded) =
        loaded.map_err(|error| config_failure(&args.config, &error, ", so what is in force would stay"))?;
    let directory = args.evidence.as_deref().unwrap_or(&loaded.config.evidence.directory);
    let failure = |why: String| Failure::new(Exit::Directory, why);
    let story = recorded::of_directory(directory, &args.log_file).map_err(failure)?;
    let none = || failure(format!("{}: no gateway has put a configuration in force there", directory.display()));
    let in_force = story.loaded.last().ok_or_else(none)?;
    let (before, people_before) = kept(directory, in_force).map_err(failure)?;
    let people = people_of(&loaded.config);
    let policies = before.differences(&policy);
    let persons = people_before.map(|before| Differences::between(&before, &people));
    let ending: Vec<(&Recorded, String)> =
        story.running.iter().filter_map(|session| Some((session, ends(session, &policy, &people)?))).collect();
    let text = match args.json {
        true => json(&policies, persons.as_ref(), story.running.len(), &ending),
        false => words(&policies, persons.as_ref(), story.running.len(), &ending),
    };
    output::print(&text)?;
    match ending.len() {
        0 => Ok(()),
        count => Err(Failure::new(Exit::Differs, format!("{} would end", counted(count, "session")))),
    }
}

/// The policies and the people of what was in force then; the people are not there in older logs.
pub(super) fn kept(directory: &Path, in_force: &InForce) -> Result<(Policy, Option<People>), String> {
    let files = evidence::kept_policies(directory, &in_force.policy_set)?;
    let texts: Vec<PolicyText> =
        files.into_iter().map(|kept| PolicyText { file: kept.file, text: kept.text }).collect();
    let compiled = Policy::compile(&texts, &Named::default());
    let (policy, _) = compiled
        .map_err(|_| "the policies that were kept are none any more; they were another version's".to_owned())?;
    if policy.version().sha256() != in_force.policy_set {
        return Err("the policies that were kept are not those of that hash: somebody has changed the file".to_owned());
    }
    let people = match &in_force.people_set {
        None => None,
        Some(hash) => Some(groups_of(evidence::kept_people(directory, hash)?)),
    };
    Ok((policy, people))
}

fn groups_of(people: KeptPeople) -> People {
    people.into_iter().map(|person| (person.name, person.groups)).collect()
}

/// Why a session would end. Whether its key would still be its person's is not known: keys are not kept.
fn ends(session: &Recorded, policy: &Policy, people: &People) -> Option<String> {
    let person = &session.scenario.person;
    let Some(groups) = people.get(person) else { return Some(format!("{person} is there no more")) };
    let scenario = Scenario { groups: groups.clone(), at: std::time::SystemTime::now(), ..session.scenario.clone() };
    policy.outcome(&scenario).outcome.err().map(|denial| denial.text)
}

fn words(
    policies: &Differences,
    people: Option<&Differences>,
    running: usize,
    ending: &[(&Recorded, String)],
) -> String {
    let mut text = String::new();
    for (what, differences) in [("policies", Some(policies)), ("people", people)] {
        let Some(Differences { added, removed, changed }) = differences else { continue };
        let all = [("new", added), ("gone", removed), ("changed", changed)];
        let said: Vec<String> = all
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(how, names)| format!("{how}: {}", names.join(", ")))
            .collect();
        let said = if said.is_empty() { "as they are".to_owned() } else { said.join("; ") };
        text.push_str(&format!("{what}: {said}\n"));
    }
    for (session, why) in ending {
        text.push_str(&format!("{}\n  would end: {why}\n", what(session)));
    }
    text.push_str(&format!("sessions that run: {running}; that would end: {}\n", ending.len()));
    text
}

fn json(
    policies: &Differences,
    people: Option<&Differences>,
    running: usize,
    ending: &[(&Recorded, String)],
) -> String {
    let all = |of: &Differences| json!({ "added": of.added, "removed": of.removed, "changed": of.changed });
    let one = |(session, why): &(&Recorded, String)| json!({ "id": session.id, "person": session.scenario.person, "node": session.scenario.node.node.id.0, "realm": session.scenario.node.node.realm.as_str(), "why": why });
    let ending = ending.iter().map(one).collect::<Vec<_>>();
    let people = people.map(all);
    format!("{:#}\n", json!({ "policies": all(policies), "people": people, "running": running, "ending": ending }))
}
