//! How a session ended: for the service, and among the parts that ran it.

/// How a session ended, for `agent_task_complete`. A command's own status is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TaskOutcome {
    pub(super) failure: Option<String>,
}

impl TaskOutcome {
    pub(super) const SUCCESS: Self = Self { failure: None };

    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self { failure: Some(why.into()) }
    }

    pub(super) fn status(&self) -> &'static str {
        if self.failure.is_some() { "Failed" } else { "Success" }
    }
}

/// How the part that ran the session came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SessionEnd {
    Outcome(TaskOutcome),
    /// Where the real agent's worker process crashes: the data channel is cut at once, and the outcome comes when
    /// somebody misses the worker.
    Crash,
}

impl From<TaskOutcome> for SessionEnd {
    fn from(outcome: TaskOutcome) -> Self {
        Self::Outcome(outcome)
    }
}
