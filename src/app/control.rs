//! The socket by which somebody on this machine asks a gateway that runs: what runs, and to end it.
//!
//! ```text
//!  {"live":true}                          {"sessions":[{"id":…,"person":…,"node":…,"os_user":…,"action":…,"source":…,"since":…,"seconds":…}]}
//!  {"sinks":true}                         {"sinks":[{"name":…,"required":…,"failing_since":…,"why":…,"waiting":…,"bytes":…,"quarantined":…}]}
//!  {"end":"8b1f2c3d","message":"…"}       {"id":…,"person":…,"node":…,"action":…}
//!                                         {"error":"a sentence"}
//! ```
//!
//! One line each way. Only root and the gateway's own user are answered: whoever else may open the socket's file may not use it.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_sinks::SinkHealth;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::sinks::Delivery;
use crate::audit::LiveSession;
use crate::model::plain_text_up_to;
use crate::session::Registry;

/// Its name in the evidence directory.
pub const CONTROL_SOCKET: &str = "control.sock";

/// How many are answered at once.
const AT_ONCE: usize = 16;

/// How long somebody may take to ask and to read.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest question.
const LONGEST: u64 = 64 << 10;

/// So much of an id is asked for at least: enough to tell sessions apart that run at one time.
const LEAST: usize = 4;

/// How much of a message a person gets.
const MESSAGE: usize = 500;

/// The socket; its file goes with it.
#[derive(Debug)]
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
    registry: Registry,
    sinks: Option<Arc<Delivery>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    #[serde(default)]
    live: bool,
    #[serde(default)]
    sinks: bool,
    end: Option<String>,
    message: Option<String>,
}

impl Control {
    /// Takes its place in the evidence directory, which this gateway holds alone: a socket that is there is of one that was killed.
    pub(super) fn bind(directory: &Path, registry: &Registry) -> io::Result<Self> {
        let path = directory.join(CONTROL_SOCKET);
        match fs::symlink_metadata(&path) {
            Ok(about) if about.file_type().is_socket() => fs::remove_file(&path)?,
            Ok(_) => return Err(io::Error::other("what is there is no socket")),
            Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path, registry: registry.clone(), sinks: None })
    }

    /// The same, where it is known how evidence gets elsewhere.
    pub(super) fn telling_of(mut self, sinks: Option<Arc<Delivery>>) -> Self {
        self.sinks = sinks;
        self
    }

    /// Answers for ever.
    pub(super) async fn serve(&self) -> Infallible {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (registry, sinks) = (self.registry.clone(), self.sinks.clone());
                    tokio::spawn(async move {
                        let _place = place;
                        let _ = timeout(PATIENCE, answer(stream, &registry, sinks)).await;
                    });
                }
                // out of descriptors: it may pass
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(mut stream: UnixStream, registry: &Registry, sinks: Option<Arc<Delivery>>) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let said = if uid == 0 || uid == rustix::process::getuid().as_raw() {
        let mut line = String::new();
        BufReader::new((&mut stream).take(LONGEST)).read_line(&mut line).await?;
        match serde_json::from_str(&line) {
            // it looks into the spool's folders
            Ok(Question { sinks: true, live: false, end: None, .. }) => {
                let told = tokio::task::spawn_blocking(move || told_sinks(sinks.as_deref()));
                told.await.unwrap_or_else(|_| error("how the sinks are can't be found out"))
            }
            _ => asked(&line, uid, registry),
        }
    } else {
        tracing::warn!(uid, "somebody who may not has asked by the control socket");
        error("only root and the gateway's own user are answered")
    };
    stream.write_all(format!("{said}\n").as_bytes()).await
}

fn asked(line: &str, uid: u32, registry: &Registry) -> Value {
    match serde_json::from_str(line) {
        Ok(Question { live: true, sinks: false, end: None, .. }) => {
            json!({ "sessions": registry.running().iter().map(LiveSession::from).collect::<Vec<_>>() })
        }
        Ok(Question { live: false, sinks: false, end: Some(id), message }) => {
            end(&id, message.as_deref(), uid, registry)
        }
        _ => error("that is no question that this gateway knows; is the program of its version?"),
    }
}

fn told_sinks(sinks: Option<&Delivery>) -> Value {
    let time = |time: OffsetDateTime| time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default();
    let one = |sink: &SinkHealth| {
        json!({
            "name": sink.name,
            "required": sink.required,
            "failing_since": sink.failing_since.map(time),
            "why": sink.why,
            "waiting": sink.waiting,
            "bytes": sink.bytes,
            "oldest": sink.oldest.map(time),
            "quarantined": sink.quarantined,
            "rejected": sink.rejected,
            "dropped": sink.dropped,
        })
    };
    let health = sinks.map(Delivery::health).unwrap_or_default();
    json!({ "sinks": health.iter().map(one).collect::<Vec<_>>() })
}

fn end(id: &str, message: Option<&str>, uid: u32, registry: &Registry) -> Value {
    let id = id.trim().to_ascii_lowercase();
    let running = registry.running();
    let mut meant = running.iter().filter(|session| session.id.to_string().starts_with(&id));
    let session = match (meant.next(), meant.next(), id.len() >= LEAST) {
        (Some(session), None, true) => session,
        (_, Some(_), true) => return error("several sessions that run have ids that begin so; give more of it"),
        (_, _, false) => return error("give four digits of the session's id, or more"),
        (None, ..) => {
            return error("no session that runs has an id that begins so; `portcullis sessions --live` lists them");
        }
    };
    let message = message.map(|message| plain_text_up_to(MESSAGE, message)).filter(|message| !message.is_empty());
    let why = match &message {
        Some(message) => format!("the session was ended by whoever runs this gateway: {message}"),
        None => "the session was ended by whoever runs this gateway".to_owned(),
    };
    if !registry.kill(session.id, &why) {
        return error("that session has ended already");
    }
    tracing::info!(session = %session.id, uid, "a session is ended by the control socket");
    json!(LiveSession::from(session))
}

fn error(sentence: &str) -> Value {
    json!({ "error": sentence })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(path: &Path, question: &str) -> Value {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(question.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    #[tokio::test]
    async fn it_answers_its_own_user_one_line_and_leaves_no_socket_behind() {
        let dir = tempfile::tempdir().unwrap();
        // of one that was killed
        drop(std::os::unix::net::UnixListener::bind(dir.path().join(CONTROL_SOCKET)).unwrap());
        let control = Control::bind(dir.path(), &Registry::default()).unwrap();
        let path = control.path.clone();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        tokio::select! {
            never = control.serve() => match never {},
            () = async {
                assert_eq!(ask(&path, "{\"live\":true}\n").await, json!({ "sessions": [] }));
                assert_eq!(ask(&path, "{\"sinks\":true}\n").await, json!({ "sinks": [] }));
                for (question, says) in [
                    ("{\"end\":\"8b1f\"}\n", "no session that runs"),
                    ("{\"end\":\"8\"}\n", "four digits"),
                    ("nonsense\n", "no question"),
                    ("{\"live\":true,\"end\":\"8b1f\"}\n", "no question"),
                ] {
                    let answer = ask(&path, question).await;
                    assert!(answer["error"].as_str().unwrap().contains(says), "{question} {answer}");
                }
            } => {}
        }
        drop(control);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_there_and_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CONTROL_SOCKET), "kept").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        assert!(Control::bind(dir.path(), &Registry::default()).is_err());
        assert_eq!(fs::read_to_string(dir.path().join(CONTROL_SOCKET)).unwrap(), "kept");
    }
}
