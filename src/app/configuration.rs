//! The configuration's values as the parts want them: people, rules, how channels are carried.

use std::path::Path;
use std::time::Duration;

use crate::config::{self, Checks, Config, ConfigError, Fault, Loaded, Overrides, Trust};
use crate::evidence::{Bounds, Shares};
use crate::gateway;
use crate::identity::{People, PeopleError, name_is_usable, node_is_askable, os_user_is_askable, wire_form};
use crate::model::NodeName;
use crate::policy::{ActionKind, Policy, Rule, RuleError};
use crate::transport::TransportOptions;

/// What the parts say of single values.
const CHECKS: Checks = Checks {
    person: |name| name_is_usable(name).map_err(fault),
    key: |line| wire_form(line).map_err(|error| Fault { help: Some(error.help().to_owned()), ..fault(&error) }),
    node,
    os_user: |name| {
        let help = "users are compared whole: name each, or write \"*\" alone for all of them";
        let fault = || Fault { message: format!("no login can ask for a user `{name}`"), help: Some(help.to_owned()) };
        if os_user_is_askable(name) { Ok(()) } else { Err(fault()) }
    },
    never_passes: gateway::never_passes,
    action: |name| {
        ActionKind::parse(name).map(drop).map_err(|error| Fault { help: Some(error.help()), ..fault(&error) })
    },
};

/// A name that a login can ask for, and a node can have: a pattern would be neither.
fn node(name: &str) -> Result<(), Fault> {
    NodeName::parse(name).map(drop).map_err(fault)?;
    if node_is_askable(name) {
        return Ok(());
    }
    let message = match name.contains(['*', '?', '[']) {
        true => format!("`{name}` looks like a pattern, and names are compared whole"),
        false => {
            format!("no login can ask for a node `{name}`: only letters, digits, '.', '_' and '-', or tag:Key=Value")
        }
    };
    let help = "write the id or the Name of each node, or \"*\" alone for all of them";
    Err(Fault { message, help: Some(help.to_owned()) })
}

fn fault(error: impl std::fmt::Display) -> Fault {
    Fault { message: error.to_string(), help: None }
}

/// Reads a configuration file, lays the overrides over it, and checks every value with the part that will take it.
pub fn read(file: &Path, trust: Trust, overrides: &Overrides) -> Result<Loaded, ConfigError> {
    config::load(file, trust, overrides, &CHECKS)
}

/// Who may log in.
pub(super) fn people(config: &Config) -> Result<People, PeopleError> {
    People::new(config.people.iter().map(|person| (person.name.as_str(), person.keys.as_slice())))
}

/// What they may do.
pub(super) fn policy(config: &Config) -> Result<Policy, RuleError> {
    let rules = config.rules.iter().map(|rule| {
        Ok(Rule {
            name: rule.name.clone(),
            people: Rule::names(&rule.people),
            nodes: Rule::nodes(&rule.nodes)?,
            os_users: Rule::names(&rule.os_users),
            actions: Rule::actions(&rule.actions)?,
        })
    });
    Ok(Policy::new(rules.collect::<Result<_, RuleError>>()?))
}

/// What those who cause events may fill of the log.
pub(super) fn evidence_bounds(config: &Config) -> Bounds {
    let evidence = &config.evidence;
    let (session, person, strangers) = (evidence.session_bytes, evidence.person_bytes, evidence.stranger_bytes);
    Bounds {
        shares: Shares { session, person, strangers }.of(evidence.max_bytes),
        questions_a_minute: evidence.questions_a_minute,
    }
}

/// How channels are carried.
pub(super) fn transport_options(config: &Config) -> TransportOptions {
    let lanes = &config.lanes;
    let size = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    TransportOptions {
        helper: lanes.helper,
        rung: lanes.rung,
        payload: size(lanes.frame_bytes),
        shell: lanes.shell,
        channels_per_node: size(lanes.channels_per_node),
        channels_per_person: size(lanes.channels_per_person_on_a_node),
        evidence_replaces_logging: config.realm.evidence_replaces_agent_logging,
        idle_limit: (lanes.idle_minutes > 0).then(|| Duration::from_secs(60 * u64::from(lanes.idle_minutes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ alice";

    fn problem(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("g.toml");
        std::fs::write(&file, text).unwrap();
        let error = read(&file, Trust::Anybodys, &Overrides::default()).unwrap_err().to_string();
        error.replace(&format!("{}/", dir.path().display()), "")
    }

    #[test]
    fn what_the_parts_say_of_a_value_has_its_place() {
        let text = problem("[[people]]\nname = \"alice\"\nkeys = [\"ssh-dss AAAA\"]\n\n[lanes]\nframe_bytes = 5\n");
        assert!(text.contains("g.toml:3:9: `ssh-dss` is no key type"), "{text}");
        assert!(text.contains("g.toml:6:15:"), "{text}");
    }

    #[test]
    fn a_name_that_no_login_could_carry_is_a_problem_with_a_place() {
        let text = problem(&format!("[[people]]\nname = \"Ada Lovelace\"\nkeys = [\"{KEY}\"]\n"));
        assert!(text.starts_with("g.toml:2:8: person \"Ada Lovelace\": a name is 1 to 64 letters"), "{text}");
    }

    #[test]
    fn a_rule_s_nodes_and_actions_are_names_of_theirs() {
        let rule = |nodes: &str, actions: &str| {
            problem(&format!("[[rules]]\nname = \"r\"\npeople = [\"*\"]\nnodes = [{nodes}]\nactions = [{actions}]\n"))
        };
        let text = rule("\"*\"", "\"Shell\", \"shell\"");
        assert!(text.starts_with("g.toml:5:21: `shell` is no action"), "{text}");
        let text = rule("\"web-1\", \"ecs:one\"", "\"*\"");
        assert!(text.starts_with("g.toml:4:19: \"ecs:one\" is no name of a node"), "{text}");
    }

    #[test]
    fn what_no_login_can_ask_for_is_no_name_of_a_rule() {
        let rule = |nodes: &str, users: &str| {
            problem(&format!(
                "[[rules]]\nname = \"r\"\npeople = [\"*\"]\nnodes = [{nodes}]\nos_users = [{users}]\nactions = [\"*\"]\n"
            ))
        };
        let text = rule("\"web-1\", \"web-*\"", "\"*\", \"ec2-*\"");
        assert!(text.starts_with("g.toml:4:19: `web-*` looks like a pattern"), "{text}");
        assert!(text.contains("g.toml:5:18: no login can ask for a user `ec2-*`"), "{text}");
        assert!(rule("\"web server\"", "").contains("no login can ask for a node `web server`"));
    }

    #[test]
    fn the_reference_file_is_fine_for_every_part() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/gateway.toml");
        let Loaded { config, warnings } = read(&file, Trust::Anybodys, &Overrides::default()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert!(people(&config).is_ok() && policy(&config).is_ok());
    }
}
