//! The embedded node agent: it takes sessions from a Session Manager service and runs them on this machine.
//!
//! It knows the service only by the wire, so the service may as well be another program. Its quirks are those of
//! amazon-ssm-agent 3.3, on purpose: what passes on it shall pass on the real one.
//!
//! ```text
//!                 control channel (one)                data channels (one per session)
//!   service ◀──────────────────────────┐   ┌──────────────────────────────────────────▶ service
//!                                      │   │ wire: websocket ⇄ DataChannel (Role::Agent)
//!                    control ─ session ┼───┤
//!                       ▲         │    │   └─ shell    a terminal        Standard_Stream, InteractiveCommands
//!                       └─────────┘    │      command  pipes or a file   NonInteractiveCommands
//!                        outcome       │      port     TCP, plain or multiplexed (streams)
//! ```
//!
//! | file | what it is about |
//! | --- | --- |
//! | `endpoint` | signed calls and websockets |
//! | `control` | the control channel: tasks in, outcomes out |
//! | `document`, `substitute`, `lexer` | from a task to what shall run |
//! | `user`, `process` | accounts, environments, children |
//! | `wire`, `socket` | one data channel: reconnects, order, back-pressure |
//! | `session` | the story of one session |
//! | `shell`, `command`, `port`, `streams` | its kinds |
//! | `pump`, `utf8` | output on its way to the client |
//!
//! A session is a task group of its own with bounded queues: one that stalls holds up nobody else.

mod command;
mod control;
mod document;
mod endpoint;
mod lexer;
mod port;
mod process;
mod pump;
mod session;
mod shell;
mod socket;
mod streams;
mod substitute;
mod user;
mod utf8;
mod wire;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use endpoint::{Endpoint, EndpointError};

/// What an agent is told when it starts.
#[derive(Clone)]
pub struct AgentConfig {
    /// Where the service is: `http://host:port` or `https://host:port`.
    pub endpoint: String,
    /// The authority that signed the service's certificate, in PEM; the system's if it is `None`.
    pub ca_pem: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The node's id, `mi-…` or `i-…`.
    pub instance_id: String,
    /// What requests are signed with.
    pub credentials: Credentials,
    /// How closely to follow the real agent's slowness.
    pub fidelity: Fidelity,
    /// Bytes of data per frame in the fast manner; 32 KiB if it is `None`. The faithful manner sends 1024.
    pub payload: Option<usize>,
    /// The node's name in `DescribeInstanceInformation`; the host's name if it is `None`.
    pub name: Option<String>,
    /// `HOME` of the sessions that run in the agent's own account.
    pub home: Option<PathBuf>,
    /// Where sessions start; the agent's own directory if it is `None`.
    pub cwd: Option<PathBuf>,
    /// Set in the environment of every session, over what the agent's own holds.
    pub env: Vec<(OsString, OsString)>,
    /// For files that a session needs while it lasts.
    pub work_dir: PathBuf,
    /// As the real agent's setting of that name: no change of users, and InteractiveCommands without a shell.
    pub container_mode: bool,
}

impl AgentConfig {
    /// A configuration with everything optional left out.
    pub fn new(
        endpoint: impl Into<String>,
        region: impl Into<String>,
        instance_id: impl Into<String>,
        credentials: Credentials,
        work_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            endpoint: endpoint.into(),
            ca_pem: None,
            region: region.into(),
            instance_id: instance_id.into(),
            credentials,
            fidelity: Fidelity::Faithful,
            payload: None,
            name: None,
            home: None,
            cwd: None,
            env: Vec::new(),
            work_dir: work_dir.into(),
            container_mode: false,
        }
    }
}

impl fmt::Debug for AgentConfig {
    /// Neither credentials nor environment: both hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentConfig")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("instance_id", &self.instance_id)
            .field("fidelity", &self.fidelity)
            .field("work_dir", &self.work_dir)
            .finish_non_exhaustive()
    }
}

/// How closely to follow the real agent's slowness. What it does to bytes and processes is the same in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fidelity {
    /// Terminals say nothing for a second, and terminals, ports and files give 1024 bytes a millisecond.
    #[default]
    Faithful,
    /// No sleeps, larger frames.
    Fast,
}

/// The agent could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the embedded agent cannot start: {0}")]
pub struct StartError(String);

impl From<EndpointError> for StartError {
    fn from(error: EndpointError) -> Self {
        Self(error.to_string())
    }
}

/// A running agent. Dropping it ends it without waiting.
#[derive(Debug)]
pub struct Agent {
    stop: CancellationToken,
    connected: watch::Receiver<bool>,
    control: JoinHandle<()>,
}

impl Agent {
    /// Starts an agent on the current tokio runtime. It connects by itself, and again whenever it must.
    pub fn start(config: AgentConfig) -> Result<Self, StartError> {
        let endpoint =
            Endpoint::new(&config.endpoint, config.ca_pem.as_deref(), &config.region, config.credentials.clone())?;
        std::fs::create_dir_all(&config.work_dir)
            .map_err(|error| StartError(format!("{} cannot be made: {error}", config.work_dir.display())))?;
        let (report, connected) = watch::channel(false);
        let stop = CancellationToken::new();
        let context = Arc::new(Context { manner: Manner::new(&config), endpoint, config });
        let control = tokio::spawn(control::run(context, report, stop.clone()));
        Ok(Self { stop, connected, control })
    }

    /// Waits until the control channel is up: sessions can be started.
    pub async fn connected(&self) {
        let mut connected = self.connected.clone();
        // an error means that the agent has ended, and then nobody waits for it
        let _ = connected.wait_for(|up| *up).await;
    }

    /// Ends all sessions, killing their direct children, then the control channel.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let _ = (&mut self.control).await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What every part of the agent shares.
struct Context {
    config: AgentConfig,
    endpoint: Endpoint,
    manner: Manner,
}

/// [`Fidelity`] in figures.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// Bytes of data per read and frame.
    payload: usize,
    /// Frames of output between the parts of a session.
    queue: usize,
    /// Frames of input between them.
    arrivals: usize,
    /// Bytes beyond that which are acknowledged although the session has not taken them.
    receive_buffer: usize,
    /// Bytes that wait to be cut into frames.
    send_buffer: usize,
    /// From one frame to the next, for terminals, ports and files.
    pace: Option<Duration>,
    /// Before a terminal's output is read.
    terminal_delay: Duration,
    /// Before a command that could not be built is given up.
    build_failure_delay: Duration,
    /// Before an error text is sent to the client.
    error_delay: Duration,
    /// Before a crashed worker is missed.
    crash_delay: Duration,
    /// Before the control channel is opened again, at most; doubled each time.
    control_retry: Duration,
    control_retry_max: Duration,
    /// Whether a task that makes no sense is only logged, as by the real agent.
    silent_about_bad_tasks: bool,
}

impl Manner {
    fn new(config: &AgentConfig) -> Self {
        let seconds = Duration::from_secs;
        match config.fidelity {
            Fidelity::Faithful => Self {
                payload: 1024,
                queue: 1,
                arrivals: 1,
                receive_buffer: 1,
                send_buffer: 2048,
                // its sleep of 1 ms takes so long
                pace: Some(Duration::from_micros(1120)),
                terminal_delay: seconds(1),
                build_failure_delay: seconds(2),
                error_delay: seconds(1),
                crash_delay: seconds(60),
                control_retry: seconds(10),
                control_retry_max: seconds(40 * 60),
                silent_about_bad_tasks: true,
            },
            Fidelity::Fast => Self {
                payload: config.payload.unwrap_or(32 << 10).clamp(64, 256 << 10),
                queue: 16,
                arrivals: 64,
                receive_buffer: 1 << 20,
                send_buffer: 256 << 10,
                pace: None,
                terminal_delay: Duration::ZERO,
                build_failure_delay: Duration::ZERO,
                error_delay: Duration::ZERO,
                crash_delay: Duration::ZERO,
                control_retry: Duration::from_millis(200),
                control_retry_max: seconds(5),
                silent_about_bad_tasks: false,
            },
        }
    }
}

/// What this agent says its version is: that of the agent it behaves like. Clients want four components.
const VERSION: &str = "3.3.0.0";

#[cfg(test)]
mod command_tests;
#[cfg(test)]
mod control_tests;
#[cfg(test)]
mod port_tests;
#[cfg(test)]
mod terminal_tests;
#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    /// For the tests of the parts.
    pub(super) fn config() -> AgentConfig {
        let credentials = Credentials::new("id", "hush", None, None, "test");
        AgentConfig::new("http://127.0.0.1:1", "us-east-1", "mi-0123456789abcdef0", credentials, std::env::temp_dir())
    }

    #[test]
    fn debug_holds_no_secret() {
        let mut config = config();
        config.env.push(("KEY".into(), "hush".into()));
        assert!(!format!("{config:?}").contains("hush"));
    }
}
