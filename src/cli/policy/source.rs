//! The policies that a tool is about: those of a configuration, or files that were named.

use std::collections::BTreeMap;

use crate::app;
use crate::cli::args::{PolicyCheckArgs, PolicySource};
use crate::cli::exit::Failure;
use crate::cli::failure::config_failure;
use crate::cli::output;
use crate::config::{self, Config, Overrides, Problem, Trust};
use crate::model::RealmName;
use crate::policy::Policy;

/// People, and the groups that they are in.
pub(super) type People = BTreeMap<String, Vec<String>>;

/// What is to be looked at.
pub(super) struct Source {
    pub(super) policy: Policy,
    /// Who may log in, where a configuration was read.
    pub(super) people: People,
    /// The realm, where a configuration was read that has one only.
    pub(super) realm: Option<RealmName>,
    /// What says less than it seems to.
    pub(super) odd: Vec<Problem>,
}

/// Reads and checks them; what is odd about them is said.
pub(super) fn read(source: &PolicySource) -> Result<Source, Failure> {
    let (about, read) = match source.policies.first() {
        None => (&source.config, app::read(&source.config, Trust::Anybodys, &Overrides::default())),
        Some(first) => (first, app::read_policies(&source.policies)),
    };
    let loaded = read.and_then(|loaded| Ok((app::policy_of(&loaded)?, loaded)));
    let (policy, loaded) = loaded.map_err(|error| config_failure(about, &error, ""))?;
    if !loaded.warnings.is_empty() {
        output::note(config::render(&loaded.warnings, output::colour()).trim_end());
    }
    let odd = app::lint(about, &loaded, &policy);
    Ok(Source { policy, people: people_of(&loaded.config), realm: only_realm_of(&loaded.config), odd })
}

/// The realm of a configuration that has one only.
fn only_realm_of(config: &Config) -> Option<RealmName> {
    match &config.realms[..] {
        [one] => app::realm_name(one).ok(),
        _ => None,
    }
}

/// The people of a configuration.
pub(super) fn people_of(config: &Config) -> People {
    let sorted = |groups: &[String]| {
        let mut groups = groups.to_vec();
        groups.sort();
        groups
    };
    config.people.iter().map(|person| (person.name.clone(), sorted(&person.groups))).collect()
}

/// Says that they can be used.
pub(super) fn check(args: &PolicyCheckArgs) -> Result<(), Failure> {
    let Source { policy, .. } = read(&args.source)?;
    let count = match policy.count() {
        1 => "1 policy".to_owned(),
        count => format!("{count} policies"),
    };
    output::print(&format!("{count}: fine\npolicy set {}\n", policy.version().sha256()))
}
