//! Asking a gateway that runs, by the socket in its evidence directory.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::CONTROL_SOCKET;
use crate::audit::{LiveSession, shown};
use crate::cli::exit::{Exit, Failure};

/// How long the gateway may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest answer.
const LARGEST: u64 = 16 << 20;

/// Its answer to a question; each is one line of JSON.
pub(in crate::cli) fn ask(evidence: &Path, question: &Value) -> Result<Value, Failure> {
    let socket = evidence.join(CONTROL_SOCKET);
    let failed = |error: std::io::Error| {
        let text = format!(
            "the gateway can't be asked by {}: {error}; it has to run, and only its own user and root may ask it",
            socket.display()
        );
        Failure::new(Exit::Failed, text)
    };
    let mut stream = UnixStream::connect(&socket).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(format!("{question}\n").as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LARGEST)).read_line(&mut answer).map_err(failed)?;
    let answer: Value = serde_json::from_str(&answer)
        .map_err(|_| Failure::new(Exit::Failed, "the gateway's answer is none; is it of this version?"))?;
    match answer.get("error").and_then(Value::as_str) {
        Some(why) => Err(Failure::new(Exit::Failed, shown(why))),
        None => Ok(answer),
    }
}

/// The sessions that run.
pub(super) fn live(evidence: &Path) -> Result<Vec<LiveSession>, Failure> {
    let answer = ask(evidence, &json!({ "live": true }))?;
    let sessions = answer.get("sessions").map(Vec::<LiveSession>::deserialize);
    let wrong = || Failure::new(Exit::Failed, "the gateway's answer is none; is it of this version?");
    sessions.and_then(Result::ok).ok_or_else(wrong)
}
