//! What is allowed and probably not meant.

use super::Config;
use super::check::{ANY, Checks, Findings, Key};
use super::policy_files::PolicyFile;

/// Everything odd about a configuration that parsed.
pub(super) fn warnings(config: &Config, policies: &[PolicyFile], unheeded: &[usize], checks: &Checks) -> Findings {
    let mut found = Findings::default();
    nobody(config, &mut found);
    no_policies(config, policies, unheeded, &mut found);
    variables(config, checks, &mut found);
    found
}

fn nobody(config: &Config, found: &mut Findings) {
    let certified = !config.certificate_authorities.is_empty();
    if config.people.is_empty() && !certified {
        let help = "add somebody: [[people]] with a name and keys";
        found.add(&[Key::Name("people")], "nobody can log in: there are no [[people]]", Some(help));
    }
    for (index, authority) in config.certificate_authorities.iter().enumerate() {
        if authority.keys.is_empty() && authority.keys_from.is_empty() {
            let path = [Key::Name("certificate_authorities"), Key::Index(index), Key::Name("name")];
            let message = format!("`{}` has no key, so signs no certificate", authority.name);
            found.add(&path, message, Some("put its .pub file's line into keys, or name the file in keys_from"));
        }
    }
    for (index, person) in config.people.iter().enumerate() {
        let here = [Key::Name("people"), Key::Index(index)];
        if person.keys.is_empty() && person.keys_from.is_empty() && !certified {
            let message = format!("`{}` has no key, so can't log in", person.name);
            found.add(
                &[here[0], here[1], Key::Name("keys")],
                message,
                Some("put a line of a .pub file here, or name a file in keys_from"),
            );
        }
    }
}

/// Nobody may do anything, or somebody.
fn no_policies(config: &Config, policies: &[PolicyFile], unheeded: &[usize], found: &mut Findings) {
    if !policies.is_empty() {
        for &index in unheeded {
            let Some(person) = config.people.get(index) else { continue };
            let message = format!("no policy permits `{}` anything, who can log in and do nothing", person.name);
            let path = [Key::Name("people"), Key::Index(index), Key::Name("name")];
            found.add(&path, message, Some("name them or a group of theirs in a policy, or take them out"));
        }
        return;
    }
    let place = match &config.policy.directory {
        Some(directory) => format!("there are no files *.cedar in {}", directory.display()),
        None => "[policy] names no files".to_owned(),
    };
    let help = "write what people may do into one; config/policies of the source tree has some to begin with";
    found.add(
        &[Key::Name("policy")],
        format!("nobody may do anything: {place}, and what no policy permits is denied"),
        Some(help),
    );
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
