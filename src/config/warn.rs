//! What is allowed and probably not meant.

use super::check::{ANY, Checks, Findings, Key, realm_at, role_at};
use super::policy_files::PolicyFile;
use super::{Config, EnoughProofs, Person, RoleOfPeople, SeenAs};

/// Everything odd about a configuration that parsed. Some are permitted nothing, and for some nothing is enough that they have.
pub(super) fn warnings(
    config: &Config,
    policies: &[PolicyFile],
    (unheeded, never): (&[usize], &[usize]),
    checks: &Checks,
) -> Findings {
    let mut found = Findings::default();
    nobody(config, &mut found);
    no_policies(config, policies, unheeded, &mut found);
    variables(config, checks, &mut found);
    seen_as(config, policies, unheeded, &mut found);
    never_signed_in(config, &mut found);
    enough(config, never, &mut found);
    super::clients::warnings(config, &mut found);
    super::oidc::warnings(config, &mut found);
    found
}

fn nobody(config: &Config, found: &mut Findings) {
    let certified = !config.certificate_authorities.is_empty() || config.sign_in_may_come_first();
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
        let no_keys = person.keys.is_empty() && person.keys_from.is_empty() && person.keys_from_iam.is_empty();
        let has_keys = !no_keys || person.password.is_some();
        if !has_keys && !certified {
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

/// Everybody is the gateway in AWS; or somebody is nobody.
fn seen_as(config: &Config, policies: &[PolicyFile], unheeded: &[usize], found: &mut Findings) {
    for (place, realm) in config.realms.iter().enumerate() {
        if realm.identity == SeenAs::Gateway {
            let help = "give people roles in [[realms.roles]], and leave identity out; deploy/README.md says how";
            let message = "AWS sees the gateway in every session, whoever it is for: its records name nobody";
            found.add(&realm_at(place, &["identity"]), message, Some(help));
            if !realm.roles.is_empty() {
                let message = "[[realms.roles]] are not used while identity is \"gateway\"";
                found.add(&role_at(place, 0, None), message, None);
            }
            continue;
        }
        for (index, role) in realm.roles.iter().enumerate() {
            unknown(config, (&role.people, &role.groups), |list| role_at(place, index, Some(list)), found);
        }
    }
    // everybody is somebody there
    if policies.is_empty() || config.realms.iter().any(|realm| realm.identity == SeenAs::Gateway) {
        return;
    }
    let roles = || config.realms.iter().flat_map(|realm| &realm.roles);
    let is_for = |person: &Person, role: &RoleOfPeople| {
        role.people.iter().any(|name| *name == person.name || name == ANY)
            || role.groups.iter().any(|group| person.groups.contains(group))
    };
    // by a certificate or a sign-in somebody may be in further groups, and have a role with them
    let others_group = !config.certificate_authorities.is_empty() || groups_come(config);
    if roles().any(|role| !role.groups.is_empty()) && others_group {
        return;
    }
    let (mut without, mut first) = (Vec::new(), None);
    for (index, person) in config.people.iter().enumerate().filter(|(index, _)| !unheeded.contains(index)) {
        if !roles().any(|role| is_for(person, role)) {
            first = first.or(Some(index));
            without.push(format!("`{}`", person.name));
        }
    }
    let Some(index) = first else { return };
    let at = [Key::Name("people"), Key::Index(index), Key::Name("name")];
    let names = if without.len() > 5 {
        format!("{} and {} more", without[..5].join(", "), without.len() - 5)
    } else {
        without.join(", ")
    };
    let help = "add a role for them to [[realms.roles]]; identity = \"gateway\" under [[realms]] opens sessions as the gateway, as was the only way once";
    found.add(
        &at,
        format!("policies permit {names} something, and no role in AWS is theirs: no session opens"),
        Some(help),
    );
}

/// Somebody's role takes a sign-in, and nothing has them sign in.
fn never_signed_in(config: &Config, found: &mut Findings) {
    // without a provider it is a mistake, and said already
    if config.oidc.is_none() {
        return;
    }
    for (index, person) in config.people.iter().enumerate() {
        let is_for = |people: &[String], groups: &[String]| {
            people.iter().any(|name| *name == person.name || name == ANY)
                || groups.iter().any(|group| person.groups.contains(group))
        };
        let rule = config.proofs.iter().find(|rule| is_for(&rule.people, &rule.groups));
        if rule.is_some_and(|rule| rule.enough.iter().any(|combination| combination.signs_in())) {
            continue;
        }
        let realms = config.realms.iter().filter(|realm| realm.identity == SeenAs::Person);
        let mut theirs = realms.filter_map(|realm| realm.roles.iter().find(|role| is_for(&role.people, &role.groups)));
        let Some(role) = theirs.find(|role| role.web_identity.is_some()) else { continue };
        let message = format!("`{}` never signs in, and it takes a sign-in to be in {}", person.name, role.role);
        let help = "have [[proofs]] for them name \"oidc\" or \"key and oidc\", or give them a role without web_identity before that one";
        found.add(&[Key::Name("people"), Key::Index(index), Key::Name("name")], message, Some(help));
    }
}

/// Nothing is enough for somebody.
fn enough(config: &Config, never: &[usize], found: &mut Findings) {
    for (index, rule) in config.proofs.iter().enumerate() {
        let EnoughProofs { people, groups, .. } = rule;
        let here = |list| vec![Key::Name("proofs"), Key::Index(index), Key::Name(list)];
        unknown(config, (people, groups), here, found);
    }
    for &index in never {
        let Some(person) = config.people.get(index) else { continue };
        let help =
            "add a rule for them to [[proofs]], or a line with a secret to the file of second_factor.totp_secrets";
        let at = [Key::Name("people"), Key::Index(index), Key::Name("name")];
        found.add(&at, format!("nothing that `{}` has is enough, so they can't log in", person.name), Some(help));
    }
}

/// Names that nobody has, as far as certificates don't bring others.
fn unknown(
    config: &Config,
    (people, groups): (&[String], &[String]),
    here: impl Fn(&'static str) -> Vec<Key>,
    found: &mut Findings,
) {
    let place = |list, number| here(list).into_iter().chain([Key::Index(number)]).collect::<Vec<_>>();
    let authorities = &config.certificate_authorities;
    let principals = || authorities.iter().flat_map(|authority| authority.principals.values());
    let comes = |name: &String| {
        authorities
            .iter()
            .any(|authority| authority.unlisted_people || authority.without_principals.as_ref() == Some(name))
            || config.oidc.as_ref().is_some_and(|oidc| oidc.unlisted_people)
            || principals().any(|principal| principal.person.as_ref() == Some(name))
    };
    for (number, name) in people.iter().enumerate() {
        if name != ANY && !comes(name) && !config.people.iter().any(|person| person.name == *name) {
            found.add(&place("people", number), format!("nobody is called `{name}`"), None);
        }
    }
    for (number, group) in groups.iter().enumerate() {
        let certified = groups_come(config) || principals().any(|principal| principal.groups.contains(group));
        if !certified && !config.people.iter().any(|person| person.groups.contains(group)) {
            found.add(&place("groups", number), format!("nobody is in the group `{group}`"), None);
        }
    }
}

/// Whether a provider says in which groups somebody is.
fn groups_come(config: &Config) -> bool {
    config.oidc.as_ref().is_some_and(|oidc| oidc.groups_claim.is_some())
}
