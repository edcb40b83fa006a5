//! `portcullis evidence person`: which folders concern one person.

use portcullis_sinks::retention::export_person;

use crate::app;
use crate::cli::args::EvidencePersonArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::failure::config_failure;
use crate::cli::output;
use crate::config::{Overrides, Trust};

pub(super) fn run(args: &EvidencePersonArgs) -> Result<(), Failure> {
    let loaded = app::read(&args.config, Trust::Anybodys, &Overrides::default());
    let loaded = loaded.map_err(|error| config_failure(&args.config, &error, ", so its evidence is not known"))?;
    let folders = export_person(&loaded.config.evidence.directory, &args.name);
    let folders = folders.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let lines: String = folders.iter().map(|folder| format!("{}\n", folder.display())).collect();
    output::print(&lines)
}
