//! `portcullis known-hosts`, `ssh-config` and `user-ca`: what a fleet's clients need in their own files to hop to nodes. A person gets
//! theirs from the gateway itself: `ssh <gateway> ssh-config`.

use super::args::{KnownHostsArgs, SshConfigArgs, UserCaArgs};
use crate::app;
use crate::backend::Realms;
use crate::cli::args::ConfigArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::failure::config_failure;
use crate::cli::runtime::patiently;
use crate::cli::{output, realm};
use crate::config::{Config, Trust};
use crate::gateway::client_files::{self, KnownHosts};
use crate::gateway::{HostCa, HostKeys};
use crate::ssh::KeyFileError;
use crate::transport::UserCa;

pub(in crate::cli) fn known_hosts(args: &KnownHostsArgs) -> Result<(), Failure> {
    let config = read(&args.config)?;
    let wrong = |error: KeyFileError| Failure::new(Exit::Config, error.to_string());
    let ca = config.host_ca_path();
    let missing = || {
        let text =
            format!("there is no host CA yet: `portcullis serve` makes it at its first start, in {}", ca.display());
        Failure::new(Exit::Config, text)
    };
    let host_ca = HostCa::load(&ca).map_err(wrong)?.ok_or_else(missing)?.public_line();
    let host_keys = HostKeys::load(&config.gateway.host_keys).map_err(wrong)?;
    // what old clients see, which no others do
    let host_keys = host_keys.with_legacy(&config.gateway.legacy_host_keys).map_err(wrong)?.public_lines();
    let nodes = args.nodes.join(",");
    let gateways = args.gateway.iter().map(|gateway| (gateway.host.clone(), gateway.port)).collect::<Vec<_>>();
    let known =
        KnownHosts { host_ca: &host_ca, host_keys: &host_keys, nodes: &nodes, gateways: &gateways, plain: args.plain };
    match args.json {
        true => output::print(&format!("{:#}\n", known.json())),
        false => output::print(&format!("{}\n", known.lines().join("\n"))),
    }
}

pub(in crate::cli) fn user_ca(args: &UserCaArgs) -> Result<(), Failure> {
    let config = read(&args.config)?;
    let ca = config.user_ca_path();
    let missing = || {
        let text = format!(
            "there is no user CA yet: with credential = \"user-ca\" below [sshd], `portcullis serve` makes it at its first start, in {}",
            ca.display()
        );
        Failure::new(Exit::Config, text)
    };
    let user_ca = UserCa::load(&ca).map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    output::print(&format!("{}\n", user_ca.ok_or_else(missing)?.public_line()))
}

pub(in crate::cli) async fn ssh_config(args: &SshConfigArgs) -> Result<(), Failure> {
    let config = read(&args.config)?;
    let mut realms = Vec::new();
    for reached in patiently("reading the AWS configuration", realm::reach_all(&config)).await {
        realms.push(reached?.realm());
    }
    let (realms, _) = Realms::of(realms);
    let list = patiently("listing the nodes", realms.nodes(realms.names())).await;
    for (realm, why) in &list.silent {
        output::note(&format!("warning: the nodes of {realm} are not among them: {}", why.for_operator()));
    }
    if list.nodes.is_empty() && !list.silent.is_empty() {
        return Err(Failure::new(Exit::Service, "no realm has said which nodes it has"));
    }
    if !list.is_whole {
        output::note("warning: there are more nodes than could be listed");
    }
    let entries = client_files::entries(&list, realms.names(), args.tag.as_deref());
    if args.json {
        return output::print(&format!("{:#}\n", client_files::as_json(&entries, &args.jump)));
    }
    let mut text = String::from("# Made by `portcullis ssh-config`, for ~/.ssh/config or a file that it includes.\n\n");
    if let Some(gateway) = &args.gateway {
        text.push_str(&format!("Host {}\n    HostName {}\n    Port {}\n\n", args.jump, gateway.host, gateway.port));
    }
    text.push_str(&client_files::ssh_config(&entries, &args.jump, &client_files::known_hosts_file(&args.jump)));
    output::print(&text)
}

fn read(args: &ConfigArgs) -> Result<Config, Failure> {
    let file = &args.config;
    let loaded = app::read(file, Trust::Anybodys, &args.overrides).map_err(|error| config_failure(file, &error, ""))?;
    Ok(loaded.config)
}
