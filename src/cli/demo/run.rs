//! The demo from its start to its end: the service, the node, the gateway, the files that tell clients of it.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use super::dir::{self, DemoDir};
use super::{page, ssh_config};
use crate::app::App;
use crate::backend::preferences::Preferences;
use crate::backend::{BackendError, Directory as _};
use crate::cli::args::DemoArgs;
use crate::cli::embedded::{self, Client, Embedded};
use crate::cli::exit::{Exit, Failure};
use crate::cli::failure::app_failure;
use crate::cli::output;
use crate::cli::realm;
use crate::cli::runtime::{Ending, patiently};
use crate::config::{
    Algorithms, Config, Endpoints, Person, PolicyFile, ProofFiles, Realm, RoleOfPeople, Rung, SshdCredential,
};
use crate::emulator::{NodeConfig, SelfMadeTls, ServiceConfig};
use crate::model::NodeName;
use crate::transport;

/// A node of the demo: all of them are this machine.
struct DemoNode {
    id: &'static str,
    name: &'static str,
    /// Its tag `env`, where it has one.
    env: Option<&'static str>,
}

/// The first one may be another program's to play.
const NODES: [DemoNode; 3] = [
    DemoNode { id: "mi-0123456789abcdef0", name: "demo", env: None },
    DemoNode { id: "mi-0123456789abcdef1", name: "web-1", env: Some("dev") },
    DemoNode { id: "mi-0123456789abcdef2", name: "db-1", env: Some("prod") },
];

const REGION: &str = "us-east-1";

/// What the demo calls its account.
const REALM: &str = "demo";
const CA_FILE: &str = "ca.pem";
const POLICIES: &str = "policies/demo.cedar";

/// What the demo's people may do.
const POLICY: &str = "\
// Written by `portcullis demo` at every start: who may do what, in Cedar.

// on the node `demo`, everything that a session is made of: shell, commands, variables, files
@id(\"the-demo-is-yours\")
permit (principal == Person::\"you\", action in Action::\"Sessions\", resource)
when { resource.name == \"demo\" };

// and as whatever user of it
@id(\"as-anybody-on-it\")
permit (principal == Person::\"you\", action == Action::\"RunAs\", resource)
when { resource.name == \"demo\" };

// and the ports of that node: ssh -L, ssh -D; but for its own sshd, through which nobody would see what is done
@id(\"ports-of-it\")
permit (principal == Person::\"you\", action == Action::\"Forward\", resource)
when { resource.name == \"demo\" && context.loopback && context.port != 22 };
// by a hop as well: ssh -J
@id(\"by-a-hop\")
permit (principal == Person::\"you\", action == Action::\"Hop\", resource);

// and whatever was done there is theirs to look at: ssh … sessions list
@id(\"their-own-auditor\")
permit (principal == Person::\"you\", action in [Action::\"Review\", Action::\"EndSession\"], resource)
when { resource.name == \"demo\" };

// developers on whatever is for development
@id(\"developers-outside-production\")
permit (principal in Group::\"developers\", action in Action::\"Sessions\", resource)
when { resource.hasTag(\"env\") && resource.getTag(\"env\") == \"dev\" };

// in production whoever is on call, by ticket; what is typed in a shell is judged before it runs
@id(\"production-by-ticket\")
@reason(\"a ticket, such as INC-1234\") @reason_pattern(\"(INC|CHG)-[0-9]+.*\") @max_duration(\"4h\") @guard(\"commands\")
permit (principal in Group::\"on-call\", action in Action::\"Sessions\", resource)
when { resource.hasTag(\"env\") && resource.getTag(\"env\") == \"prod\" };

// and nobody does there what is done by a pipeline, or takes keys along
@id(\"no-database-by-hand\") @message(\"databases are dropped by the pipeline, and not by hand\")
forbid (principal, action == Action::\"Command\", resource)
when { resource.name == \"db-1\" && context.name like \"*dropdb\" };

@id(\"keys-stay-there\")
forbid (principal, action == Action::\"Download\", resource)
when { resource.name == \"db-1\" && context.path like \"*/id_ed25519*\" };

// what is done in production is looked at by whoever is on call
@id(\"production-is-reviewed\")
permit (principal in Group::\"on-call\", action == Action::\"Review\", resource)
when { resource.hasTag(\"env\") && resource.getTag(\"env\") == \"prod\" };
";

/// Of who has asked for it.
const TUNNELS: &str = "
// and to its own sshd, end to end, where nobody sees what is done: ssh -W localhost:PORT
@id(\"by-a-tunnel\")
permit (principal == Person::\"you\", action == Action::\"Tunnel\", resource)
when { resource.name == \"demo\" };
";

/// How long what still runs may go on after Ctrl-C: a demo's user wants their prompt back.
const DRAIN: Duration = Duration::from_millis(500);

/// How long everything may take to be ready. AWS's agent needs some seconds on a busy machine.
const READY: Duration = Duration::from_secs(60);

pub(in crate::cli) async fn run(args: &DemoArgs) -> Result<(), Failure> {
    let mut ending = Ending::new(args.until_stdin_closes)?;
    needs_a_shell(Path::new("/bin/sh"))?;
    reachable_by_others(args)?;
    // a taken port is found out before anything is made
    if args.listen.port() != 0 {
        TcpListener::bind(args.listen).map_err(|error| cannot_listen(args.listen, &error))?;
    }
    let path = args.dir.clone().map_or_else(dir::default_dir, Ok)?;
    let dir = DemoDir::open(&path)?;
    let keys = dir.keys()?;

    let mut service = service(args);
    service.trail = Some(dir.join(dir::TRAIL));
    let mut embedded = Embedded::start(service, Client::AsDeployed).await?;
    let served = serve(args, &dir, keys, &mut embedded, ending.asked()).await;
    patiently("ending what still runs on the node", embedded.stop()).await;
    served?;
    tokio::select! {
        () = patiently("waiting for helpers on the node to clean up; Ctrl-C again leaves them to it", dir.quiet()) => {
            dir.clear_run();
        }
        () = ending.again() => {}
    }
    Ok(())
}

/// Everything between the start of the service and its end.
async fn serve(
    args: &DemoArgs,
    dir: &DemoDir,
    keys: dir::Keys,
    embedded: &mut Embedded,
    asked_to_end: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let mut asked_to_end = pin!(asked_to_end);
    let starting = in_time(READY, args, dir, start(args, dir, keys, embedded));
    let (app, address) = tokio::select! {
        started = patiently("starting the node and the gateway", starting) => started?,
        () = &mut asked_to_end => return Ok(()),
    };
    if reachable_by_others(args)? {
        output::note(&format!(
            "warning: anybody who reaches {address} and has a copy of {} is you on this machine",
            dir.join("user_key").display()
        ));
    }
    output::print(&page::page(dir.path(), address))?;
    app.run(asked_to_end).await;
    Ok(())
}

/// A node that does not come must not be waited for without a word.
async fn in_time<T>(
    limit: Duration,
    args: &DemoArgs,
    dir: &DemoDir,
    starting: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(limit, starting).await.unwrap_or_else(|_| {
        let look = match &args.node_command {
            Some(command) => format!("see what `{command}` says, and its files in {}", dir.join("node").display()),
            None => "add --log debug to see why".to_owned(),
        };
        let text = format!("the node has not registered within {} seconds; {look}", limit.as_secs());
        Err(Failure::new(Exit::Failed, text))
    })
}

/// The node and the gateway, and the files that tell clients of it.
async fn start(
    args: &DemoArgs,
    dir: &DemoDir,
    keys: dir::Keys,
    embedded: &mut Embedded,
) -> Result<(App, SocketAddr), Failure> {
    start_nodes(args, dir, embedded)?;
    embedded.nodes_connected().await;
    let mut config = configuration(args, dir, keys, embedded)?;
    let text = if args.tunnel.is_some() { format!("{POLICY}{TUNNELS}") } else { POLICY.to_owned() };
    let path = dir.write(POLICIES, &text)?;
    let app = start_gateway(&config, &[PolicyFile { path, text }], embedded).await?;
    let address = app.addresses().first().copied().unwrap_or(args.listen);
    config.gateway.listen = vec![address];
    write_down(dir, &config, address)?;
    Ok((app, address))
}

/// Commands run in a shell, so without one there is no demo.
fn needs_a_shell(shell: &Path) -> Result<(), Failure> {
    let usable = std::fs::metadata(shell).is_ok_and(|is| is.is_file() && is.permissions().mode() & 0o111 != 0);
    if usable {
        return Ok(());
    }
    let text =
        format!("the demo's node needs {}, which is missing here or can't be run; install dash", shell.display());
    Err(Failure::new(Exit::Missing, text))
}

fn reachable_by_others(args: &DemoArgs) -> Result<bool, Failure> {
    let remote = !args.listen.ip().is_loopback();
    if remote && !args.allow_remote {
        let text = format!(
            "{} is reachable from other machines, and the demo hands out the account that runs it; \
             add --allow-remote if that is what you want, or listen on 127.0.0.1",
            args.listen.ip()
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(remote)
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Failure {
    let text = format!("the demo can't listen on {address}: {error}; choose another address with --listen 127.0.0.1:0");
    Failure::new(Exit::Listen, text)
}

fn service(args: &DemoArgs) -> ServiceConfig {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let nodes = NODES.iter().map(|node| {
        let named = NodeConfig::named(node.id, node.name);
        match node.env {
            Some(env) => named.tag("env", env),
            None => named,
        }
    });
    let mut config = embedded::service(listen, REGION, nodes);
    // AWS's agent speaks TLS only
    config.tls = args.node_command.is_some().then(|| SelfMadeTls { names: Vec::new() });
    config.faults.clone_from(&args.faults.fault);
    config
}

fn start_nodes(args: &DemoArgs, dir: &DemoDir, embedded: &mut Embedded) -> Result<(), Failure> {
    let mut command = args.node_command.as_ref();
    for (number, node) in NODES.iter().enumerate() {
        let node = embedded::Node {
            id: node.id.to_owned(),
            name: node.name.to_owned(),
            dir: dir.subdirectory(if number == 0 { "node" } else { node.name })?,
            // what a helper leaves while it runs is left in here, and nowhere else
            env: vec![(OsString::from("XDG_RUNTIME_DIR"), dir.subdirectory("run")?.into_os_string())],
            faithful: args.faithful,
        };
        match command.take() {
            Some(command) => {
                let ca = dir.write(CA_FILE, &embedded.ca_pem().unwrap_or_default())?;
                embedded.with_command(command, &node, &ca)?;
            }
            None => embedded.with_node(node)?,
        }
    }
    Ok(())
}

fn configuration(args: &DemoArgs, dir: &DemoDir, keys: dir::Keys, embedded: &Embedded) -> Result<Config, Failure> {
    let mut config = Config::default();
    config.gateway.listen = vec![args.listen];
    config.gateway.host_keys = keys.host_keys;
    config.gateway.host_certificates = keys.host_certificates;
    config.gateway.host_ca = Some(keys.host_ca);
    let person = |name: &str, key: String, groups: &[&str]| {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        let (keys_from, keys_from_iam) = Default::default();
        Person { name: name.to_owned(), keys: vec![key], keys_from, keys_from_iam, password: None, groups }
    };
    config.people =
        vec![person("you", keys.user, &["developers", "on-call"]), person("ada", keys.ada, &["developers"])];
    config.policy.directory = Some(dir.subdirectory("policies")?);
    let role = |role: &str, people: &[&str], groups: &[&str]| RoleOfPeople {
        role: role.to_owned(),
        people: people.iter().map(|&name| name.to_owned()).collect(),
        groups: groups.iter().map(|&name| name.to_owned()).collect(),
        external_id: None,
        minutes: 60,
        web_identity: None,
    };
    config.realms = vec![Realm {
        name: REALM.to_owned(),
        region: Some(REGION.to_owned()),
        endpoints: Endpoints {
            ssm: Some(embedded.url()),
            sts: Some(embedded.url()),
            tagging: Some(embedded.url()),
            iam: Some(embedded.url()),
            ssmmessages: Some(embedded.message_url()),
        },
        roles: vec![role(embedded::ROLE, &["you"], &[]), role(embedded::DEVELOPERS_ROLE, &[], &["developers"])],
        ca_bundle: args.node_command.is_some().then(|| dir.join(CA_FILE)),
        ..Realm::default()
    }];
    config.lanes.rung = args.rung;
    if args.rung == Some(Rung::Sshd) {
        config.sshd.credential = Some(SshdCredential::UserCa);
        config.sshd.user = args.sshd_user.clone();
        config.sshd.port = args.sshd_port.unwrap_or(config.sshd.port);
    }
    config.lanes.helper = args.helper;
    config.lanes.shell = args.shell;
    config.lanes.frame_bytes = args.frame_bytes;
    config.lanes.sshd_ports.extend(args.tunnel.filter(|port| *port != 22));
    // whoever tries it out comes with whatever client is there
    config.gateway.algorithms = Algorithms::Compatible;
    config.lanes.channels_per_node = 1000;
    config.lanes.channels_per_person_on_a_node = 1000;
    config.evidence.directory = dir.subdirectory("evidence")?;
    Ok(config)
}

async fn start_gateway(config: &Config, policies: &[PolicyFile], embedded: &mut Embedded) -> Result<App, Failure> {
    let service = |error: BackendError| Failure::new(Exit::Service, error.to_string());
    let realm = config.realms.first().ok_or_else(|| Failure::new(Exit::Failed, "the demo has no realm"))?;
    let reached = realm::reach(realm, Some(embedded.client_credentials())).await?;
    let backend = &reached.backend;
    // what deploy/ tooling does in an account, and the gateway may not
    let deployer = realm::reach(realm, Some(embedded.deployer_credentials())).await?.backend;
    let preferences = Preferences::of_account(&deployer).await.map_err(service)?;
    for (name, content) in transport::documents(&preferences) {
        deployer.put_document(name, &content).await.map_err(service)?;
    }
    let [first, ..] = NODES;
    let node = NodeName::parse(first.name).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    loop {
        match backend.resolve(&node).await {
            Ok(node) if node.online => break,
            // a node is in no list before it has registered
            Ok(_) | Err(BackendError::Target(_)) => {}
            Err(error) => return Err(service(error)),
        }
        if embedded.command_has_ended() {
            return Err(Failure::new(Exit::Failed, "the node's program has ended before it registered"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let proofs = ProofFiles::default();
    App::start(config, policies, &proofs, vec![reached.realm()], DRAIN).await.map_err(|error| app_failure(&error))
}

fn write_down(dir: &DemoDir, config: &Config, address: SocketAddr) -> Result<(), Failure> {
    let text = toml::to_string(config)
        .map_err(|error| Failure::new(Exit::Failed, format!("the configuration can't be written: {error}")))?;
    let head = "# Written by `portcullis demo` at every start: the configuration in force.\n";
    dir.write("gateway.toml", &format!("{head}{text}"))?;
    dir.write("ssh_config", &ssh_config::ssh_config(dir.path(), address))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    #[tokio::test]
    async fn a_node_that_never_comes_is_one_sentence_that_says_where_to_look() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DemoDir::open(&temporary.path().join("demo")).unwrap();
        for (line, look) in [(vec!["demo"], "--log debug"), (vec!["demo", "--node-command", "sleep 9"], "demo/node")] {
            let command = DemoArgs::augment_args(clap::Command::new("demo"));
            let args = DemoArgs::from_arg_matches(&command.get_matches_from(line)).unwrap();
            let failure = in_time(Duration::from_secs(1), &args, &dir, std::future::pending::<Result<(), _>>())
                .await
                .unwrap_err();
            assert!(failure.text.contains("within 1 seconds") && failure.text.contains(look), "{}", failure.text);
            assert_eq!((failure.exit, failure.text.lines().count()), (Exit::Failed, 1));
        }
    }

    #[test]
    fn a_missing_shell_is_6_and_one_sentence() {
        for shell in ["/no/such/sh", "/dev/null", "/etc/passwd"] {
            let failure = needs_a_shell(Path::new(shell)).unwrap_err();
            assert_eq!(failure.exit, Exit::Missing);
            assert!(failure.text.contains(shell) && failure.text.lines().count() == 1, "{}", failure.text);
        }
        assert!(needs_a_shell(Path::new("/bin/sh")).is_ok());
    }
}
