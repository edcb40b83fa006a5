//! `portcullis emulator`: the embedded Session Manager alone, for AWS's own plugin, CLI and agent.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::args::EmulatorArgs;
use super::embedded::{self, Client, Embedded, Node};
use super::exit::{Exit, Failure};
use super::output;
use super::runtime::Ending;
use crate::emulator::{NodeConfig, SelfMadeTls};

/// The embedded node's id, where one is asked for.
const NODE_ID: &str = "mi-0fedcba9876543210";

pub(super) async fn run(args: &EmulatorArgs) -> Result<(), Failure> {
    let mut ending = Ending::new(args.until_stdin_closes)?;
    let mut nodes = args.node.clone();
    nodes.extend(args.with_node.iter().map(|name| (NODE_ID.to_owned(), name.clone())));
    let nodes = nodes.into_iter().map(|(id, name)| NodeConfig::named(id, name));
    let mut config = embedded::service(args.listen, &args.region, nodes);
    config.advertise.clone_from(&args.advertise);
    config.trail.clone_from(&args.trail);
    config.faults.clone_from(&args.faults.fault);
    if args.tls_ca_out.is_some() {
        config.tls = Some(SelfMadeTls { names: args.tls_name.clone() });
    }
    if let Some(file) = &args.preferences {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::new(Exit::Config, format!("{} can't be read: {error}", file.display())))?;
        config.preferences = Some(text);
    }
    let may = if args.as_deployed { Client::AsDeployed } else { Client::MayAll };
    let mut embedded = Embedded::start(config, may).await?;
    let ended = serve(args, &mut embedded, ending.asked()).await;
    embedded.stop().await;
    ended
}

async fn serve(
    args: &EmulatorArgs,
    embedded: &mut Embedded,
    asked_to_end: impl Future<Output = ()>,
) -> Result<(), Failure> {
    write_files(args, embedded)?;
    if let Some(node) = node(args)? {
        embedded.with_node(node)?;
    }
    let running = async {
        embedded.nodes_connected().await;
        output::print(&page(args, embedded))?;
        std::future::pending().await
    };
    tokio::select! {
        failed = running => failed,
        () = asked_to_end => Ok(()),
    }
}

fn write_files(args: &EmulatorArgs, embedded: &Embedded) -> Result<(), Failure> {
    if let (Some(file), Some(pem)) = (&args.tls_ca_out, embedded.ca_pem()) {
        write(file, &pem, 0o644)?;
    }
    if let Some(file) = &args.keys_out {
        write(file, &embedded.keys().as_file(args.as_deployed), 0o600)?;
    }
    Ok(())
}

/// Replaces a file: never one that somebody else may have open for reading already.
fn write(file: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let _ = std::fs::remove_file(file);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(file)
        .and_then(|mut open| open.write_all(text.as_bytes()))
        .map_err(|error| Failure::new(Exit::Directory, format!("{} can't be written: {error}", file.display())))
}

fn node(args: &EmulatorArgs) -> Result<Option<Node>, Failure> {
    let Some(name) = &args.with_node else { return Ok(None) };
    let Some(dir) = &args.node_dir else {
        return Err(Failure::new(Exit::Usage, "the embedded node needs a directory for its files: add --node-dir DIR"));
    };
    // what runs on the node is somewhere else
    let dir = std::path::absolute(dir)
        .map_err(|error| Failure::new(Exit::Directory, format!("{} can't be used: {error}", dir.display())))?;
    let run = dir.join("run");
    std::fs::create_dir_all(&run)
        .map_err(|error| Failure::new(Exit::Directory, format!("{} can't be made: {error}", run.display())))?;
    Ok(Some(Node {
        id: NODE_ID.to_owned(),
        name: name.clone(),
        dir,
        env: vec![(OsString::from("XDG_RUNTIME_DIR"), run.into_os_string())],
        faithful: !args.fast,
    }))
}

fn page(args: &EmulatorArgs, embedded: &Embedded) -> String {
    let url = embedded.url();
    let keys = match &args.keys_out {
        Some(file) => format!("The keys are in {}: [default] for clients, [agent] for agents.\n", file.display()),
        None => format!("The keys of this run:\n\n{}", embedded.keys().as_file(args.as_deployed)),
    };
    format!("{keys}\nready: listening on {}, {url} in {}; Ctrl-C ends it\n", embedded.address(), args.region)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::args::Args;
    use super::*;

    #[test]
    fn the_example_in_the_help_names_the_node_that_it_starts() {
        let mut program = Args::command();
        let help = program.find_subcommand_mut("emulator").unwrap().render_help().to_string();
        assert!(
            help.contains(&format!("start-session --target {NODE_ID}\n")) && help.contains("--with-node"),
            "{help}"
        );
    }
}
