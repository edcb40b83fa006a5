//! What an agent is told when it starts.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use aws_credential_types::Credentials;

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
    /// How closely to follow the real agent.
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

/// How closely to follow the real agent. What it does to bytes and processes is the same in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fidelity {
    /// Terminals say nothing for a second, and terminals, ports and files give 1024 bytes a millisecond. Of frames that are
    /// lost only the oldest is sent again, ten times a second; what is sent without a websocket or in a pause is lost.
    #[default]
    Faithful,
    /// The same without the sleeps: true to what the real one does on a bad link, and quick on a good one.
    #[cfg(test)]
    Brisk,
    /// No sleeps, larger frames, and a link that heals at once.
    Fast,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// For the tests of the parts.
    pub(in super::super) fn config() -> AgentConfig {
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
