//! The policies that a tool is about: those of a configuration, or files that were named.

use crate::app;
use crate::cli::args::{PolicyCheckArgs, PolicySource};
use crate::cli::exit::Failure;
use crate::cli::failure::config_failure;
use crate::cli::output;
use crate::config::{self, Overrides, Person, Trust};
use crate::policy::Policy;

/// What is to be looked at.
pub(super) struct Source {
    pub(super) policy: Policy,
    /// Who may log in, where a configuration was read.
    pub(super) people: Vec<Person>,
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
    Ok(Source { policy, people: loaded.config.people })
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
