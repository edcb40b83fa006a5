//! The logs that accounts ask for in their session preferences, where the gateway's evidence stands for the agent's
//! (`evidence_replaces_agent_logging`): which session's go where.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_folder::Manifest;
use portcullis_sinks::{AgentLog, AgentTarget};

use crate::backend::preferences::Preferences;
use crate::backend::{Directory, Realms};
use crate::config::{Config, ShellTransport};
use crate::model::RealmName;

/// The realms whose accounts are asked.
#[derive(Debug)]
pub(super) struct AgentLogs {
    realms: HashMap<String, Account>,
    /// Shells are the agent's own, which keeps its logs itself.
    agent_shells: bool,
}

#[derive(Debug)]
struct Account {
    directory: Arc<dyn Directory>,
    region: String,
    /// As they were read last.
    preferences: Mutex<Option<Preferences>>,
}

/// How often preferences are read; and how often where they are not known yet.
const READ: Duration = Duration::from_secs(60);
const READ_AGAIN: Duration = Duration::from_secs(2);

/// As whom a session without another user runs.
const AGENTS_OWN: &str = "ssm-user";

impl AgentLogs {
    /// None where no realm's evidence stands for the agent's logs.
    pub(super) fn of(config: &Config, realms: &Realms) -> Option<Self> {
        let replaced = config.realms.iter().filter(|realm| realm.evidence_replaces_agent_logging);
        let account = |realm: &crate::config::Realm| {
            let name = RealmName::parse(&realm.name).ok()?;
            let directory = realms.directory(&name)?.clone();
            let region = realm.region.clone().unwrap_or_default();
            Some((realm.name.clone(), Account { directory, region, preferences: Mutex::default() }))
        };
        let realms: HashMap<_, _> = replaced.filter_map(account).collect();
        let agent_shells = config.lanes.shell == ShellTransport::Agent;
        (!realms.is_empty()).then_some(Self { realms, agent_shells })
    }

    /// Reads the preferences, for ever.
    pub(super) async fn read(&self) -> Infallible {
        loop {
            let mut known = true;
            for (name, account) in &self.realms {
                match Preferences::of_account(account.directory.as_ref()).await {
                    Ok(read) => *lock(&account.preferences) = Some(read),
                    // lanes open by what is read of them as well, so whoever runs the gateway is told there
                    Err(error) => tracing::debug!(realm = name, %error, "the account's preferences can't be read"),
                }
                known &= lock(&account.preferences).is_some();
            }
            tokio::time::sleep(if known { READ } else { READ_AGAIN }).await;
        }
    }

    /// The logs that the account of a session wants of it. None where that is not known yet, as at the start.
    pub(super) fn of_session(&self, manifest: &Manifest) -> Option<Vec<AgentLog>> {
        let Some(account) = self.realms.get(&manifest.node.realm) else { return Some(Vec::new()) };
        // one log for what is one session to its person, by the first of those that carried it
        let Some(first) = manifest.aws.sessions.first() else { return Some(Vec::new()) };
        if self.agent_shells && manifest.action == "Shell" {
            return Some(Vec::new());
        }
        let preferences = lock(&account.preferences).clone()?;
        let s3 = preferences
            .s3_bucket
            .map(|bucket| AgentTarget::S3 { bucket, prefix: preferences.s3_prefix.unwrap_or_default() });
        let streaming = preferences.cloudwatch_streaming;
        let logs = preferences.cloudwatch_group.map(|group| AgentTarget::Logs { group, streaming });
        let log = |to| AgentLog {
            realm: manifest.node.realm.clone(),
            aws_session: first.id.clone(),
            region: account.region.clone(),
            target: manifest.node.id.clone(),
            owner: owner(manifest),
            run_as: manifest.os_user.clone().unwrap_or_else(|| AGENTS_OWN.to_owned()),
            to,
        };
        Some(s3.into_iter().chain(logs).map(log).collect())
    }
}

/// The ARN of the role's session, as AWS has it in such a log.
fn owner(manifest: &Manifest) -> String {
    let role = manifest.aws.role.as_deref().unwrap_or_default();
    let parts = role.split_once(":iam::").and_then(|(partition, rest)| Some((partition, rest.split_once(":role/")?)));
    match (parts, &manifest.aws.session_name) {
        (Some((partition, (account, role))), Some(session)) => {
            // a role's path is not in it
            let role = role.rsplit('/').next().unwrap_or(role);
            format!("{partition}:sts::{account}:assumed-role/{role}/{session}")
        }
        _ => manifest.person.clone(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
