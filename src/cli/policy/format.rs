//! `portcullis policy fmt`: policies in one layout.

use crate::cli::args::PolicyFmtArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::policy;

pub(super) fn run(args: &PolicyFmtArgs) -> Result<(), Failure> {
    let mut differ = Vec::new();
    for path in &args.files {
        let failure = |exit, why: String| Failure::new(exit, format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| failure(Exit::Config, error.to_string()))?;
        let formatted = policy::formatted(&text).map_err(|why| failure(Exit::Config, why))?;
        if formatted == text {
            continue;
        }
        differ.push(path.display().to_string());
        if !args.check {
            std::fs::write(path, formatted).map_err(|error| failure(Exit::Directory, error.to_string()))?;
        }
    }
    match (args.check, differ.is_empty()) {
        (true, false) => Err(Failure::new(Exit::Differs, format!("not in the usual layout: {}", differ.join(", ")))),
        _ => output::print(&differ.iter().map(|file| format!("{file}\n")).collect::<String>()),
    }
}
