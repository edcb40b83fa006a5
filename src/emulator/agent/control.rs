//! The control channel: one websocket per node, on which tasks come and outcomes go.
//!
//! ```text
//!   interactive_shell      ─▶ a session task, unless its id runs already
//!   channel_closed         ─▶ cancel the session of that id
//!   agent_task_complete    ◀─ its outcome, up to 3 times a second apart, until
//!   agent_task_acknowledge ─▶ names its message
//! ```
//!
//! When the websocket is lost the sessions run on; it is opened again with growing delays, for ever.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use portcullis_protocol::control::{AgentTaskAcknowledge, AgentTaskComplete, InteractiveShell};
use portcullis_protocol::open::OpenControlChannel;
use portcullis_protocol::payload::ChannelClosed;
use portcullis_protocol::{Message as Frame, MessageType, PayloadType};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connector::KEEPALIVE;
use super::context::{Context, VERSION};
use super::document::Task;
use super::endpoint::CallError;
use super::outcome::TaskOutcome;
use super::session;
use crate::data_channel::{Clock, PING, Pulse, Socket, sleep_until};

/// Serves the control channel until `stop`, then ends all sessions.
pub(super) async fn run(context: Arc<Context>, connected: watch::Sender<bool>, stop: CancellationToken) {
    let information = tokio::spawn(tell_about_the_node(Arc::clone(&context), stop.clone()));
    let mut control = ControlChannel {
        cancel: stop.child_token(),
        context,
        clock: Clock::start(),
        running: HashMap::new(),
        sessions: JoinSet::new(),
        reports: Vec::new(),
    };
    tokio::select! {
        () = control.serve_for_ever(&connected) => {}
        () = stop.cancelled() => {}
    }
    control.cancel.cancel();
    let all_ended = async { while control.sessions.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_MAX, all_ended).await.is_err() {
        // dropping a session kills its direct child
        control.sessions.shutdown().await;
    }
    let _ = information.await;
    connected.send_replace(false);
}

struct ControlChannel {
    context: Arc<Context>,
    clock: Clock,
    /// Parent of every session's own.
    cancel: CancellationToken,
    running: HashMap<String, CancellationToken>,
    sessions: JoinSet<(String, TaskOutcome)>,
    reports: Vec<Report>,
}

/// An outcome on its way to the service.
struct Report {
    message_id: Uuid,
    body: AgentTaskComplete,
    due: Instant,
}

impl ControlChannel {
    async fn serve_for_ever(&mut self, connected: &watch::Sender<bool>) {
        let manner = self.context.manner;
        let mut delay = None;
        loop {
            match open(&self.context).await {
                Ok(socket) => {
                    tracing::debug!(node = %self.context.config.instance_id, "the control channel is up");
                    connected.send_replace(true);
                    let why = self.serve(socket).await;
                    connected.send_replace(false);
                    tracing::debug!(node = %self.context.config.instance_id, "the control channel was lost: {why}");
                    // after a loss the first attempt comes soon
                    delay = None;
                    self.pause(jitter(manner.control_retry / 4)).await;
                }
                Err(error) => {
                    let next: Duration = delay.unwrap_or(manner.control_retry / 2 + jitter(manner.control_retry / 2));
                    tracing::warn!(
                        "the control channel does not open: {error}; next attempt in {} ms",
                        next.as_millis()
                    );
                    self.pause(next).await;
                    delay = Some((next * 2 + jitter(next)).min(manner.control_retry_max));
                }
            }
        }
    }

    /// Waits, while sessions end.
    async fn pause(&mut self, time: Duration) {
        let over = tokio::time::sleep(time);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                Some(ended) = self.sessions.join_next() => self.ended(ended),
            }
        }
    }

    async fn serve(&mut self, socket: Socket) -> String {
        let (mut sink, mut stream) = socket.split();
        let mut pulse = Pulse::start(KEEPALIVE, Instant::now());
        loop {
            for frame in self.due_reports() {
                if let Err(error) = sink.send(Message::Binary(frame.encode())).await {
                    return error.to_string();
                }
            }
            let next_report = self.reports.iter().map(|report| report.due).min();
            tokio::select! {
                message = stream.next() => match message {
                    Some(Ok(Message::Binary(frame))) => match Frame::decode(frame) {
                        Ok(frame) => self.handle(frame),
                        Err(error) => tracing::warn!("a control message was ignored: {error}"),
                    },
                    Some(Ok(Message::Pong(_))) => pulse.answered(Instant::now()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error.to_string(),
                    None => return "the service closed it".to_owned(),
                },
                Some(ended) = self.sessions.join_next() => self.ended(ended),
                () = sleep_until(next_report) => {}
                () = sleep_until(Some(pulse.deadline(true))) => {
                    let now = Instant::now();
                    if pulse.is_dead(now) {
                        return format!("the service has not answered a ping for {} s", KEEPALIVE.patience.as_secs());
                    }
                    if pulse.take_ping(now)
                        && let Err(error) = sink.send(Message::Ping(PING)).await
                    {
                        return error.to_string();
                    }
                }
            }
        }
    }

    fn handle(&mut self, frame: Frame) {
        match frame.kind {
            MessageType::InteractiveShell => match InteractiveShell::decode(&frame.payload) {
                Ok(task) => self.start(&task),
                Err(error) => tracing::warn!("a task was ignored: {error}"),
            },
            MessageType::ChannelClosed => match ChannelClosed::decode(&frame.payload) {
                Ok(closed) => match self.running.get(&closed.session_id) {
                    Some(session) => session.cancel(),
                    None => tracing::debug!(session = %closed.session_id, "closed, but not running"),
                },
                Err(error) => tracing::warn!("a control message was ignored: {error}"),
            },
            MessageType::AgentTaskAcknowledge => {
                let acknowledged = AgentTaskAcknowledge::decode(&frame.payload);
                let id = acknowledged.ok().and_then(|acknowledged| acknowledged.message_id.parse::<Uuid>().ok());
                self.reports.retain(|report| Some(report.message_id) != id);
            }
            other => tracing::debug!("a control message of type {other} was ignored"),
        }
    }

    fn start(&mut self, shell: &InteractiveShell) {
        let id = &shell.session_id;
        let task = match Task::new(shell) {
            Ok(task) => task,
            Err(error) => {
                tracing::warn!(session = %id, "the task cannot become a session: {error}");
                if !self.context.manner.silent_about_bad_tasks {
                    self.report(id.clone(), &TaskOutcome::failed(error.to_string()));
                }
                return;
            }
        };
        if self.running.contains_key(id) {
            tracing::warn!(session = %id, "the session runs already");
            return;
        }
        if self.running.len() >= SESSIONS_MAX {
            self.report(id.clone(), &TaskOutcome::failed(format!("the agent runs {SESSIONS_MAX} sessions already")));
            return;
        }
        let cancel = self.cancel.child_token();
        self.running.insert(id.clone(), cancel.clone());
        let (context, id) = (Arc::clone(&self.context), id.clone());
        self.sessions.spawn(async move {
            let outcome = session::run(context, task, cancel).await;
            (id, outcome)
        });
    }

    fn ended(&mut self, ended: Result<(String, TaskOutcome), tokio::task::JoinError>) {
        match ended {
            Ok((id, outcome)) => {
                tracing::debug!(session = %id, status = outcome.status(), failure = ?outcome.failure, "session ended");
                self.running.remove(&id);
                self.report(id, &outcome);
            }
            // which session it was is not known; the service ends it by its own rules
            Err(error) => tracing::error!("a session's task died: {error}"),
        }
    }

    fn report(&mut self, id: String, outcome: &TaskOutcome) {
        let node = &self.context.config.instance_id;
        let output = outcome.failure.as_deref().unwrap_or_default();
        let mut body = AgentTaskComplete::new(&id, node, outcome.status(), output);
        body.retry_number = 0;
        self.reports.push(Report { message_id: Uuid::new_v4(), body, due: Instant::now() });
    }

    /// What to send now. A report that was sent three times is given up a second later.
    fn due_reports(&mut self) -> Vec<Frame> {
        let now = Instant::now();
        self.reports.retain(|report| report.due > now || report.body.retry_number < REPORTS_MAX);
        let due = self.reports.iter_mut().filter(|report| report.due <= now);
        due.map(|report| {
            report.body.retry_number += 1;
            report.due = now + REPORT_EVERY;
            Frame {
                kind: MessageType::AgentTaskComplete,
                created: self.clock.now(),
                sequence: 0,
                flags: 0,
                id: report.message_id,
                payload_type: Some(PayloadType::Unset),
                payload: report.body.encode(),
            }
        })
        .collect()
    }
}

async fn open(context: &Context) -> Result<Socket, CallError> {
    let path = format!("/v1/control-channel/{}", context.config.instance_id);
    let token = context.endpoint.create_channel("CreateControlChannel", &path, None).await?;
    let url = format!("{path}?role=subscribe&stream=input");
    let mut socket = context.endpoint.websocket("OpenControlChannel", &url).await?;
    let open = OpenControlChannel::new(Uuid::new_v4(), token, VERSION);
    match socket.send(Message::text(open.encode())).await {
        Ok(()) => Ok(socket),
        Err(error) => Err(CallError::Failed { what: "OpenControlChannel", why: error.to_string() }),
    }
}

/// UpdateInstanceInformation now and every five minutes: it is what DescribeInstanceInformation shows.
async fn tell_about_the_node(context: Arc<Context>, stop: CancellationToken) {
    let config = &context.config;
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (platform, version) = platform();
    let body = json!({
        "AgentName": "amazon-ssm-agent", "AgentStatus": "Active", "AgentVersion": VERSION,
        "ComputerName": config.name.clone().unwrap_or_else(host), "IPAddress": "127.0.0.1",
        "InstanceId": config.instance_id, "PlatformName": platform, "PlatformType": "Linux",
        "PlatformVersion": version, "SSMConnectionChannel": "ssmmessages",
    });
    loop {
        let call = context.endpoint.call_ssm(
            "UpdateInstanceInformation",
            "AmazonSSM.UpdateInstanceInformation",
            body.to_string(),
        );
        tokio::select! {
            told = call => if let Err(error) = told {
                tracing::debug!("{error}");
            },
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(INFORMATION_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Name and version of the distribution.
fn platform() -> (String, String) {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().trim_matches('"').to_owned()
    };
    (field("NAME"), field("VERSION_ID"))
}

/// A random part of `most`.
fn jitter(most: Duration) -> Duration {
    let (random, _) = Uuid::new_v4().as_u64_pair();
    most.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
}

const SESSIONS_MAX: usize = 1000;
const REPORTS_MAX: u32 = 3;
const REPORT_EVERY: Duration = Duration::from_secs(1);
const INFORMATION_EVERY: Duration = Duration::from_secs(300);
/// A session that waits for acknowledgements takes two seconds, twice.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);
