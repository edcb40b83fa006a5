//! What an event log says of decisions: as whom, where, what and when somebody asked, and what they were told.
//!
//! ```text
//!  session.opened ─▶ allowed       channel.refused with a policy ─▶ denied
//!       │ id
//!       └── file.opened, file.operation ─▶ allowed, or denied
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::evidence::EventLog;
use crate::identity::{CertificateFacts, SignInFacts};
use crate::model::{NodeFacts, NodeName, NodeRef, NodeTags, RealmName, ReasonText, RefusalCode};
use crate::policy::{Action, FileAction, Scenario, SupposedProof};

/// One decision.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    /// When, as the log has it.
    pub(super) time: String,
    /// The session's number, or the connection's.
    pub(super) id: String,
    /// What was asked, as it would be asked again.
    pub(super) scenario: Scenario,
    /// The policies that decided.
    pub(super) policy: String,
    /// Whether it was allowed.
    pub(super) allowed: bool,
}

/// What a log has.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) decisions: Vec<Recorded>,
    /// Decisions that are not kept whole, and lines that are none.
    pub(super) unreadable: usize,
    /// The configurations that were in force, in their order.
    pub(super) loaded: Vec<InForce>,
    /// The sessions of the last run that have no end.
    pub(super) running: Vec<Recorded>,
}

/// A configuration that was in force.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    pub(super) since: SystemTime,
    pub(super) policy_set: String,
    /// None in logs from before people were kept.
    pub(super) people_set: Option<String>,
}

/// Reads an evidence directory's log, and parts of it that were moved away before it.
pub(super) fn of_directory(directory: &Path, older: &[PathBuf]) -> Result<Story, String> {
    let logs: Vec<PathBuf> = older.iter().cloned().chain([directory.join(EventLog::FILE)]).collect();
    read(&logs)
}

/// Reads logs in their order.
pub(super) fn read(logs: &[PathBuf]) -> Result<Story, String> {
    let mut story = Story::default();
    let mut sessions: HashMap<String, Recorded> = HashMap::new();
    let mut run = Value::Null;
    for path in logs {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut lines = BufReader::new(File::open(path).map_err(failed)?);
        let mut line = Vec::new();
        // bytes, since a line that is cut off may be no text
        while {
            line.clear();
            lines.read_until(b'\n', &mut line).map_err(failed)?
        } > 0
        {
            let Ok(event) = serde_json::from_slice::<Value>(&line) else {
                story.unreadable += 1;
                continue;
            };
            if event["run"] != run {
                run = event["run"].clone();
                sessions.clear();
            }
            story.take(&event, &mut sessions);
        }
    }
    story.running = sessions.into_values().collect();
    story.running.sort_by(|a, b| a.time.cmp(&b.time));
    Ok(story)
}

impl Story {
    /// The configuration that was in force then.
    pub(super) fn in_force_at(&self, at: SystemTime) -> Option<&InForce> {
        self.loaded.iter().rev().find(|loaded| loaded.since <= at)
    }

    fn take(&mut self, event: &Value, sessions: &mut HashMap<String, Recorded>) {
        let id = text(event, "id").unwrap_or_default();
        match event["event"].as_str() {
            Some("configuration.loaded") => {
                let since = text(event, "time").and_then(time_of);
                if let (Some(since), Some(policy_set)) = (since, text(event, "policy_set")) {
                    let people_set = text(event, "people_set").map(str::to_owned);
                    self.loaded.push(InForce { since, policy_set: policy_set.to_owned(), people_set });
                }
            }
            Some("session.opened") => match recorded(event, text(event, "reason"), true) {
                Some(opened) => {
                    sessions.insert(id.to_owned(), opened.clone());
                    self.decisions.push(opened);
                }
                None => self.unreadable += 1,
            },
            Some("session.closed") => drop(sessions.remove(id)),
            // a refusal that policy made, of somebody who asked about a node that was known
            Some("channel.refused") if event.get("policy").is_some() && event.get("node").is_some() => {
                match recorded(event, text(event, "given_reason"), false) {
                    Some(refused) => self.decisions.push(refused),
                    None => self.unreadable += 1,
                }
            }
            Some("file.opened" | "file.operation") => {
                let of_policy = |code: &str| ![UPLOAD_LIMIT, SESSION_TOO_OLD].iter().any(|other| other.name() == code);
                let denied = event["outcome"] == "denied";
                if denied && !text(event, "code").is_some_and(of_policy) {
                    return;
                }
                match sessions.get(id).and_then(|session| of_file(event, session, !denied)) {
                    Some(operation) => self.decisions.push(operation),
                    None => self.unreadable += 1,
                }
            }
            _ => {}
        }
    }
}

/// What is refused by how much, or when, and not by what it is.
const UPLOAD_LIMIT: RefusalCode = RefusalCode::UploadLimit;
const SESSION_TOO_OLD: RefusalCode = RefusalCode::SessionTooOld;

fn recorded(event: &Value, reason: Option<&str>, allowed: bool) -> Option<Recorded> {
    // a line that was cut is another line
    if event.get("command_bytes").is_some() {
        return None;
    }
    let time = text(event, "time")?.to_owned();
    // what is from before realms had names can't be asked of policies that may look at them
    let node = NodeRef::new(&RealmName::parse(text(event, "realm")?).ok()?, text(event, "node")?);
    let groups = event["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let action = match text(event, "action")? {
        "Shell" => Action::Shell,
        "Files" => Action::Files,
        "Hop" => Action::Hop,
        "Tunnel" => Action::Tunnel { port: u32::try_from(event["port"].as_u64()?).ok()? },
        "Forward" => Action::Forward {
            host: text(event, "host")?.to_owned(),
            port: u32::try_from(event["port"].as_u64()?).ok()?,
        },
        "ForwardSocket" => Action::ForwardSocket { path: text(event, "path")?.as_bytes().to_vec() },
        "Exec" => Action::Exec { command: text(event, "command")?.as_bytes().to_vec() },
        _ => return None,
    };
    Some(Recorded {
        id: text(event, "id")?.to_owned(),
        scenario: Scenario {
            person: text(event, "person")?.to_owned(),
            groups: groups.collect(),
            proof: proof(event),
            source: text(event, "source")?.parse::<std::net::SocketAddr>().ok()?.ip(),
            node_name: NodeName::parse(text(event, "node_name")?).ok()?,
            node: Arc::new(NodeFacts {
                node,
                called: text(event, "node_called").map(str::to_owned),
                platform: text(event, "node_platform").map(str::to_owned),
                address: None,
                tags: tags(&event["node_tags"]).ok_or_else(|| NOT_KEPT.to_owned()),
            }),
            os_user: text(event, "os_user").map(str::to_owned),
            second_factor: event.get("second_factor").is_some(),
            reason: reason.and_then(ReasonText::new),
            action,
            at: time_of(&time)?,
        },
        policy: text(event, "policy")?.to_owned(),
        allowed,
        time,
    })
}

/// How they had proved who they are; older logs do not say it of what was refused.
fn proof(event: &Value) -> SupposedProof {
    // `publickey SHA256:…`, `certificate SHA256:…: …`; `oidc …` has no key
    let words = text(event, "proof").map(|proof| proof.split(' ')).into_iter().flatten();
    let key = words.skip(1).find(|word| word.starts_with("SHA256:")).map(|key| key.trim_end_matches(':'));
    let certificate = event.get("certificate").map(|facts| {
        let own = |name: &str| text(facts, name).map(str::to_owned);
        CertificateFacts {
            key_id: own("key_id").unwrap_or_default(),
            serial: text(facts, "serial").and_then(|serial| serial.parse().ok()).unwrap_or_default(),
            authority: own("authority"),
            authority_key: own("authority_key").unwrap_or_default(),
            principal: own("principal"),
            valid_before: text(facts, "valid_before").and_then(time_of),
        }
    });
    let user_verified = event.get("user_verified").and_then(Value::as_bool).unwrap_or_default();
    let sign_in = event.get("oidc").and_then(|facts| {
        let amr = facts["amr"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        Some(SignInFacts {
            issuer: text(facts, "issuer")?.to_owned(),
            subject: text(facts, "subject")?.to_owned(),
            at: text(facts, "at").and_then(time_of)?,
            acr: text(facts, "acr").map(str::to_owned),
            amr: amr.collect(),
        })
    });
    SupposedProof { key: key.map(str::to_owned), user_verified, certificate, sign_in }
}

fn of_file(event: &Value, session: &Recorded, allowed: bool) -> Option<Recorded> {
    let name = text(event, "action")?;
    let action = FileAction::ALL.into_iter().find(|action| action.name() == name)?;
    let path = text(event, "real_path").or(text(event, "path"))?.as_bytes().to_vec();
    let time = text(event, "time")?.to_owned();
    let scenario = Scenario { action: Action::File { action, path }, at: time_of(&time)?, ..session.scenario.clone() };
    let policy = text(event, "policy").unwrap_or(&session.policy).to_owned();
    Some(Recorded { time, id: session.id.clone(), scenario, policy, allowed })
}

/// Why a policy that looks at tags can't be asked again.
const NOT_KEPT: &str = "this line of the log does not have them";

fn tags(kept: &Value) -> Option<NodeTags> {
    kept.as_object()?.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn text<'a>(event: &'a Value, name: &str) -> Option<&'a str> {
    event.get(name).and_then(Value::as_str)
}

/// As the log writes it, and as people do.
pub(super) fn time_of(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(lines: &str) -> Story {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, lines).unwrap();
        read(&[path]).unwrap()
    }

    const OPENED: &str = r#"{"time":"2026-11-29T08:00:00.000Z","v":1,"run":"r","seq":1,"event":"session.opened","id":"s","source":"192.0.2.1:5","person":"ada","groups":["ops"],"node":"i-1","realm":"main","node_name":"web-1","node_called":"web-1","policy":"p","policy_set":"x","action":"Files","pty":false}
"#;

    #[test]
    fn decisions_are_found_with_what_they_were_made_from() {
        let more = r#"{"time":"2026-11-29T08:00:01.000Z","run":"r","event":"file.opened","id":"s","action":"Download","path":"x","real_path":"/x","outcome":"opened"}
{"time":"2026-11-29T08:00:02.000Z","run":"r","event":"file.operation","id":"s","action":"Remove","path":"/y","outcome":"denied","code":"no-rule","policy":"default"}
{"time":"2026-11-29T08:00:02.000Z","run":"r","event":"file.operation","id":"s","action":"Upload","path":"/y","outcome":"denied","code":"upload-limit","policy":"p"}
{"time":"2026-11-29T08:00:03.000Z","run":"r","event":"channel.refused","id":"c","source":"192.0.2.1:5","person":"eve","code":"no-rule","policy":"default","node":"i-1","realm":"main","node_name":"web-1","action":"Exec","command":"id","given_reason":"INC-1"}
{"time":"2026-11-29T08:00:03.000Z","run":"r","event":"channel.refused","id":"c","source":"192.0.2.1:5","person":"eve","code":"no-rule","policy":"default"}
{"time":"2026-11-29T08:00:04.000Z","run":"r","event":"session.opened","id":"t","source":"192.0.2.1:5","person":"ada","node":"i-1","realm":"main","node_name":"web-1","policy":"p","action":"Exec","command":"x","command_bytes":9999}
{"time":"2026-11
"#;
        let story = story(&format!("{OPENED}{more}"));
        let told: Vec<_> = story
            .decisions
            .iter()
            .map(|one| (one.scenario.person.as_str(), one.scenario.action.name(), one.allowed))
            .collect();
        assert_eq!(
            told,
            [("ada", "Files", true), ("ada", "Download", true), ("ada", "Remove", false), ("eve", "Exec", false)]
        );
        assert_eq!(
            story.decisions[1].scenario.action,
            Action::File { action: FileAction::Download, path: b"/x".to_vec() }
        );
        assert_eq!(story.decisions[0].scenario.groups, ["ops"]);
        assert_eq!(story.decisions[3].scenario.reason.as_ref().map(ReasonText::as_str), Some("INC-1"));
        assert_eq!((story.unreadable, story.running.len()), (2, 1));
        let node = &story.decisions[3].scenario.node.node;
        assert_eq!((node.realm.as_str(), node.id.0.as_str()), ("main", "i-1"));
    }

    #[test]
    fn a_line_without_a_realm_is_not_asked() {
        let before = OPENED.replace(r#""realm":"main","#, "");
        assert_eq!((story(&before).decisions.len(), story(&before).unreadable), (0, 1));
    }

    #[test]
    fn a_proof_is_found_as_policies_look_at_it() {
        let certificate = r#""proof":"certificate SHA256:abc: of ada","certificate":{"key_id":"ada@laptop","serial":"18446744073709551615","authority":"people-ca","authority_key":"SHA256:ca","principal":"ada","valid_before":"2026-11-30T08:00:00.000Z"},"user_verified":true,"node":"i-1""#;
        let proof = |more: &str| {
            let lines = OPENED.replace(r#""node":"i-1""#, more);
            story(&lines).decisions.remove(0).scenario.proof
        };
        let found = proof(certificate);
        let facts = found.certificate.unwrap();
        assert_eq!((found.key.as_deref(), found.user_verified), (Some("SHA256:abc"), true));
        assert_eq!((facts.key_id.as_str(), facts.serial), ("ada@laptop", u64::MAX));
        assert_eq!((facts.authority.as_deref(), facts.principal.as_deref()), (Some("people-ca"), Some("ada")));
        assert_eq!((facts.authority_key.as_str(), facts.valid_before), ("SHA256:ca", time_of("2026-11-30T08:00:00Z")));
        let key = proof(r#""proof":"publickey SHA256:abc","node":"i-1""#);
        assert_eq!(key, SupposedProof { key: Some("SHA256:abc".to_owned()), ..SupposedProof::default() });
        assert_eq!(proof(r#""node":"i-1""#), SupposedProof::default());
    }

    #[test]
    fn what_runs_is_what_has_no_end_in_the_last_run() {
        let other = OPENED.replace(r#""id":"s""#, r#""id":"t""#);
        let closed = r#"{"time":"2026-11-29T08:00:09.000Z","run":"r","event":"session.closed","id":"s"}"#;
        assert_eq!(story(&format!("{OPENED}{other}{closed}\n")).running[0].id, "t");
        assert_eq!(story(&format!("{OPENED}{}", other.replace(r#""run":"r""#, r#""run":"q""#))).running.len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_there_it_reads_on(bytes: Vec<u8>, cut in 0..OPENED.len()) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("events.jsonl");
            let text = [&bytes[..], b"\n", OPENED.as_bytes(), &OPENED.as_bytes()[..cut]].concat();
            std::fs::write(&path, text).unwrap();
            assert!(!read(&[path]).unwrap().decisions.is_empty());
        }
    }
}
