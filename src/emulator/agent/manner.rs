//! [`Fidelity`] in figures: how large and how slow everything is.

use std::time::Duration;

use portcullis_protocol::channel::{Limits, Resends};

use super::config::{AgentConfig, Fidelity};

/// [`Fidelity`] in figures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// What becomes of frames that are not acknowledged.
    pub(super) resends: Resends,
    /// How long an acknowledgement may wait for others.
    pub(super) ack_delay: Duration,
    /// Bytes of data per read and frame.
    pub(super) payload: usize,
    /// Bytes of output between a session's parts and its driver.
    pub(super) outbox: usize,
    /// Bytes of input between them; one frame always fits.
    pub(super) inbox: usize,
    /// Bytes beyond that which are acknowledged although the session has not taken them.
    pub(super) receive_buffer: usize,
    /// Bytes that wait to be cut into frames.
    pub(super) send_buffer: usize,
    /// From one frame to the next, for terminals, ports and files.
    pub(super) pace: Option<Duration>,
    /// Before a terminal's output is read.
    pub(super) terminal_delay: Duration,
    /// Before a command that could not be built is given up.
    pub(super) build_failure_delay: Duration,
    /// Before an error text is sent to the client.
    pub(super) error_delay: Duration,
    /// Before a crashed worker is missed.
    pub(super) crash_delay: Duration,
    /// Before the control channel is opened again, at most; doubled each time.
    pub(super) control_retry: Duration,
    pub(super) control_retry_max: Duration,
    /// Whether a task that makes no sense is only logged, as by the real agent.
    pub(super) silent_about_bad_tasks: bool,
}

impl Manner {
    pub(super) fn new(config: &AgentConfig) -> Self {
        let seconds = Duration::from_secs;
        match config.fidelity {
            Fidelity::Faithful => Self {
                resends: Resends::OldestOnly,
                ack_delay: Duration::ZERO,
                payload: 1024,
                outbox: 1024,
                inbox: 1,
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
            #[cfg(test)]
            Fidelity::Brisk => Self {
                pace: None,
                terminal_delay: Duration::ZERO,
                build_failure_delay: Duration::ZERO,
                error_delay: Duration::ZERO,
                crash_delay: Duration::ZERO,
                control_retry: Duration::from_millis(200),
                control_retry_max: seconds(5),
                silent_about_bad_tasks: false,
                ..Self::new(&AgentConfig { fidelity: Fidelity::Faithful, ..config.clone() })
            },
            Fidelity::Fast => Self {
                resends: Resends::Lost,
                ack_delay: Limits::default().ack_delay,
                payload: config.payload.unwrap_or(32 << 10).clamp(64, 256 << 10),
                outbox: 512 << 10,
                inbox: 256 << 10,
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
