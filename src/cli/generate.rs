//! Completions and manual pages, made from the command line's own definition.

use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use super::args::{Args, CompletionsArgs, ManArgs};
use super::exit::{Exit, Failure};
use super::output;

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "portcullis", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}

pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    let Some(dir) = &args.dir else { return output::print(&page(&command)?) };
    for command in std::iter::once(&command).chain(command.get_subcommands()) {
        let file = dir.join(Man::new(command.clone()).get_filename());
        std::fs::write(file, page(command)?).map_err(|error| cannot_write(dir, &error))?;
    }
    Ok(())
}

/// One command's page.
fn page(command: &Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    let rendered = Man::new(command.clone()).render(&mut page);
    rendered.map_err(|error| Failure::new(Exit::Failed, format!("the manual page can't be made: {error}")))?;
    Ok(with_sections(&String::from_utf8_lossy(&page)))
}

/// What stands behind the options in the help becomes sections of the page, line by line: as one section of prose, which is
/// how it is rendered, nobody can read it.
fn with_sections(page: &str) -> String {
    let Some((before, rest)) = page.split_once(".SH EXTRA\n") else { return page.to_owned() };
    let (extra, after) = rest.split_at(rest.find("\n.SH ").map_or(rest.len(), |at| at + 1));
    let mut sections = String::from(before);
    let mut is_first = true;
    for block in extra.split("\n\n") {
        let titled = block.split_once(":\n").filter(|(title, _)| !title.contains([',', '\n']));
        let (title, text) = match titled {
            Some((title, text)) => (Some(title), text),
            None => (is_first.then_some("Examples"), block),
        };
        match title {
            Some(title) => {
                sections.push_str(if is_first { "" } else { ".fi\n" });
                sections.push_str(&format!(".SH {}\n.nf\n", title.to_uppercase()));
            }
            None => sections.push('\n'),
        }
        sections.push_str(text.trim_end_matches('\n'));
        sections.push('\n');
        is_first = false;
    }
    sections + ".fi\n" + after
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
    fn a_page_has_its_examples_and_tables_line_by_line() {
        let rendered =
            ".SH OPTIONS\nx\n.SH EXTRA\nBegin so.\n\nExit codes:\n  0  yes\n  1  no\n\nmore\n.SH VERSION\nv1\n";
        let page = with_sections(rendered);
        let expected = ".SH OPTIONS\nx\n.SH EXAMPLES\n.nf\nBegin so.\n.fi\n.SH EXIT CODES\n.nf\n  0  yes\n  1  no\n\nmore\n.fi\n.SH VERSION\nv1\n";
        assert_eq!(page, expected);
        assert_eq!(with_sections(".SH NAME\nx\n"), ".SH NAME\nx\n");
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
