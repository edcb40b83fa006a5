//! What `portcullis` can be asked. The help teaches: every command has an example that works when pasted.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Parser, Subcommand};

use crate::backend::aws;
use crate::config::{Helper, Overrides, Rung, ShellTransport};
use crate::emulator::Fault;
use crate::gateway;
use crate::telemetry::LogFormat;

use super::clients::{KnownHostsArgs, SshConfigArgs, UserCaArgs};
use super::exit::Exit;
use super::policy::Question;
use super::sessions::SessionsArgs;

/// An SSH server in front of AWS Session Manager: ssh, scp and sftp to nodes that have no sshd.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, max_term_width = 100)]
#[command(after_help = "Begin with `portcullis demo`: it needs no AWS account.")]
#[command(after_long_help = after_long_help())]
pub(super) struct Args {
    /// What to log: a level, or a filter such as portcullis::gateway=debug,info
    #[arg(long, global = true, value_name = "FILTER", env = "PORTCULLIS_LOG", help_heading = "Logging")]
    pub(super) log: Option<String>,
    /// How log lines look on standard error
    #[arg(long, global = true, value_enum, default_value_t, env = "PORTCULLIS_LOG_FORMAT", help_heading = "Logging")]
    pub(super) log_format: LogFormat,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Args {
    /// What is logged of libraries and parts unless somebody says otherwise: a plain level must not let strangers fill the
    /// log with a library's words.
    pub(super) fn built_in_log(&self) -> String {
        let mut parts = vec![aws::LOG_FILTER, gateway::LOG_FILTER];
        if !matches!(self.command, Command::Serve(_)) {
            // what AWS refuses them is their own answer
            parts.push(aws::LOG_FILTER_OF_TOOLS);
        }
        parts.join(",")
    }

    /// What is logged besides.
    pub(super) fn log(&self) -> &str {
        self.log.as_deref().unwrap_or(self.command.default_log())
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Try everything on this machine: a Session Manager, a node and a gateway; no AWS account
    Demo(DemoArgs),
    /// Run the gateway
    Serve(ServeArgs),
    /// Say what is wrong with a configuration, without starting anything
    Check(CheckArgs),
    /// Check, try, test and format policies, without starting anything
    Policy(PolicyArgs),
    /// Say what a changed configuration would do to a gateway that runs
    Reload(ReloadArgs),
    /// Say whether what a gateway kept is as it was signed, what was done to it where it is not, and what that can't prove
    Verify(VerifyArgs),
    /// The keys that a gateway signs its evidence with
    Evidence(EvidenceArgs),
    /// Find what was recorded, show it, play it, end what runs
    Sessions(Box<SessionsArgs>),
    /// Compare, print or install the session documents that the lanes need in an account
    Documents(DocumentsArgs),
    /// Print the lines of known_hosts by which clients know the gateway, and the nodes that they hop to (ssh -J)
    KnownHosts(KnownHostsArgs),
    /// Print Host blocks of ssh_config for the nodes, which reach them by hops
    SshConfig(SshConfigArgs),
    /// Print the line by which nodes' own sshds let the gateway in (TrustedUserCAKeys)
    UserCa(UserCaArgs),
    /// Run the embedded Session Manager alone, for AWS's own plugin, CLI and agent
    Emulator(EmulatorArgs),
    /// Make the hash of a password, for people whose tools know nothing else
    ///
    /// The password is typed twice, or comes as a line on standard input; never as an argument, which every user of the machine could
    /// read. What is printed goes to the person's password in the configuration, with the networks that it counts from
    Password(PasswordArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write one per command into a directory
    Man(ManArgs),
}

impl Command {
    /// What is logged when nobody says: a server its events, a tool only what went wrong.
    fn default_log(&self) -> &'static str {
        match self {
            Self::Serve(_) => "info",
            _ => "warn",
        }
    }
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CONFIG", default_value = "/etc/portcullis/gateway.toml")]
    pub(super) config: PathBuf,
    #[command(flatten, next_help_heading = "Over the configuration file")]
    pub(super) overrides: Overrides,
}

/// What goes wrong between clients and nodes, on request.
#[derive(Debug, clap::Args)]
pub(super) struct FaultArgs {
    /// Let something go wrong on the way, to see what becomes of your tools. May be given again
    ///
    /// Once in each session, after N data frames:
    ///   cut agent|client after N frames [for TIME]  off, and all that is on its way is lost
    ///   pause after N frames [for TIME]             the agent, which goes on after TIME
    /// Some of the frames, or all:
    ///   drop|duplicate|reorder P% [of data|acknowledgements] [to agent|client]
    ///   delay P% by TIME [of data|acknowledgements] [to agent|client]
    ///   latency TIME                                of every frame, each way
    /// The next N calls, such as AssumeRole, StartSession or ResumeSession:
    ///   fail CALL with 500|503|throttling [N times]
    ///   lose CALL with 500|503|throttling [N times]  done, and answered so all the same
    #[arg(long, value_name = "FAULT", verbatim_doc_comment)]
    pub(super) fault: Vec<Fault>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example, in two terminals:\n  portcullis demo\n  ssh -F ~/.portcullis-demo/ssh_config demo")]
pub(super) struct DemoArgs {
    /// Where the demo keeps its keys and files, for its owner alone [default: ~/.portcullis-demo]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Where the gateway listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2222", overrides_with = "listen")]
    pub(super) listen: SocketAddr,
    /// Listen on an address that others reach: whoever has the demo's key then has your account on this machine
    #[arg(long)]
    pub(super) allow_remote: bool,
    /// Let the node keep the pauses and the pace of AWS's own agent (a second before a prompt, 1 MB/s)
    #[arg(long)]
    pub(super) faithful: bool,
    /// Run this program as the node in place of the embedded one (scripts/real-agent.sh runs AWS's own agent so)
    #[arg(long, value_name = "COMMAND", conflicts_with = "faithful")]
    pub(super) node_command: Option<String>,
    /// Carry channels by this construction only
    #[arg(long, value_name = "RUNG", value_parser = rung())]
    pub(super) rung: Option<Rung>,
    /// With `--rung sshd`: the port of this machine's own sshd, which trusts DIR/user-ca-key.pub (`TrustedUserCAKeys`)
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) sshd_port: Option<u16>,
    /// With `--rung sshd`: as whom the gateway logs in there where a login names nobody
    #[arg(long, value_name = "USER", env = "USER", hide_env = true)]
    pub(super) sshd_user: Option<String>,
    /// Serve on the node by this program
    #[arg(long, value_name = "PROGRAM", value_parser = helper(), default_value = "auto")]
    pub(super) helper: Helper,
    /// Carry interactive shells by this: `agent` is the agent's own session, slower and without an exit status
    #[arg(long, value_name = "WAY", value_parser = shell(), default_value = "helper")]
    pub(super) shell: ShellTransport,
    /// Let `you` reach the sshd that listens on this port of this machine, which is the node, by a tunnel: ssh -W localhost:PORT
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) tunnel: Option<u16>,
    /// Bytes in a data frame towards the node
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(256..=65_536))]
    pub(super) frame_bytes: u32,
    #[command(flatten)]
    pub(super) faults: FaultArgs,
    /// End when standard input does, as under a script that may be killed
    #[arg(long)]
    pub(super) until_stdin_closes: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Signals:
  SIGTERM, SIGINT  end: no new connections, and open channels get 20 seconds
  SIGHUP           open the event log anew, after it was moved away, and read the configuration
                   again; on a terminal: end

The configuration and the policies are read again when their files change: people and policies are in
force within seconds, and sessions end that they allow no more; all else takes a restart. What can't be
used is refused in the log, and what was in force stays.

Example:
  portcullis serve --config /etc/portcullis/gateway.toml --listen 0.0.0.0:22")]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  portcullis documents                 is the account ready? exit code 8 if not
  portcullis documents --print --realm main
                                       as JSON, for your own deployment tooling
  portcullis documents --apply         create or update what differs")]
pub(super) struct DocumentsArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Create or update the documents that differ
    #[arg(long, conflicts_with = "print")]
    pub(super) apply: bool,
    /// Print the documents as one JSON object, by name; without --realm AWS is asked nothing, and they are those of an
    /// account that never set preferences
    #[arg(long)]
    pub(super) print: bool,
    /// Only this realm of the configuration; with --print the documents carry the session limits of its account, as with
    /// --apply
    #[arg(long, value_name = "NAME")]
    pub(super) realm: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  portcullis emulator --tls-ca-out ca.pem --keys-out keys --with-node web-1 --node-dir node
and in another terminal, where the CLI trusts AWS_CA_BUNDLE and its plugin SSL_CERT_FILE:
  export AWS_SHARED_CREDENTIALS_FILE=keys AWS_CA_BUNDLE=ca.pem SSL_CERT_FILE=ca.pem
  aws --region us-east-1 --endpoint-url https://127.0.0.1:8443 \\
    ssm start-session --target mi-0fedcba9876543210

What does a tool do when its link breaks in the middle, on a line of 40 ms?
  portcullis emulator --with-node web-1 --node-dir node --fault 'latency 40ms' \\
    --fault 'cut client after 500 frames'

The agent, told Mgs.Endpoint and the [agent] keys, registers with it as with the cloud.")]
pub(super) struct EmulatorArgs {
    /// Where to listen; port 0 takes a free one. Without TLS, loopback only
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    pub(super) listen: SocketAddr,
    /// Speak TLS with a certificate of its own authority, and write that authority's certificate here
    #[arg(long, value_name = "FILE")]
    pub(super) tls_ca_out: Option<PathBuf>,
    /// A further name or address in that certificate
    #[arg(long, value_name = "NAME", requires = "tls_ca_out")]
    pub(super) tls_name: Vec<String>,
    /// Write the random API keys here, as a shared credentials file: profile default for clients, agent for agents
    #[arg(long, value_name = "FILE")]
    pub(super) keys_out: Option<PathBuf>,
    /// The region that requests are signed for
    #[arg(long, value_name = "NAME", default_value = "us-east-1")]
    pub(super) region: String,
    /// Host and port in the URLs that the service hands out, where clients reach it by another name
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) advertise: Option<String>,
    /// A node that has a Name before its agent reports, as id=Name
    #[arg(long, value_name = "ID=NAME", value_parser = node)]
    pub(super) node: Vec<(String, String)>,
    /// Run an embedded node of this Name as well, as whoever runs this
    #[arg(long, value_name = "NAME")]
    pub(super) with_node: Option<String>,
    /// Where the embedded node keeps its files
    #[arg(long, value_name = "DIR", requires = "with_node")]
    pub(super) node_dir: Option<PathBuf>,
    /// Let the embedded node go without the pauses and the pace of AWS's own agent
    #[arg(long, requires = "with_node")]
    pub(super) fast: bool,
    /// IAM as deploy/iam has it: what the keys may is what a gateway may, people have roles (portcullis-you,
    /// portcullis-developers), and the keys of profile deployer put documents
    #[arg(long)]
    pub(super) as_deployed: bool,
    /// The account's session preferences, JSON, in place of the usual ones
    #[arg(long, value_name = "FILE")]
    pub(super) preferences: Option<PathBuf>,
    /// Add records of AssumeRole, StartSession, ResumeSession and TerminateSession to this file, as CloudTrail keeps them
    #[arg(long, value_name = "FILE")]
    pub(super) trail: Option<PathBuf>,
    #[command(flatten)]
    pub(super) faults: FaultArgs,
    /// End when standard input does, as under a script that may be killed
    #[arg(long)]
    pub(super) until_stdin_closes: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis check --config config/gateway.toml")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Print the configuration in force, or its problems, as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Print the JSON schema of the configuration and do nothing else
    #[arg(long)]
    pub(super) schema: bool,
    /// Look at this file alone: not at those that it names (host keys, directories), nor at AWS's configuration
    #[arg(long)]
    pub(super) offline: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  portcullis policy check --policies config/policies/production.cedar
  portcullis policy explain --person alice --node web-1 Shell
  portcullis policy test --config config/gateway.toml config/policies/tests.toml
  portcullis policy lint --config config/gateway.toml
  portcullis policy rehearse --policies new.cedar /var/lib/portcullis/evidence/events.jsonl
  portcullis policy fmt config/policies/*.cedar")]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    pub(super) command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Say what is wrong with policies, where, and what was probably meant
    Check(PolicyCheckArgs),
    /// Say what the policies would answer somebody, which of them decide, and which are near
    Explain(Box<PolicyExplainArgs>),
    /// Ask the policies what a file of scenarios asks, and compare the answers; exit code 8 if one differs
    Test(PolicyTestArgs),
    /// Ask policies again what people did and were refused, as an event log has it, and say what would turn; exit code 8 if
    /// anything would
    Rehearse(PolicyRehearseArgs),
    /// Say which policies say less than they seem to: void beside a shell, never reached, an open door; exit code 8 if any
    Lint(PolicyLintArgs),
    /// Put policies into the usual layout
    Fmt(PolicyFmtArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is in force, and what runs, is read from the gateway's evidence directory: the event log's last
configuration.loaded, what is kept beside it, and the sessions that have no end there. Nothing is asked of the
gateway, and nothing is changed: a gateway puts a changed configuration in force by itself, or at SIGHUP.
Exit code 8: a session would end.

Example:
  portcullis reload --check --config /etc/portcullis/gateway.toml")]
pub(super) struct ReloadArgs {
    /// Change nothing, and say what would change
    #[arg(long, required = true)]
    pub(super) check: bool,
    /// The configuration as it would be
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CONFIG", default_value = "/etc/portcullis/gateway.toml")]
    pub(super) config: PathBuf,
    /// The evidence directory, where it is not the one that the configuration names
    #[arg(long, value_name = "DIR")]
    pub(super) evidence: Option<PathBuf>,
    /// An older part of the event log, which was moved away. May be given again
    #[arg(long, value_name = "LOG")]
    pub(super) log_file: Vec<PathBuf>,
    /// Answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Only keys that you give are believed, or those in <key file>.pub of the configuration; never one beside what is
verified. A folder alone can't prove that its end, or all of another, was not taken away: a journal can, and an
anchor, which is a head that was kept outside the host, can prove it of the journal.
Exit code 8: something is not whole.

Examples:
  portcullis verify --key gate-1.pub /var/lib/portcullis/evidence/sessions/2026-11-30/*
  portcullis verify --journal /var/lib/portcullis/evidence --anchor kept-elsewhere")]
pub(super) struct VerifyArgs {
    /// Folders of sessions
    #[arg(value_name = "FOLDER", required_unless_present = "journal", conflicts_with = "journal")]
    pub(super) folders: Vec<PathBuf>,
    /// A verifier key, or a file of them. May be given again [default: those of the configuration's gateway]
    #[arg(long, value_name = "KEY|FILE")]
    pub(super) key: Vec<String>,
    /// The configuration whose gateway it is; not read where keys are given
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CONFIG", default_value = "/etc/portcullis/gateway.toml")]
    pub(super) config: PathBuf,
    /// Verify a journal and the folders that it names: the evidence directory, or its logs in any order
    #[arg(long, value_name = "DIR|FILE", num_args = 1..)]
    pub(super) journal: Vec<PathBuf>,
    /// Heads that were kept elsewhere, of the journal and of sessions. May be given again
    #[arg(long, value_name = "FILE", requires = "journal")]
    pub(super) anchor: Vec<PathBuf>,
    /// Look into encrypted folders as well: AWS KMS is asked for their keys, with your credentials
    #[arg(long, conflicts_with = "journal")]
    pub(super) decrypt: bool,
    /// Look at the heads of folders only, not at every byte
    #[arg(long, requires = "journal")]
    pub(super) heads_only: bool,
    /// Answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis evidence key --config /etc/portcullis/gateway.toml > gate-1.pub")]
pub(super) struct EvidenceArgs {
    #[command(subcommand)]
    pub(super) command: EvidenceCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum EvidenceCommand {
    /// Print the verifier keys, the newest first: what somebody needs to verify evidence
    Key(EvidenceKeyArgs),
    /// Read the heads back that a sink keeps outside the host: for portcullis verify --journal --anchor
    Anchors(EvidenceAnchorsArgs),
    /// Show how the sinks of the gateway that runs here are
    Sinks(EvidenceSinksArgs),
    /// Keep what retention would delete: one session, all of a person, or all on a node
    Hold(EvidenceHoldArgs),
    /// Take a hold back
    Release(EvidenceReleaseArgs),
    /// Show the holds
    Holds(EvidenceSinksArgs),
    /// Name the folders of all of a person's sessions, the oldest first: what there is to hand out
    Person(EvidencePersonArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Sessions that run have no manifest yet, and are not among them.

Example:
  portcullis evidence person ada | tar -cf ada.tar -T -")]
pub(super) struct EvidencePersonArgs {
    /// The person's name in evidence
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// The configuration of the gateway
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CONFIG", default_value = "/etc/portcullis/gateway.toml")]
    pub(super) config: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct EvidenceSinksArgs {
    /// The configuration of the gateway
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CONFIG", default_value = "/etc/portcullis/gateway.toml")]
    pub(super) config: PathBuf,
    /// Answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What a hold is on.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct EvidenceHeld {
    /// One session, by its whole id
    #[arg(long, value_name = "ID")]
    pub(super) session: Option<uuid::Uuid>,
    /// All of a person's, by the name in evidence
    #[arg(long, value_name = "NAME")]
    pub(super) person: Option<String>,
    /// All on a node, by its id
    #[arg(long, value_name = "ID")]
    pub(super) node: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis evidence hold --person ada --why 'case 7'")]
pub(super) struct EvidenceHoldArgs {
    #[command(flatten)]
    pub(super) on: EvidenceHeld,
    /// Why, for whoever finds it
    #[arg(long, value_name = "TEXT")]
    pub(super) why: String,
    /// The configuration of the gateway
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CONFIG", default_value = "/etc/portcullis/gateway.toml")]
    pub(super) config: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct EvidenceReleaseArgs {
    #[command(flatten)]
    pub(super) on: EvidenceHeld,
    /// The configuration of the gateway
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CONFIG", default_value = "/etc/portcullis/gateway.toml")]
    pub(super) config: PathBuf,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It asks with the credentials of whoever runs it, and believes nothing of the answer: verify knows by the key. A
syslog server can't be asked; there the messages whose MSGID is anchor have the notes.

Example:
  portcullis evidence anchors --since 2026-11-01 kept-elsewhere
  portcullis verify --journal /var/lib/portcullis/evidence --anchor kept-elsewhere")]
pub(super) struct EvidenceAnchorsArgs {
    /// The file that is made of them
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// The configuration of the gateway
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CONFIG", default_value = "/etc/portcullis/gateway.toml")]
    pub(super) config: PathBuf,
    /// The sink [default: the first one that has anchors and can be asked]
    #[arg(long, value_name = "NAME")]
    pub(super) sink: Option<String>,
    /// Those since then: a day, or a time as in 2026-11-30T07:12:33Z [default: 30 days ago]
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Publish what it prints where whoever controls the gateway's host can't change it. The keys before stay: what they
signed is still to be verified.

Example:
  portcullis evidence key --rotate && systemctl restart portcullis")]
pub(super) struct EvidenceKeyArgs {
    /// The configuration of the gateway
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CONFIG", default_value = "/etc/portcullis/gateway.toml")]
    pub(super) config: PathBuf,
    /// Make a new key first; the gateway signs with it from its next start on
    #[arg(long)]
    pub(super) rotate: bool,
}

/// Which policies.
#[derive(Debug, clap::Args)]
pub(super) struct PolicySource {
    /// The configuration whose policies they are
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CONFIG", default_value = "/etc/portcullis/gateway.toml")]
    pub(super) config: PathBuf,
    /// These files instead, without a configuration. May be given again
    #[arg(long, value_name = "FILE")]
    pub(super) policies: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis policy check --policies config/policies/production.cedar")]
pub(super) struct PolicyCheckArgs {
    #[command(flatten)]
    pub(super) source: PolicySource,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  portcullis policy explain --person alice --node web-1 Shell
  portcullis policy explain --person bob --group on-call --node prod-1 --os-user root \\
    --reason INC-42 --at 2026-11-27T12:00:00Z Exec --command 'systemctl restart nginx'
  portcullis policy explain --evidence /var/lib/portcullis/evidence --at 2026-11-27T12:00:00Z \\
    --person bob --node prod-1 Shell")]
pub(super) struct PolicyExplainArgs {
    #[command(flatten)]
    pub(super) source: PolicySource,
    #[command(flatten)]
    pub(super) question: Question,
    /// Ask the policies and people that were in force at --at, as the gateway with this evidence directory kept them
    #[arg(long, value_name = "DIR", conflicts_with = "policies")]
    pub(super) evidence: Option<PathBuf>,
    /// With --evidence: an older part of the event log, which was moved away. May be given again
    #[arg(long, value_name = "LOG", requires = "evidence")]
    pub(super) log_file: Vec<PathBuf>,
    /// Answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A scenario is a question and the answer that is expected:
  [[scenario]]
  says = \"on-call people need a ticket in production\"
  person = \"ada\"
  groups = [\"on-call\"]
  node = \"prod-1\"
  action = \"Shell\"
  expect = \"deny\"             # or \"allow\"
  code = \"reason-needed\"      # may be left out, as may policy = \"…\"
Its other words are those of `portcullis policy explain`: os_user, reason, source, at, command, path, …

Example:
  portcullis policy test --config config/gateway.toml config/policies/tests.toml")]
pub(super) struct PolicyTestArgs {
    #[command(flatten)]
    pub(super) source: PolicySource,
    /// Files of scenarios
    #[arg(value_name = "FILE", required = true)]
    pub(super) scenarios: Vec<PathBuf>,
    /// Answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every session that was opened or refused by policy, and every operation on a file, is asked about again, as whom and
where and when it was. What the log keeps only in part (a line of more than 4096 bytes) or as a sum is not.

Example:
  portcullis policy rehearse --policies new/*.cedar /var/lib/portcullis/evidence/events.jsonl")]
pub(super) struct PolicyRehearseArgs {
    #[command(flatten)]
    pub(super) source: PolicySource,
    /// Event logs, the oldest first
    #[arg(value_name = "LOG", required = true)]
    pub(super) logs: Vec<PathBuf>,
    /// Answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Two policies are compared by whom and where they are written for, and by their conditions. What is told is
so; what is not told may still be.

Example:
  portcullis policy lint --config config/gateway.toml")]
pub(super) struct PolicyLintArgs {
    #[command(flatten)]
    pub(super) source: PolicySource,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis policy fmt config/policies/*.cedar")]
pub(super) struct PolicyFmtArgs {
    /// Change nothing; exit code 8 if a file is not in the usual layout
    #[arg(long)]
    pub(super) check: bool,
    /// The files
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  portcullis password\n\nand in gateway.toml, below the person's name:\n  password = { hash = \"$argon2id$…\", from = [\"192.0.2.0/24\"] }"
)]
pub(super) struct PasswordArgs {}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  portcullis completions bash > ~/.local/share/bash-completion/completions/portcullis"
)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  portcullis man | man -l -")]
pub(super) struct ManArgs {
    /// Write portcullis.1 and one page per command here
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

fn rung() -> impl clap::builder::TypedValueParser<Value = Rung> {
    PossibleValuesParser::new(["two-lanes", "one-lane", "sshd"]).map(|text| match text.as_str() {
        "one-lane" => Rung::OneLane,
        "sshd" => Rung::Sshd,
        _ => Rung::TwoLanes,
    })
}

fn helper() -> impl clap::builder::TypedValueParser<Value = Helper> {
    PossibleValuesParser::new(["auto", "sh"]).map(|text| if text == "sh" { Helper::Sh } else { Helper::Auto })
}

fn shell() -> impl clap::builder::TypedValueParser<Value = ShellTransport> {
    PossibleValuesParser::new(["helper", "agent"])
        .map(|text| if text == "agent" { ShellTransport::Agent } else { ShellTransport::Helper })
}

fn node(text: &str) -> Result<(String, String), String> {
    let (id, name) = text.split_once('=').ok_or("write it as id=Name, such as mi-0123456789abcdef0=web-1")?;
    Ok((id.to_owned(), name.to_owned()))
}

fn after_long_help() -> String {
    format!("Begin with `portcullis demo`: it needs no AWS account.\n\nExit codes:\n{}", Exit::table())
}
