//! `portcullis policy lint`: policies that are valid, and say less than they seem to.

use super::source::{self, Source};
use crate::cli::args::PolicyLintArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::config;
use crate::model::counted;

pub(super) fn run(args: &PolicyLintArgs) -> Result<(), Failure> {
    let Source { odd, .. } = source::read(&args.source)?;
    if odd.is_empty() {
        return output::print("nothing that says less than it seems to\n");
    }
    output::print(&config::render(&odd, output::colour()))?;
    Err(Failure::new(Exit::Differs, format!("{} to look at", counted(odd.len(), "finding"))))
}
