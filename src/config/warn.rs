//! What is allowed and probably not meant.

use super::Config;
use super::check::{ANY, Checks, Findings, Key};

/// Everything odd about a configuration that parsed.
pub(super) fn warnings(config: &Config, checks: &Checks) -> Findings {
    let mut found = Findings::default();
    nobody(config, &mut found);
    variables(config, checks, &mut found);
    found
}

fn nobody(config: &Config, found: &mut Findings) {
    if config.people.is_empty() {
        let help = "add somebody: [[people]] with a name and keys";
        found.add(&[Key::Name("people")], "nobody can log in: there are no [[people]]", Some(help));
    }
    if config.rules.is_empty() {
        let help = "add a rule: [[rules]] with a name, people, nodes and actions";
        found.add(
            &[Key::Name("rules")],
            "nobody may do anything: there are no [[rules]], and what no rule allows is denied",
            Some(help),
        );
        return;
    }
    for (index, person) in config.people.iter().enumerate() {
        let here = [Key::Name("people"), Key::Index(index)];
        if person.keys.is_empty() {
            let message = format!("`{}` has no key, so can't log in", person.name);
            found.add(&[here[0], here[1], Key::Name("keys")], message, Some("put a line of a .pub file here"));
        }
        let ruled = config.rules.iter().any(|rule| rule.people.iter().any(|name| name == ANY || *name == person.name));
        if !ruled {
            let message = format!("no rule names `{}`, who can log in and do nothing", person.name);
            found.add(&[here[0], here[1], Key::Name("name")], message, Some("name them in a rule, or take them out"));
        }
    }
}

fn variables(config: &Config, checks: &Checks, found: &mut Findings) {
    for (index, pattern) in config.environment.accept.iter().enumerate() {
        let here = [Key::Name("environment"), Key::Name("accept"), Key::Index(index)];
        if pattern == ANY {
            let help = "name what is needed, such as \"LANG\" and \"LC_*\"";
            let message = "every variable passes that a client sends, but for those that change what a program loads or runs (LD_PRELOAD, PATH, …), which never do";
            found.add(&here, message, Some(help));
        } else if (checks.never_passes)(pattern) {
            let help = "take it out; a program can set its own variables in the command";
            found.add(
                &here,
                format!("`{pattern}` never passes, whatever is written here: it changes what a program loads or runs"),
                Some(help),
            );
        }
    }
}
