//! How channels are carried: the choices of `[lanes]`, which the command line and the transport use as they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How SSH channels are carried over Session Manager sessions.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lanes {
    /// Bytes in one data frame towards a node. AWS's own clients send 1024; the agent takes 65536; what the service
    /// takes is not published.
    #[schemars(range(min = 256, max = 65_536))]
    pub frame_bytes: u32,
    /// Which program serves on the node. `auto` takes the fastest that the node has; `sh` needs coreutils or busybox,
    /// `setsid`, and for a terminal `script` of util-linux.
    pub helper: Helper,
    /// Whether data that shrinks travels compressed, where the node's helper can; not a terminal's. How well it shrinks shows in
    /// how much is sent, to whoever sees the encrypted connections: `false` is for those whom that concerns.
    pub compress: bool,
    /// Which construction carries a channel: `two-lanes`, `one-lane` or `sshd`. Without it, the best that works on the node.
    pub rung: Option<Rung>,
    /// What carries interactive shells: `helper`, or `agent` for the agent's own session under the account's shell
    /// profile and logging.
    pub shell: ShellTransport,
    /// Channels at once on one node; each takes up to two processes of about 22 MiB there. More wait their turn.
    #[schemars(range(min = 1, max = 10_000))]
    pub channels_per_node: u32,
    /// Channels at once of one person on one node. The last quarter of a node's is for people who have fewer than four
    /// there, whatever stands here.
    #[schemars(range(min = 1, max = 10_000))]
    pub channels_per_person_on_a_node: u32,
    /// What carries forwarded connections (`-L`, `-D`): `helper`, with `agent` where a node has no Python for it, or `agent` alone, which
    /// is a port session of Session Manager's for each destination: slower, without a half-close, and without sockets.
    pub forward: ForwardTransport,
    /// Whether host names of forwards may be looked up by a node's agent, where it has no helper. Nobody sees then what a name
    /// stands for: policy judges it as a name, and what it leads to is whatever the node's resolver says at that moment.
    pub agent_looks_names_up: bool,
    /// At which ports nodes' own sshds listen. A way to one of them on the node itself is a tunnel, in which nobody sees what is done, and
    /// needs a policy for `Tunnel`.
    pub sshd_ports: Vec<u16>,
    /// Minutes without a byte in either direction after which a channel is ended; 0 leaves that to the account's
    /// preferences.
    #[schemars(range(max = 1440))]
    pub idle_minutes: u32,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            frame_bytes: 1024,
            helper: Helper::Auto,
            compress: true,
            rung: None,
            shell: ShellTransport::Helper,
            channels_per_node: 64,
            channels_per_person_on_a_node: 48,
            forward: ForwardTransport::Helper,
            agent_looks_names_up: false,
            sshd_ports: vec![22],
            idle_minutes: 0,
        }
    }
}

/// Which sessions carry a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// An out lane (`NonInteractiveCommands`, separate streams), and an in lane when there is something to say.
    TwoLanes,
    /// One raw terminal for both directions, over AWS's own document: slower, and works wherever Session Manager does.
    OneLane,
    /// The node's own sshd, over Session Manager's port session for SSH: for nodes with neither Python nor a usable shell. Needs `sshd`.
    Sshd,
}

/// Which helper the node is to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Helper {
    /// Python where there is one, else `sh`.
    #[default]
    Auto,
    /// Always `sh`, with coreutils or busybox, `setsid`, and for a terminal `script` of util-linux.
    Sh,
}

/// What carries an interactive shell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShellTransport {
    /// Lanes and a terminal that the helper makes: a prompt in a tenth of a second, and an exit status.
    #[default]
    Helper,
    /// The agent's own session: slower and without a status, but under the account's shell profile and logging.
    Agent,
}

/// What carries a forwarded connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardTransport {
    /// The helper's relay, and where a node has none, the agent's port sessions.
    Helper,
    /// The agent's port sessions alone.
    Agent,
}
