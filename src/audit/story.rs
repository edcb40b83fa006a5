//! One session's story as text, of its manifest and records.

use std::fmt::Write as _;

use portcullis_folder::{CommandRecord, FileRecord, How, Manifest};
use portcullis_index::{FolderRecords, Session};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::moments::{clock, date_and_time};
use super::shown::shown;
use super::verified::Verified;
use crate::model::{lasting, size_text};

/// Of a sealed session.
pub(super) fn of_manifest(manifest: &Manifest, records: &FolderRecords, verified: &Verified, limit: usize) -> String {
    let mut page = Page::default();
    page.line("session", &manifest.session.to_string());
    let groups = if manifest.groups.is_empty() { String::new() } else { format!(" ({})", manifest.groups.join(", ")) };
    page.line("who", &format!("{}{groups}, by {}", manifest.person, manifest.proof));
    let client = manifest.client.as_deref().map(|client| format!(", {client}")).unwrap_or_default();
    page.line("from", &format!("{}{client}, as {}", manifest.source, manifest.login));
    let node = &manifest.node;
    let user = manifest.os_user.as_deref().map(|user| format!(" as {user}")).unwrap_or_default();
    page.line("where", &format!("{} ({}, realm {}){user}", node.name, node.id, node.realm));
    let terminal = if manifest.pty { " on a terminal" } else { "" };
    let command = manifest.command.as_deref().map(|command| format!(": {command}")).unwrap_or_default();
    page.line("what", &format!("{}{terminal}{command}", manifest.action));
    page.line("why", manifest.reason.as_deref().unwrap_or("no reason was given"));
    let obliged: String =
        manifest.decision.obligations.iter().map(|(name, value)| format!("; {name} {value}")).collect();
    page.line(
        "by leave of",
        &format!("{} (policies {}){obliged}", manifest.decision.policy, first(&manifest.decision.policy_set)),
    );
    aws(manifest, &mut page);
    page.line("opened", &when(&manifest.opened));
    ended(manifest, &mut page);
    if let Some(streams) = &manifest.streams {
        let all = [("sent", &streams.stdin), ("got", &streams.stdout), ("got beside that", &streams.stderr)];
        let said: Vec<String> =
            all.iter().map(|(what, stream)| format!("{what} {}", size_text(stream.bytes))).collect();
        page.line("bytes", &said.join(", "));
    }
    page.line("refused", &manifest.counts.refused.to_string());
    lists(&mut page, records, (manifest.counts.commands, manifest.counts.files), limit);
    page.lines("verifies", verified.says.iter().map(String::as_str));
    page.text
}

/// Of one that is not sealed yet, as far as the index knows it.
pub(super) fn of_live(session: &Session, records: &FolderRecords, limit: usize) -> String {
    let mut page = Page::default();
    page.line("session", &session.id.to_string());
    page.line("who", &session.person);
    page.line("from", &session.source);
    let user = session.os_user.as_deref().map(|user| format!(" as {user}")).unwrap_or_default();
    page.line("where", &format!("{} ({}, realm {}){user}", session.node_name, session.node_id, session.realm));
    let command = session.command.as_deref().map(|command| format!(": {command}")).unwrap_or_default();
    page.line("what", &format!("{}{command}", session.action));
    page.line("why", session.reason.as_deref().unwrap_or("no reason was given"));
    page.line("by leave of", &session.policy);
    page.line("opened", &format!("{} UTC", date_and_time(session.opened)));
    page.line("ended", "not yet, or its gateway was killed and has not started since");
    lists(&mut page, records, (records.commands.len() as u64, records.files.len() as u64), limit);
    page.text
}

/// How a session ended, in a sentence.
pub(super) fn ending(manifest: &Manifest) -> String {
    let Some(ended) = &manifest.ended else { return "its gateway could not say how".to_owned() };
    let mut text = ended.outcome.clone();
    if let Some(code) = ended.code {
        let _ = write!(text, ", exit status {code}");
    }
    if let Some(signal) = &ended.signal {
        let _ = write!(text, ", by signal {signal}");
    }
    if let Some(why) = &ended.why {
        let _ = write!(text, ": {why}");
    }
    shown(&text)
}

fn ended(manifest: &Manifest, page: &mut Page) {
    let times = [Some(manifest.opened.as_str()), manifest.closed.as_deref()]
        .map(|text| text.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok()));
    let lasted = match times {
        [Some(opened), Some(closed)] => {
            format!(", after {}", lasting(u64::try_from((closed - opened).whole_seconds()).unwrap_or_default()))
        }
        _ => String::new(),
    };
    let when = manifest.closed.as_deref().map(when).unwrap_or_default();
    page.line("ended", format!("{when}{lasted}: {}", ending(manifest)).trim_start_matches([',', ':', ' ']));
}

fn aws(manifest: &Manifest, page: &mut Page) {
    let aws = &manifest.aws;
    let parts = [("role", &aws.role), ("session", &aws.session_name), ("source identity", &aws.source_identity)];
    let said = parts.iter().filter_map(|(what, value)| Some(format!(", {what} {}", value.as_ref()?)));
    page.line("in AWS", &format!("{}{}", aws.identity, said.collect::<String>()));
    for session in &aws.sessions {
        let request = session.request_id.as_deref().map(|id| format!(" (request {id})")).unwrap_or_default();
        page.line("", &format!("Session Manager {}{request}", session.id));
    }
}

fn lists(page: &mut Page, records: &FolderRecords, counts: (u64, u64), limit: usize) {
    page.list("commands", records.commands.iter().take(limit).map(command), counts.0);
    page.list("files", records.files.iter().take(limit).map(|(at, record)| file(*at, record)), counts.1);
    page.lines("unreadable", records.unreadable.iter().map(String::as_str));
}

fn command(record: &CommandRecord) -> String {
    let line = match &record.command_sha256 {
        Some(hash) => format!("(its hash alone is kept: {hash})"),
        None => record.command.clone(),
    };
    let sure = match record.how {
        How::Exec => String::new(),
        How::Marks | How::UnprovedMarks | How::Screen => format!(" [{:.0}% sure]", record.confidence * 100.0),
    };
    let refused = record.verdict.as_deref() == Some("refused");
    let by = record.policy.as_deref().map(|policy| format!(" by {policy}")).unwrap_or_default();
    let refused = if refused { format!("REFUSED{by}: ") } else { String::new() };
    let exit = record.exit.map(|exit| format!(" → {exit}")).unwrap_or_default();
    format!("{:>8}  {refused}{line}{exit}{sure}", clock(record.at))
}

fn file(at: f64, record: &FileRecord) -> String {
    let second = record.second_path.as_deref().map(|path| format!(" → {path}")).unwrap_or_default();
    let real = record
        .real_path
        .as_deref()
        .filter(|real| *real != record.path)
        .map(|path| format!(" ({path})"))
        .unwrap_or_default();
    let bytes = record.bytes.map(|bytes| format!(", {}", size_text(bytes))).unwrap_or_default();
    let hash = record.sha256.as_deref().map(|hash| format!(", sha256 {hash}"));
    let part = record.sha256_of_part.as_deref().map(|hash| format!(", part sha256 {hash}"));
    let hash = hash.or(part).unwrap_or_default();
    let why = record.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{:>8}  {} {}{real}{second}, {}{bytes}{hash}{why}", clock(at), record.action, record.path, record.outcome)
}

fn when(text: &str) -> String {
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) => format!("{} UTC", date_and_time(time)),
        Err(_) => text.to_owned(),
    }
}

fn first(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// A page: words at the left, and what there is to say of each; nothing reaches a terminal that it would obey.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, word: &str, says: &str) {
        let _ = writeln!(self.text, "{word:<13}{}", shown(says));
    }

    fn lines<'a>(&mut self, word: &str, all: impl Iterator<Item = &'a str>) {
        for (place, says) in all.enumerate() {
            self.line(if place == 0 { word } else { "" }, says);
        }
    }

    fn list(&mut self, word: &str, all: impl Iterator<Item = String>, count: u64) {
        if count == 0 {
            return;
        }
        let _ = writeln!(self.text, "{word} ({count})");
        let mut listed = 0;
        for says in all {
            listed += 1;
            let _ = writeln!(self.text, "{}", shown(&says));
        }
        if listed < count {
            let _ = writeln!(self.text, "          and {} more (--limit)", count - listed);
        }
    }
}
