//! What `known-hosts` and `ssh-config` can be asked.

use crate::cli::args::ConfigArgs;
use crate::gateway;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A hop (ssh -J gate web-1) is answered by the gateway in the node's name, with a certificate of its host CA.
One line says that clients believe it, for whatever nodes it names. A file of its own keeps it to those:
  portcullis known-hosts > /etc/ssh/known_hosts_gate
  Host web-* db-*
      ProxyJump gate
      UserKnownHostsFile /etc/ssh/known_hosts_gate
Clients that know no host certificates (PuTTY, Dropbear, Paramiko) are shown the gateway's own keys: --plain.
A person gets the same from the gateway: ssh gate known-hosts

Examples:
  portcullis known-hosts
  portcullis known-hosts --gateway gate.example.com --gateway 10.0.0.5:2222 --nodes 'web-*,db-*,i-*'
  portcullis known-hosts --plain --nodes web-1,web-2")]
pub(in crate::cli) struct KnownHostsArgs {
    #[command(flatten)]
    pub(in crate::cli) config: ConfigArgs,
    /// The nodes, as patterns of known_hosts
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', default_value = "*", value_parser = pattern)]
    pub(in crate::cli) nodes: Vec<String>,
    /// A name or address by which clients reach the gateway itself. May be given again
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host_and_port)]
    pub(in crate::cli) gateway: Vec<HostAndPort>,
    /// The gateway's own host keys for the nodes in place of the host CA's
    #[arg(long)]
    pub(in crate::cli) plain: bool,
    /// Answer as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, on a node as root (the file is one for all users; a certificate is for one of them, and for two minutes):
  portcullis user-ca > /etc/ssh/portcullis-user-ca.pub
  echo 'TrustedUserCAKeys /etc/ssh/portcullis-user-ca.pub' > /etc/ssh/sshd_config.d/portcullis.conf
The sshd need not listen on more than the node's own loopback address.")]
pub(in crate::cli) struct UserCaArgs {
    #[command(flatten)]
    pub(in crate::cli) config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every node of the realms is in it, whoever may use it; AWS is asked for them with the gateway's own credentials.
A person gets a block for each node that they may use from the gateway: ssh gate ssh-config
The nodes are known by the host CA, whose line is in a file of its own:
  portcullis known-hosts > ~/.ssh/known_hosts_gate

Examples:
  portcullis ssh-config --gateway gate.example.com
  portcullis ssh-config --jump ada@gate.example.com:2222
  portcullis ssh-config --tag Role       # and `ssh db` where one node has Role=db")]
pub(in crate::cli) struct SshConfigArgs {
    #[command(flatten)]
    pub(in crate::cli) config: ConfigArgs,
    /// What the gateway is called in ssh_config
    #[arg(long, value_name = "HOST", default_value = "gate", value_parser = jump)]
    pub(in crate::cli) jump: String,
    /// Print a block for the gateway as well, which is there
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host_and_port)]
    pub(in crate::cli) gateway: Option<HostAndPort>,
    /// A node may be called by its value of this tag as well, where no other has that
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) tag: Option<String>,
    /// Answer as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// Where something is reached.
#[derive(Clone, Debug)]
pub(in crate::cli) struct HostAndPort {
    pub(in crate::cli) host: String,
    pub(in crate::cli) port: u16,
}

fn host_and_port(text: &str) -> Result<HostAndPort, String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
        // an address of IPv6 without brackets has no port
        None => match text.split_once(':').filter(|(_, rest)| !rest.contains(':')) {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Ok(22), str::parse).map_err(|_| "the port is no number below 65536".to_owned())?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:%".contains(c);
    match !host.is_empty() && host.chars().all(plain) && !host.starts_with('-') {
        true => Ok(HostAndPort { host: host.to_owned(), port }),
        false => Err("write a name or an address, such as gate.example.com:2222".to_owned()),
    }
}

fn pattern(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:=*?!/".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("a pattern has letters, digits, '.', '-', '_', ':', '=', '/', '*', '?' and '!'".to_owned()),
    }
}

fn jump(text: &str) -> Result<String, String> {
    match gateway::client_files::is_jump(text) {
        true => Ok(text.to_owned()),
        false => Err("write what ssh_config calls the gateway, or [user@]host[:port]".to_owned()),
    }
}
