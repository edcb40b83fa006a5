//! An agent's start and end.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::config::AgentConfig;
use super::context::Context;
use super::control;
use super::endpoint::{Endpoint, EndpointError};
use super::manner::Manner;

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
