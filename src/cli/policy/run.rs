//! Which of the tools is meant.

use super::{explain, format, lint, rehearse, scenarios, source};
use crate::cli::args::PolicyCommand;
use crate::cli::exit::Failure;

pub(in crate::cli) fn run(command: &PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Check(args) => source::check(args),
        PolicyCommand::Explain(args) => explain::run(args),
        PolicyCommand::Test(args) => scenarios::run(args),
        PolicyCommand::Rehearse(args) => rehearse::run(args),
        PolicyCommand::Lint(args) => lint::run(args),
        PolicyCommand::Fmt(args) => format::run(args),
    }
}
