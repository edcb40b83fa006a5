//! A log as events of CloudWatch Logs: whole lines, as many as the agent puts into one.

use std::io::{self, BufRead, Read as _};

use serde_json::json;

use super::escapes::strip;
use crate::logs::Event;
use crate::spool::AgentLog;

/// About how many bytes of a log are in one event. A JSON string may have six bytes for one, and an event has at most 256 KiB.
const EVENT: usize = 32 << 10;

/// Reads the next events: at most so many. None at the end.
pub(super) fn next_events(
    log: &mut impl BufRead,
    of: &AgentLog,
    streaming: bool,
    now: time::OffsetDateTime,
) -> io::Result<Vec<Event>> {
    let time = i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
    let mut events = Vec::new();
    // a few MiB are held, however long a log is
    for _ in 0..32 {
        let text = next_lines(log)?;
        if text.is_empty() {
            break;
        }
        let text = strip(&String::from_utf8_lossy(&text));
        let message = if streaming { as_json(&text, of, now) } else { plain(&text) };
        events.extend(crate::logs::split(time, &message));
    }
    Ok(events)
}

/// Whole lines, about [`EVENT`] bytes of them; a longer line in pieces.
fn next_lines(log: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    while text.len() < EVENT {
        if log.by_ref().take(EVENT as u64).read_until(b'\n', &mut text)? == 0 {
            break;
        }
    }
    Ok(text)
}

fn plain(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.strip_suffix('\n').unwrap_or(&text).to_owned()
}

/// `CloudWatchMessage` of the agent's `cloudwatchlogsservice.go`, with its version 1.0.
fn as_json(text: &str, of: &AgentLog, now: time::OffsetDateTime) -> String {
    let text = text.replace('\t', " ").replace('\r', "");
    let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(&text).split('\n').collect();
    let time = now.replace_nanosecond(0).unwrap_or(now).format(&time::format_description::well_known::Rfc3339);
    json!({
        "eventVersion": "1.0",
        "eventTime": time.unwrap_or_default(),
        "awsRegion": of.region,
        "target": { "id": of.target },
        "userIdentity": { "arn": of.owner },
        "runAsUser": of.run_as,
        "sessionId": of.aws_session,
        "sessionData": lines,
    })
    .to_string()
}
