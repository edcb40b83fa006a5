//! Completions and manual pages, made from the command line's own definition.

use std::path::Path;

use clap::CommandFactory as _;

use super::args::{Args, CompletionsArgs, ManArgs};
use super::exit::{Exit, Failure};
use super::output;

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "portcullis", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}

pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    let command = Args::command();
    match &args.dir {
        Some(dir) => clap_mangen::generate_to(command, dir).map_err(|error| cannot_write(dir, &error)),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command)
                .render(&mut page)
                .map_err(|error| Failure::new(Exit::Failed, format!("the manual page can't be made: {error}")))?;
            output::print(&String::from_utf8_lossy(&page))
        }
    }
}

fn cannot_write(dir: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Directory, format!("manual pages can't be written to {}: {error}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_and_an_example() {
        for command in Args::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            let example = command.get_after_help().is_some_and(|help| help.to_string().contains("Example"));
            assert!(example, "{} has no example", command.get_name());
        }
    }
}
